import { MAX_VARCHAR } from '../column-types.ts';
import type { Column, ColumnType } from '../model.ts';

/** A column as ALL_TAB_COLS shows it. */
export type CatalogColumn = {
  readonly name: string;
  /** DATA_TYPE: `VARCHAR2`, `TIMESTAMP(6) WITH TIME ZONE`, or an object type's name. */
  readonly word: string;
  /** DATA_TYPE_OWNER; '' for built-in types. */
  readonly owner: string;
  /** CHAR_LENGTH, in characters; 0 for types without. */
  readonly chars: number;
  /** DATA_LENGTH in bytes. */
  readonly bytes: number;
  readonly charUsed: string;
  readonly precision: number | null;
  readonly scale: number | null;
  readonly nullable: boolean;
  readonly virtual: boolean;
};

/** How a column's value becomes text, from a read as from SQL_REDO. */
export type Encoding =
  | 'number'
  | 'float'
  | 'double'
  | 'text'
  | 'hex'
  | 'date'
  | 'timestamp'
  | 'utc'
  /** Time stamps with more than six digits of fraction, as text. */
  | 'timestamp9'
  | 'utc9'
  | 'years'
  | 'days'
  | 'boolean'
  /** Texts and bytes that SQL_REDO does not carry, or not reliably: after a change the row is read again. */
  | 'long_text'
  | 'long_hex';

/** What to select for a column, and how it becomes text. `empty`: an expression that is 1 where a NULL that was fetched stands for an empty LOB. */
export type Cell = { readonly expression: string; readonly encoding: Encoding; readonly empty?: string };

const LONG_TEXT: ColumnType = { kind: 'text', size: 'long' };
const LONG_BLOB: ColumnType = { kind: 'blob', size: 'long' };
/** What MySQL-wire servers hold at most. */
const MAX_DIGITS = 65;
const MAX_SCALE = 30;

/** The type with its length and precision, in Oracle's words: `NUMBER(12,2)`, `VARCHAR2(20 CHAR)`. */
export function fullType(column: CatalogColumn): string {
  const { word, owner, precision, scale } = column;
  if (owner !== '' && !isKnownObject(word)) return `${owner}.${word}`;
  if (word === 'NUMBER') {
    if (precision !== null)
      return scale === 0 || scale === null ? `NUMBER(${precision})` : `NUMBER(${precision},${scale})`;
    return scale === null ? 'NUMBER' : `NUMBER(*,${scale})`;
  }
  if (word === 'FLOAT') return precision === null ? 'FLOAT' : `FLOAT(${precision})`;
  const extended = column.bytes > 4000 ? ' EXTENDED' : '';
  if (word === 'VARCHAR2' || word === 'CHAR')
    return `${column.charUsed === 'C' ? `${word}(${column.chars} CHAR)` : `${word}(${column.bytes} BYTE)`}${extended}`;
  if (word === 'NVARCHAR2' || word === 'NCHAR') return `${word}(${column.chars})${extended}`;
  // Beyond what a block's row takes (2,000 bytes) they are kept as LOBs.
  if (word === 'RAW') return `RAW(${column.bytes})${column.bytes > 2000 ? ' EXTENDED' : ''}`;
  if (word === 'UROWID') return `UROWID(${column.bytes})`;
  return word;
}

function isKnownObject(word: string): boolean {
  return word === 'XMLTYPE' || word === 'SDO_GEOMETRY';
}

/** The type at the destination (docs/sources/oracle.md holds the table), or why the column is left out. */
export function columnType(column: CatalogColumn): ColumnType | string {
  const { word } = column;
  if (column.virtual)
    return 'A virtual column: the redo log does not carry it. Compute it at the destination, or copy it through a view.';
  if (column.owner !== '' && !isKnownObject(word))
    return `The object type ${fullType(column)}: copy its attributes through a view.`;
  const stamp = /^TIMESTAMP\((\d)\)/.exec(word);
  if (stamp) return Number(stamp[1]) > 6 ? varchar(30) : { kind: 'datetime', fraction: stamp[1] === '0' ? 0 : 6 };
  if (/^INTERVAL YEAR/.test(word)) return varchar(16);
  if (/^INTERVAL DAY/.test(word)) return varchar(32);
  switch (word) {
    case 'NUMBER':
      return numberType(column.precision, column.scale);
    case 'FLOAT':
      return numberType(null, null);
    case 'BINARY_FLOAT':
      return { kind: 'float' };
    case 'BINARY_DOUBLE':
      return { kind: 'double' };
    case 'BOOLEAN':
      return { kind: 'int', bytes: 1, unsigned: false };
    case 'VARCHAR2':
    case 'NVARCHAR2':
    case 'VARCHAR':
    // CHAR values keep the spaces at their end, which CHAR columns of the destination would lose.
    case 'CHAR':
    case 'NCHAR':
      return varchar(column.chars);
    case 'ROWID':
      return varchar(18);
    case 'UROWID':
      return varchar(5358);
    case 'RAW':
      return { kind: 'binary', length: Math.max(1, column.bytes) };
    case 'DATE':
      return { kind: 'datetime', fraction: 0 };
    case 'CLOB':
    case 'NCLOB':
    case 'LONG':
    case 'XMLTYPE':
    case 'SDO_GEOMETRY':
    case 'VECTOR':
      return LONG_TEXT;
    case 'JSON':
      return { kind: 'json' };
    case 'BLOB':
    case 'LONG RAW':
      return LONG_BLOB;
    case 'BFILE':
      return 'A BFILE: its bytes lie in a file of the server, outside of the database.';
    default:
      return `The type ${word} is not known.`;
  }
}

