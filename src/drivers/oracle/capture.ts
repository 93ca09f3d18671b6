import { setTimeout as sleep } from 'node:timers/promises';
import type { Capture, CaptureRequest, LogEvent } from '../changes.ts';
import { Misconfigured } from '../errors.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import type { Batch, ChunkRead } from '../model.ts';
import { createLogReader } from './log-reader.ts';
import { openWindows } from './log-windows.ts';
import type { RedoRow } from './mining-session.ts';
import { findObjects, objectsOf } from './objects.ts';
import type { OracleOptions } from './options.ts';
import type { Pool } from './pool.ts';
import { checkIdentity, databaseOf, decodePosition, encodePosition } from './position.ts';
import { createFollower, type Follower, takeRules } from './redo-entry.ts';
import { rereadKeys } from './reread.ts';
import { localZoneIsUtc, zoneOf } from './server-clock.ts';
import type { Container } from './session.ts';
import { currentScn } from './split.ts';
import { buffer, createTransactions } from './transactions.ts';

export type CaptureParts = {
  readonly pool: Pool;
  readonly mining: Pool;
  readonly options: OracleOptions;
  readonly container: Container;
  readonly refuse: boolean;
};

const PIECE_BYTES = 1_048_576;
const PROGRESS_MS = 1_000;
/** Between two looks at the log's end: the less, the more it has just brought. */
const POLL_MS = { least: 50, most: 1_000, bounded: 250 };

/** Opens a reader of the redo log. Throws `PositionLost` when the log does not reach back to `from`, or the database is another one. */
export async function openCapture(parts: CaptureParts, request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
  signal.throwIfAborted();
  const { pool, mining, options, container, refuse } = parts;
  const from = decodePosition(request.from);
  const { objects, zoneMs, goal, followers, database } = await pool.lend(async (session) => {
    await checkIdentity(session, container, request.identity);
    const utc = await localZoneIsUtc(session);
    const followers = request.tables.map((one, index) => createFollower(one, index, refuse, utc));
    return {
      followers,
      objects: await objectsOf(session, followers),
      zoneMs: await zoneOf(session),
      goal: BigInt(await currentScn(session)),
      database: await databaseOf(session),
    };
  }, signal);
  if (!options.mode.remote && options.mining !== undefined && (await mining.lend(databaseOf, signal)) !== database)
    throw new Misconfigured(
      'The mining database is another one than the source, and the code is not that of the Remote Log Miner.',
      'Choose rds.oracle11lmrm, or set mining_… to the root of the database that is copied.',
    );
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const rereading = AbortSignal.any([after(signal, REREAD_GRACE_MS), stop.signal]);
  const transactions = createTransactions(buffer.bytes);
  const find = (object: string): Promise<Follower | undefined> =>
    pool.lend((session) => findObjects(session, object, followers), ending);
  const reader = createLogReader({ pool, followers, transactions, from, zoneMs, objects, find });
  const filter = {
    container: container.id > 1 ? container.name : undefined,
    tables: followers.map(({ table }) => table.ref),
  };
  let delivered = 0n;

  async function* events(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const log = openWindows({ pool, mining, options, filter, goal }, ending);
    const bounded = request.until === 'written';
    let next = from.from;
    let reached = from;
    let pause = POLL_MS.least;
    let said = 0;
    try {
      for (;;) {
        ending.throwIfAborted();
        const { to, last, whole } = await log.window(next);
        pause = Math.min(pause * 2, bounded ? POLL_MS.bounded : POLL_MS.most);
        if (to >= next) {
          for await (const rows of log.rows(next, to)) {
            for await (const piece of pieces(rows)) {
              pause = POLL_MS.least;
              yield piece;
            }
          }
          const passed = reader.passed(to);
          // What was delivered before this reader began is contained already.
          if (passed.scn >= reached.scn) reached = passed;
          next = to + 1n;
        }
        const done = bounded && whole;
        if (done || !last || performance.now() - said > PROGRESS_MS) {
          yield [{ kind: 'progress', position: encodePosition(reached), atEnd: bounded ? done : last }];
          said = performance.now();
        }
        if (done) return;
        if (last) await sleep(pause, undefined, { signal: ending });
      }
    } catch (error) {
      throw ending.aborted ? ending.reason : error;
    } finally {
      await log.close();
    }
  }

  /** Events of the transactions that end in these rows. */
  async function* pieces(rows: readonly RedoRow[]): AsyncGenerator<readonly LogEvent[]> {
    let piece: LogEvent[] = [];
    let bytes = 0;
    for (const row of rows) {
      const taken = reader.take(row);
      if (taken === undefined) continue;
      for (const some of await taken) {
        for (const event of some) {
          piece.push(event);
          bytes += event.kind === 'insert' || event.kind === 'update' ? event.to + event.key.length + 100 : 200;
          if (event.kind === 'commit') delivered = decodePosition(event.position).scn;
        }
        if (bytes < PIECE_BYTES) continue;
        yield piece;
        piece = [];
        bytes = 0;
      }
    }
    if (piece.length > 0) yield piece;
  }

  /** On a cluster this instance may not have heard yet of a commit that is in the log of another one. */
  async function* reread(table: number, keys: readonly string[]): AsyncGenerator<Batch, ChunkRead, undefined> {
    const follower = followers[table];
    if (!follower) throw new RangeError(`There is no followed table ${table}.`);
    while (delivered > 0n && BigInt(await pool.lend(currentScn, rereading)) < delivered)
      await sleep(POLL_MS.least, undefined, { signal: rereading });
    return yield* rereadKeys(pool, follower.table, keys, refuse, rereading);
  }

  return {
    events,
    reread,
    // The logs are kept by the server's own rules.
    acknowledge: async () => {},
    takeRules: () => takeRules(followers),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('The reader of the log was closed.'));
      transactions.close();
    },
  };
}
