import { BSON } from 'mongodb';
import type { Raw } from './wire.ts';

/** The changes of a fake server in their order, and the events that a change stream makes of them. */

export type Entry = {
  /** Seconds and increment. */
  readonly time: readonly [number, number];
  readonly at: Date;
  readonly transaction?: { readonly lsid: BSON.Document; readonly txnNumber: unknown };
  readonly changes: readonly Change[];
};

export type Change = {
  readonly operation: 'insert' | 'update' | 'replace' | 'delete' | 'drop' | 'rename' | 'dropDatabase' | 'invalidate';
  readonly db: string;
  readonly coll?: string;
  readonly to?: { readonly db: string; readonly coll: string };
  readonly id?: unknown;
  /** The whole document key, where no value of the client library says it. */
  readonly key?: Raw;
  /** Inserts and replacements carry their document, updates don't. */
  readonly document?: Raw;
};

const hex = (value: number) => value.toString(16).padStart(8, '0').toUpperCase();

/** The token of a time by itself: sorts before the events of that time, as the server's own does. */
export function timeToken([seconds, increment]: readonly [number, number]): string {
  return `82${hex(seconds)}${hex(increment)}2B0229296E04`;
}

export function eventToken([seconds, increment]: readonly [number, number], index: number, invalidate = false): string {
  return `82${hex(seconds)}${hex(increment)}2B042C01${hex(index)}${invalidate ? '2D' : '2C'}296E`;
}

export function timestamp([t, i]: readonly [number, number]): BSON.Timestamp {
  return new BSON.Timestamp({ t, i });
}

/** The event of one change; `look`: the document as it is now. */
export function eventOf(entry: Entry, index: number, look: (change: Change) => Raw | null): BSON.Document {
  const change = entry.changes[index] as Change;
  const { operation, db, coll, to, id, key, document } = change;
  return {
    _id: { _data: eventToken(entry.time, index, operation === 'invalidate') },
    operationType: operation,
    clusterTime: timestamp(entry.time),
    wallTime: entry.at,
    ...(entry.transaction && { lsid: entry.transaction.lsid, txnNumber: entry.transaction.txnNumber }),
    ...(operation !== 'invalidate' && { ns: { db, ...(coll !== undefined && { coll }) } }),
    ...(to && { to }),
    ...(id !== undefined && { documentKey: { _id: id } }),
    ...(key && { documentKey: key }),
    ...(document && { fullDocument: document }),
    ...(operation === 'update' && {
      updateDescription: { updatedFields: {}, removedFields: [], truncatedArrays: [] },
      fullDocument: look(change),
    }),
  };
}

/** An event in parts, as `$changeStreamSplitLargeEvent` makes them: top-level fields, never cut themselves. */
export function fragments(event: BSON.Document): BSON.Document[] {
  const { _id, ...rest } = event as { _id: { _data: string } };
  const names = Object.keys(rest);
  const parts =
    names.length > 4 ? [names.slice(0, 3), names.slice(3, -1), names.slice(-1)] : [names.slice(0, 1), names.slice(1)];
  return parts.map((part, i) => ({
    _id: { _data: `${_id._data}46${hex(i + 1)}` },
    splitEvent: { fragment: new BSON.Int32(i + 1), of: new BSON.Int32(parts.length) },
    ...Object.fromEntries(part.map((name) => [name, (rest as BSON.Document)[name]])),
  }));
}
