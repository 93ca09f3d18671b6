import { MAX_VARBINARY, MAX_VARCHAR } from '../column-types.ts';
import type { Column, ColumnType } from '../model.ts';

/** A column as information_schema shows it. */
export type CatalogColumn = {
  readonly name: string;
  readonly position: number;
  /** DATA_TYPE: `varchar`. */
  readonly word: string;
  /** COLUMN_TYPE: `varchar(20)`. */
  readonly full: string;
  readonly nullable: boolean;
  /** CHARACTER_MAXIMUM_LENGTH: characters, or bytes of binary types. */
  readonly length: number;
  readonly charset: string;
  readonly collation: string;
  readonly extra: string;
};

type Size = 'tiny' | 'normal' | 'medium' | 'long';
const INTEGERS: Readonly<Record<string, 1 | 2 | 4 | 8>> = { tinyint: 1, smallint: 2, mediumint: 4, int: 4, bigint: 8 };
const SIZES: Readonly<Record<string, Size>> = { tiny: 'tiny', '': 'normal', medium: 'medium', long: 'long' };
const LARGER: Readonly<Record<Size, Size>> = { tiny: 'normal', normal: 'medium', medium: 'long', long: 'long' };
const GEOMETRIES =
  /^(geometry|point|linestring|polygon|multipoint|multilinestring|multipolygon|geomcollection|geometrycollection)$/;
/** Text types of MariaDB that print themselves, with the longest text. */
const PRINTED: Readonly<Record<string, number>> = { uuid: 36, inet4: 15, inet6: 45 };

/** The type at the destination (docs/sources/mysql.md holds the table); null for a type that this version does not know. */
export function columnType(column: CatalogColumn): ColumnType | null {
  const { word, full } = column;
  const bytes = INTEGERS[word];
  if (bytes !== undefined) return { kind: 'int', bytes, unsigned: /unsigned/.test(full) };
  const [, first = '', second = ''] = /^[a-z]+\((\d+)(?:,(\d+))?\)/.exec(full) ?? [];
  const fraction = first === '' || first === '0' ? 0 : 6;
  switch (word) {
    case 'decimal':
      return { kind: 'decimal', precision: Number(first || '10'), scale: Number(second || '0') };
    case 'float':
    case 'double':
    case 'date':
    case 'year':
    case 'json':
      return { kind: word };
    case 'time':
      return { kind: 'time', fraction };
    case 'datetime':
    case 'timestamp':
      return { kind: 'datetime', fraction };
    case 'bit':
      return { kind: 'int', bytes: 8, unsigned: true };
    case 'char':
      return { kind: 'char', length: Math.max(1, column.length) };
    case 'varchar':
    case 'enum':
    case 'set':
      return varchar(column.length);
    case 'binary':
    case 'varbinary':
      return binary(column.length);
    case 'vector':
      return { kind: 'json' };
  }
  const printed = PRINTED[word];
  if (printed !== undefined) return { kind: 'varchar', length: printed };
  if (GEOMETRIES.test(word)) return { kind: 'text', size: 'long' };
  const [, sizeWord, family] = /^(tiny|medium|long|)(text|blob)$/.exec(word) ?? [];
  const size = sizeWord === undefined ? undefined : SIZES[sizeWord];
  if (size === undefined) return null;
  return family === 'blob' ? { kind: 'blob', size } : { kind: 'text', size: keepsLength(column) ? size : LARGER[size] };
}

/** TEXT sizes count bytes: only in these charsets does a text have no more bytes in the destination's utf8mb4 than at the source. */
function keepsLength(column: CatalogColumn): boolean {
  return /^(utf8|utf8mb3|utf8mb4|ascii|utf32)$/.test(column.charset);
}

function varchar(length: number): ColumnType {
  return length <= MAX_VARCHAR ? { kind: 'varchar', length: Math.max(1, length) } : { kind: 'text', size: 'medium' };
}

function binary(length: number): ColumnType {
  return length <= MAX_VARBINARY ? { kind: 'binary', length: Math.max(1, length) } : { kind: 'blob', size: 'medium' };
}

/** How a column's bytes of the text protocol become load text; `plain` values never hold a byte that needs escaping. */
export type Encoding = 'plain' | 'text' | 'json' | 'hex' | 'date' | 'geometry' | 'vector';

/** A column as the writer sees it. */
export type RowField = {
  readonly name: string;
  readonly encoding: Encoding;
  /** A key column: a rule must not change it. */
  readonly key: boolean;
};

/** What to select for a column, and how its bytes travel. */
export type Cell = { readonly expression: string; readonly encoding: Encoding };

/**
 * The cell of a described column; it depends on nothing but the column, so that stored tables can be read. `name`: what has its value, in place of
 * the column.
 */
export function cell(column: Column, name: string = quoteName(column.name)): Cell {
  if (column.masked) return { expression: 'null', encoding: 'plain' };
  const source = column.sourceType.toLowerCase();
  const word = /^[a-z0-9]+/.exec(source)?.[0] ?? '';
  if (INTEGERS[word] !== undefined || word === 'decimal')
    return { expression: unfilled(name, source), encoding: 'plain' };
  switch (word) {
    // The text protocol rounds FLOAT to six digits and FLOAT(m,d), DOUBLE(m,d) to d: as a DOUBLE expression all digits come.
    case 'float':
      return { expression: `${name}+0e0`, encoding: 'plain' };
    case 'double':
      return {
        expression: source.includes('(') || source.includes('zerofill') ? `${name}+0e0` : name,
        encoding: 'plain',
      };
    case 'bit':
      return { expression: `${name}+0`, encoding: 'plain' };
    case 'year':
      return { expression: source === 'year(2)' ? fourDigitYear(name) : name, encoding: 'plain' };
    case 'time':
    case 'uuid':
    case 'inet4':
    case 'inet6':
      return { expression: name, encoding: 'plain' };
    case 'date':
    case 'datetime':
    case 'timestamp': {
      const repaired = column.type.kind === 'date' || column.type.kind === 'datetime';
      return { expression: name, encoding: repaired ? 'date' : 'plain' };
    }
    case 'json':
    case 'vector':
      return { expression: name, encoding: word };
  }
  if (GEOMETRIES.test(word)) return { expression: name, encoding: 'geometry' };
  const isBinary = column.type.kind === 'binary' || column.type.kind === 'blob';
  // Hex is made on this side: HEX() of a value over half of max_allowed_packet is NULL with a mere warning.
  return { expression: name, encoding: isBinary ? 'hex' : 'text' };
}

/** ZEROFILL is how a client shows a number, not its value. */
function unfilled(name: string, source: string): string {
  return source.includes('zerofill') ? `${name}+0` : name;
}

function fourDigitYear(name: string): string {
  return `if(${name}+0 < 70, ${name}+2000, ${name}+1900)`;
}

/** `name` as an identifier in SQL text. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** `text` as a string literal in SQL text. Holds because every session has `sql_mode = ''` and names utf8. */
export function quoteText(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&').replaceAll('\0', '\\0')}'`;
}
