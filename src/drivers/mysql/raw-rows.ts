import type { Batch } from '../model.ts';
import type { Connection } from './connection.ts';
import { translate } from './errors.ts';
import { type RowWriter, WHOLE_ROW_BYTES } from './row-text.ts';

/**
 * Runs a SELECT and hands its rows to a writer as they come from the socket, past mysql2's parsers: a row is never an object, and a
 * packet never more than the piece of it that has arrived. mysql2 gets the socket back with the packet that ends the result.
 */
export async function* rawRows(
  connection: Connection,
  sql: string,
  columns: number,
  open: (emit: (batch: Batch) => void) => RowWriter,
  signal: AbortSignal,
): AsyncGenerator<Batch, RowWriter, undefined> {
  const { wire } = connection;
  const ready: Batch[] = [];
  let failure: Error | undefined;
  let ended = false;
  let wake = () => {};
  const fail = (error: Error) => {
    failure ??= error;
    wake();
  };
  const abort = () => fail(signal.reason);
  const emit = (batch: Batch) => {
    ready.push(batch);
    if (ready.length === READY_MOST) wire.stream.pause();
    wake();
  };
  const writer = open(emit);

  const feed = createFeed(columns, writer, (final, sequence) => {
    wire.stream.removeListener('data', onData);
    for (const listener of listeners) wire.stream.on('data', listener);
    wire.sequenceId = sequence;
    wire.packetParser.execute(final);
  });
  const onData = (chunk: Buffer) => {
    try {
      feed(chunk);
    } catch (error) {
      wire.stream.removeListener('data', onData);
      fail(error as Error);
    }
  };
  let listeners: ((data: Buffer) => void)[] = [];
  const command = {
    /** mysql2 calls this once without a packet, when it is our turn, and once with the packet that ends the result. */
    execute(packet?: { isError(): boolean; asError(encoding: string): Error }): boolean {
      if (!packet) {
        listeners = wire.stream.listeners('data') as typeof listeners;
        wire.stream.removeAllListeners('data');
        wire.stream.on('data', onData);
        wire.stream.write(commandQuery(sql));
        return false;
      }
      if (packet.isError()) fail(translate(packet.asError('utf8')));
      ended = true;
      wake();
      return true;
    },
    /** A lost connection is told here. */
    onResult: (error: Error | null) => {
      if (error) fail(translate(error));
    },
  };

  if (signal.aborted) throw signal.reason;
  signal.addEventListener('abort', abort, { once: true });
  try {
    wire.addCommand(command);
    for (;;) {
      if (failure) throw failure;
      const batch = ready.shift();
      if (batch) {
        yield batch;
        if (ready.length < READY_MOST / 2) wire.stream.resume();
      } else if (ended) break;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    const rest = writer.flush();
    if (rest) yield rest;
    return writer;
  } finally {
    signal.removeEventListener('abort', abort);
    if (ended) wire.stream.resume();
    else connection.destroy();
  }
}

/** Batches held for a slow consumer; with the socket's buffers about 1 MB in all. */
const READY_MOST = 4;

function commandQuery(sql: string): Buffer {
  const text = Buffer.from(sql, 'utf8');
  const packet = Buffer.allocUnsafe(text.length + 5);
  packet.writeUIntLE(text.length + 1, 0, 3);
  packet[3] = 0;
  packet[4] = 0x03;
  text.copy(packet, 5);
  return packet;
}

const HEADER = 4;
const LARGEST_PACKET = 0xffffff;
const EOF = 0xfe;
const ERROR = 0xff;

/**
 * Takes the socket's chunks of one result set. `done` gets the packet (with its header) that ends it and its sequence number. Throws
 * when what comes is not a result set of `columns` columns, or when packets are missing.
 */
export function createFeed(
  columns: number,
  writer: RowWriter,
  done: (final: Buffer, sequence: number) => void,
): (chunk: Buffer) => void {
  /** Packets before the first row: the column count, one per column, an end mark. */
  let before = columns + 2;
  let sequence = 1;
  /** A packet's header and body that did not end with its chunk. */
  const carry = Buffer.allocUnsafe(HEADER + WHOLE_ROW_BYTES);
  let carried = 0;
  /** Bytes to come of a packet that is passed on in pieces. */
  let left = 0;
  /** The row goes on in the next packet. */
  let goesOn = false;
  let over = false;

  /** Checks a header; returns the length of the body. */
  function header(bytes: Buffer, at: number): number {
    if (bytes[at + 3] !== sequence) throw new Error('The server sent its packets out of order.');
    sequence = (sequence + 1) & 255;
    return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
  }

  /** A whole packet, with its header at `at`. */
  function packet(bytes: Buffer, at: number, end: number): void {
    const start = at + HEADER;
    const first = bytes[start] as number;
    if (before === 0 && (first < EOF || (first === EOF && end - start >= 9))) {
      writer.row(bytes, start, end);
      return;
    }
    if (first === ERROR || before === 0) {
      over = true;
      done(Buffer.from(bytes.subarray(at, end)), bytes[at + 3] as number);
      return;
    }
    if (before === columns + 2 && !isCount(bytes, start, columns))
      throw new Error('The server did not answer with the columns that were asked for.');
    before--;
  }

  /** Begins a packet that is passed on in pieces. */
  function begin(length: number): void {
    left = length;
    goesOn = length === LARGEST_PACKET;
    if (length === 0) writer.endPieces();
  }

  return (chunk) => {
    let at = 0;
    const end = chunk.length;
    while (at < end && !over) {
      if (left > 0) {
        const stop = Math.min(end, at + left);
        writer.piece(chunk, at, stop);
        left -= stop - at;
        at = stop;
        if (left === 0 && !goesOn) writer.endPieces();
        continue;
      }
      if (carried === 0 && end - at >= HEADER) {
        const length = (chunk[at] as number) | ((chunk[at + 1] as number) << 8) | ((chunk[at + 2] as number) << 16);
        if (goesOn || length > WHOLE_ROW_BYTES) {
          header(chunk, at);
          at += HEADER;
          begin(length);
          continue;
        }
        if (end - at >= HEADER + length) {
          header(chunk, at);
          packet(chunk, at, at + HEADER + length);
          at += HEADER + length;
          continue;
        }
      }
      if (carried < HEADER) {
        const stop = Math.min(end, at + HEADER - carried);
        carried += chunk.copy(carry, carried, at, stop);
        at = stop;
        if (carried < HEADER) continue;
        const length = carry.readUIntLE(0, 3);
        if (goesOn || length > WHOLE_ROW_BYTES) {
          header(carry, 0);
          carried = 0;
          begin(length);
        }
        continue;
      }
      const whole = HEADER + carry.readUIntLE(0, 3);
      const stop = Math.min(end, at + whole - carried);
      carried += chunk.copy(carry, carried, at, stop);
      at = stop;
      if (carried === whole) {
        carried = 0;
        header(carry, 0);
        packet(carry, 0, whole);
      }
    }
    if (over && at < end) throw new Error('The server sent more than one result.');
  };
}

function isCount(bytes: Buffer, at: number, columns: number): boolean {
  const first = bytes[at] as number;
  return first < 251 ? first === columns : first === 252 && bytes.readUInt16LE(at + 1) === columns;
}
