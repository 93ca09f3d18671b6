import type { RowChange } from '../changes.ts';
import type { RuleUse, Table } from '../model.ts';
import type { Instance } from './cdc-instances.ts';
import { type CdcChange, changesSelect, createCdcRows } from './cdc-row.ts';
import type { Pool } from './pool.ts';
import { pieces } from './read.ts';

/** One table's changes, read as they are asked for. */
export interface Lane extends AsyncDisposable {
  /** What is left of the transactions up to and including this one. */
  upTo(lsn: string): AsyncGenerator<readonly RowChange[], void, undefined>;
}

export type LaneRequest = {
  /** Of the followed tables. */
  readonly index: number;
  readonly table: Table;
  readonly instance: Instance;
  /** Transactions after the first up to the second. */
  readonly since: string;
  readonly to: string;
  readonly refuse: boolean;
};

/** Opens a lane on a session of its own. `done`: uses of rules in all of it. */
export async function openLane(
  pool: Pool,
  { index, table, instance, since, to, refuse }: LaneRequest,
  signal: AbortSignal,
  done: (uses: readonly RuleUse[]) => void,
): Promise<Lane> {
  const connection = await pool.take(signal);
  let whole = false;
  let rows: AsyncGenerator<CdcChange[], void, undefined>;
  const parser = createCdcRows(index, table, instance, refuse);
  try {
    await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    rows = pieces(
      connection,
      changesSelect(table, instance),
      (cells) => parser.add(cells),
      () => parser.pending,
      () => parser.take(),
      signal,
      { from: since, to },
    );
  } catch (error) {
    pool.drop(connection);
    throw error;
  }
  let waiting: CdcChange[] = [];
  return {
    async *upTo(lsn) {
      for (;;) {
        if (waiting.length > 0) {
          const cut = waiting.findIndex((one) => one.lsn > lsn);
          const ready = cut < 0 ? waiting : waiting.slice(0, cut);
          waiting = cut < 0 ? [] : waiting.slice(cut);
          if (ready.length > 0) yield ready.map(({ change }) => change);
          if (cut >= 0) return;
        }
        if (whole) return;
        const next = await rows.next();
        if (next.done) {
          whole = true;
          done(parser.uses());
          return;
        }
        waiting = next.value;
      }
    },
    async [Symbol.asyncDispose]() {
      if (whole) pool.give(connection);
      else pool.drop(connection);
    },
  };
}
