import { UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Table } from '../model.ts';
import { fitting, tableDdl } from './ddl.ts';
import type { Dialect, Layout } from './dialect.ts';
import { table as named, quote, sql } from './sql.ts';

/**
 * History mode (SCD type 2, EXACTNESS.md §10): a copy that keeps the versions of its rows, in columns of its own behind those of the source. A version
 * counts from the commit of the transaction that brought it until the commit of the one that ended it; times are UTC.
 */

const TIME: ColumnType = { kind: 'datetime', fraction: 6 };
const NUMBER: ColumnType = { kind: 'int', bytes: 8, unsigned: false };
const FLAG: ColumnType = { kind: 'int', bytes: 1, unsigned: false };
const own = (name: string, type: ColumnType, nullable: boolean): Column => ({
  name,
  type,
  nullable,
  sourceType: '',
  masked: false,
});

/**
 * The columns of a version, in the order of its lines. Stored at the destination: never rename. `_ordinal` and `_ordinal_to` are numbers of the
 * transactions that brought and ended it (0: it was loaded), `_event` its place among the changes of the first.
 */
export const VERSION_COLUMNS: readonly Column[] = [
  own('_valid_from', TIME, false),
  own('_valid_to', TIME, true),
  own('_is_current', FLAG, false),
  own('_ordinal', NUMBER, false),
  own('_ordinal_to', NUMBER, true),
  own('_event', NUMBER, false),
];

/** Name of a source's column that history mode needs for itself; undefined: none. */
export function takenName(table: Table): string | undefined {
  const names = new Set(VERSION_COLUMNS.map((column) => column.name));
  return table.columns.find((column) => names.has(column.name.toLowerCase()))?.name;
}

/** The table as it is kept with versions. Throws `UnsupportedValue` when it has no key, or a column of such a name. */
export function versioned(table: Table): Table {
  const name = `${table.ref.schema}.${table.ref.name}`;
  const taken = takenName(table);
  if (taken !== undefined)
    throw new UnsupportedValue(
      `${name} has a column "${taken}", a name that history mode needs for itself.`,
      'Unset `history` for this table, or copy a view that names the column differently.',
    );
  if (table.key.length === 0)
    throw new UnsupportedValue(
      `${name} has no key, so that versions of its rows can't be told apart.`,
      'Give the table a `key` in its options, or unset `history`.',
    );
  return { ...table, columns: [...table.columns, ...VERSION_COLUMNS], key: [...table.key, '_ordinal', '_event'] };
}

/** The DDL of a copy: with versions sharded by the source's key, so that all of a row are in one place. */
export function copyDdl(
  dialect: Dialect,
  database: string,
  name: string,
  table: Table,
  history: boolean,
  inherited: Layout,
): string {
  if (!history) return tableDdl(dialect, database, name, table, inherited);
  const kept = versioned(table);
  const layout = fitting(inherited, { ...kept, key: table.key });
  return tableDdl(dialect, database, name, kept, { ...layout, shard: layout.shard ?? table.key.map(quote) });
}

/** What a LOAD of rows without version columns sets: all are current since a time, brought by one transaction. */
export function versionSets(since: string, ordinal: number, event: number): string[] {
  return [sql`[_valid_from] = ${since}`, `\`_is_current\` = 1`, `\`_ordinal\` = ${ordinal}`, `\`_event\` = ${event}`];
}

/** A time at the source, ms since 1970, as the destination writes it. */
export function timeText(at: number): string {
  return new Date(at).toISOString().replace('T', ' ').replace('Z', '000');
}

/** What takes a copy back to what it was after a transaction: later versions go, those that were ended later count again. */
export function undoVersions(database: string, name: string, ordinal: number): string[] {
  const at = named(database, name);
  return [
    sql`delete from ${at} where [_ordinal] > ${ordinal}`,
    sql`update ${at} set [_valid_to] = null, [_is_current] = 1, [_ordinal_to] = null where [_ordinal_to] > ${ordinal}`,
  ];
}
