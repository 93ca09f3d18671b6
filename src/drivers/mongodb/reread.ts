import type { Batch, ChunkRead, RuleUse, Table } from '../model.ts';
import type { Connection } from './connection.ts';
import { idOfKey } from './id-text.ts';
import { type ReadOptions, readWhere } from './read.ts';

const KEYS_AT_ONCE = 1_000;

/** Documents by key, committed on a majority (EXACTNESS.md §6). */
export async function* rereadKeys(
  connection: Connection,
  table: Table,
  keys: readonly string[],
  options: Omit<ReadOptions, 'wanted'>,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  let rows = 0;
  const rules: RuleUse[] = [];
  for (let i = 0; i < keys.length; i += KEYS_AT_ONCE) {
    const wanted = new Set(keys.slice(i, i + KEYS_AT_ONCE));
    const filter = { _id: { $in: [...wanted].map(idOfKey) } };
    const read = yield* readWhere(connection, table, filter, { ...options, wanted });
    rows += read.rows;
    rules.push(...read.rules);
  }
  return { rows, rules };
}
