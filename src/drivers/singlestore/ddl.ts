import { DestinationRejected, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Table } from '../model.ts';
import type { Dialect, Layout } from './dialect.ts';
import { MAX_NAME } from './names.ts';
import { quote } from './sql.ts';

/** Most columns of a table (SingleStore and MariaDB: 4,096; InnoDB refuses more than 1,017 by itself). */
const MOST_COLUMNS = 4096;

/**
 * The DDL of a table that rows are loaded into. PRIMARY KEY = SHARD KEY = source key, no other key, no defaults. Throws
 * `UnsupportedValue` or `DestinationRejected` where the destination cannot hold the table.
 */
export function tableDdl(dialect: Dialect, database: string, name: string, table: Table, inherited: Layout): string {
  checkTable(dialect, table);
  const fallen = fallenToText(dialect, table);
  const columns = table.columns.map((column) => definition(dialect, table, column, column.name, fallen));
  return dialect.createTable({
    database,
    name,
    columns,
    key: table.key,
    layout: fitting(inherited, table),
    rowstore: false,
    ifMissing: false,
  });
}

/** The definition of one column of a table, under a name of its own. */
export function columnText(dialect: Dialect, table: Table, column: Column, name: string): string {
  return definition(dialect, table, column, name, fallenToText(dialect, table));
}

function definition(dialect: Dialect, table: Table, column: Column, name: string, fallen: ReadonlySet<string>): string {
  const key = table.key.includes(column.name);
  const type = typeText(dialect, fallen.has(column.name) ? asText(column.type) : column.type, key);
  return `${quote(name)} ${type} ${column.nullable && !key ? 'null' : 'not null'}`;
}

