import type { Batch, ChunkRead, Table } from '../model.ts';
import type { Connection } from './connection.ts';
import { idOfKey } from './id-text.ts';
import { maskUses, readWhere } from './read.ts';

const KEYS_AT_ONCE = 1_000;

/**
 * Documents by key, committed on a majority and containing everything up to the cluster time `after` (undefined: as they are now). Throws
 * `StructureChanged` when the collection is another one (EXACTNESS.md §6).
 */
export async function* rereadKeys(
  connection: Connection,
  table: Table,
  keys: readonly string[],
  after: unknown,
  canonical: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  let rows = 0;
  for (let i = 0; i < keys.length; i += KEYS_AT_ONCE) {
    const wanted = new Set(keys.slice(i, i + KEYS_AT_ONCE));
    const filter = { _id: { $in: [...wanted].map(idOfKey) } };
    const read = yield* readWhere(connection, table, filter, { canonical, signal, after, wanted });
    rows += read.rows;
  }
  return { rows, rules: maskUses(table, rows) };
}
