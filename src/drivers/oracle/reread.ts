import { unescapeText } from '../load-text.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import type { Pool } from './pool.ts';
import { chunkSelect, readRows } from './read.ts';
import { createRowText, maskUses } from './row-text.ts';
import { cell, type Encoding, quoteName } from './types.ts';

/** Oracle takes 1,000 members of a list. */
const KEYS_AT_ONCE = 500;

/** Rows by key as they are now. What the log has told is visible then: a commit is seen by queries before it reaches the log files. */
export async function* rereadKeys(
  pool: Pool,
  table: Table,
  keys: readonly string[],
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const text = createRowText(table, refuse);
  const tally = { rows: 0 };
  const encodings = table.key.map((name) => {
    const column = table.columns.find((one) => one.name === name);
    return column ? cell(column).encoding : 'text';
  });
  const names = table.key.map((name) => quoteName(name)).join(', ');
  for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
    const binds: string[] = [];
    const tuples = keys.slice(from, from + KEYS_AT_ONCE).map((key) => {
      const cells = key.split('\t').map((one, index) => {
        binds.push(unescapeText(Buffer.from(one, 'latin1').toString('utf8')));
        return placeOf(encodings[index] ?? 'text', binds.length);
      });
      return `(${cells.join(', ')})`;
    });
    const sql = `${chunkSelect(table, undefined, {})} where (${names}) in (${tuples.join(', ')})`;
    yield* readRows(pool, table, text, sql, binds, tally, signal);
  }
  return { rows: tally.rows, rules: [...text.takeUses(), ...maskUses(table, tally.rows)] };
}

/** A bound value of a key column, in the column's own type. */
function placeOf(encoding: Encoding, place: number): string {
  const bind = `:${place}`;
  switch (encoding) {
    case 'number':
    case 'boolean':
      return `to_number(${bind})`;
    case 'hex':
      return `hextoraw(${bind})`;
    case 'date':
      return `to_date(${bind}, 'SYYYY-MM-DD HH24:MI:SS')`;
    case 'timestamp':
    case 'timestamp9':
      return `to_timestamp(${bind}, 'SYYYY-MM-DD HH24:MI:SS.FF9')`;
    case 'utc':
    case 'utc9':
      return `to_timestamp_tz(${bind} || ' +00:00', 'SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')`;
    case 'years':
      return `to_yminterval(${bind})`;
    case 'days':
      return `to_dsinterval(${bind})`;
    default:
      return bind;
  }
}