/** A type in the destination's words. String keys compare bytewise (EXACTNESS.md §8). */
export function typeText(dialect: Dialect, type: ColumnType, key: boolean): string {
  const charset = `character set utf8mb4${key ? ` collate ${dialect.keyCollation}` : ''}`;
  switch (type.kind) {
    case 'int':
      return INTEGERS[type.bytes] + (type.unsigned ? ' unsigned' : '');
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`;
    case 'char':
      return `char(${type.length}) ${charset}`;
    case 'varchar':
      return `varchar(${type.length}) ${charset}`;
    case 'text':
      return `${SIZES[type.size]}text ${charset}`;
    case 'binary':
      return `varbinary(${type.length})`;
    case 'blob':
      return `${SIZES[type.size]}blob`;
    case 'time':
    case 'datetime':
      return type.fraction === 6 ? `${type.kind}(6)` : type.kind;
    default:
      return type.kind;
  }
}

/** Names of the columns that travel as hex in load text. */
export function isBinary(type: ColumnType): boolean {
  return type.kind === 'binary' || type.kind === 'blob';
}

const INTEGERS = { 1: 'tinyint', 2: 'smallint', 4: 'int', 8: 'bigint' } as const;
const SIZES = { tiny: 'tiny', normal: '', medium: 'medium', long: 'long' } as const;

/** A kept shard key must lie inside the new key, and all kept columns must still be there (singlestore.md §1). */
export function fitting(layout: Layout, table: Table): Layout {
  const names = new Set(table.columns.map((column) => quote(column.name)));
  const key = new Set(table.key.map(quote));
  const shard = layout.shard?.every((name) => (key.size > 0 ? key : names).has(name)) ? layout.shard : undefined;
  const sort = layout.sort?.every((name) => names.has(name.replace(/ (asc|desc)$/, ''))) ? layout.sort : undefined;
  return { shard: key.size > 0 && shard?.length === 0 ? undefined : shard, sort };
}

function checkTable(dialect: Dialect, table: Table): void {
  const name = `${table.ref.schema}.${table.ref.name}`;
  if (table.columns.length === 0)
    throw new UnsupportedValue(`${name} has no column that can be copied.`, 'Deselect the table.');
  if (table.columns.length > MOST_COLUMNS)
    throw new UnsupportedValue(
      `${name} has ${table.columns.length} columns; the destination takes ${MOST_COLUMNS}.`,
      'Deselect the table, or copy a view with fewer columns.',
    );
  const seen = new Map<string, string>();
  for (const column of table.columns) {
    const other = seen.get(column.name.toLowerCase());
    if (other !== undefined)
      throw new DestinationRejected(
        `${name} has the columns "${other}" and "${column.name}", which are one name at the destination.`,
        'Copy a view that names them differently.',
      );
    seen.set(column.name.toLowerCase(), column.name);
    if ([...column.name].length > MAX_NAME)
      throw new DestinationRejected(
        `The column "${column.name}" of ${name} has more than ${MAX_NAME} characters.`,
        'Copy a view that names it shorter.',
      );
  }
  checkKey(dialect, name, table);
}

function checkKey(dialect: Dialect, name: string, table: Table): void {
  let bytes = 0;
  for (const word of table.key) {
    const column = table.columns.find((candidate) => candidate.name === word);
    if (!column)
      throw new UnsupportedValue(
        `The key column "${word}" of ${name} is not copied.`,
        "Choose another `key` in the table's options.",
      );
    const { kind } = column.type;
    if (kind === 'float' || kind === 'double')
      throw new UnsupportedValue(
        `The key column "${word}" of ${name} is ${kind.toUpperCase()}, which the destination refuses in keys.`,
        "Choose another `key` in the table's options.",
      );
    if (kind === 'text' || kind === 'blob' || kind === 'json')
      throw new UnsupportedValue(
        `The key column "${word}" of ${name} is ${kind.toUpperCase()}, which has no length; keys need one.`,
        'Give it a length in the `types` option, e.g. VARCHAR(200), or choose another `key`.',
      );
    bytes += maxBytes(column.type);
  }
  if (dialect.keyBytes !== undefined && bytes > dialect.keyBytes)
    throw new DestinationRejected(
      `The key of ${name} may take ${bytes} bytes; ${dialect.product} takes ${dialect.keyBytes}.`,
      'Shorten key columns with the `types` option, or choose another `key`.',
    );
}

/**
 * MariaDB and MySQL count VARCHARs in full against a row of 65,535 bytes. Where a table has more, its largest strings outside the key
 * become TEXT or BLOB types, which hold the same values; SingleStore counts only fixed widths.
 */
function fallenToText(dialect: Dialect, table: Table): ReadonlySet<string> {
  const fallen = new Set<string>();
  const longest = (column: Column) => column.type.kind === 'varchar' && column.type.length > dialect.varcharLength;
  for (const column of table.columns) if (longest(column)) fallen.add(column.name);
  if (dialect.rowBytes === undefined) return fallen;
  const widths = table.columns.map((column) => ({
    column,
    bytes: fallen.has(column.name) ? POINTER : maxBytes(column.type),
  }));
  let row = widths.reduce((sum, width) => sum + width.bytes, Math.ceil(table.columns.length / 8) + 1);
  const movable = widths
    .filter(
      ({ column }) => column.type.kind === 'varchar' || column.type.kind === 'binary' || column.type.kind === 'char',
    )
    .filter(({ column, bytes }) => !table.key.includes(column.name) && bytes > POINTER)
    .sort((a, b) => b.bytes - a.bytes);
  for (const { column, bytes } of movable) {
    if (row <= dialect.rowBytes) break;
    fallen.add(column.name);
    row -= bytes - POINTER;
  }
  return fallen;
}

/** What a TEXT or BLOB takes of the row. */
const POINTER = 12;

/** Most bytes that a value takes in a row of MariaDB or MySQL. */
function maxBytes(type: ColumnType): number {
  switch (type.kind) {
    case 'int':
      return type.bytes;
    case 'decimal':
      return Math.ceil(type.precision / 9) * 4 + 4;
    case 'char':
      return type.length * 4;
    case 'varchar':
      return type.length * 4 + 2;
    case 'binary':
      return type.length + 2;
    case 'text':
    case 'blob':
    case 'json':
      return POINTER;
    default:
      return 8;
  }
}

/** The smallest type without a length that holds every value of a string type. */
function asText(type: ColumnType): ColumnType {
  if (type.kind === 'binary') return { kind: 'blob', size: type.length <= 65_535 ? 'normal' : 'medium' };
  if (type.kind === 'varchar' || type.kind === 'char')
    return { kind: 'text', size: type.length * 4 <= 65_535 ? 'normal' : 'medium' };
  return type;
}
