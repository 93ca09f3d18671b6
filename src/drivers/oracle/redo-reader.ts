/** What a literal of SQL_REDO says. `form` tells how it was written. */
export type RedoValue =
  | { readonly form: RedoForm; readonly text: string }
  /** NULL, or an `IS NULL`. */
  | null;

export type RedoForm =
  /** `'text'`, `UNISTR('…')`, and both joined by `||`; numbers come so too. */
  | 'text'
  /** A number or word without quotes. */
  | 'bare'
  | 'hex'
  | 'date'
  | 'timestamp'
  | 'timestamp_tz'
  | 'interval_ym'
  | 'interval_ds'
  /** `EMPTY_CLOB()`, `EMPTY_BLOB()`. */
  | 'empty'
  /** Something that stands for a value that the log does not spell out; `text`: as it stands there. */
  | 'unsupported';

/** Thrown for text that is no such statement; says where. */
export class RedoSyntax extends Error {}

const QUOTE = 39;
const DOUBLE = 34;
const BACKSLASH = 92;

const CALLS: Readonly<Record<string, RedoForm>> = {
  hextoraw: 'hex',
  to_date: 'date',
  to_timestamp: 'timestamp',
  to_timestamp_tz: 'timestamp_tz',
  to_timestamp_ltz: 'timestamp_tz',
  to_yminterval: 'interval_ym',
  to_dsinterval: 'interval_ds',
  empty_clob: 'empty',
  empty_blob: 'empty',
};

/** Walks over the characters of one statement. */
export class Reader {
  readonly #sql: string;
  #at: number;

  constructor(sql: string, at = 0) {
    this.#sql = sql;
    this.#at = at;
  }

  wrong(wanted: string): RedoSyntax {
    return new RedoSyntax(`A statement of the log can't be read at character ${this.#at + 1}: ${wanted} was expected.`);
  }

  #space(): void {
    const sql = this.#sql;
    for (;;) {
      const code = sql.charCodeAt(this.#at);
      if (code === 32 || (code >= 9 && code <= 13)) this.#at++;
      else return;
    }
  }

  /** The next word in lower case; '' where none is. */
  word(): string {
    this.#space();
    const from = this.#at;
    const sql = this.#sql;
    let at = from;
    while (isWord(sql.charCodeAt(at))) at++;
    this.#at = at;
    return sql.slice(from, at).toLowerCase();
  }

  takeWord(word: string): boolean {
    const before = this.#at;
    if (this.word() === word) return true;
    this.#at = before;
    return false;
  }

  expect(word: string): void {
    if (!this.takeWord(word)) throw this.wrong(word);
  }

