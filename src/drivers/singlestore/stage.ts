import { createHash } from 'node:crypto';
import type { Followed } from '../apply.ts';
import type { Column } from '../model.ts';
import { run } from './connection.ts';
import { tableDdl } from './ddl.ts';
import type { Dialect } from './dialect.ts';
import { VERSION_COLUMNS, versionSets } from './history.ts';
import { loadText } from './load.ts';
import { stageName } from './names.ts';
import { type Pool, withSession } from './pool.ts';
import { quote, sql, table } from './sql.ts';
import { ofTables } from './tables.ts';
import { type VersionStatements, versionStatements } from './version-statements.ts';

/**
 * Staging tables: keys to delete and rows of which only some columns are known wait there for one joined statement. Permanent, emptied in the
 * transaction that fills them, so that a batch needs no DDL and no new statement shape (EXACTNESS.md §6).
 */

/** Columns per mask: a BIGINT without its sign. */
const BITS = 63;

/** The statements of one followed table. Each has one shape, whatever the batch holds. */
export type Writing = {
  readonly followed: Followed;
  /** Name of the staging table and a column that only a staging table of this structure has. */
  readonly stage: { readonly name: string; readonly row: string };
  /** Masks of known columns: bit of column i. */
  readonly masks: number;
  /**
   * The destination may hold two keys of the source equal. Joins then compare lengths, too, and rows never replace each other: what is there under
   * exactly their keys is deleted first, and `countStaged` finds all of them afterwards.
   */
  readonly exact: boolean;
  readonly emptyTable: string;
  readonly loadRows: string;
  /** Like `loadRows`, but rows may replace what is there: to find out which of them are refused. */
  readonly tryRows: string;
  readonly loadKeys: string;
  readonly loadParts: string;
  readonly deleteStaged: string;
  readonly countStaged: string;
  /** Numbers of staged keys under which there are rows. */
  readonly findPresent: string;
  readonly findAbsent: string;
  readonly updateStaged: string;
  readonly emptyStage: string;
  /** Of a copy that keeps versions; null: it keeps none. */
  readonly versions: VersionStatements | null;
};

/** Writes down the statements of a table. */
export function writingOf(dialect: Dialect, followed: Followed): Writing {
  const { target, place } = followed;
  const { columns, key } = followed.table;
  const mark = structureMark(dialect, followed);
  const row = `_flow_row_${mark}`;
  const masks = Math.ceil(columns.length / BITS);
  const maskNames = Array.from({ length: masks }, (_, i) => `_flow_mask_${mark}_${i}`);
  const stage = stageName(followed.id);
  const live = table(target.database, place).raw;
  const staged = table(target.database, stage).raw;
  const keyColumns = key.map((name) => columns.find((column) => column.name === name) as Column);
  const numbers = (names: readonly string[]) =>
    names.map((name): Column => ({ name, type: NUMBER, nullable: true, sourceType: '', masked: false }));
  // Not the mark of loads into shadows: planning a table anew ends those.
  const load = (into: string, fields: readonly Column[], replace = true, sets: readonly string[] = []) =>
    loadText(`/* flow apply ${followed.id} */`, into, fields, replace, dialect.loadCharset, sets);
  const exact = isExact(dialect, followed);
  const match = keyColumns
    .flatMap(({ name, type }) => {
      const [ours, theirs] = [`t.${quote(name)}`, `s.${quote(name)}`];
      const text = exact && (type.kind === 'varchar' || type.kind === 'char');
      return [`${ours} = ${theirs}`, ...(text ? [`length(${ours}) = length(${theirs})`] : [])];
    })
    .join(' and ');
  const known = (i: number) => `s.${quote(maskNames[Math.floor(i / BITS)] as string)} & ${1n << BigInt(i % BITS)}`;
  const { history } = followed.options;
  const loaded = history === null ? [] : versionSets(history.since, 0, 0);
  const sets = columns.flatMap((column, i) => {
    if (key.includes(column.name)) return [];
    const name = quote(column.name);
    return [`t.${name} = if(${known(i)}, s.${name}, t.${name})`];
  });
  return {
    followed,
    stage: { name: stage, row },
    masks,
    exact,
    emptyTable: `delete from ${live}`,
    loadRows: load(live, columns, !exact, loaded),
    tryRows: load(live, columns, true, loaded),
    loadKeys: load(staged, [...numbers([row]), ...keyColumns]),
    loadParts: load(staged, [...numbers([row, ...maskNames]), ...columns]),
    deleteStaged: `delete t from ${live} as t join ${staged} as s on ${match}`,
    countStaged: `select count(*) as ${quote('n')} from ${staged} as s join ${live} as t on ${match}`,
    findPresent: `select s.${quote(row)} as ${quote('n')} from ${staged} as s join ${live} as t on ${match}`,
    findAbsent: `select s.${quote(row)} as ${quote('n')} from ${staged} as s left join ${live} as t on ${match} where t.${quote(key[0] ?? row)} is null`,
    updateStaged: `update ${live} as t join ${staged} as s on ${match} set ${sets.join(', ')}`,
    emptyStage: `delete from ${staged}`,
    versions:
      history === null
        ? null
        : versionStatements({
            live,
            staged,
            columns,
            key: keyColumns,
            numbers: numbers([row, ...maskNames]),
            match,
            known,
            load,
          }),
  };
}

