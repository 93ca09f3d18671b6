import type { Document } from 'mongodb';
import type { TableRef } from '../model.ts';
import { type ChangeEvent, createEventReader } from './change-event.ts';
import { type Connection, isAtLeast } from './connection.ts';
import { type Cursor, openCursor } from './cursor.ts';
import { errorNumber } from './errors.ts';
import { clusterTime, compareTimes, resumeToken, type StreamPosition, tokenParts, tokenTime } from './position.ts';

/** What one answer of the server brought. */
export type StreamPage = {
  readonly events: readonly ChangeEvent[];
  /** Where the stream stands after them, by the server's own word; undefined: it said nothing. */
  readonly standing: StreamPosition | undefined;
  /** The server has looked at everything that it had, and found nothing. */
  readonly empty: boolean;
};

export type StreamRequest = {
  readonly from: StreamPosition;
  readonly tables: readonly TableRef[];
  /** How long the server waits for events, ms. */
  readonly wait: number;
  readonly signal: AbortSignal;
};

/** The database that is watched for tables; '' where they lie in several. */
export function watchedFor(tables: readonly TableRef[]): string {
  const databases = new Set(tables.map(({ schema }) => schema));
  return databases.size === 1 ? ([...databases][0] as string) : '';
}

/** The pages of a change stream until the signal aborts. After an `invalidate` it is opened anew behind it. */
export async function* streamPages(
  connection: Connection,
  { from, tables, wait, signal }: StreamRequest,
): AsyncGenerator<StreamPage, never, undefined> {
  const watched = watchedFor(tables);
  let position = from;
  for (;;) {
    const cursor = await openStream(connection, watched, position, tables, wait, signal);
    try {
      const reader = createEventReader();
      for (let page = cursor.first; ; ) {
        // Asked for beside the work on this one; one without events is none, and may be the last that is wanted.
        const next = page.last || page.documents.length === 0 ? undefined : cursor.next();
        next?.catch(() => {});
        const events = page.documents
          .flatMap((document) => reader.read(document) ?? [])
          .map((event) => within(event, watched));
        const token = page.resumeToken && tokenParts(page.resumeToken);
        const standing =
          token?.token === undefined || reader.inside ? undefined : { ...tokenTime(token.token), ...token, watched };
        yield { events, standing, empty: page.documents.length === 0 };
        const last = events.at(-1);
        if (standing) position = standing;
        else if (last) position = last.position;
        if (last?.operation === 'invalidate') {
          position = { ...last.position, ended: true };
          break;
        }
        if (page.last) throw new Error('The source has ended its change stream.');
        page = await (next ?? cursor.next());
      }
    } finally {
      await cursor.close();
    }
  }
}

function within(event: ChangeEvent, watched: string): ChangeEvent {
  const ended = event.operation === 'invalidate' && { ended: true as const };
  return { ...event, position: { ...event.position, ...ended, watched } };
}

/**
 * Opens a stream behind a position. A token may name an event of a collection that is not followed any more, which a server may not find: when it is
 * there for a stream that leaves nothing out, its time will do.
 */
async function openStream(
  connection: Connection,
  watched: string,
  from: StreamPosition,
  tables: readonly TableRef[],
  wait: number,
  signal: AbortSignal,
): Promise<Cursor> {
  const token = from.watched === watched ? resumeToken(from) : undefined;
  try {
    return await openBehind(connection, watched, from, token, tables, wait, signal);
  } catch (error) {
    if (errorNumber(error) !== NO_SUCH_EVENT || token === undefined || from.ended) throw error;
    if (!(await isThere(connection, watched, token, signal))) throw error;
    return openBehind(connection, watched, from, undefined, tables, wait, signal);
  }
}
const NO_SUCH_EVENT = 280;

async function isThere(
  connection: Connection,
  watched: string,
  resumeAfter: Document,
  signal: AbortSignal,
): Promise<boolean> {
  const whole = watched === '' && { allChangesForCluster: true };
  const pipeline = [{ $changeStream: { ...whole, resumeAfter } }];
  try {
    const database = watched === '' ? 'admin' : watched;
    const cursor = await openCursor(
      connection,
      database,
      { aggregate: 1, pipeline, cursor: { batchSize: 1 } },
      { signal },
    );
    await cursor.close();
    return true;
  } catch (error) {
    if (errorNumber(error) === undefined) throw error;
    return false;
  }
}

function openBehind(
  connection: Connection,
  watched: string,
  from: StreamPosition,
  token: Document | undefined,
  tables: readonly TableRef[],
  wait: number,
  signal: AbortSignal,
): Promise<Cursor> {
  const stage = {
    fullDocument: 'updateLookup',
    ...(watched === '' && { allChangesForCluster: true }),
    // A token of another stream may name an event that this one does not see.
    ...(token === undefined
      ? { startAtOperationTime: clusterTime(from) }
      : from.ended
        ? { startAfter: token }
        : { resumeAfter: token }),
  };
  return openCursor(
    connection,
    watched === '' ? 'admin' : watched,
    {
      aggregate: 1,
      pipeline: [
        { $changeStream: stage },
        { $match: { $or: about(tables) } },
        // What became of a document is read from the document itself; the list of its changes may be larger than it.
        { $unset: ['updateDescription', 'fullDocumentBeforeChange'] },
        ...(splitsEvents(connection) ? [{ $changeStreamSplitLargeEvent: {} }] : []),
      ],
      cursor: {},
      readConcern: { level: 'majority' },
    },
    { wait, signal },
  );
}

/** From 7.0 on, and in 6.0 from 6.0.9 on. */
function splitsEvents({ facts }: Connection): boolean {
  return isAtLeast(facts, 7) || (isAtLeast(facts, 6, 0, 9) && !isAtLeast(facts, 6, 1));
}

/** Which events concern the tables. */
function about(tables: readonly TableRef[]): Document[] {
  const conditions: Document[] = [{ operationType: 'invalidate' }];
  for (const [database, group] of Map.groupBy(tables, ({ schema }) => schema)) {
    const names = group.map(({ name }) => name);
    conditions.push(
      { 'ns.db': database, 'ns.coll': { $in: names } },
      { 'to.db': database, 'to.coll': { $in: names } },
      { 'ns.db': database, operationType: 'dropDatabase' },
    );
  }
  return conditions;
}

/** The later of two positions; of two that are the same the first, which may know more of itself (`ended`, `whole`). */
export function later(a: StreamPosition, b: StreamPosition): StreamPosition {
  const order = compareTimes(a, b);
  if (order !== 0) return order > 0 ? a : b;
  return (a.token ?? '') >= (b.token ?? '') ? a : b;
}
