import { PositionLost } from '../errors.ts';
import type { Position } from '../model.ts';
import type { LogState } from '../source.ts';
import { checkFile, checkSets, logFiles } from './capture-start.ts';
import type { Connection } from './connection.ts';
import { EVENT, eventSeconds, eventType } from './log-events.ts';
import { comparePlaces, placeOf } from './log-place.ts';
import { openLogStream } from './log-stream.ts';
import type { Pool } from './pool.ts';
import { decodePosition, type LogPosition, serverIds } from './position.ts';
import { globalVariables, retentionSeconds } from './retention.ts';

/** A look at the state does not wait long; the reader itself does. */
const LAG_MS = 1_000;

/** How far a reader is behind the log's end, and when the server will delete what it has not read. */
export async function logState(pool: Pool, text: Position): Promise<LogState> {
  const position = decodePosition(text);
  if (!position) return { bytes: null, hoursLeft: null, lost: null };
  const { files, seconds, lost, isServer } = await pool.lend(async (connection) => ({
    files: await logFiles(connection),
    seconds: retentionSeconds(await globalVariables(connection)),
    lost: await whyLost(connection, position),
    isServer: await isSameServer(connection, position),
  }));
  const place = placeOf(position);
  if (lost !== null || !place || !isServer) return { bytes: null, hoursLeft: lost === null ? null : 0, lost };
  const bytes = files.reduce((sum, { name, bytes }) => {
    const order = comparePlaces({ file: name, offset: 0 }, { file: place.file, offset: 0 });
    return order < 0 ? sum : sum + (order > 0 ? bytes : Math.max(0, bytes - place.offset));
  }, 0);
  if (seconds === null) return { bytes, hoursLeft: null, lost: null };
  const next = files.find(({ name }) => comparePlaces({ file: name, offset: 0 }, { file: place.file, offset: 0 }) > 0);
  // The file that is written to is never deleted: its time starts when the next one begins.
  if (!next) return { bytes, hoursLeft: seconds / 3600, lost: null };
  const closed = await beginOf(pool, next.name);
  const age = closed === undefined ? 0 : closed.now - closed.begun;
  return { bytes, hoursLeft: closed === undefined ? null : Math.max(0, (seconds - age) / 3600), lost: null };
}

async function isSameServer(connection: Connection, { server }: LogPosition): Promise<boolean> {
  return server === undefined || (await serverIds(connection))?.server === server;
}

async function whyLost(connection: Connection, position: LogPosition): Promise<string | null> {
  try {
    if (connection.facts.product === 'MySQL' && position.gtid !== undefined)
      await checkSets(connection, position.gtid, LAG_MS, new AbortController().signal);
    else if (position.file !== undefined) await checkFile(connection, position, false);
    return null;
  } catch (error) {
    if (error instanceof PositionLost) return error.message;
    throw error;
  }
}

/** When a file of the log was begun, by the server's clock. */
async function beginOf(
  pool: Pool,
  file: string,
): Promise<{ readonly begun: number; readonly now: number } | undefined> {
  const connection = await pool.take();
  try {
    const [row] = await connection.query('select unix_timestamp()');
    const stream = await openLogStream(connection, { place: { file, offset: 4 } }, true);
    do {
      while (stream.next()) {
        const { bytes, start } = stream.packets;
        if (eventType(bytes, start + 1) === EVENT.format)
          return { begun: eventSeconds(bytes, start + 1), now: Number(row?.[0] ?? '0') };
      }
    } while (await stream.wait());
    return undefined;
  } catch (error) {
    // Deleted meanwhile: the next look finds the position lost.
    if (error instanceof PositionLost) return undefined;
    throw error;
  } finally {
    await pool.kill(connection);
  }
}
