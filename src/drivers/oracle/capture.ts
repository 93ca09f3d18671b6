import { setTimeout as sleep } from 'node:timers/promises';
import type { Capture, CaptureRequest, LogEvent } from '../changes.ts';
import { PositionLost } from '../errors.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import { errorCode, logGone } from './errors.ts';
import { type Logs, listLogs } from './log-files.ts';
import { createLogReader } from './log-reader.ts';
import { contents, startMining, stopMining } from './mining-session.ts';
import type { OracleOptions } from './options.ts';
import type { Pool } from './pool.ts';
import { decodePosition, encodePosition, identityOf } from './position.ts';
import { createFollower, type Follower, takeRules } from './redo-entry.ts';
import { rereadKeys } from './reread.ts';
import { zoneOf } from './server-clock.ts';
import type { Container, Session } from './session.ts';
import { currentScn } from './split.ts';
import { createTransactions } from './transactions.ts';

export type CaptureParts = {
  readonly pool: Pool;
  readonly mining: Pool;
  readonly options: OracleOptions;
  readonly container: Container;
  readonly refuse: boolean;
};

const PIECE_BYTES = 1_048_576;
const PROGRESS_MS = 1_000;
/** So many log files are read by one start of LogMiner: with more of them its session grows at the server. */
const FILES_AT_ONCE = 12;
/** A session of LogMiner is not used for longer. */
const SESSION_MS = 3_600_000;
/** Open transactions are kept in memory up to this size, in files beyond it. */
const MEMORY_BYTES = 67_108_864;
/** A log file may be on its way to its archive: so often it is looked for, each time for longer. */
const TRIES = 6;
/** LogMiner could not open or find a file; another list of files may do. */
const FILE_TROUBLE = new Set([
  'ORA-01291',
  'ORA-01292',
  'ORA-00308',
  'ORA-00310',
  'ORA-00334',
  'ORA-00313',
  'ORA-27037',
]);

/**
 * How long an SCN is left alone before the log is read up to it. The log writer writes at least every three seconds (Oracle Concepts, "Log
 * Writer Process"), so that by then the files of all instances hold everything that came before. Tests set it to 0.
 */
export const settling = { ms: 5_000 };

