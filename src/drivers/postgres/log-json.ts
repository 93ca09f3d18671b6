import type { SourceType } from './source-type.ts';

/**
 * What `to_json` prints, made of a value's text, for the log has only the text. Texts are latin1 characters, one for each byte of UTF-8:
 * everything that has a meaning here is ASCII. undefined: the text does not say (a composite whose fields are others by now).
 */
export type JsonText = (text: string) => string | undefined;

/** How a type's text becomes JSON; undefined where it can't: money inside another type, casts of users. */
export function jsonFrom(type: SourceType, moneyScale: number): JsonText | undefined {
  if (type.kind === 'array' && isMoney(type.element)) return arrayFrom(type, (text) => moneyText(text, moneyScale));
  return elementFrom(type);
}

function elementFrom(type: SourceType): JsonText | undefined {
  // Their text is no list in braces.
  if (type.schema === 'pg_catalog' && /^(int2|oid)vector$/.test(type.name)) return undefined;
  if (type.kind === 'array') return type.element && arrayFrom(type, elementFrom(type.element));
  if (type.kind === 'composite') return compositeFrom(type);
  if (type.kind === 'base' && type.schema !== 'pg_catalog' && type.name === 'hstore') return hstoreJson;
  if (type.jsonCast === true || type.name === 'unknown') return undefined;
  if (type.kind !== 'base' || type.schema !== 'pg_catalog') return quoteJson;
  switch (type.name) {
    case 'bool':
      return (text) => (text === 't' ? 'true' : 'false');
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'numeric':
      return numberJson;
    case 'timestamp':
      return (text) => `"${text.replace(' ', 'T')}"`;
    case 'timestamptz':
      return (text) => `"${text.replace(' ', 'T').replace('+00', '+00:00')}"`;
    case 'json':
    case 'jsonb':
      return (text) => text;
    case 'money':
      // Within another type `to_json` prints it in the server's own notation.
      return undefined;
    default:
      return quoteJson;
  }
}

/** Digits with a point where the server's lc_monetary has it, made of money's text in the locale C. */
export function moneyText(text: string, scale: number): string {
  const digits = text.replace(/\D/g, '').padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale).replace(/^0+(?=\d)/, '');
  return `${text.includes('-') ? '-' : ''}${whole}${scale === 0 ? '' : `.${digits.slice(digits.length - scale)}`}`;
}

function isMoney(type: SourceType | undefined): boolean {
  return type?.name === 'money' && type.schema === 'pg_catalog';
}

function numberJson(text: string): string {
  return /^-?\d/.test(text) ? text : `"${text}"`;
}

/** Also matches bytes above 126, which stay as they are. */
const ESCAPED = /["\\\p{Cc}]/gu;
const LETTERS: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

function quoteJson(text: string): string {
  return `"${text.replace(ESCAPED, escapeJson)}"`;
}

function escapeJson(char: string): string {
  const code = char.charCodeAt(0);
  if (code > 126) return char;
  return LETTERS[char] ?? `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Strings that grow by small pieces are kept in parts, as each piece costs an object until the string is read. */
const PART = 65_536;

function arrayFrom(type: SourceType, element: JsonText | undefined): JsonText | undefined {
  if (element === undefined) return undefined;
  const delimiter = type.element?.delimiter ?? ',';
  return (text) => {
    const parts: string[] = [];
    let out = '';
    // Bounds other than 1 stand in front: [5:6]={…}.
    let at = text.startsWith('[') ? text.indexOf('=') + 1 : 0;
    while (at < text.length) {
      const char = text[at] as string;
      if (char === '{' || char === '}' || char === delimiter) {
        out += char === '{' ? '[' : char === '}' ? ']' : ',';
        at++;
      } else {
        let value: string | undefined;
        if (char === '"') {
          const end = quoteEnd(text, at);
          value = element(unescapeQuoted(text.slice(at + 1, end)));
          at = end + 1;
        } else {
          const start = at;
          while (at < text.length && text[at] !== delimiter && text[at] !== '}') at++;
          const word = text.slice(start, at);
          value = word === 'NULL' ? 'null' : element(word);
        }
        if (value === undefined) return undefined;
        out += value;
      }
      if (out.length > PART) {
        parts.push(out);
        out = '';
      }
    }
    return parts.length === 0 ? out : parts.join('') + out;
  };
}

/** The closing quote of a text that begins with one at `at`, backslashes escaping. */
function quoteEnd(text: string, at: number): number {
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === '\\') end++;
    else if (text[end] === '"') return end;
  }
  throw new Error('a quoted element has no end');
}

function unescapeQuoted(text: string): string {
  return text.includes('\\') ? text.replace(/\\(.)/gs, '$1') : text;
}

function compositeFrom(type: SourceType): JsonText | undefined {
  const fields = (type.fields ?? []).map((field) => ({
    name: quoteJson(Buffer.from(field.name, 'utf8').toString('latin1')),
    json: elementFrom(field.type),
  }));
  if (fields.some((field) => field.json === undefined)) return undefined;
  return (text) => {
    const values = compositeFields(text);
    if (values.length !== fields.length) return undefined;
    const out: string[] = [];
    for (const [index, field] of fields.entries()) {
      const value = values[index];
      const json = value === null ? 'null' : field.json?.(value as string);
      if (json === undefined) return undefined;
      out.push(`${field.name}:${json}`);
    }
    return `{${out.join(',')}}`;
  };
}

/** The fields of `(1,"a ""b""",)`; nothing at all is NULL. */
function compositeFields(text: string): (string | null)[] {
  const fields: (string | null)[] = [];
  if (text === '()') return [null];
  let at = 1;
  while (at < text.length) {
    if (text[at] === '"') {
      let value = '';
      for (at++; at < text.length; at++) {
        if (text[at] === '\\') at++;
        else if (text[at] === '"') {
          if (text[at + 1] !== '"') break;
          at++;
        }
        value += text[at];
      }
      fields.push(value);
      at++;
    } else {
      const start = at;
      while (at < text.length && text[at] !== ',' && text[at] !== ')') at++;
      fields.push(at === start ? null : text.slice(start, at));
    }
    at++;
    // A comma before the closing parenthesis: one more field, without a value.
    if (text[at - 1] === ',' && text[at] === ')') {
      fields.push(null);
      break;
    }
  }
  return fields;
}

function hstoreJson(text: string): string {
  const pairs: string[] = [];
  let at = 0;
  while (at < text.length) {
    const keyEnd = quoteEnd(text, at);
    const key = quoteJson(unescapeQuoted(text.slice(at + 1, keyEnd)));
    at = keyEnd + 3;
    if (text[at] === '"') {
      const end = quoteEnd(text, at);
      pairs.push(`${key}: ${quoteJson(unescapeQuoted(text.slice(at + 1, end)))}`);
      at = end + 3;
    } else {
      pairs.push(`${key}: null`);
      at += 6;
    }
  }
  return `{${pairs.join(', ')}}`;
}
