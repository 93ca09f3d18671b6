import { setTimeout as sleep } from 'node:timers/promises';
import type { Capture, CaptureRequest, FollowedTable, LogEvent } from '../changes.ts';
import { PositionLost } from '../errors.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import type { Position, RuleUse } from '../model.ts';
import { type Instance, newest, pinned, readInstances } from './cdc-instances.ts';
import { type Lane, openLane } from './cdc-lane.ts';
import { requireCdc, scanned } from './cdc-scan.ts';
import type { Connection } from './connection.ts';
import { newsOf } from './news.ts';
import type { Pool } from './pool.ts';
import { checkIdentity, decodeLsn, encodeLsn, identity, maxLsn, readClocks } from './position.ts';
import { rereadKeys } from './reread.ts';
import { quoteName } from './sql.ts';

/** Transactions that are merged at a time, and tables whose changes are read side by side for that. */
const TRANSACTIONS_AT_ONCE = 2_000;
const LANES = 12;
const POLL_MS = 1_000;
const ASKED_AT_ONCE = 50;

type Transaction = { readonly lsn: string; readonly at: number };
type Follower = { readonly one: FollowedTable; readonly index: number; readonly instance: Instance };

/** Opens a reader of CDC's change tables. Throws `PositionLost` when they do not reach back to `from`. */
export async function openCdc(
  pool: Pool,
  request: CaptureRequest,
  { refuse, waitMs }: { readonly refuse: boolean; readonly waitMs: number },
  signal: AbortSignal,
): Promise<Capture> {
  await pool.lend(async (connection) => {
    requireCdc(connection);
    checkIdentity(request.identity, await identity(connection));
    const max = await maxLsn(connection);
    if (
      max !== null &&
      max < decodeLsn(request.from) &&
      (await readInstances(connection)).every(({ startLsn }) => startLsn < decodeLsn(request.from))
    )
      throw new PositionLost(
        'CDC stands before the stored position: the database was restored.',
        'Run a full extract.',
      );
  }, signal);
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
          const { followers, news, until } = await pool.lend((one) => survey(one, from, to), ending);
          for (const event of news) {
            dropped.add(event.table);
            yield [event];
          }
          const transactions = await pool.lend((one) => transactionsOf(one, from, until), ending);
          const full = transactions.length === TRANSACTIONS_AT_ONCE;
          yield* windowOf(followers, from, transactions);
          from = full ? (transactions.at(-1)?.lsn ?? until) : until;
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
      throw ending.aborted ? ending.reason : error;
    }
  }

  /** What is to be read after `from`, and up to where with the instances that there are. */
  async function survey(connection: Connection, from: string, to: string) {
    const live = request.tables.flatMap((one, index) => (dropped.has(index) ? [] : [{ one, index }]));
    const all = await readInstances(connection);
    let until = to;
    const chosen = new Map<number, Instance>();
    const choose = (instances: readonly Instance[], place: number): Instance | undefined => {
      const { one, index } = live[place] as (typeof live)[number];
      const old = pinned(instances, one.table.storage);
      const last = newest(instances);
      // The new instance holds nothing from before it was made: the old one is read up to there.
      const use = old && last && last !== old && from < last.startLsn ? old : last;
      if (use === old && last && last !== old && last.startLsn < until) until = last.startLsn;
      if (use) chosen.set(index, use);
      return use;
    };
    const found = await newsOf(
      connection,
      'cdc',
      live.map(({ one }) => one),
      choose,
    );
    const least = await leastLsns(connection, all);
    const news: Extract<LogEvent, { kind: 'structure' }>[] = [];
    const followers: Follower[] = [];
    for (const [i, { one, index }] of live.entries()) {
      const instance = chosen.get(index);
      const name = `${one.table.ref.schema}.${one.table.ref.name}`;
      const since = [from, ...one.skip.map(decodeLsn)].sort().at(-1) as string;
      if (!instance)
        news.push({
          kind: 'structure',
          table: index,
          now: null,
          reason: `CDC is not enabled for ${name}: EXEC sys.sp_cdc_enable_table @source_schema = N'${one.table.ref.schema}', @source_name = N'${one.table.ref.name}', @role_name = NULL.`,
        });
      else if (since < (least.get(instance.name) ?? instance.startLsn))
        news.push({
          kind: 'structure',
          table: index,
          now: null,
          reason: `The change table of ${name} begins after what was read last: it was cleaned up (retention of the cleanup job), or made anew.`,
        });
      else if (found[i]) news.push({ kind: 'structure', table: index, ...found[i] });
      else followers.push({ one, index, instance });
    }
    return { followers, news, until };
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
    const since = [from, ...one.skip.map(decodeLsn)].sort().at(-1) as string;
    return openLane(pool, { index, table: one.table, instance, since, to, refuse }, ending, (uses) => {
      rules.set(index, [...(rules.get(index) ?? []), ...uses]);
    });
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

function commitOf({ lsn, at }: Transaction): LogEvent {
  return { kind: 'commit', position: encodeLsn(lsn) as Position, at };
}

async function transactionsOf(connection: Connection, from: string, to: string): Promise<Transaction[]> {
  const { zone } = await readClocks(connection);
  const rows = await connection.query(
    `SELECT TOP (${TRANSACTIONS_AT_ONCE}) CONVERT(nvarchar(20), m.start_lsn, 2) AS start_lsn, CONVERT(nvarchar(23), m.tran_end_time, 121) AS ended
FROM cdc.lsn_time_mapping AS m
WHERE m.start_lsn > CONVERT(binary(10), @from, 2) AND m.start_lsn <= CONVERT(binary(10), @to, 2)
ORDER BY m.start_lsn`,
    { from, to },
  );
  // Times are in the server's own zone.
  return rows.map(([lsn, ended]) => ({
    lsn: String(lsn),
    at: Date.parse(`${String(ended).replace(' ', 'T')}Z`) - zone * 60_000,
  }));
}

async function leastLsns(connection: Connection, instances: readonly Instance[]): Promise<Map<string, string>> {
  const rows =
    instances.length === 0
      ? []
      : await connection.query(
          `SELECT ct.capture_instance, CONVERT(nvarchar(20), sys.fn_cdc_get_min_lsn(ct.capture_instance), 2) AS min_lsn
FROM cdc.change_tables AS ct`,
        );
  return new Map(rows.flatMap(([name, lsn]) => (lsn == null ? [] : [[String(name), String(lsn)] as const])));
}

async function busyTables(
  connection: Connection,
  followers: readonly Follower[],
  from: string,
  to: string,
): Promise<Follower[]> {
  const busy: Follower[] = [];
  for (let at = 0; at < followers.length; at += ASKED_AT_ONCE) {
    const part = followers.slice(at, at + ASKED_AT_ONCE);
    const asked = part.map(
      ({ instance }, i) =>
        `SELECT ${i} AS place WHERE EXISTS (SELECT 1 AS one FROM cdc.${quoteName(instance.changeTable)} AS c WHERE c.[__$start_lsn] > CONVERT(binary(10), @from, 2) AND c.[__$start_lsn] <= CONVERT(binary(10), @to, 2))`,
    );
    const found = new Set((await connection.query(asked.join('\nUNION ALL\n'), { from, to })).map(([i]) => Number(i)));
    busy.push(...part.filter((_, i) => found.has(i)));
  }
  return busy;
}
