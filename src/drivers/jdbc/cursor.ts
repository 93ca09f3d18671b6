import { type CursorColumn, type CursorSettings, type Since, withCursor } from '../cursor.ts';
import type { CursorSource } from '../cursor-looks.ts';
import type { Table, TableOptions } from '../model.ts';
import type { CatalogColumn, CatalogTable } from './catalog.ts';
import { clockOf } from './clock.ts';
import type { Pool } from './pool.ts';
import { type Condition, EVERYTHING } from './range.ts';
import { readChunk } from './read.ts';
import { rereadKeys } from './reread.ts';
import { type Facts, identityOf } from './session.ts';
import { quoteName } from './sql.ts';
import { mapType } from './types.ts';

/** `capture` = cursor: rows are found by columns that JDBC knows as timestamps; whatever the database, SELECT is all that it takes. */

/** Some databases keep whole minutes only. */
const COARSE_MS = 60_000;

export function cursorSource(
  pool: Pool,
  known: (table: Table) => CatalogTable | undefined,
  facts: Facts,
  describe: CursorSource['describe'],
): CursorSource {
  const { cursor } = pool.options;
  return {
    describe,
    settings: { ...cursor, overlapMs: cursor.overlapMs + COARSE_MS },
    identity: async () => identityOf(facts, pool.options),
    now: async () => ({ t: await pool.lend((session) => clockOf(session, pool.options)) }),
    changed: (table, since, signal) =>
      readChunk(pool, known, table, undefined, EVERYTHING, signal, (one, found) =>
        changedSince(one, found, table, since),
      ),
    reread: (table, keys, signal) => rereadKeys(pool, known, table, keys, signal),
  };
}

/** A described table as its cursor columns follow it. `indexed`: columns that an index begins with, where that is known. */
export function followedByCursor(
  facts: Facts,
  settings: CursorSettings,
  table: Table,
  found: CatalogTable,
  chosen: TableOptions,
  indexed: readonly string[] | undefined,
): Table {
  const columns = found.columns
    .filter(({ name }) => table.columns.some((column) => column.name === name))
    .map((column): CursorColumn => {
      const form = timeForm(facts, column);
      return {
        name: column.name,
        nullable: column.nullable,
        clock: form === undefined ? null : 'time',
        ...(form === 'local' ? { local: true as const } : {}),
        ...(indexed ? { indexed: indexed.includes(column.name) } : {}),
      };
    });
  return withCursor(table, columns, chosen.cursor, settings);
}

/** `utc`: moments, or times of a session that is in UTC. */
function timeForm(facts: Facts, column: CatalogColumn): 'utc' | 'local' | undefined {
  const mapping = mapType(facts, column);
  if (!('encoding' in mapping)) return undefined;
  if (mapping.encoding === 'Z') return 'utc';
  if (mapping.encoding !== 'S') return undefined;
  return facts.product === 'mysql' && /^timestamp/i.test(column.typeName) ? 'utc' : 'local';
}

/** The condition for rows that were written since, as far as their cursor columns tell. */
function changedSince(facts: Facts, found: CatalogTable, table: Table, since: Since): Condition {
  const parts = (table.cursor ?? []).flatMap((name): Condition[] => {
    const column = found.columns.find((one) => one.name === name);
    const form = column && timeForm(facts, column);
    if (!column || form === undefined) return [];
    const moment = mapType(facts, column);
    return [fromOf(facts, quoteName(facts, name), since[form], 'encoding' in moment && moment.encoding === 'Z')];
  });
  if (parts.length === 0) return { sql: '1 = 0', parameters: [] };
  return { sql: parts.map(({ sql }) => `(${sql})`).join(' or '), parameters: parts.flatMap((one) => one.parameters) };
}

function fromOf(facts: Facts, name: string, from: string, moment: boolean): Condition {
  if (facts.product === 'sqlite')
    // Texts are compared as such, whatever stands between day and time; numbers are milliseconds since 1970, as its driver writes them.
    return {
      sql: `(typeof(${name}) = 'text' and ${name} >= ?) or (typeof(${name}) <> 'text' and ${name} >= ?)`,
      parameters: ['s', from.slice(0, 10), 'l', String(Date.parse(`${from.replace(' ', 'T')}Z`))],
    };
  if (facts.product === 'snowflake')
    // What a bound timestamp means there depends on settings of the session.
    return moment
      ? { sql: `${name} >= to_timestamp_tz(?)`, parameters: ['s', `${from} +00:00`] }
      : { sql: `${name} >= to_timestamp_ntz(?)`, parameters: ['s', from] };
  return { sql: `${name} >= ?`, parameters: [moment ? 'Z' : 'S', from] };
}
