import type { Capture, CaptureRequest, LogEvent } from '../changes.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import type { Position } from '../model.ts';
import { checkPosition, idsAt, type Opening } from './capture-start.ts';
import { readCharsets } from './charsets.ts';
import type { Connection } from './connection.ts';
import { createFollowers } from './followed-tables.ts';
import { createLogDecoder } from './log-decoder.ts';
import { createGroups } from './log-groups.ts';
import type { LogPlace } from './log-place.ts';
import { createProgress, type LogEnd } from './log-progress.ts';
import { createStatements } from './log-statements.ts';
import { type LogStream, openLogStream, TornLog, unreadable } from './log-stream.ts';
import type { Payload } from './payload.ts';
import type { Pool } from './pool.ts';
import { decodePosition, serverIds, writtenEnd } from './position.ts';
import { rereadKeys } from './reread.ts';
import { structureNow, viewCatalog } from './structure-now.ts';

/** A piece of events is given out at about this size. */
const PIECE_BYTES = 1_048_576;
/** So often at least a reader that has nothing to deliver says where it stands. */
const PROGRESS_MS = 1_000;
/** So many events are taken between two looks at the clock and at other work. */
const EVENTS_AT_ONCE = 1_000;

/** Opens a reader of the binlog. Throws `PositionLost` when the log does not reach back to `from`. */
export async function openCapture(
  pool: Pool,
  request: CaptureRequest,
  refuse: boolean,
  signal: AbortSignal,
): Promise<Capture> {
  signal.throwIfAborted();
  const opening = await checkPosition(pool, request, signal);
  const { views, charsets, end } = await pool.lend(async (connection) => {
    const views = await viewCatalog(
      connection,
      request.tables.map(({ table }) => table),
    );
    const charsets = await readCharsets(connection);
    for (const charset of new Set(views.flatMap(({ layout }) => layout?.map((column) => column?.charset ?? '') ?? [])))
      await charsets.load(connection, charset);
    return { views, charsets, end: await endOf(connection) };
  }, signal);
  const { facts, from, server, useGtids } = opening;
  const followers = createFollowers(request.tables, views, facts, server, refuse);
  const progress = createProgress(from, facts.product, server, useGtids);
  const groups = createGroups(followers, progress);
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const rereading = AbortSignal.any([after(signal, REREAD_GRACE_MS), stop.signal]);
  const decoder = createLogDecoder({
    followers,
    groups,
    progress,
    charsets,
    loadCharsets: (names) =>
      pool.lend(async (connection) => {
        for (const name of names) await charsets.load(connection, name);
      }, ending),
    statement: createStatements(followers, groups, charsets, (follower, effect) =>
      structureNow(pool, follower, effect, progress.place, refuse, ending),
    ),
  });

  const opened = progress.position();
  /** What the consumer has been given. */
  let delivered: Position = request.from;

  async function* events(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const connection = await pool.take(ending);
    const abort = () => connection.destroy();
    ending.addEventListener('abort', abort, { once: true });
    try {
      // A session that was kept is taken without a look at the signal.
      ending.throwIfAborted();
      const stream = await openLogStream(connection, dumpFrom(opening), request.until === 'written');
      yield* pieces(stream);
    } catch (error) {
      if (ending.aborted) throw ending.reason;
      if (error instanceof TornLog) yield* beforeTornEnd(error);
      throw error;
    } finally {
      ending.removeEventListener('abort', abort);
      await pool.kill(connection);
    }
  }

  /** What is whole before the torn end of a file counts; with that the next reader begins in the file behind it, or finds that more is missing. */
  function* beforeTornEnd({ message }: TornLog): Generator<readonly LogEvent[], never, undefined> {
    for (let list = groups.take(PIECE_BYTES); list.length > 0; list = groups.take(PIECE_BYTES)) yield list;
    if (facts.product !== 'MariaDB' || idsOf(progress.position()) === idsOf(opened)) throw unreadable(message);
    delivered = progress.position();
    if (!groups.current.delivered) yield [{ kind: 'progress', position: delivered, atEnd: false }];
    throw new Error(`The source died while it wrote its log (${message}). It is read on from its next file.`);
  }

  async function* pieces(stream: LogStream): AsyncGenerator<readonly LogEvent[], void, undefined> {
    let goal: LogPlace | undefined = request.until === 'written' ? end : undefined;
    let said = performance.now();
    let asked = said;
    let payload: Payload | undefined;
    let beats = 0;
    let asking = false;

    /** Asks, beside the reading, where the log ends now. */
    function ask(): void {
      if (asking || goal) return;
      asking = true;
      pool
        .lend(writtenEnd, ending)
        .then(({ file = '', offset = 0 }) => {
          goal = { file, offset };
        })
        .catch(() => {})
        .finally(() => {
          asking = false;
        });
    }

    const piece = (): LogEvent[] => {
      const list = groups.take(PIECE_BYTES);
      if (list.length > 0) said = performance.now();
      const commit = list.findLast((event) => event.kind === 'commit');
      if (commit?.kind === 'commit') delivered = commit.position;
      return list;
    };
    const progressEvent = (atEnd: boolean): LogEvent[] => {
      said = performance.now();
      delivered = progress.position();
      return [{ kind: 'progress', position: delivered, atEnd }];
    };

    for (;;) {
      let taken = 0;
      while (groups.readyBytes < PIECE_BYTES && taken < EVENTS_AT_ONCE) {
        if (payload) {
          const next = payload.next();
          if (!(typeof next === 'boolean' ? next : await next)) payload = undefined;
          else {
            taken++;
            const pending = decoder.take(payload.bytes, payload.start, payload.end, true);
            if (pending) await pending;
          }
          continue;
        }
        if (request.until === 'written' && groups.idle && progress.reachedPlace(end)) {
          while (groups.readyBytes > 0) yield piece();
          yield progressEvent(true);
          return;
        }
        if (!stream.next()) break;
        taken++;
        const { bytes, start, end: stop } = stream.packets;
        const pending = decoder.take(bytes, start + 1, stop, false);
        if (pending) await pending;
        payload = decoder.takePayload();
      }
      const full = groups.readyBytes >= PIECE_BYTES || taken === EVENTS_AT_ONCE;
      if (groups.readyBytes > 0) yield piece();
      if (groups.idle && groups.readyBytes === 0) {
        const atEnd = goal !== undefined && progress.reachedPlace(goal);
        const idle = decoder.heartbeats > beats;
        beats = decoder.heartbeats;
        const now = performance.now();
        if (request.until === 'forever' && (atEnd || idle)) {
          yield progressEvent(true);
          goal = undefined;
        } else if (now - said > PROGRESS_MS && progress.boundary.file !== '') yield progressEvent(false);
        if (now - asked > PROGRESS_MS) {
          asked = now;
          ask();
        }
      }
      if (full || payload) continue;
      if (await stream.wait()) continue;
      // The server's word alone is not enough: a session that is ended there, or a server that shuts down, may say the same.
      if (!groups.idle) throw new Error('The log ended in the middle of a transaction.');
      if (request.until === 'forever' || !progress.cameTo(end))
        throw new Error('The source ended the reading of its log before the log’s end. It is read on.');
      // What it left out is contained already.
      if (!progress.reachedPlace(end)) {
        progress.moveTo(end);
        progress.passGroup();
      }
      yield progressEvent(true);
      return;
    }
  }

  return {
    events,
    reread: (table, keys) => {
      const follower = followers.all[table];
      if (!follower) throw new RangeError(`There is no followed table ${table}.`);
      return rereadKeys(pool, follower.table, keys, { ...opening, position: delivered }, refuse, rereading);
    },
    // The binlog is kept by the server's own rules.
    acknowledge: async () => {},
    takeRules: followers.takeRules,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('The reader of the log was closed.'));
    },
  };
}

/** The end of the log, and the ids of what it holds up to there: all that count as executed (MySQL), or the last of each domain (MariaDB). */
async function endOf(connection: Connection): Promise<LogEnd> {
  const { file = '', offset = 0 } = await writtenEnd(connection);
  if (connection.facts.product === 'MariaDB')
    return { file, offset, ids: (await idsAt(connection, file, offset)) ?? undefined };
  const executed = (await serverIds(connection))?.gtids
    ? await connection.query('select @@global.gtid_executed')
    : undefined;
  return { file, offset, ids: executed?.[0]?.[0]?.replace(/\s/g, '') };
}

function idsOf(position: Position): string | undefined {
  return decodePosition(position)?.gtid;
}

function dumpFrom({ from, useGtids, gtids, domains }: Opening) {
  if (useGtids && gtids) return { gtids };
  if (domains !== undefined) return { domains };
  const place = from.since ?? { file: from.file ?? '', offset: from.offset ?? 4 };
  // The command holds 32 bits: from further on the file is read from its start, and what was delivered is passed over.
  return { place: place.offset > 0xffff_ffff ? { file: place.file, offset: 4 } : place };
}