/** Opens a reader of the redo log. Throws `PositionLost` when the log does not reach back to `from`, or the database is another one. */
export async function openCapture(parts: CaptureParts, request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
  signal.throwIfAborted();
  const { pool, mining, options, container, refuse } = parts;
  const from = decodePosition(request.from);
  const { objects, zoneMs, goal, followers } = await pool.lend(async (session) => {
    const identity = await identityOf(session);
    if (request.identity !== '' && identity !== request.identity)
      throw new PositionLost(
        'The source is another database than the one that was followed, or was opened with RESETLOGS.',
        'Load the tables again.',
      );
    const followers = request.tables.map((one, index) => createFollower(one, index, refuse));
    return {
      followers,
      objects: await objectsOf(session, followers),
      zoneMs: await zoneOf(session),
      goal: BigInt(await currentScn(session)),
    };
  }, signal);
  const asked = performance.now();
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const rereading = AbortSignal.any([after(signal, REREAD_GRACE_MS), stop.signal]);
  const transactions = createTransactions(MEMORY_BYTES);
  const reader = createLogReader({ pool, followers, transactions, from, zoneMs, objects });
  const { online, remote } = options.mode;
  const filter = {
    container: container.id > 1 ? container.name : undefined,
    tables: followers.map(({ table }) => table.ref),
  };

  /** The logs from `scn` on; waits for a file that is missing, and gives up when it does not come. */
  async function logsFrom(scn: bigint): Promise<Logs> {
    for (let attempt = 1; ; attempt++) {
      const logs = await pool.lend((session) => listLogs(session, scn, online, remote), ending);
      if (logs.missing === null || logs.end >= scn) return logs;
      if (attempt === TRIES) throw logGone(logs.missing);
      await sleep(Math.min(10_000, settling.ms * attempt), undefined, { signal: ending });
    }
  }

  /** Rows of the log in a window, from a session of LogMiner. */
  async function* mined(session: Session, lower: bigint, upper: bigint) {
    for (let attempt = 1; ; attempt++) {
      const { files } = await logsFrom(lower);
      const needed = files.filter((file) => remote || (file.next > lower && file.first <= upper));
      try {
        await startMining(session, needed, lower, upper, remote, options.miningFolder);
        break;
      } catch (error) {
        if (!FILE_TROUBLE.has(errorCode(error) ?? '')) throw error;
        if (attempt === TRIES) throw logGone((error as Error).message);
        await sleep(Math.min(10_000, settling.ms * attempt), undefined, { signal: ending });
      }
    }
    yield* contents(session, lower, upper, filter);
    await stopMining(session);
  }

  async function* events(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    let next = from.from;
    let reached = from;
    let piece: LogEvent[] = [];
    let bytes = 0;
    let session: Session | undefined;
    let opened = 0;
    let abort: (() => void) | undefined;
    const settled = createSettled(asked, goal);
    try {
      for (;;) {
        ending.throwIfAborted();
        const upTo = await upperEnd(settled);
        if (upTo !== null && upTo.end >= next) {
          if (!session || performance.now() - opened > SESSION_MS) {
            if (session) await mining.drop(session);
            const fresh = await mining.take(ending);
            session = fresh;
            opened = performance.now();
            abort = () => void mining.drop(fresh);
            ending.addEventListener('abort', abort, { once: true });
          }
          for await (const rows of mined(session, next, upTo.end)) {
            for (const row of rows) {
              const taken = reader.take(row);
              if (taken === undefined) continue;
              for (const some of await taken) {
                for (const event of some) {
                  piece.push(event);
                  bytes += event.kind === 'insert' || event.kind === 'update' ? event.to + event.key.length + 100 : 200;
                }
                if (bytes < PIECE_BYTES) continue;
                yield piece;
                piece = [];
                bytes = 0;
              }
            }
            if (piece.length > 0) yield piece;
            piece = [];
            bytes = 0;
          }
          const passed = reader.passed(upTo.end);
          // What was delivered before this reader began is contained already.
          if (passed.scn >= reached.scn) reached = passed;
          next = upTo.end + 1n;
          if (!upTo.last) {
            yield [{ kind: 'progress', position: encodePosition(reached), atEnd: false }];
            continue;
          }
        }
        if (upTo !== null) yield [{ kind: 'progress', position: encodePosition(reached), atEnd: true }];
        if (request.until === 'written' && upTo !== null) return;
        await sleep(request.until === 'written' ? 50 : Math.min(PROGRESS_MS, settling.ms + 20), undefined, {
          signal: ending,
        });
        if (request.until === 'forever') settled.ask(BigInt(await pool.lend(currentScn, ending)));
      }
    } catch (error) {
      throw ending.aborted ? ending.reason : error;
    } finally {
      if (abort) ending.removeEventListener('abort', abort);
      if (session) await mining.drop(session);
    }

    /** How far the next window goes, and whether the log ends there for now; null: the log's end has not settled yet. */
    async function upperEnd(settled: Settled): Promise<{ end: bigint; last: boolean } | null> {
      const end = settled.end();
      if (end === null) return null;
      if (end < next) return { end, last: true };
      const logs = await logsFrom(next);
      const upper = logs.end < end ? logs.end : end;
      const ahead = logs.files.filter((file) => file.next > next).sort((a, b) => (a.next < b.next ? -1 : 1));
      const cut = ahead.length > FILES_AT_ONCE ? (ahead[FILES_AT_ONCE - 1]?.next ?? upper) - 1n : upper;
      return cut < upper && cut >= next ? { end: cut, last: false } : { end: upper, last: true };
    }
  }

  return {
    events,
    reread: (table, keys) => {
      const follower = followers[table];
      if (!follower) throw new RangeError(`There is no followed table ${table}.`);
      return rereadKeys(pool, follower.table, keys, refuse, rereading);
    },
    // The logs are kept by the server's own rules.
    acknowledge: async () => {},
    takeRules: () => takeRules(followers),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('The reader of the log was closed.'));
      transactions.close();
    },
  };
}

type Settled = {
  ask(scn: bigint): void;
  /** The latest SCN that is old enough; null: none is. */
  end(): bigint | null;
};

function createSettled(at: number, first: bigint): Settled {
  let waiting: { readonly at: number; readonly scn: bigint }[] = [{ at, scn: first }];
  let end: bigint | null = null;
  return {
    ask(scn) {
      waiting.push({ at: performance.now(), scn });
    },
    end() {
      const old = performance.now() - settling.ms;
      for (const one of waiting) if (one.at <= old) end = one.scn;
      waiting = waiting.filter((one) => one.at > old);
      return end;
    },
  };
}

/** Followed tables by the numbers of their objects, partitions included: rows whose table is not known say no more. */
async function objectsOf(session: Session, followers: readonly Follower[]): Promise<Map<string, Follower>> {
  const objects = new Map<string, Follower>();
  const byName = new Map(followers.map((one) => [`${one.table.ref.schema}\0${one.table.ref.name}`, one]));
  for (let from = 0; from < followers.length; from += 400) {
    const some = followers.slice(from, from + 400);
    const places = some.map((_, index) => `(:${2 * index + 1}, :${2 * index + 2})`).join(', ');
    const rows = await session.query(
      `select owner, object_name, object_id, data_object_id from all_objects where (owner, object_name) in (${places}) and object_type in ('TABLE', 'TABLE PARTITION', 'TABLE SUBPARTITION')`,
      some.flatMap(({ table }) => [table.ref.schema, table.ref.name]),
    );
    for (const [owner, name, ...ids] of rows) {
      const follower = byName.get(`${owner}\0${name}`);
      for (const id of ids) if (follower && id !== null) objects.set(String(id), follower);
    }
  }
  return objects;
}