/** The masks of a row whose columns `missing` are unknown, as the leading fields of its staged line. */
export function maskFields(writing: Writing, missing: readonly number[]): string {
  const unknown = new Set(missing);
  let fields = '';
  for (let mask = 0; mask < writing.masks; mask++) {
    let bits = 0n;
    const last = Math.min(BITS, writing.followed.table.columns.length - mask * BITS);
    for (let bit = 0; bit < last; bit++) if (!unknown.has(mask * BITS + bit)) bits |= 1n << BigInt(bit);
    fields += `${bits}\t`;
  }
  return fields;
}

/**
 * Makes the staging tables that are missing or have another structure. DDL: never on a connection that has a transaction open. What another attempt
 * does here at the same time can only make a load fail, because the loads name a column that only their own structure has.
 */
export async function ensureStages(pool: Pool, writings: readonly Writing[]): Promise<void> {
  const database = writings[0]?.followed.target.database;
  if (database === undefined) return;
  await withSession(pool, async (session) => {
    const marks = sql`select table_name as [name], column_name as [field] from information_schema.columns where table_schema = ${database} and column_name like '_flow_row_%'`;
    const names = writings.map(({ stage }) => stage.name);
    const found = await ofTables(session, marks, names);
    const present = new Map(found.map((row) => [String(row['name']), String(row['field'])]));
    for (const { followed, stage } of writings) {
      if (present.get(stage.name) === stage.row) continue;
      await run(session, sql`drop table if exists ${table(database, stage.name)}`);
      await run(session, stageDdl(pool.dialect, followed, stage.row));
    }
  });
}

const NUMBER = { kind: 'int', bytes: 8, unsigned: false } as const;
const NO_LAYOUT = { shard: undefined, sort: undefined };

/** The columns of the table, all but the key nullable, sharded by the same key, so that the joins stay on one partition. */
function stageDdl(dialect: Dialect, followed: Followed, row: string): string {
  const { target, table: source } = followed;
  const masks = Math.ceil(source.columns.length / BITS);
  const own = [row, ...Array.from({ length: masks }, (_, i) => `${row.replace('_row_', '_mask_')}_${i}`)];
  const columns = [
    ...own.map((name): Column => ({ name, type: NUMBER, nullable: true, sourceType: '', masked: false })),
    ...(followed.options.history === null ? [] : VERSION_COLUMNS.map((column) => ({ ...column, nullable: true }))),
    ...source.columns.map((column) => ({ ...column, nullable: !source.key.includes(column.name) })),
  ];
  if (!isExact(dialect, followed) && followed.options.history === null)
    return tableDdl(dialect, target.database, stageName(followed.id), { ...source, columns }, NO_LAYOUT);
  // Two keys that the destination holds equal must not replace each other here either; a longer key might be too long.
  const layout = { shard: source.key.map(quote), sort: undefined };
  // Several versions of a row may be there.
  const key = isExact(dialect, followed) ? [] : [...source.key, row];
  return tableDdl(dialect, target.database, stageName(followed.id), { ...source, columns, key }, layout);
}

function isExact(dialect: Dialect, { table: source }: Followed): boolean {
  return dialect.padsKeys && source.textKey;
}

/** Changes with every column and type. */
function structureMark(dialect: Dialect, followed: Followed): string {
  const text = stageDdl(dialect, followed, '_flow_row_');
  return createHash('sha256').update(text).digest('hex').slice(0, 10);
}
