import { UnsupportedValue } from '../errors.ts';
import type { Rule, RuleUse } from '../model.ts';
import type { RowField } from './types.ts';

/** Rows as `mssql` gives them, as load text. */
export type RowWriter = {
  /** Appends a row; `from`: where its cells begin. */
  add(cells: readonly unknown[], from?: number): void;
  /** Rows so far. */
  readonly rows: number;
  /** Characters that `take` would give. */
  readonly pending: number;
  /** The rows added since the last call. */
  take(): { data: Buffer; rows: number };
  uses(): RuleUse[];
};

const MOST_EXAMPLES = 3;
/** Cells longer than this become bytes in pieces of this length: as one string they would be held several times over. */
const LARGE = 1_048_576;
/** What is not the same in load text, and what may be half of a character: most texts have neither, and are asked once. */
const SPECIAL = /[\0\t\n\r\\\ud800-\udfff]/;
const ESCAPED = /[\0\t\n\r\\]/;
const LETTERS: Readonly<Record<string, string>> = { '\0': '\\0', '\t': '\\t', '\n': '\\n', '\r': '\\r', '\\': '\\\\' };

/** `refuse`: a value that only a rule could carry is an error. In a key column it always is. */
export function createRowWriter(table: string, fields: readonly RowField[], refuse: boolean): RowWriter {
  let text = '';
  /** Load text before `text`, where a large cell was among it. */
  let parts: Buffer[] = [];
  let partBytes = 0;
  let rows = 0;
  let given = 0;
  const used = new Map<string, { rule: Rule; column: string; count: number; examples: string[] }>();
  let row: readonly unknown[] = [];
  let offset = 0;

  function keyText(): string {
    const parts = fields.flatMap(({ name, key }, i) =>
      key ? [`${name}=${String(row[offset + i]).slice(0, 100)}`] : [],
    );
    return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
  }

  function use(rule: Rule, field: RowField, shown: string, why: string): void {
    if (field.key || refuse)
      throw new UnsupportedValue(
        `${table}.${field.name} holds ${shown}${keyText()}: ${why}.`,
        field.key
          ? 'Correct the rows at the source, or choose another key with the `key` option: key columns are never changed.'
          : 'Correct the rows at the source, set on_unrepresentable to rule, or copy the column as text with `types`.',
      );
    const id = `${rule} ${field.name}`;
    const one = used.get(id) ?? { rule, column: field.name, count: 0, examples: [] };
    used.set(id, one);
    if (one.count++ < MOST_EXAMPLES) one.examples.push(`${field.name}: ${shown}${keyText()}`);
  }

  const clock = (value: string, field: RowField): string => {
    // Seven digits of a second, of which the destination holds six.
    const dot = value.length - 8;
    if (dot < 0 || value.charCodeAt(dot) !== 46) return value;
    if (value.charCodeAt(dot + 7) !== 48) use('fraction', field, value, 'the destination holds six digits of a second');
    return value.slice(0, -1);
  };

  function encode(value: unknown, field: RowField): string {
    switch (field.encoding) {
      case 'plain':
        return String(value);
      case 'text':
        return escapeWhole(value as string, field);
      case 'bit':
        return value === true ? '1' : '0';
      case 'number':
        return Object.is(value, -0) ? '-0' : String(value);
      case 'hex':
        return (value as Buffer).toString('hex').toUpperCase();
      case 'clock':
        return clock(value as string, field);
      case 'instant': {
        const instant = clock(value as string, field);
        if (instant.charCodeAt(0) !== 48) return instant;
        use('date_repair', field, instant, 'the destination has no years before 1000');
        return repairYear(instant);
      }
      case 'variant':
        return escapeWhole(variantText(value as string), field);
    }
  }

  function escapeWhole(value: string, field: RowField): string {
    return SPECIAL.test(value) ? escaped(wellFormed(value, field)) : value;
  }

  function wellFormed(value: string, field: RowField): string {
    if (value.isWellFormed()) return value;
    use('half_character', field, JSON.stringify(value.slice(0, 40)), 'half of a surrogate pair is no character');
    return value.toWellFormed();
  }

  /** Text so far, then a large cell, as bytes. */
  function addLarge(before: string, value: string | Buffer, field: RowField): void {
    put(text + before);
    text = '';
    if (typeof value === 'string') for (const piece of slices(wellFormed(value, field))) put(escaped(piece));
    else
      for (let from = 0; from < value.length; from += LARGE)
        put(value.toString('hex', from, Math.min(from + LARGE, value.length)).toUpperCase());
  }

  function put(piece: string): void {
    const bytes = Buffer.from(piece, 'utf8');
    parts.push(bytes);
    partBytes += bytes.length;
  }

  return {
    add(cells, from = 0) {
      row = cells;
      offset = from;
      let line = '';
      for (let i = 0; i < fields.length; i++) {
        const value = cells[from + i];
        const field = fields[i] as RowField;
        if (i > 0) line += '\t';
        if (value === null) line += '\\N';
        else if (isLarge(value, field)) {
          addLarge(line, value, field);
          line = '';
        } else line += encode(value, field);
      }
      text += `${line}\n`;
      rows++;
    },
    get rows() {
      return rows;
    },
    get pending() {
      return partBytes + text.length;
    },
    take() {
      const last = Buffer.from(text, 'utf8');
      const data = parts.length === 0 ? last : Buffer.concat([...parts, last]);
      parts = [];
      partBytes = 0;
      const fresh = rows - given;
      text = '';
      given = rows;
      return { data, rows: fresh };
    },
    uses: () => [...used.values()],
  };
}

function isLarge(value: unknown, { encoding }: RowField): value is string | Buffer {
  if (encoding === 'text') return (value as string).length > LARGE;
  return encoding === 'hex' && (value as Buffer).length > LARGE;
}

function escaped(text: string): string {
  return ESCAPED.test(text) ? text.replace(/[\0\t\n\r\\]/g, (char) => LETTERS[char] as string) : text;
}

/** A well-formed text in pieces that are well-formed too. */
function* slices(text: string): Generator<string> {
  for (let from = 0; from < text.length; ) {
    const end = Math.min(from + LARGE, text.length);
    const split = end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800;
    yield text.slice(from, split ? end - 1 : end);
    from = split ? end - 1 : end;
  }
}

/** Years 0001 to 0999 get 1000 added (reference/flow-product.md §5.10); 29 February of a year that then has none becomes the 28th. */
function repairYear(text: string): string {
  const year = Number(text.slice(0, 4)) + 1000;
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return `${year}${text.slice(4, 10) === '-02-29' && !leap ? '-02-28' : text.slice(4, 10)}${text.slice(10)}`;
}

function variantText(value: string): string {
  const kind = value.charAt(0);
  const rest = value.slice(1);
  if (kind === 't') return rest;
  const bytes = Buffer.from(rest, 'hex');
  const number = kind === 'f' ? bytes.readDoubleBE(0) : bytes.readFloatBE(0);
  return Object.is(number, -0) ? '-0' : String(number);
}
