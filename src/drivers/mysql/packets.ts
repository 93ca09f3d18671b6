import { Buffer } from 'node:buffer';

/**
 * Packets of the MySQL protocol out of the socket's chunks, one at a time. A packet that lies within its chunk is handed out in place;
 * one that the network has cut, or that goes on because it is 16 MB long, is put together in a buffer of its own.
 */
export type Packets = {
  /** The current packet, header left out: `bytes[start, end)`. Valid until the next call of `next`, and for as long as it is referenced. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Gives the next chunk; only after `next` has returned false. */
  push(chunk: Buffer): void;
  /** Moves to the next packet; false when the chunk holds no whole one any more. Throws when packets are out of order. */
  next(): boolean;
  /** The next packet belongs to a new command: its number is `sequence`. */
  restart(sequence: number): void;
};

const LARGEST_PACKET = 0xffffff;
const HEADER = 4;
/** Where a binlog event says its own length, behind the packet's status byte. */
const EVENT_SIZE = 10;
/** The server builds no event over 1 GB. */
const LARGEST_EVENT = 2 ** 30 + 2 ** 20;

export function createPackets(): Packets {
  let chunk: Buffer = Buffer.alloc(0);
  let at = 0;
  let sequence = 1;
  const head = Buffer.alloc(HEADER);
  let headFilled = 0;
  /** A packet that is being put together, with its bytes so far and the bytes to come of the current part. */
  let whole: Buffer | undefined;
  let filled = 0;
  let left = 0;
  let more = false;

  function header(bytes: Buffer, from: number): number {
    if (bytes[from + 3] !== sequence) throw new Error('The server sent its packets out of order.');
    sequence = (sequence + 1) & 255;
    return (bytes[from] as number) | ((bytes[from + 1] as number) << 8) | ((bytes[from + 2] as number) << 16);
  }

  function begin(length: number): void {
    left = length;
    more = length === LARGEST_PACKET;
    if (!whole) {
      whole = Buffer.allocUnsafeSlow(length);
      filled = 0;
      return;
    }
    if (whole.length >= filled + length) return;
    const size = filled >= EVENT_SIZE + 4 ? whole.readUInt32LE(EVENT_SIZE) + 1 : 0;
    if (filled + length > LARGEST_EVENT) throw new Error('The server sent an event that is longer than any can be.');
    const larger = Buffer.allocUnsafeSlow(Math.min(LARGEST_EVENT, Math.max(size, filled + length)));
    whole.copy(larger, 0, 0, filled);
    whole = larger;
  }

  const packets = { bytes: chunk, start: 0, end: 0, push, next, restart };

  function push(next: Buffer): void {
    chunk = next;
    at = 0;
  }

  function restart(next: number): void {
    sequence = next;
  }

  function next(): boolean {
    for (;;) {
      if (whole && (left > 0 || !more)) {
        const taken = Math.min(left, chunk.length - at);
        chunk.copy(whole, filled, at, at + taken);
        filled += taken;
        at += taken;
        left -= taken;
        if (left > 0) return false;
        if (!more) {
          packets.bytes = whole;
          packets.start = 0;
          packets.end = filled;
          whole = undefined;
          return true;
        }
      }
      if (headFilled === 0 && chunk.length - at >= HEADER) {
        const length = header(chunk, at);
        at += HEADER;
        if (!whole && length < LARGEST_PACKET && chunk.length - at >= length) {
          packets.bytes = chunk;
          packets.start = at;
          packets.end = at + length;
          at += length;
          return true;
        }
        begin(length);
        continue;
      }
      const taken = Math.min(HEADER - headFilled, chunk.length - at);
      if (taken === 0) return false;
      chunk.copy(head, headFilled, at, at + taken);
      at += taken;
      headFilled += taken;
      if (headFilled < HEADER) return false;
      headFilled = 0;
      begin(header(head, 0));
    }
  }

  return packets;
}
