import type { FakeValue } from './redo.ts';

/** Oracle's SQL, types, names and functions as SQLite takes them. */

export const timeNow = (): string => new Date().toISOString().slice(0, 19).replace('T', ' ');

/** A name as an identifier of SQLite, which takes letters of both cases for the same. */
export const quote = (name: string): string => cased(`"${name.replaceAll('"', '""')}"`);

/** Capital letters in quoted names become `^` and a small one. */
export function cased(sql: string): string {
  return sql.replace(/"((?:[^"]|"")*)"|'(?:[^']|'')*'/g, (whole, name: string | undefined) =>
    name === undefined ? whole : `"${name.replace(/[A-Z]/g, (letter) => `^${letter.toLowerCase()}`)}"`,
  );
}

export function uncased(name: string): string {
  return name.replace(/\^([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Oracle's types as SQLite takes them: the whole type is the declared one, and a last word decides how values are kept. */
export function typed(sql: string): string {
  if (!/^\s*(create\s+table|alter\s+table)/i.test(sql)) return sql;
  return sql.replace(
    /"[^"]*"|'[^']*'|\b(NUMBER(?:\([^)]*\))?|N?VARCHAR2\([^)]*\)|N?CHAR\([^)]*\)|DATE\b|TIMESTAMP(?:\(\d\))?(?: WITH(?: LOCAL)? TIME ZONE)?|INTERVAL YEAR\(\d\) TO MONTH|INTERVAL DAY\(\d\) TO SECOND\(\d\)|RAW\(\d+\)|BLOB|N?CLOB|BINARY_DOUBLE|BINARY_FLOAT|FLOAT\(\d+\)|XMLTYPE)/g,
    (whole, type: string | undefined) => {
      if (type === undefined) return whole;
      return `"${type} ${/^RAW|^BLOB/.test(type) ? 'BLOB' : /^BINARY_/.test(type) ? 'REAL' : 'TEXT'}"`;
    },
  );
}

export function declared(type: string): string {
  return type.replace(/ (TEXT|BLOB|REAL)$/, '').toUpperCase();
}

export function oracleType(type: string): {
  word: string;
  chars: number;
  bytes: number;
  used: string | null;
  precision: number | null;
  scale: number | null;
} {
  const whole = declared(type);
  const none = { chars: 0, bytes: 0, used: null, precision: null, scale: null };
  const number = /^NUMBER(?:\((\d+)(?:,(-?\d+))?\))?$/.exec(whole);
  if (number)
    return {
      ...none,
      word: 'NUMBER',
      precision: number[1] === undefined ? null : Number(number[1]),
      scale: number[1] === undefined ? null : Number(number[2] ?? 0),
    };
  if (/^INT(?!ERVAL)/.test(whole)) return { ...none, word: 'NUMBER', scale: 0 };
  const text = /^(N?)(?:VARCHAR2?|CHAR)\((\d+)(?: (CHAR|BYTE))?\)$/.exec(whole);
  if (text) {
    const word = whole.startsWith('NCHAR')
      ? 'NCHAR'
      : whole.startsWith('CHAR')
        ? 'CHAR'
        : text[1] === 'N'
          ? 'NVARCHAR2'
          : 'VARCHAR2';
    return { ...none, word, chars: Number(text[2]), bytes: Number(text[2]), used: text[3] === 'CHAR' ? 'C' : 'B' };
  }
  const raw = /^RAW\((\d+)\)$/.exec(whole);
  if (raw) return { ...none, word: 'RAW', bytes: Number(raw[1]) };
  const float = /^FLOAT\((\d+)\)$/.exec(whole);
  if (float) return { ...none, word: 'FLOAT', precision: Number(float[1]) };
  return { ...none, word: whole };
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** A ROWID as Oracle prints it: its order as text is not the order of ROWIDs. */
export function rowIdText(rowid: bigint): string {
  let text = '';
  for (let left = rowid; text.length < 10; left /= 64n) text = `${DIGITS[Number(left % 64n)]}${text}`;
  return `AAAAAAAA${text}`;
}

function rowIdOf(text: string): bigint {
  let value = 0n;
  for (const char of text) value = value * 64n + BigInt(DIGITS.indexOf(char));
  return value;
}

export const FUNCTIONS: Readonly<Record<string, (...values: FakeValue[]) => FakeValue>> = {
  to_char: (value) => (value === null || value === undefined ? null : String(value)),
  to_number: (value) =>
    value === null || value === undefined
      ? null
      : /^-?\d+$/.test(String(value))
        ? BigInt(String(value))
        : String(value),
  // Dates are kept as `SYYYY` prints them.
  to_date: (value) => (value === null || value === undefined ? null : String(value).replace(/^(?=\d)/, ' ')),
  to_timestamp: (value) => (value === null || value === undefined ? null : String(value).replace(/^(?=\d)/, ' ')),
  to_timestamp_tz: (value) => value ?? null,
  to_yminterval: (value) => value ?? null,
  to_dsinterval: (value) => value ?? null,
  hextoraw: (value) => Buffer.from(String(value), 'hex'),
  rowidtochar: (value) => rowIdText(value as bigint),
  chartorowid: (value) => rowIdOf(String(value)),
  dbms_rowid_rowid_object: () => 1n,
  dbms_rowid_rowid_relative_fno: () => 1n,
  dbms_rowid_rowid_block_number: (value) => (value as bigint) / 20n,
  dbms_lob_getlength: (value) =>
    value === null || value === undefined
      ? null
      : BigInt(typeof value === 'string' ? value.length : (value as Uint8Array).length),
  sys_extract_utc: (value) => (value === null || value === undefined ? null : utcOf(String(value))),
};

function utcOf(text: string): string {
  const [, moment = text, fraction = '', sign, hours = '0', minutes = '0'] =
    /^ ?(.{19})(\.\d+)? ?(?:([+-])(\d\d):(\d\d))?$/.exec(text) ?? [];
  if (sign === undefined) return text;
  const ms =
    Date.parse(`${moment.replace(' ', 'T')}Z`) -
    (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
  return ` ${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}${fraction}`;
}

/** The driver's Oracle SQL as SQLite takes it; only names and forms differ. */
export function translated(sql: string): string {
  return cased(sql)
    .replace(/ sample block \([\d.]+\)/g, '')
    .replaceAll('dbms_rowid.', 'dbms_rowid_')
    .replaceAll('dbms_lob.', 'dbms_lob_')
    .replace(/xmlserialize\(content (.*?) as clob\)/g, '$1')
    .replace(/json_serialize\((.*?) returning clob\)/g, '$1')
    .replace(/\bsysdate\b/g, "datetime('now')")
    .replace(/\bc\.deferrable\b/g, 'c."deferrable"')
    .replace(/\) in \(\(/g, ') in (values (')
    .replace(/(?<=[\s.(,])([a-z_0-9]+#)/g, '"$1"')
    .replace(/(?<!['\d]):(\d+)/g, '?$1');
}
