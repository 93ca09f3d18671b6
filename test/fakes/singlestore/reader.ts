import type { Socket } from 'node:net';
import { MAX_FRAME } from './packets.ts';

/** One packet of a client, joined from its frames. */
export type ClientPacket = { payload: Buffer; frames: number; sequence: number };

/** Reads a socket on demand, so that a client is never read faster than the server takes its bytes. */
export type PacketReader = {
  /** Waits for bytes; false when none will come. */
  ready(): Promise<boolean>;
  /** Between one and `most` bytes that have arrived; empty only at the end. */
  some(most: number): Promise<Buffer>;
  /** Exactly so many bytes; undefined when the stream ends before. */
  exactly(length: number): Promise<Buffer | undefined>;
  /** The next packet; undefined at the end. */
  packet(): Promise<ClientPacket | undefined>;
};

/** A reader over a socket that nobody else reads. */
export function readPackets(socket: Socket): PacketReader {
  let held: Buffer = Buffer.alloc(0);
  let ended = false;
  let wake = () => {};
  socket.on('readable', () => wake());
  for (const event of ['end', 'close', 'error']) {
    socket.on(event, () => {
      ended = true;
      wake();
    });
  }

  const pull = (): Buffer | null => socket.read() as Buffer | null;

  const ready = async () => {
    while (held.length === 0) {
      const chunk = pull();
      if (chunk) held = chunk;
      else if (ended) return false;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    return true;
  };
  const some = async (most: number) => {
    await ready();
    const part = held.subarray(0, most);
    held = held.subarray(part.length);
    return part;
  };
  const exactly = async (length: number) => {
    if (length === 0) return Buffer.alloc(0);
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      const part = await some(missing);
      if (part.length === 0) return undefined;
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, length);
  };
  const packet = async () => {
    const parts: Buffer[] = [];
    for (;;) {
      const header = await exactly(4);
      const length = header?.readUIntLE(0, 3) ?? 0;
      const part = header && (await exactly(length));
      if (!header || !part) return undefined;
      parts.push(part);
      if (length < MAX_FRAME) {
        const payload = parts.length === 1 ? part : Buffer.concat(parts);
        return { payload, frames: parts.length, sequence: header[3] ?? 0 };
      }
    }
  };
  return { ready, some, exactly, packet };
}

/** Writes and, when the socket is full, waits until it takes more or is closed. */
export async function write(socket: Socket, ...buffers: Buffer[]): Promise<void> {
  if (socket.destroyed) return;
  socket.cork();
  let free = true;
  for (const buffer of buffers) free = socket.write(buffer);
  socket.uncork();
  if (free || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}
