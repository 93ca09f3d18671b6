import type { Socket } from 'node:net';
import type pg from 'pg';
import { framer } from './log-frames.ts';
import type { Lsn } from './lsn.ts';

/**
 * START_REPLICATION over `pg`, which has no part for it: the socket's bytes are taken before its parser, and only what is no CopyData is
 * passed on (as in `copy-out.ts`). Status messages are written by a timer of their own, so that the server keeps the connection however
 * long the consumer takes.
 */
export type LogStream = {
  /** The next message that has arrived whole; false: none. It is `data[from..to)`, and stays as it is. */
  next(): boolean;
  readonly data: Buffer;
  readonly from: number;
  readonly to: number;
  /** Waits for more bytes, at most `ms`; false: none came. Throws what ended the stream once all that came before it is read, and after `close`. */
  wait(ms: number): Promise<boolean>;
  /** Says that everything up to `lsn` may go. */
  acknowledge(lsn: Lsn): void;
  /** Asks the server where it stands; it answers by a keepalive. */
  ask(): void;
  /** Tells it that the reader is there. */
  say(): void;
  /** Ends it, the acknowledgement said once more. Never throws. */
  close(): Promise<void>;
};

/** Bytes that may wait for the consumer before the socket is paused. */
const WAITING = 2 * 1024 * 1024;
/**
 * The server sends change by change. The consumer is woken for so many bytes, or for what has come after so long: each turn costs more than
 * the decoding of a few rows.
 */
const WORTH = 64 * 1024;
const GATHER_MS = 2;
/** Acknowledgements are said at most so often. */
const SAY_MS = 100;
const CLOSE_MS = 2_000;
const COPY_DATA = 0x64;

type PgConnection = { readonly stream: Socket; query(text: string): void };

/**
 * Starts streaming a slot. `aliveMs`: how often the server must hear of us at least (below its `wal_sender_timeout`). Throws the server's
 * error when it refuses.
 */
