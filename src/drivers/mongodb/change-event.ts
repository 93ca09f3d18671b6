import { damaged, type Element, elementsOf, int32, TYPE } from './bson-bytes.ts';
import { bufferOf } from './cursor.ts';
import type { StreamPosition } from './position.ts';

/** A value inside an event. */
export type EventValue = Element & { readonly bytes: Buffer };

/** A change event (https://www.mongodb.com/docs/manual/reference/change-events/), its documents still bytes. */
export type ChangeEvent = {
  readonly operation: string;
  /** Its cluster time and resume token. */
  readonly position: StreamPosition;
  /** When it was committed, ms since 1970. */
  readonly at: number;
  readonly database: string;
  /** '' for events of a whole database. */
  readonly collection: string;
  /** What a renamed collection is called now. */
  readonly renamed: { readonly database: string; readonly collection: string } | undefined;
  /** The transaction it belongs to; '' where it is one by itself. */
  readonly transaction: string;
  /** The `_id` of its document. */
  readonly id: EventValue | undefined;
  /** The whole document, as far as the server has it. */
  readonly document: EventValue | undefined;
};

/** Puts events together that the server has split because they are larger than 16 MB. */
export type EventReader = {
  /** The event that ends with this document; undefined: it goes on. */
  read(document: Uint8Array): ChangeEvent | undefined;
  /** Parts of an event have come, and its last one has not: no token of such a place can be gone on from, since the parts would be missing. */
  readonly inside: boolean;
};

type Fields = Map<string, EventValue>;

export function createEventReader(): EventReader {
  let parts: Fields | undefined;
  let fragments = 0;
  return {
    read(document) {
      const bytes = bufferOf(document);
      const from = document.byteOffset;
      const fields: Fields = new Map();
      for (const [name, element] of elementsOf(bytes, from, from + document.length))
        fields.set(name, { ...element, bytes });
      const split = fields.get('splitEvent');
      if (!split) {
        if (parts) throw new Error('The source sent the beginning of a split event without its end.');
        return eventOf(fields);
      }
      const { fragment, of } = splitOf(split);
      if (fragment !== fragments + 1) throw new Error('The source sent the parts of a split event out of order.');
      // The token of the last part is that of the event.
      const all = new Map([...(parts ?? []), ...fields]);
      parts = fragment === of ? undefined : all;
      fragments = fragment === of ? 0 : fragment;
      return fragment === of ? eventOf(all) : undefined;
    },
    get inside() {
      return parts !== undefined;
    },
  };
}

function splitOf(value: EventValue): { fragment: number; of: number } {
  const fields = inside(value);
  return { fragment: integer(fields.get('fragment')), of: integer(fields.get('of')) };
}

function eventOf(fields: Fields): ChangeEvent {
  const token = fields.get('_id');
  const time = fields.get('clusterTime');
  const operation = text(fields.get('operationType'));
  if (!token || !time || time.type !== TYPE.timestamp || operation === '')
    throw new Error('The source sent an event without a type, a time or a token.');
  const seconds = int32(time.bytes, time.from + 4) >>> 0;
  const namespace = inside(fields.get('ns'));
  const renamed = inside(fields.get('to'));
  const wall = fields.get('wallTime');
  const document = fields.get('fullDocument');
  return {
    operation,
    position: { seconds, increment: int32(time.bytes, time.from) >>> 0, ...tokenOf(inside(token)) },
    at: wall?.type === TYPE.date ? Number(wall.bytes.readBigInt64LE(wall.from)) : seconds * 1000,
    database: text(namespace.get('db')),
    collection: text(namespace.get('coll')),
    renamed:
      renamed.size > 0 ? { database: text(renamed.get('db')), collection: text(renamed.get('coll')) } : undefined,
    transaction: transactionOf(fields.get('lsid'), fields.get('txnNumber')),
    id: inside(fields.get('documentKey')).get('_id'),
    document: document?.type === TYPE.object ? document : undefined,
  };
}

function tokenOf(fields: Fields): Pick<StreamPosition, 'token' | 'bits'> {
  const bits = fields.get('_typeBits');
  const token = text(fields.get('_data'));
  if (!/^82/.test(token)) throw new Error('The source sent an event whose resume token is not known.');
  return { token: token.toUpperCase(), ...(bits && { bits: bits.bytes.toString('base64', bits.from + 5, bits.to) }) };
}

function transactionOf(session: EventValue | undefined, number: EventValue | undefined): string {
  if (!session || !number) return '';
  return `${session.bytes.toString('latin1', session.from, session.to)}${number.bytes.toString('latin1', number.from, number.to)}`;
}

const NOTHING: Fields = new Map();

function inside(value: EventValue | undefined): Fields {
  if (!value || value.type !== TYPE.object) return NOTHING;
  const fields: Fields = new Map();
  for (const [name, element] of elementsOf(value.bytes, value.from, value.to))
    fields.set(name, { ...element, bytes: value.bytes });
  return fields;
}

function text(value: EventValue | undefined): string {
  if (!value || value.type !== TYPE.string) return '';
  return value.bytes.toString('utf8', value.from + 4, value.to - 1);
}

function integer(value: EventValue | undefined): number {
  if (value?.type === TYPE.int) return int32(value.bytes, value.from);
  if (value?.type === TYPE.long) return Number(value.bytes.readBigInt64LE(value.from));
  throw damaged('a split event does not say which part it is');
}
