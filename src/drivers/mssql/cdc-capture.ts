import { setTimeout as sleep } from 'node:timers/promises';
import type { Capture, CaptureRequest, LogEvent } from '../changes.ts';
import { PositionLost } from '../errors.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import type { Position, RuleUse } from '../model.ts';
import { readInstances } from './cdc-instances.ts';
import { type Lane, openLane } from './cdc-lane.ts';
import { requireCdc, scanned } from './cdc-scan.ts';
import { busyTables, type Follower, requireKept, sinceOf, survey } from './cdc-survey.ts';
import type { Connection } from './connection.ts';
import { toldLater } from './errors.ts';
import type { Pool } from './pool.ts';
import { checkIdentity, decodeLsn, encodeLsn, identity, maxLsn, readClocks } from './position.ts';
import { rereadKeys } from './reread.ts';

/** Transactions that are merged at a time, and tables whose changes are read side by side for that. */
const TRANSACTIONS_AT_ONCE = 2_000;
const LANES = 12;
const POLL_MS = 1_000;
/** Changes are passed on by so many bytes, each time after a look whether they are whole. */
const PIECE_BYTES = 262_144;

type Transaction = { readonly lsn: string; readonly at: number };

/** Opens a reader of CDC's change tables. Throws `PositionLost` when they do not reach back to `from`. */
export async function openCdc(
  pool: Pool,
  request: CaptureRequest,
  { refuse, waitMs }: { readonly refuse: boolean; readonly waitMs: number },
  signal: AbortSignal,
): Promise<Capture> {
  await pool.lend((connection) => requireSame(connection, request), signal);
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const rereading = AbortSignal.any([after(signal, REREAD_GRACE_MS), stop.signal]);
  const dropped = new Set<number>();
  const rules = new Map<number, RuleUse[]>();

  async function* events(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    let from = decodeLsn(request.from);
    try {
      const goal = request.until === 'written' ? await pool.lend((one) => scanned(one, waitMs, ending), ending) : null;
      for (;;) {
        ending.throwIfAborted();
        const to = goal ?? (await pool.lend(maxLsn, ending)) ?? from;
        if (to > from) {
          const live = request.tables.flatMap((one, index) => (dropped.has(index) ? [] : [{ one, index }]));
          const here = from;
          const { followers, news, until } = await pool.lend((one) => survey(one, live, here, to), ending);
          for (const event of news) {
            dropped.add(event.table);
            yield [event];
          }
          const transactions = await pool.lend((one) => transactionsOf(one, here, until), ending);
          yield* whole(windowOf(followers, from, transactions), followers, from);
          from = transactions.at(-1)?.lsn ?? until;
          if (from < to) {
            yield [{ kind: 'progress', position: encodeLsn(from), atEnd: false }];
            continue;
          }
        }
        yield [{ kind: 'progress', position: encodeLsn(from), atEnd: true }];
        if (goal !== null) return;
        await sleep(POLL_MS, undefined, { signal: ending });
      }
    } catch (error) {
      throw ending.aborted ? ending.reason : toldLater(error);
    }
  }

  /** Pieces of changes, each passed on only when no clean-up can have taken any of them away. */
  async function* whole(
    pieces: AsyncIterable<readonly LogEvent[]>,
    followers: readonly Follower[],
    from: string,
  ): AsyncGenerator<readonly LogEvent[], void, undefined> {
    let waiting: LogEvent[] = [];
    let bytes = 0;
    for await (const piece of pieces) {
      waiting.push(...piece);
      for (const event of piece) bytes += 'data' in event ? event.to - event.from + event.key.length : 0;
      if (bytes < PIECE_BYTES) continue;
      await pool.lend((one) => requireKept(one, followers, from), ending);
      yield waiting;
      waiting = [];
      bytes = 0;
    }
    // That there is nothing to pass on must be true as well.
    await pool.lend((one) => requireKept(one, followers, from), ending);
    if (waiting.length > 0) yield waiting;
  }

  /** The changes of consecutive transactions: tables side by side, or in smaller windows, or one after the other within one transaction. */
  async function* windowOf(
    followers: readonly Follower[],
    from: string,
    transactions: readonly Transaction[],
  ): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const last = transactions.at(-1);
    if (!last) return;
    const busy = await pool.lend((one) => busyTables(one, followers, from, last.lsn), ending);
    if (busy.length === 0) return;
    if (busy.length > LANES && transactions.length > 1) {
      const half = transactions.length >> 1;
      const middle = transactions[half - 1] as Transaction;
      yield* windowOf(busy, from, transactions.slice(0, half));
      yield* windowOf(busy, middle.lsn, transactions.slice(half));
      return;
    }
    if (transactions.length === 1) {
      let changes = 0;
      for (const follower of busy) {
        await using lane = await open(follower, from, last.lsn);
        for await (const piece of lane.upTo(last.lsn)) {
          changes += piece.length;
          yield piece;
        }
      }
      if (changes > 0) yield [commitOf(last)];
      return;
    }
    await using lanes = new AsyncDisposableStack();
    const opened: Lane[] = [];
    for (const follower of busy) opened.push(lanes.use(await open(follower, from, last.lsn)));
    for (const transaction of transactions) {
      let changes = 0;
      for (const lane of opened)
        for await (const piece of lane.upTo(transaction.lsn)) {
          changes += piece.length;
          yield piece;
        }
      if (changes > 0) yield [commitOf(transaction)];
    }
  }

  function open({ one, index, instance }: Follower, from: string, to: string): Promise<Lane> {
    return openLane(
      pool,
      { index, table: one.table, instance, since: sinceOf(from, one), to, refuse },
      ending,
      (uses) => {
        rules.set(index, [...(rules.get(index) ?? []), ...uses]);
      },
    );
  }

  return {
    events,
    reread: (table, keys) => {
      const one = request.tables[table];
      if (!one) throw new RangeError(`There is no followed table ${table}.`);
      return rereadKeys(pool, one.table, keys, refuse, rereading);
    },
    // The cleanup job keeps the change tables by its own rules.
    acknowledge: async () => {},
    takeRules() {
      const taken = [...rules].map(([table, uses]) => ({ table, rules: uses }));
      rules.clear();
      return taken;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('The reader of changes was closed.'));
    },
  };
}