export async function startReplication(client: pg.Client, command: string, aliveMs: number): Promise<LogStream> {
  const chunks: Buffer[] = [];
  let waitingBytes = 0;
  let failed: Error | undefined;
  let over = false;
  /** Our side has ended it: what still waits is let go, and who waits for more must hear of it. */
  let closed = false;
  let started = false;
  let wake: (() => void) | undefined;
  let stream: Socket | undefined;
  let parser: ((bytes: Buffer) => void) | undefined;
  let acknowledged: Lsn = 0n;
  let saidAt = 0;
  let later: NodeJS.Timeout | undefined;
  let gather: NodeJS.Timeout | undefined;

  const signalled = (): void => {
    wake?.();
    wake = undefined;
  };
  const arrived = (chunk: Buffer): void => {
    chunks.push(chunk);
    waitingBytes += chunk.length;
    if (waitingBytes > WAITING) stream?.pause();
    if (waitingBytes >= WORTH) signalled();
    else if (gather === undefined) {
      // Not read for a moment, what the server sends becomes one chunk. Encrypted, each message stays one of its own, and would wait by itself.
      if (stream !== undefined && !('encrypted' in stream)) stream.pause();
      gather = setTimeout(gathered, GATHER_MS);
    }
  };
  const gathered = (): void => {
    gather = undefined;
    if (waitingBytes <= WAITING) stream?.resume();
    signalled();
  };
  const ended = (error?: Error): void => {
    failed ??= error;
    over = true;
    signalled();
  };
  const query = {
    submit(connection: PgConnection): void {
      stream = connection.stream;
      const listeners = stream.listeners('data');
      if (listeners.length !== 1) throw new Error('the connection is read by someone else');
      parser = listeners[0] as (bytes: Buffer) => void;
      stream.off('data', parser);
      stream.on('data', arrived);
      // What ends the connection comes after the bytes that are waiting.
      stream.once('close', () => ended(new Error('the connection was closed')));
      connection.query(command);
    },
    handleError(error: Error & { code?: string }): void {
      // What the server said tells more than that the socket is gone.
      if (error.code !== undefined) failed = error;
      ended(error);
    },
    handleReadyForQuery: (): void => ended(),
    handleCommandComplete(): void {},
    handleRowDescription(): void {},
    handleDataRow(): void {},
    handleEmptyQuery(): void {},
  };

  const say = (reply: boolean): void => {
    if (!started || over || !stream?.writable) return;
    clearTimeout(later);
    later = undefined;
    saidAt = performance.now();
    const message = Buffer.alloc(39);
    message[0] = COPY_DATA;
    message.writeUInt32BE(38, 1);
    message[5] = 0x72;
    for (const at of [6, 14, 22]) message.writeBigUInt64BE(acknowledged, at);
    message.writeBigInt64BE(BigInt(Date.now() - 946_684_800_000) * 1000n, 30);
    message[38] = reply ? 1 : 0;
    stream.write(message);
  };

  const frames = framer(chunks, {
    taken(bytes) {
      waitingBytes -= bytes;
      if (waitingBytes <= WAITING / 2 && gather === undefined) stream?.resume();
    },
    other(bytes) {
      if (bytes[0] === 0x57) started = true;
      parser?.(bytes);
    },
  });

  const wait = async (ms: number): Promise<boolean> => {
    if (closed) throw failed ?? new Error('The reader of the log was closed.');
    if (waitingBytes >= WORTH) return true;
    if (over && chunks.length === 0) throw failed ?? new Error('PostgreSQL ended the stream of changes');
    if (over) return true;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
    wake = undefined;
    return chunks.length > 0 || over || closed;
  };

  const alive = setInterval(() => say(false), aliveMs);
  const close = async (): Promise<void> => {
    closed = true;
    clearInterval(alive);
    say(false);
    clearTimeout(later);
    clearTimeout(gather);
    signalled();
    if (!over && stream?.writable) {
      // The server reads what was said when it answers the end of the copy; what it still sends is let go.
      stream.off('data', arrived);
      chunks.length = 0;
      stream.write(Buffer.from([0x63, 0, 0, 0, 4]));
      const socket = stream;
      socket.on('data', () => {});
      socket.resume();
      await quiet(socket, () => over);
    }
    stream?.destroy();
    await client.end().catch(() => {});
  };

  (client.query as unknown as (submittable: typeof query) => void).call(client, query);
  // The first message may arrive together with the server's consent.
  let held = false;
  try {
    while (!started) {
      await wait(60_000);
      held = frames.next();
    }
  } catch (error) {
    await close();
    throw error;
  }

  return {
    next() {
      if (!held) return frames.next();
      held = false;
      return true;
    },
    get data() {
      return frames.data;
    },
    get from() {
      return frames.from;
    },
    get to() {
      return frames.to;
    },
    wait,
    acknowledge(lsn) {
      if (lsn <= acknowledged) return;
      acknowledged = lsn;
      const rest = saidAt + SAY_MS - performance.now();
      if (rest <= 0) say(false);
      else later ??= setTimeout(() => say(false), rest);
    },
    ask: () => say(true),
    say: () => say(false),
    close,
  };
}

/** Waits until the server has nothing more to say, or it takes too long. */
async function quiet(socket: Socket, isOver: () => boolean): Promise<void> {
  await new Promise<void>((resolve) => {
    const give = setTimeout(resolve, CLOSE_MS);
    const done = (): void => {
      clearTimeout(give);
      resolve();
    };
    if (isOver() || socket.destroyed) done();
    socket.once('close', done);
    // The last message is ReadyForQuery: Z, length 5, state.
    socket.on('data', (bytes: Buffer) => {
      if (bytes.length >= 6 && bytes[bytes.length - 6] === 0x5a && bytes[bytes.length - 2] === 5) done();
    });
  });
}