function numberType(precision: number | null, scale: number | null): ColumnType {
  if (precision === null && scale === null) return { kind: 'decimal', precision: MAX_DIGITS, scale: MAX_SCALE };
  const digits = precision ?? 38;
  const places = scale ?? 0;
  if (places === 0 && precision !== null) {
    if (digits <= 2) return { kind: 'int', bytes: 1, unsigned: false };
    if (digits <= 4) return { kind: 'int', bytes: 2, unsigned: false };
    if (digits <= 9) return { kind: 'int', bytes: 4, unsigned: false };
    if (digits <= 18) return { kind: 'int', bytes: 8, unsigned: false };
  }
  // NUMBER(3,5) holds 0.00999 at most; NUMBER(3,-2) holds 99900.
  const all = places < 0 ? digits - places : Math.max(digits, places);
  if (all > MAX_DIGITS || places > MAX_SCALE) return varchar(170);
  return { kind: 'decimal', precision: all, scale: Math.max(0, places) };
}

function varchar(length: number): ColumnType {
  return length <= MAX_VARCHAR ? { kind: 'varchar', length: Math.max(1, length) } : { kind: 'text', size: 'medium' };
}

const MOMENT_FORMAT = `'SYYYY-MM-DD HH24:MI:SS.FF9'`;

/** The cell of a described column; it depends on nothing but the column, so that stored tables can be read. */
export function cell(column: Column, name: string = quoteName(column.name)): Cell {
  if (column.masked) return { expression: 'null', encoding: 'text' };
  const word = column.sourceType;
  const stamp = /^TIMESTAMP\((\d)\)(.*)$/.exec(word);
  if (stamp) {
    const fine = Number(stamp[1]) > 6;
    if (stamp[2] === '')
      return { expression: `to_char(${name}, ${MOMENT_FORMAT})`, encoding: fine ? 'timestamp9' : 'timestamp' };
    return { expression: `to_char(sys_extract_utc(${name}), ${MOMENT_FORMAT})`, encoding: fine ? 'utc9' : 'utc' };
  }
  if (word.startsWith('INTERVAL YEAR')) return { expression: `to_char(${name})`, encoding: 'years' };
  if (word.startsWith('INTERVAL DAY')) return { expression: `to_char(${name})`, encoding: 'days' };
  const [base = ''] = /^[A-Z_0-9]+( RAW)?/.exec(word) ?? [];
  switch (base) {
    case 'NUMBER':
    case 'FLOAT':
      return { expression: name, encoding: 'number' };
    case 'BINARY_FLOAT':
      return { expression: name, encoding: 'float' };
    case 'BINARY_DOUBLE':
      return { expression: name, encoding: 'double' };
    case 'BOOLEAN':
      return { expression: `case when ${name} then 1 when not ${name} then 0 end`, encoding: 'boolean' };
    case 'DATE':
      return { expression: `to_char(${name}, 'SYYYY-MM-DD HH24:MI:SS')`, encoding: 'date' };
    case 'RAW':
      return { expression: name, encoding: word.endsWith(' EXTENDED') ? 'long_hex' : 'hex' };
    case 'CLOB':
    case 'NCLOB':
      return { expression: name, encoding: 'long_text', empty: `case when dbms_lob.getlength(${name}) = 0 then 1 end` };
    case 'BLOB':
      return { expression: name, encoding: 'long_hex', empty: `case when dbms_lob.getlength(${name}) = 0 then 1 end` };
    case 'LONG':
      return { expression: name, encoding: 'long_text' };
    case 'LONG RAW':
      return { expression: name, encoding: 'long_hex' };
    case 'XMLTYPE':
      return { expression: `xmlserialize(content ${name} as clob)`, encoding: 'long_text' };
    case 'JSON':
      return { expression: `json_serialize(${name} returning clob)`, encoding: 'long_text' };
    case 'SDO_GEOMETRY':
      return { expression: `sdo_util.to_wktgeometry(${name})`, encoding: 'long_text' };
    case 'VECTOR':
      return { expression: `vector_serialize(${name} returning clob)`, encoding: 'long_text' };
    case 'ROWID':
      return { expression: `rowidtochar(${name})`, encoding: 'text' };
    default:
      // Texts of more than 4,000 bytes are kept as LOBs, and the log shows them with apostrophes as they are.
      return { expression: name, encoding: word.endsWith(' EXTENDED') ? 'long_text' : 'text' };
  }
}

/** Whether changes of the column are learned by reading the row again. */
export function isReadAgain(encoding: Encoding): boolean {
  return encoding === 'long_text' || encoding === 'long_hex';
}

/** `name` as an identifier in SQL text. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** `text` as a string literal in SQL text. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
