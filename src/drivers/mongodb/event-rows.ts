import type { RowChange } from '../changes.ts';
import { UnsupportedValue } from '../errors.ts';
import { NEWLINE, TAB } from '../load-text.ts';
import { documentEnd, findId } from './bson-bytes.ts';
import type { ChangeEvent, EventValue } from './change-event.ts';
import type { Connection } from './connection.ts';
import { bufferOf, openCursor } from './cursor.ts';
import { appendRow, hasRoom } from './document-row.ts';
import { type Follower, type Followers, isPassed } from './followed-tables.ts';
import { appendId, idOfKey } from './id-text.ts';
import { clusterTime } from './position.ts';
import { placed, readConcernOf } from './read.ts';
import { createKeptRows, room } from './row-text.ts';

const NOTHING = new Uint8Array(0);

/** Documents by key that were read because an event had none: they had gone when the server looked them up, or moved to another shard. Deletes are among them where that may be. */
export type LookedUp = ReadonlyMap<EventValue, Uint8Array | null | UnsupportedValue>;

/** Events as changes of rows. */
export type EventRows = {
  /** The change that an event is; undefined: none of the copy. Throws `UnsupportedValue` for a document that can't be copied exactly. */
  change(event: ChangeEvent, follower: Follower, lookedUp: LookedUp): RowChange | undefined;
  /** Reads the documents that events lack. Those that are not there any more are null. */
  lookUp(connection: Connection, events: readonly ChangeEvent[], signal: AbortSignal): Promise<LookedUp>;
};

export function createEventRows(followers: Followers): EventRows {
  const text = createKeptRows();

  function keyOf(id: EventValue): string {
    appendId(text, id.type, id.bytes, id.from, id.to);
    const key = text.data.toString('latin1', text.start, text.at);
    text.at = text.start;
    return key;
  }

  function rowOf(
    kind: 'insert' | 'update',
    follower: Follower,
    before: EventValue | undefined,
    bytes: Buffer,
    from: number,
    to: number,
  ): RowChange {
    try {
      appendRow(text, follower.form, bytes, from, to);
      room(text, 1);
    } catch (error) {
      const named = placed(error, follower.table, text.data, text.start, text.at);
      text.at = text.start;
      throw named;
    }
    text.data[text.at++] = NEWLINE;
    const { data, start, at } = text;
    text.start = at;
    const key = data.toString('latin1', start, data.indexOf(TAB, start));
    const own = findId(bytes, from, documentEnd(bytes, from, to));
    // A document that was looked up may be another one by now that compares equal.
    const oldKey = before && own >= 0 && !isSame(before, bytes, own + 5, bytes[own] as number) ? keyOf(before) : key;
    return {
      kind,
      table: follower.index,
      key,
      oldKey: kind === 'update' && oldKey !== key ? oldKey : null,
      data,
      from: start,
      to: at,
      missing: null,
    };
  }

  return {
    change(event, follower, lookedUp) {
      const { id, operation } = event;
      if (!id) throw new Error('The source sent a change that names no document.');
      const gone = (): RowChange | undefined => {
        const key = keyOf(id);
        // The copy has no row of a key that it has no room for.
        if (!hasRoom(follower.form, Buffer.from(key, 'latin1'))) return undefined;
        return {
          kind: 'delete',
          table: follower.index,
          key,
          oldKey: null,
          data: NOTHING,
          from: 0,
          to: 0,
          missing: null,
        };
      };
      const found = lookedUp.get(id);
      if (found instanceof UnsupportedValue) throw found;
      if (operation === 'delete' && !found) return gone();
      const kind = operation === 'insert' ? 'insert' : 'update';
      if (event.document) {
        const { bytes, from, to } = event.document;
        return rowOf(kind, follower, id, bytes, from, to);
      }
      if (found === undefined) throw new Error('The source sent a change without its document.');
      if (found === null) return gone();
      const bytes = bufferOf(found);
      return rowOf(kind, follower, id, bytes, found.byteOffset, found.byteOffset + found.length);
    },

    async lookUp(connection, events, signal) {
      const found = new Map<EventValue, Uint8Array | null | UnsupportedValue>();
      const wanted = new Map<Follower, ChangeEvent[]>();
      for (const event of events) {
        if (event.document || !event.id) continue;
        if (!CHANGES.has(event.operation) && !mayBeElsewhere(event, connection)) continue;
        const follower = followers.find(event.database, event.collection);
        if (!follower || isPassed(follower, event.position)) continue;
        const list = wanted.get(follower);
        if (list) list.push(event);
        else wanted.set(follower, [event]);
      }
      for (const [follower, list] of wanted) {
        try {
          const byKey = await readDocuments(connection, follower, list, keyOf, signal);
          for (const { id } of list) if (id) found.set(id, byKey.get(keyOf(id)) ?? null);
        } catch (error) {
          if (!(error instanceof UnsupportedValue)) throw error;
          // Of this table only.
          for (const { id } of list) if (id) found.set(id, error);
        }
      }
      return found;
    },
  };
}

/** Operations that leave a document. */
const CHANGES: ReadonlySet<string> = new Set(['insert', 'update', 'replace']);
const KEYS_AT_ONCE = 1_000;

/**
 * A document whose shard key changes is deleted on one shard and inserted on another in one transaction, and nothing says that the stream tells the delete
 * first: what is deleted in a transaction over shards is looked for.
 */
function mayBeElsewhere({ operation, transaction }: ChangeEvent, { facts }: Connection): boolean {
  return facts.sharded && operation === 'delete' && transaction !== '';
}

async function readDocuments(
  connection: Connection,
  { table }: Follower,
  events: readonly ChangeEvent[],
  keyOf: (id: EventValue) => string,
  signal: AbortSignal,
): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  const last = events.at(-1) as ChangeEvent;
  for (let i = 0; i < events.length; i += KEYS_AT_ONCE) {
    const keys = new Set(events.slice(i, i + KEYS_AT_ONCE).map(({ id }) => keyOf(id as EventValue)));
    const cursor = await openCursor(
      connection,
      table.ref.schema,
      {
        find: table.ref.name,
        filter: { _id: { $in: [...keys].map(idOfKey) } },
        readConcern: readConcernOf(connection, clusterTime(last.position)),
      },
      { signal },
    );
    try {
      for (let page = cursor.first; ; page = await cursor.next()) {
        for (const document of page.documents) {
          const bytes = bufferOf(document);
          const end = documentEnd(bytes, document.byteOffset, document.byteOffset + document.length);
          const at = findId(bytes, document.byteOffset, end);
          if (at >= 0) found.set(keyOf({ bytes, type: bytes[at] as number, from: at + 5, to: end }), document);
        }
        if (page.last) break;
      }
    } finally {
      await cursor.close();
    }
  }
  return found;
}

function isSame(id: EventValue, bytes: Buffer, from: number, type: number): boolean {
  const length = id.to - id.from;
  return id.type === type && id.bytes.compare(bytes, from, from + length, id.from, id.to) === 0;
}