/** Throws when the log is not the one that was followed. */
async function requireSame(
  connection: Connection,
  { identity: stored, from: position }: CaptureRequest,
): Promise<void> {
  requireCdc(connection);
  checkIdentity(stored, await identity(connection));
  const from = decodeLsn(position);
  const max = await maxLsn(connection);
  if (max === null || max >= from) return;
  // The job has not come to an instance's own beginning yet.
  if ((await readInstances(connection)).some(({ startLsn }) => startLsn !== null && startLsn >= from)) return;
  throw new PositionLost('CDC stands before the stored position: the database was restored.', 'Run a full extract.');
}

function commitOf({ lsn, at }: Transaction): LogEvent {
  return { kind: 'commit', position: encodeLsn(lsn) as Position, at };
}

/**
 * The next transactions after `from`, all up to `to` or as many as are merged at a time. `to` itself is always among the last: changes that
 * no line of the mapping names are told with it rather than left out.
 */
async function transactionsOf(connection: Connection, from: string, to: string): Promise<Transaction[]> {
  const { zone, utc } = await readClocks(connection);
  const rows = await connection.query(
    `SELECT TOP (${TRANSACTIONS_AT_ONCE}) CONVERT(nvarchar(20), m.start_lsn, 2) AS start_lsn, CONVERT(nvarchar(23), m.tran_end_time, 121) AS ended
FROM cdc.lsn_time_mapping AS m
WHERE m.start_lsn > CONVERT(binary(10), @from, 2) AND m.start_lsn <= CONVERT(binary(10), @to, 2)
ORDER BY m.start_lsn`,
    { from, to },
  );
  // Times are in the server's own zone.
  const found = rows.map(([lsn, ended]) => ({
    lsn: String(lsn),
    at: Date.parse(`${String(ended).replace(' ', 'T')}Z`) - zone * 60_000,
  }));
  if (found.length < TRANSACTIONS_AT_ONCE && (found.at(-1)?.lsn ?? from) < to) found.push({ lsn: to, at: utc });
  return found;
}