  take(char: string): boolean {
    this.#space();
    if (this.#sql[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  must(char: string): void {
    if (!this.take(char)) throw this.wrong(char);
  }

  /** Passes over an alias that may stand before `next`. */
  alias(next: string): void {
    const before = this.#at;
    const word = this.word();
    if (word === next || word === '') this.#at = before;
  }

  /** Nothing but a semicolon may be left. */
  end(): void {
    this.take(';');
    this.#space();
    if (this.#at < this.#sql.length) throw this.wrong('the end');
  }

  name(): string {
    this.#space();
    const sql = this.#sql;
    if (sql.charCodeAt(this.#at) !== DOUBLE) {
      const from = this.#at;
      const word = this.word();
      if (word === '') throw this.wrong('a name');
      return sql.slice(from, from + word.length);
    }
    const end = sql.indexOf('"', this.#at + 1);
    if (end < 0) throw this.wrong('a closing "');
    const name = sql.slice(this.#at + 1, end);
    this.#at = end + 1;
    return name;
  }

  /** A column, with or without the alias of its table. */
  column(): string {
    const name = this.name();
    return this.take('.') ? this.name() : name;
  }

  value(): RedoValue {
    let value = this.#operand();
    while (this.#sql.charCodeAt(this.#next()) === 124 && this.#sql.charCodeAt(this.#at + 1) === 124) {
      this.#at += 2;
      const more = this.#operand();
      if (value?.form !== 'text' || more?.form !== 'text')
        value = { form: 'unsupported', text: `${value?.text ?? ''}||${more?.text ?? ''}` };
      else value = { form: 'text', text: value.text + more.text };
    }
    return value;
  }

  #next(): number {
    this.#space();
    return this.#at;
  }

  #operand(): RedoValue {
    const sql = this.#sql;
    const from = this.#next();
    if (sql.charCodeAt(from) === QUOTE) return { form: 'text', text: this.#text() };
    if (sql.startsWith('/*', from)) {
      const end = sql.indexOf('*/', from + 2);
      if (end < 0) throw this.wrong('*/');
      this.#at = end + 2;
      const value = this.#operand();
      return { form: 'unsupported', text: value?.text ?? '' };
    }
    const at = bareEnd(sql, from);
    if (at === from) throw this.wrong('a value');
    this.#at = at;
    const bare = sql.slice(from, at);
    const word = bare.toLowerCase();
    if (sql.charCodeAt(this.#next()) === 40) return this.#call(word, from);
    this.#at = at;
    if (word === 'null') return null;
    if (word === 'unsupported') {
      this.takeWord('type');
      return { form: 'unsupported', text: sql.slice(from, this.#at) };
    }
    return { form: 'bare', text: bare };
  }

  #call(word: string, from: number): RedoValue {
    this.#at++;
    const form = CALLS[word];
    if (form === undefined && word !== 'unistr') return this.#unknown(from);
    let text = '';
    if (this.#sql.charCodeAt(this.#next()) === QUOTE) text = this.#text();
    while (this.take(',')) if (this.#operand() === undefined) break;
    this.must(')');
    return word === 'unistr' ? { form: 'text', text: fromUnistr(text) } : { form: form as RedoForm, text };
  }

  /** A call that no rule here knows: passed over with all that it holds. */
  #unknown(from: number): RedoValue {
    for (let depth = 1; depth > 0; ) {
      const code = this.#sql.charCodeAt(this.#at);
      if (Number.isNaN(code)) throw this.wrong(')');
      if (code === QUOTE) this.#text();
      else {
        if (code === 40) depth++;
        if (code === 41) depth--;
        this.#at++;
      }
    }
    return { form: 'unsupported', text: this.#sql.slice(from, this.#at) };
  }

  /** The text between apostrophes, doubled ones made single. */
  #text(): string {
    const sql = this.#sql;
    let from = this.#at + 1;
    let text = '';
    for (;;) {
      const end = sql.indexOf("'", from);
      if (end < 0) throw this.wrong("a closing '");
      if (sql.charCodeAt(end + 1) !== QUOTE) {
        this.#at = end + 1;
        return text === '' ? sql.slice(from, end) : text + sql.slice(from, end);
      }
      text += sql.slice(from, end + 1);
      from = end + 2;
    }
  }
}

function isWord(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 95 ||
    code === 36 ||
    code === 35 ||
    code > 127
  );
}

/** Where a word or number without quotes ends: `-1.5E+10`, `NULL`, `HEXTORAW`. */
function bareEnd(sql: string, from: number): number {
  let at = from;
  for (; at < sql.length; at++) {
    const code = sql.charCodeAt(at);
    if (code === 32 || (code >= 9 && code <= 13) || code === 44 || code === 40 || code === 41 || code === 59) break;
    if (code === 124 || code === QUOTE) break;
  }
  return at;
}

/** `\0412` is a UTF-16 unit, `\\` a backslash. */
function fromUnistr(text: string): string {
  if (text.indexOf('\\') < 0) return text;
  let out = '';
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) !== BACKSLASH) {
      out += text[i];
      continue;
    }
    const hex = text.slice(i + 1, i + 5);
    if (/^[0-9A-Fa-f]{4}$/.test(hex)) {
      out += String.fromCharCode(Number.parseInt(hex, 16));
      i += 4;
    } else if (text.charCodeAt(i + 1) === BACKSLASH) {
      out += '\\';
      i++;
    } else throw new RedoSyntax('A UNISTR text of the log holds a backslash that means nothing.');
  }
  return out;
}
