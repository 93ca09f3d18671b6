import { BSON, type Document } from 'mongodb';
import type { Position } from '../model.ts';
import type { LogState } from '../source.ts';
import { type Connection, numberOf } from './connection.ts';
import { errorNumber } from './errors.ts';
import { decodePosition } from './position.ts';

/** The oplog of a replica set: seconds since 1970 of its ends, its bytes now and at most. */
export type Oplog = {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly most: number;
};

/** null where the user may not read it, and on a sharded cluster, where each shard has its own. */
export async function readOplog(connection: Connection): Promise<Oplog | null> {
  if (connection.facts.setName === undefined) return null;
  try {
    const [first, last] = await Promise.all([entryAt(connection, 1), entryAt(connection, -1)]);
    const stats = await connection.command('local', { collStats: OPLOG });
    const bytes = numberOf(stats['size']);
    const most = numberOf(stats['maxSize']);
    if (first === undefined || last === undefined || !(bytes > 0)) return null;
    return { first, last, bytes, most: most > 0 ? most : bytes };
  } catch (error) {
    if (errorNumber(error) === undefined) throw error;
    return null;
  }
}
const OPLOG = 'oplog.rs';

/** The hours that a full oplog will reach back, at the pace of its growth so far. */
export function windowHours({ first, last, bytes, most }: Oplog): number {
  return ((last - first) * Math.max(1, most / bytes)) / 3600;
}

async function entryAt(connection: Connection, direction: 1 | -1): Promise<number | undefined> {
  const answer = await connection.command('local', {
    find: OPLOG,
    sort: { $natural: direction },
    projection: { ts: 1 },
    limit: 1,
    singleBatch: true,
  });
  const [entry] = (answer['cursor'] as Document)['firstBatch'] as Document[];
  const time: unknown = entry?.['ts'];
  return time instanceof BSON.Timestamp ? time.t >>> 0 : undefined;
}

/** How far a reader is behind the oplog's end, and when the source will have dropped what it has not read. */
export async function logState(connection: Connection, text: Position): Promise<LogState> {
  const unknown = { bytes: null, hoursLeft: null, lost: null };
  const position = decodePosition(text);
  if (!position) return unknown;
  const oplog = await readOplog(connection);
  if (!oplog) return unknown;
  const { first, last, bytes } = oplog;
  if (position.seconds < first)
    return { bytes: null, hoursLeft: 0, lost: 'The oplog of the source begins after the position.' };
  const behind = Math.max(0, last - position.seconds);
  return {
    bytes: last > first ? Math.round((bytes * behind) / (last - first)) : 0,
    hoursLeft: Math.max(0, windowHours(oplog) - behind / 3600),
    lost: null,
  };
}
