import type { ChunkClaim, LoadTarget } from '../destination.ts';
import { StructureChanged, Superseded } from '../errors.ts';
import type { Batch, ChunkRead } from '../model.ts';
import { claimHolds, finishChunk } from './chunks.ts';
import { run } from './connection.ts';
import { type CountedLoad, countedLoad, rejection } from './counted-load.ts';
import { loadStatement } from './load.ts';
import { type Pool, withSession } from './pool.ts';

/**
 * Loads a chunk into its shadow and marks it done in one transaction. What was sent, read, recorded by the server and kept must be the same
 * number of rows; anything else throws, and nothing stays.
 */
export async function loadChunk(
  pool: Pool,
  target: LoadTarget,
  claim: ChunkClaim,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  progress: (rows: number, bytes: number) => void,
  signal: AbortSignal,
): Promise<{ rows: number; bytes: number }> {
  let refused: { readonly words: string } | undefined;
  try {
    return await withSession(pool, async (session) => {
      await run(session, 'begin');
      const statement = loadStatement(target, claim, pool.dialect.loadCharset);
      const load: CountedLoad = {
        statement,
        table: target.table,
        replace: target.replace,
        filled: 'The shadow table',
        refuse: (words) => {
          refused = { words };
        },
      };
      const sent = await countedLoad(session, load, batches, progress, signal);
      const { read, rows: count, bytes } = sent;
      await finishChunk(session, target.database, claim, { rows: count, bytes, rules: JSON.stringify(read.rules) });
      await run(session, 'commit');
      return { rows: count, bytes };
    });
  } catch (error) {
    if (refused === undefined) throw error;
    // The claim decides first: a load that lost its table or its chunk was not refused because of a row.
    if (!(await withSession(pool, (session) => claimHolds(session, target.database, claim).catch(() => false))))
      throw new Superseded(
        `Load ${claim.load} of table ${claim.id} belongs to another attempt, or was given up.`,
        'Nothing: the attempt that owns the load goes on.',
      );
    if (error instanceof StructureChanged) throw error;
    throw await rejection(target.table, `chunk ${claim.chunk}`, refused.words, target.reread, signal);
  } finally {
    // Not begun, when no connection could be had.
    void batches.return(undefined as never).catch(() => undefined);
  }
}
