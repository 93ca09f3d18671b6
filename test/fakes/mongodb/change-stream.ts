import type { BSON } from 'mongodb';
import { type Entry, eventOf, eventToken, fragments, timeToken } from './oplog.ts';
import type { Store } from './store.ts';
import { matches } from './values.ts';
import { CommandError, serializeAnswer } from './wire.ts';

/** One open change stream of a fake server. */
export type Stream = {
  /** Documents of the next batch; waits for the first one up to `waitMs`. */
  batch(most: number, waitMs: number): Promise<BSON.Document[]>;
  /** The post-batch token. */
  token(): BSON.Document;
  /** An `invalidate` was delivered: the cursor has ended. */
  readonly ended: boolean;
};

type Stage = BSON.Document & {
  readonly startAtOperationTime?: BSON.Timestamp;
  readonly resumeAfter?: { readonly _data: string };
  readonly startAfter?: { readonly _data: string };
  readonly fullDocument?: string;
};

export function openStream(store: Store, database: string, pipeline: readonly BSON.Document[]): Stream {
  const stage = pipeline[0]?.['$changeStream'] as Stage;
  const filters = pipeline.flatMap((one) => (one['$match'] as BSON.Document | undefined) ?? []);
  const unset = pipeline.flatMap((one) => (one['$unset'] as string[] | undefined) ?? []);
  const splits = pipeline.some((one) => one['$changeStreamSplitLargeEvent'] !== undefined);
  const whole = Boolean(stage['allChangesForCluster']);
  if (whole !== (database === 'admin'))
    throw new CommandError(20, 'IllegalOperation', 'a stream on the cluster runs on admin');
  /** Tokens up to here have been looked at. */
  let after: string;
  /** Found, and not given out yet: a batch may end between the parts of an event. */
  const queue: BSON.Document[] = [];
  const resume = stage.resumeAfter ?? stage.startAfter;
  if (resume) {
    after = String(resume._data);
    const times = [Number.parseInt(after.slice(2, 10), 16), Number.parseInt(after.slice(10, 18), 16)] as const;
    const invalidated = after.includes('2D296E');
    if (invalidated && stage.resumeAfter)
      throw new CommandError(
        260,
        'InvalidResumeToken',
        'Attempting to resume a change stream using resumeAfter is not allowed from an invalidate notification.',
      );
    reach(times);
    let known = false;
    for (const entry of store.entries)
      for (const index of entry.changes.keys())
        for (const token of [false, true].map((flag) => eventToken(entry.time, index, flag))) {
          if (!after.startsWith(token)) continue;
          const event = told(entry, index);
          known ||= !store.strictTokens || event !== undefined;
          // Behind a part of an event come the others.
          if (event && after !== token) queue.push(...sized(event).filter((part) => part['_id']._data > after));
        }
    if (!known && after.includes('2B042C01'))
      throw new CommandError(280, 'ChangeStreamFatalError', 'cannot resume stream; the resume token was not found.');
  } else {
    const from = stage.startAtOperationTime;
    const time: readonly [number, number] = from ? [from.t, from.i] : store.now;
    reach(time);
    after = timeToken(time);
  }
  let invalidated = false;
  let last = after;

  function reach(time: readonly [number, number]): void {
    const [first] = store.lost;
    if (time[0] < first)
      throw new CommandError(
        286,
        'ChangeStreamHistoryLost',
        'Resume of change stream was not possible, as the resume point may no longer be in the oplog.',
      );
  }

  /** The event that the stream tells of a change, if it does. */
  function told(entry: Entry, index: number): BSON.Document | undefined {
    const change = entry.changes[index] as Entry['changes'][number];
    if (!whole && change.db !== database) return undefined;
    // The cluster's own stream is never invalidated.
    if (change.operation === 'invalidate' && whole) return undefined;
    const event = eventOf(entry, index, ({ db, coll, id }) =>
      stage.fullDocument === 'updateLookup' ? store.find(db, coll ?? '', id) : null,
    );
    for (const name of unset) delete event[name];
    return filters.every((filter) => matches(event, filter)) ? event : undefined;
  }

  function pending(most: number): BSON.Document[] {
    fill(most);
    const given = queue.splice(0, most);
    const tail = given.at(-1);
    // Where nothing is left to tell, the stream stands at the time of the last entry.
    const end = timeToken(store.now);
    if (tail) last = String(tail['_id']._data);
    else if (end > last) last = end;
    return given;
  }

  function fill(most: number): void {
    for (const entry of store.entries) {
      if (timeToken(entry.time) < after && eventToken(entry.time, 0xffff) < after) continue;
      for (const [index] of entry.changes.entries()) {
        const invalidate = entry.changes[index]?.operation === 'invalidate';
        const token = eventToken(entry.time, index, invalidate);
        if (token <= after || after.startsWith(token)) continue;
        if (queue.length >= most || invalidated) return;
        after = token;
        const event = told(entry, index);
        if (!event) continue;
        queue.push(...sized(event));
        if (invalidate) invalidated = true;
      }
    }
  }

  function sized(event: BSON.Document): BSON.Document[] {
    if (serializeAnswer(event).length <= store.largestEvent) return [event];
    if (!splits) throw new CommandError(10334, 'BSONObjectTooLarge', 'BSONObj size is invalid');
    return fragments(event);
  }

  return {
    async batch(most, waitMs) {
      for (const until = Date.now() + waitMs; ; ) {
        const found = pending(most);
        if (found.length > 0 || Date.now() >= until) return found;
        await store.changed(until - Date.now());
      }
    },
    token: () => ({ _data: last }),
    get ended() {
      return invalidated && queue.length === 0;
    },
  };
}
