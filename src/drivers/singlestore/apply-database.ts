import type { ApplyRequest } from '../apply.ts';
import type { Position } from '../model.ts';
import { type Counts, newCounts } from './apply-counts.ts';
import { openClaimed } from './claim.ts';
import { destroy, type Session } from './connection.ts';
import type { TableFold } from './fold.ts';
import { type Letters, newLetters, readLetters } from './letters.ts';
import type { Pass } from './passes.ts';
import type { Pool } from './pool.ts';
import type { Writing } from './stage.ts';

/** One destination database in the hands of an applier. */
export type Applied = {
  readonly database: string;
  /** Replaced when a row was refused. */
  session: Session;
  readonly token: number;
  seq: number;
  ordinal: number;
  /** What is durable here. */
  position: Position;
  /** A transaction is written in passes: what of it is durable. */
  part: Pass | null;
  /** Indexes of tables that are no longer written, because the destination refuses their rows. */
  readonly dropped: Set<number>;
  /** Staging tables that are known to be there, by table index. */
  readonly staged: Set<number>;
  readonly letters: Letters;
  /** Tables that the open transaction has read again, with the position up to which they are ahead of the stream. */
  readonly reread: Map<number, Position>;
  /** Tables whose versions of the open transaction wait for its commit time. */
  readonly untimed: Map<number, Writing>;
  /** What the open transaction applies, by table index. */
  readonly counts: Counts;
  /** Rows of the open transaction that foreign keys changed below the log, by table index. */
  readonly below: Map<number, { readonly index: number; readonly writing: Writing; readonly fold: TableFold }>;
  /** Keys have been put on the list of those to be read again. */
  waiting: boolean;
  /** The table that is being written: a refusal is one of its rows'. */
  refused: number | null;
  /** Names of the tables that the open transaction has written; null: none is open. */
  open: Set<string> | null;
};

/** Opens a connection of its own for each database of a claim; all or none. */
export async function openAll(
  pool: Pool,
  { claim, tables }: ApplyRequest,
  parked: Letters['parked'],
): Promise<Map<string, Applied>> {
  const databases = new Map<string, Applied>();
  try {
    for (const { database, token, seq, position, ordinal, part } of claim.databases) {
      const session = await openClaimed(pool, claim, database);
      const letters = newLetters(parked);
      databases.set(database, {
        database,
        session,
        token,
        seq,
        ordinal,
        position,
        part: part ?? null,
        letters,
        dropped: new Set(),
        refused: null,
        staged: new Set(),
        reread: new Map(),
        untimed: new Map(),
        below: new Map(),
        waiting: false,
        counts: newCounts(),
        open: null,
      });
      await readLetters(session, database, tables, letters);
    }
    return databases;
  } catch (error) {
    for (const { session } of databases.values()) destroy(session);
    throw error;
  }
}

/** Waits for all, then throws the first failure: nothing goes on in the background after an error. */
export async function all(work: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}
