import { pipeline, Readable } from 'node:stream';
import { createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { EVENT_HEADER } from './log-events.ts';
import { damaged, readLength } from './table-map.ts';

/** Events of a compressed transaction (`binlog_transaction_compression`), one after the other, without ever holding all of them. */
export type Payload = {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Moves to the next event; false at the end. Answers at once as long as there are unpacked bytes. */
  next(): boolean | Promise<boolean>;
};

const FIELD = { size: 1, compression: 2, unpacked: 3 };
const NONE = 255;
/** Payloads up to here are unpacked in one go. */
const WHOLE = 1_048_576;
const LARGEST_EVENT = 2 ** 30 + 2 ** 20;

/** `source[at, end)` is the body of a TRANSACTION_PAYLOAD event without checksum. */
export function readPayload(source: Buffer, at: number, end: number): Payload {
  const cursor = { at };
  let size = -1;
  let compression = -1;
  let unpacked = -1;
  for (;;) {
    const field = readLength(source, cursor, end);
    if (field === 0) break;
    const length = readLength(source, cursor, end);
    const stop = cursor.at + length;
    if (stop > end) throw damaged('a compressed transaction');
    const value = readLength(source, cursor, stop);
    if (field === FIELD.size) size = value;
    else if (field === FIELD.compression) compression = value;
    else if (field === FIELD.unpacked) unpacked = value;
    cursor.at = stop;
  }
  const packed = source.subarray(cursor.at, end);
  if (size !== packed.length || (compression !== 0 && compression !== NONE)) throw damaged('a compressed transaction');
  if (compression === NONE) return createPayload(packed, undefined);
  if (unpacked >= 0 && unpacked <= WHOLE) return createPayload(unpackWhole(packed, unpacked), undefined);
  return createPayload(Buffer.alloc(0), unpackParts(packed));
}

function unpackWhole(packed: Buffer, length: number): Buffer {
  let whole: Buffer;
  try {
    whole = zstdDecompressSync(packed, { maxOutputLength: WHOLE });
  } catch {
    throw damaged('a compressed transaction');
  }
  if (whole.length !== length) throw damaged('a compressed transaction');
  return whole;
}

async function* unpackParts(packed: Buffer): AsyncGenerator<Buffer, void, undefined> {
  const unpacker = createZstdDecompress({ chunkSize: 262_144 });
  function* pieces(): Generator<Buffer> {
    for (let at = 0; at < packed.length; at += 65_536) yield packed.subarray(at, at + 65_536);
  }
  const stream = pipeline(Readable.from(pieces()), unpacker, () => {});
  try {
    yield* stream as AsyncIterable<Buffer>;
  } catch {
    throw damaged('a compressed transaction');
  } finally {
    unpacker.destroy();
  }
}

function createPayload(first: Buffer, more: AsyncGenerator<Buffer, void, undefined> | undefined): Payload {
  const payload = { bytes: first, start: 0, end: 0, next };
  let bytes = first;
  let at = 0;

  function next(): boolean | Promise<boolean> {
    const left = bytes.length - at;
    const size = left >= EVENT_HEADER ? bytes.readUInt32LE(at + 9) : EVENT_HEADER;
    if (size < EVENT_HEADER || size > LARGEST_EVENT) throw damaged('a compressed transaction');
    if (left >= size && left > 0) {
      payload.bytes = bytes;
      payload.start = at;
      payload.end = at + size;
      at += size;
      return true;
    }
    if (more) return pull(size);
    if (left > 0) throw damaged('a compressed transaction');
    return false;
  }

  /** Unpacks until an event of `size` bytes is whole, if there is one. */
  async function pull(size: number): Promise<boolean> {
    const parts = [bytes.subarray(at)];
    let length = bytes.length - at;
    while (length < size) {
      const part = await more?.next();
      if (!part || part.done) {
        more = undefined;
        break;
      }
      parts.push(part.value);
      length += part.value.length;
    }
    bytes = Buffer.concat(parts);
    at = 0;
    return next();
  }

  return payload;
}
