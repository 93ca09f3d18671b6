import { UnsupportedValue } from './errors.ts';
import type { ColumnType } from './model.ts';

/**
 * Reads a user's destination type (`types` of `PATCH config-tab`), e.g. `DECIMAL(20,4)`, `varchar(50)`, `BIGINT UNSIGNED`, `DATETIME(6)`.
 * Accepts what SingleStore and MySQL both have; display widths of integers are ignored. Throws `UnsupportedValue` for anything else, with
 * what is wrong with it.
 */
export function parseColumnType(text: string): ColumnType {
  const match =
    /^\s*([a-z0-9]+(?:\s+precision|\s+varying)?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*(unsigned|signed)?\s*$/i.exec(
      text,
    );
  if (!match) throw refused(text, 'it is not of the form NAME, NAME(n), NAME(p,s), with UNSIGNED for integers');
  const name = match[1]?.toLowerCase().replace(/\s+/g, ' ') ?? '';
  const first = match[2] === undefined ? undefined : Number(match[2]);
  const second = match[3] === undefined ? undefined : Number(match[3]);
  const unsigned = match[4]?.toLowerCase() === 'unsigned';
  const bytes = INTEGERS[name];
  if (match[4] !== undefined && bytes === undefined) throw refused(text, 'only integer types can be UNSIGNED');
  if (second !== undefined && !DECIMALS.has(name)) throw refused(text, 'only DECIMAL takes two numbers');
  if (bytes !== undefined) return { kind: 'int', bytes, unsigned };
  if (DECIMALS.has(name)) return decimal(text, first ?? 10, second ?? 0);
  const size = TEXTS[name];
  if (size !== undefined) return { kind: 'text', size };
  const blob = BLOBS[name];
  if (blob !== undefined) return { kind: 'blob', size: blob };
  switch (name) {
    case 'bool':
    case 'boolean':
      return { kind: 'int', bytes: 1, unsigned: false };
    case 'float':
      if (first !== undefined && (first < 1 || first > 53)) throw refused(text, 'FLOAT(p) takes 1 to 53');
      return { kind: (first ?? 1) <= 24 ? 'float' : 'double' };
    case 'double':
    case 'double precision':
    case 'real':
      return { kind: 'double' };
    case 'char':
    case 'nchar':
      return { kind: 'char', length: length(text, first ?? 1, 1, 255) };
    case 'varchar':
    case 'nvarchar':
    case 'character varying':
      return { kind: 'varchar', length: length(text, first, 1, MAX_VARCHAR) };
    case 'binary':
      return { kind: 'binary', length: length(text, first ?? 1, 1, 255) };
    case 'varbinary':
      return { kind: 'binary', length: length(text, first, 1, MAX_VARBINARY) };
    case 'date':
    case 'year':
    case 'json':
      if (first !== undefined && name !== 'year') throw refused(text, `${name.toUpperCase()} takes no number`);
      return { kind: name };
    case 'time':
    case 'datetime':
      if (first !== undefined && first !== 0 && first !== 6) throw refused(text, 'a fraction has 0 or 6 digits');
      return { kind: name, fraction: first === 6 ? 6 : 0 };
    case 'timestamp':
      throw refused(text, 'TIMESTAMP ends in 2038; use DATETIME(6)');
    default:
      throw refused(
        text,
        'there is no such type; use an integer, DECIMAL, DOUBLE, CHAR, VARCHAR, TEXT, BLOB, date or JSON type',
      );
  }
}

/** The type in the destination's words, for display: `BIGINT UNSIGNED`, `DECIMAL(20,4)`, `LONGTEXT`. `parseColumnType` reads it back. */
export function formatColumnType(type: ColumnType): string {
  switch (type.kind) {
    case 'int':
      return (
        ({ 1: 'TINYINT', 2: 'SMALLINT', 4: 'INT', 8: 'BIGINT' } as const)[type.bytes] +
        (type.unsigned ? ' UNSIGNED' : '')
      );
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'char':
      return `CHAR(${type.length})`;
    case 'varchar':
      return `VARCHAR(${type.length})`;
    case 'binary':
      return `VARBINARY(${type.length})`;
    case 'text':
      return `${type.size === 'normal' ? '' : type.size.toUpperCase()}TEXT`;
    case 'blob':
      return `${type.size === 'normal' ? '' : type.size.toUpperCase()}BLOB`;
    case 'time':
    case 'datetime':
      return type.kind.toUpperCase() + (type.fraction === 6 ? '(6)' : '');
    default:
      return type.kind.toUpperCase();
  }
}

/** How a user's type relates to the type a column has by itself: `exact` holds every value, `narrows` may refuse rows, `never` makes no sense. */
export type Fit = 'exact' | 'narrows' | 'never';

/**
 * Whether values of `from` can travel to a column of type `to` as they are written. Binary kinds travel as hex, so they only go to binary
 * kinds. `narrows` is refused on key columns (EXACTNESS.md §9); elsewhere the destination refuses each row that does not fit.
 */
export function fit(from: ColumnType, to: ColumnType): Fit {
  if (isBinary(from) || isBinary(to)) {
    if (!isBinary(from) || !isBinary(to)) return 'never';
    return maxBytes(from) <= maxBytes(to) ? 'exact' : 'narrows';
  }
  if (from.kind === 'text' && to.kind === 'text')
    return SIZE_BYTES[from.size] <= SIZE_BYTES[to.size] ? 'exact' : 'narrows';
  if (isText(to)) return textLength(from) <= roomFor(to) ? 'exact' : 'narrows';
  if (isText(from)) return 'narrows';
  if (isNumber(from) && isNumber(to)) return numberFit(from, to);
  if (from.kind === to.kind) {
    if (from.kind === 'time' || from.kind === 'datetime')
      return from.fraction <= (to as typeof from).fraction ? 'exact' : 'narrows';
    return 'exact';
  }
  if (from.kind === 'date' && to.kind === 'datetime') return 'exact';
  if (from.kind === 'datetime' && to.kind === 'date') return 'narrows';
  return 'never';
}

/** Longest VARCHAR in characters that every destination takes (utf8mb4, 65,535 bytes). */
export const MAX_VARCHAR = 16_383;
/** Longest VARBINARY in bytes that every destination takes. */
export const MAX_VARBINARY = 65_533;

const INTEGERS: Readonly<Record<string, 1 | 2 | 4 | 8>> = {
  tinyint: 1,
  int1: 1,
  smallint: 2,
  int2: 2,
  mediumint: 4,
  int: 4,
  integer: 4,
  int4: 4,
  bigint: 8,
  int8: 8,
};
const DECIMALS: ReadonlySet<string> = new Set(['decimal', 'numeric', 'dec', 'fixed']);
type Size = 'tiny' | 'normal' | 'medium' | 'long';
const TEXTS: Readonly<Record<string, Size>> = {
  tinytext: 'tiny',
  text: 'normal',
  mediumtext: 'medium',
  longtext: 'long',
};
const BLOBS: Readonly<Record<string, Size>> = {
  tinyblob: 'tiny',
  blob: 'normal',
  mediumblob: 'medium',
  longblob: 'long',
};
const SIZE_BYTES: Readonly<Record<Size, number>> = {
  tiny: 255,
  normal: 65_535,
  medium: 16_777_215,
  long: 4_294_967_295,
};
const INTEGER_DIGITS = { 1: 3, 2: 5, 4: 10, 8: 20 } as const;

function decimal(text: string, precision: number, scale: number): ColumnType {
  if (precision < 1 || precision > 65 || scale > 30 || scale > precision)
    throw refused(text, 'DECIMAL takes 1 to 65 digits, 0 to 30 of them after the point');
  return { kind: 'decimal', precision, scale };
}

function length(text: string, value: number | undefined, least: number, most: number): number {
  if (value === undefined || value < least || value > most)
    throw refused(text, `it needs a length from ${least} to ${most}`);
  return value;
}

function refused(text: string, why: string): UnsupportedValue {
  return new UnsupportedValue(`The type "${text}" can't be used: ${why}.`, "Change the table's `types` option.");
}

function isBinary(type: ColumnType): type is Extract<ColumnType, { kind: 'binary' | 'blob' }> {
  return type.kind === 'binary' || type.kind === 'blob';
}

export function isText(type: ColumnType): type is Extract<ColumnType, { kind: 'char' | 'varchar' | 'text' }> {
  return type.kind === 'char' || type.kind === 'varchar' || type.kind === 'text';
}

function isNumber(
  type: ColumnType,
): type is Extract<ColumnType, { kind: 'int' | 'decimal' | 'float' | 'double' | 'year' }> {
  return ['int', 'decimal', 'float', 'double', 'year'].includes(type.kind);
}

function maxBytes(type: Extract<ColumnType, { kind: 'binary' | 'blob' }>): number {
  return type.kind === 'binary' ? type.length : SIZE_BYTES[type.size];
}

/** Longest text of a value, in characters. */
function textLength(type: ColumnType): number {
  switch (type.kind) {
    case 'char':
    case 'varchar':
      return type.length;
    case 'text':
      return SIZE_BYTES[type.size];
    case 'int':
      return INTEGER_DIGITS[type.bytes] + 1;
    case 'decimal':
      return type.precision + 3;
    case 'json':
      return SIZE_BYTES.long;
    default:
      return 26;
  }
}

/** Characters that surely fit: utf8mb4 takes up to 4 bytes for each, and TEXT kinds count bytes. */
function roomFor(type: Extract<ColumnType, { kind: 'char' | 'varchar' | 'text' }>): number {
  if (type.kind !== 'text') return type.length;
  return type.size === 'long' ? SIZE_BYTES.long : Math.floor(SIZE_BYTES[type.size] / 4);
}

type NumberType = Extract<ColumnType, { kind: 'int' | 'decimal' | 'float' | 'double' | 'year' }>;

function numberFit(from: NumberType, to: NumberType): Fit {
  if (from.kind === to.kind) {
    if (from.kind === 'int' && to.kind === 'int') {
      const same = from.unsigned === to.unsigned && from.bytes <= to.bytes;
      return same || (from.unsigned && !to.unsigned && from.bytes < to.bytes) ? 'exact' : 'narrows';
    }
    if (from.kind === 'decimal' && to.kind === 'decimal')
      return from.scale <= to.scale && from.precision - from.scale <= to.precision - to.scale ? 'exact' : 'narrows';
    return 'exact';
  }
  if (from.kind === 'int' && to.kind === 'decimal')
    return INTEGER_DIGITS[from.bytes] <= to.precision - to.scale ? 'exact' : 'narrows';
  if (from.kind === 'int' && to.kind === 'double') return from.bytes <= 4 ? 'exact' : 'narrows';
  if (from.kind === 'int' && to.kind === 'float') return from.bytes <= 2 ? 'exact' : 'narrows';
  if (from.kind === 'float' && to.kind === 'double') return 'exact';
  if (from.kind === 'year') return to.kind === 'int' && to.bytes === 1 ? 'narrows' : 'exact';
  return 'narrows';
}
