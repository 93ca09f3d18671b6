import { isText } from '../column-types.ts';
import { StructureChanged } from '../errors.ts';
import type { Batch, ChunkRead, Column, RuleUse, Table } from '../model.ts';
import { type CatalogTable, readTables } from './catalog.ts';
import { mappingsOf } from './describe.ts';
import { failure } from './failure.ts';
import type { Field } from './frames.ts';
import type { Pool } from './pool.ts';
import { type Condition, decodeRange, rangeConditions } from './range.ts';
import type { Facts } from './session.ts';
import { quoteName, quoteTable } from './sql.ts';
import type { Mapping } from './types.ts';

/** Rows that a fetch begins with where a row may be of any size, and at most otherwise; it grows with rows that are small (java/Reading.java). */
const FIRST_FETCH = { open: 4, bounded: 500 } as const;
/** What a first fetch may take where all declared lengths are used. */
const FIRST_BYTES = 16 * 1024 * 1024;
const MOST_FETCHED = 10_000;
/** MySQL's own driver streams with this only, row by row. */
const STREAM = -2_147_483_648;

/**
 * Reads one chunk as load text, by one statement; its JVM ends with the loop unless the chunk was read to its end. `only`: instead of `where` and
 * a range, the condition that its rows meet.
 */
export async function* readChunk(
  pool: Pool,
  known: (table: Table) => CatalogTable | undefined,
  table: Table,
  where: string | undefined,
  range: string,
  signal: AbortSignal,
  only?: (facts: Facts, found: CatalogTable) => Condition,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  signal.throwIfAborted();
  const session = await pool.take(signal);
  let whole = false;
  const abort = (): void => void pool.end(session);
  signal.addEventListener('abort', abort, { once: true });
  try {
    const found = known(table) ?? (await readTables(session, pool.options, [table.ref]))[0];
    const request = readRequest(session.facts, pool.options.refuse, table, found, where, range, 0, only);
    const read = yield* session.jvm.read(request);
    whole = true;
    return { rows: read.rows, rules: [...read.rules, ...maskUses(table, read.rows)] };
  } catch (error) {
    signal.throwIfAborted();
    throw failure(error, pool.options, {
      doing: 'reading',
      table: `${table.ref.schema}.${table.ref.name}`,
      where: where !== undefined,
    });
  } finally {
    signal.removeEventListener('abort', abort);
    if (whole) pool.give(session);
    else await pool.end(session);
  }
}

/** The JVM's order to read a range; `mostRows` 0: all of it. Throws `StructureChanged` when a column has gone. */
export function readRequest(
  facts: Facts,
  refuse: boolean,
  table: Table,
  found: CatalogTable | undefined,
  where: string | undefined,
  range: string,
  mostRows: number,
  only?: (facts: Facts, found: CatalogTable) => Condition,
): Field[] {
  const name = `${table.ref.schema}.${table.ref.name}`;
  const mappings = found && mappingsOf(facts, found, table);
  if (!found || !mappings)
    throw new StructureChanged(
      `The structure of ${name} changed: a column is gone.`,
      'The load starts over by itself.',
    );
  const chunk = chunkSelect(facts, table, mappings, where, range);
  const those = only?.(facts, found);
  const { sql, parameters } = those ? { ...those, sql: `${chunk.sql} where ${those.sql}` } : chunk;
  const first = fetchSize(facts, firstFetch(mappings));
  const columns = table.columns.flatMap((column, index) => [
    column.masked ? 'm' : (mappings[index] as Mapping).encoding,
    column.name,
    flagsOf(facts, table, column),
  ]);
  return [sql, parameters, first, MOST_FETCHED, mostRows, refuse ? 1 : 0, name, columns];
}

/** Rows of a first fetch, which is made before anything is known of their real size. */
function firstFetch(mappings: readonly Mapping[]): number {
  let width = 0;
  for (const { type } of mappings) {
    if (type.kind === 'text' || type.kind === 'blob' || type.kind === 'json') return FIRST_FETCH.open;
    // Java's texts take up to two bytes a character.
    width += type.kind === 'varchar' || type.kind === 'char' || type.kind === 'binary' ? 2 * type.length : 16;
  }
  return Math.max(FIRST_FETCH.open, Math.min(FIRST_FETCH.bounded, Math.floor(FIRST_BYTES / width)));
}

/** What java/Cell.java must know of the destination's column. */
function flagsOf({ product, driverName }: Facts, table: Table, { name, type }: Column): string {
  const scale = type.kind === 'decimal' ? type.scale : type.kind === 'int' ? 0 : undefined;
  return `${table.key.includes(name) ? 'k' : ''}${isText(type) ? 't' : ''}${product === 'sqlite' ? 'r' : ''}${/^PostgreSQL JDBC/.test(driverName) ? 'p' : ''}${scale === undefined ? '' : `s${scale}`}`;
}

/** Rows that are fetched at once, as the driver has to be told. */
export function fetchSize({ driverName }: Facts, rows: number): number {
  return /^mysql connector/i.test(driverName) ? STREAM : rows;
}

/** The statement that reads a chunk, without masked columns. */
export function chunkSelect(
  facts: Facts,
  table: Table,
  mappings: readonly Mapping[],
  where: string | undefined,
  range: string,
): { sql: string; parameters: string[] } {
  const quote = (name: string): string => quoteName(facts, name);
  const cells = table.columns.flatMap((column, index) => {
    if (column.masked) return [];
    const mapping = mappings[index] as Mapping;
    return [mapping.select?.(quote(column.name)) ?? quote(column.name)];
  });
  const key = table.key.map((name) => table.columns.find((column) => column.name === name) as Column);
  const bounds = rangeConditions(decodeRange(range), key, quote);
  const conditions = bounds.map((bound) => bound.sql);
  // On lines of its own: the condition may end in a comment.
  if (where !== undefined && where.trim() !== '') conditions.push(`(\n${where}\n)`);
  const sql = `select ${cells.length === 0 ? '1' : cells.join(', ')} from ${quoteTable(facts, table.ref)}`;
  return {
    sql: conditions.length === 0 ? sql : `${sql} where ${conditions.join(' and ')}`,
    parameters: bounds.flatMap((bound) => bound.parameters),
  };
}

/** Uses of `mask` in so many rows. */
function maskUses(table: Table, rows: number): RuleUse[] {
  const masked = rows > 0 ? table.columns.filter((column) => column.masked) : [];
  return masked.map((column) => ({ rule: 'mask', column: column.name, count: rows, examples: [] }));
}
