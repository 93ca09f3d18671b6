import { EventEmitter } from 'node:events';
import type { ChunkClaim, LoadTarget } from '../destination.ts';
import type { Batch, ChunkRead, Column } from '../model.ts';
import { type Answer, destroy, run, type Session, type Wire, wire } from './connection.ts';
import { isBinary } from './ddl.ts';
import type { Dialect } from './dialect.ts';
import { versionSets } from './history.ts';
import { loadMark } from './kill.ts';
import { shadowName } from './names.ts';
import { quote, table } from './sql.ts';

/**
 * Sends load text with LOAD DATA LOCAL over mysql2, which only starts the statement: packets, back-pressure and the end are ours, because
 * mysql2 shares one end packet between connections, ends a failed load as if it were complete, and copies every buffer (drivers.md §7.1).
 */

/** Bytes of load text gathered for one write to the socket. */
const GATHERED_BYTES = 256 * 1024;
/** Bytes per data packet: what files are sent in. MariaDB takes larger ones (64 KB to 1 MB) with up to a tenth more of its CPU. */
const PACKET_BYTES = 16 * 1024;
/** Pieces below this are copied together, so that many tiny rows do not become as many writes. */
const SMALL_BYTES = 4096;

export type Sent = {
  readonly answer: Answer | null;
  readonly read: ChunkRead;
  readonly rows: number;
  readonly bytes: number;
};

/** The LOAD statement of a chunk. */
export function loadStatement(
  target: LoadTarget,
  claim: ChunkClaim,
  charset: Dialect['loadCharset'] = 'utf8mb4',
): string {
  const mark = `${loadMark(target.database, claim.id, claim.load, claim.chunk)}${claim.token} */`;
  const into = table(target.database, shadowName(claim.id, claim.load)).raw;
  const sets = claim.since === null ? [] : versionSets(claim.since, 0, 0);
  return loadText(mark, into, target.table.columns, target.replace, charset, sets);
}

/** A LOAD of lines with these columns. Binary columns travel as hex; variables are numbered, so that no column name can meet them. `more`: further assignments. */
export function loadText(
  mark: string,
  into: string,
  columns: readonly Pick<Column, 'name' | 'type'>[],
  replace: boolean,
  charset: Dialect['loadCharset'],
  more: readonly string[] = [],
): string {
  const fields = columns.map((column, i) => (isBinary(column.type) ? `@b${i}` : quote(column.name)));
  const sets = columns.flatMap((column, i) => (isBinary(column.type) ? [`${quote(column.name)} = unhex(@b${i})`] : []));
  sets.push(...more);
  return (
    `${mark} load data local infile 'flow.tsv'${replace ? ' replace' : ''} into table ${into} character set ${charset} ` +
    `fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n' (${fields.join(', ')})` +
    (sets.length > 0 ? ` set ${sets.join(', ')}` : '')
  );
}

/**
 * Pulls batches and sends them as fast as the server takes them. Batches are sent as they are, without a copy, and
 * released when the kernel has them. Nothing is sent before the first batch is there; an empty chunk needs no LOAD (`answer` null). On any failure the
 * connection is destroyed, so that the server drops what it has, and the generator is left.
 */
export async function send(
  session: Session,
  statement: string,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  progress: (rows: number, bytes: number) => void,
  signal: AbortSignal,
): Promise<Sent> {
  const sender = createSender(session, progress);
  const abort = () =>
    destroy(session, signal.reason instanceof Error ? signal.reason : new Error('The load was stopped.'));
  signal.addEventListener('abort', abort, { once: true });
  let done = false;
  let pulling = false;
  try {
    signal.throwIfAborted();
    let answer: Promise<Answer> | null = null;
    for (;;) {
      pulling = true;
      const next = await sender.wait(batches.next());
      pulling = false;
      if (next.done) {
        done = true;
        if (answer === null) return { answer: null, read: next.value, rows: 0, bytes: 0 };
        await sender.end();
        return { answer: await sender.wait(answer), read: next.value, rows: sender.rows, bytes: sender.bytes };
      }
      if (next.value.data.byteLength === 0 && next.value.rows === 0) continue;
      if (answer === null) {
        answer = start(session, statement, sender);
        // It is awaited at the end; until then a failure arrives through `wait`.
        answer.catch(sender.fail);
        await sender.wait(sender.ready);
      }
      await sender.take(next.value);
    }
  } catch (error) {
    destroy(session);
    throw session.lost !== undefined && signal.aborted ? (signal.reason ?? error) : error;
  } finally {
    signal.removeEventListener('abort', abort);
    sender.close();
    if (!done) {
      const left = batches.return(undefined as never).catch(() => undefined);
      // A generator that waits for its server ends when its own signal does; waiting for it here could last for ever.
      if (!pulling) await left;
    }
  }
}

type Sender = {
  rows: number;
  bytes: number;
  /** Resolves when the server has asked for the data. */
  readonly ready: Promise<void>;
  /** The promise, or the failure of the connection if that comes first. */
  readonly wait: <T>(promise: Promise<T>) => Promise<T>;
  readonly begin: () => void;
  readonly fail: (error: unknown) => void;
  readonly take: (batch: Batch) => Promise<void>;
  readonly end: () => Promise<void>;
  readonly close: () => void;
};

/** Lets mysql2 begin the statement; the emitter is silent, so that mysql2 itself never writes. */
async function start(session: Session, statement: string, sender: Sender): Promise<Answer> {
  const silent = Object.assign(new EventEmitter(), { pause() {}, resume() {} });
  const { connection } = session;
  const listeners = new Set(connection.listeners('error'));
  try {
    return await run(session, statement, () => {
      sender.begin();
      return silent;
    });
  } finally {
    // mysql2 takes its listener away only when the emitter ends, which ours never does; connections are used again.
    for (const listener of connection.listeners('error'))
      if (!listeners.has(listener)) connection.removeListener('error', listener as () => void);
  }
}

function createSender(session: Session, progress: (rows: number, bytes: number) => void): Sender {
  const link: Wire = wire(session);
  const ready = Promise.withResolvers<void>();
  let failure: { readonly error: unknown } | undefined;
  let reject: ((error: unknown) => void) | undefined;
  const fail = (error: unknown) => {
    failure ??= { error };
    reject?.(error);
  };
  session.waiting.add(fail);
  // Not Promise.race with one long-lived promise: that would keep a reaction for every batch until the load ends.
  const wait = <T>(promise: Promise<T>): Promise<T> =>
    new Promise<T>((resolve, refuse) => {
      reject = refuse;
      promise.then(resolve, refuse);
      if (failure) refuse(failure.error);
    });
  let pieces: Uint8Array[] = [];
  let pending = 0;
  let pendingRows = 0;
  /** Of batches whose last bytes are among the pieces. */
  let releases: (() => void)[] = [];
  let small: Buffer | undefined;
  let smallUsed = 0;

  const closeSmall = () => {
    if (small && smallUsed > 0) pieces.push(small.subarray(0, smallUsed));
    small = smallUsed > 0 && small ? small.subarray(smallUsed) : small;
    smallUsed = 0;
  };
  const add = (data: Uint8Array) => {
    pending += data.byteLength;
    if (data.byteLength >= SMALL_BYTES) {
      closeSmall();
      pieces.push(data);
      return;
    }
    if (!small || small.byteLength - smallUsed < data.byteLength) {
      closeSmall();
      small = Buffer.allocUnsafeSlow(64 * 1024);
    }
    small.set(data, smallUsed);
    smallUsed += data.byteLength;
  };
  const flush = async () => {
    closeSmall();
    const gathered = pieces;
    const sent = releases;
    pieces = [];
    releases = [];
    link.stream.cork();
    for (const part of packets(link, gathered, pending)) link.stream.write(part);
    link.stream.uncork();
    sender.bytes += pending;
    sender.rows += pendingRows;
    pending = 0;
    pendingRows = 0;
    progress(sender.rows, sender.bytes);
    if (link.stream.writableNeedDrain) await wait(drained(link));
    // The kernel has it all; what a socket still holds must not change.
    if (link.stream.writableLength === 0) for (const release of sent) release();
  };
  const sender: Sender = {
    rows: 0,
    bytes: 0,
    ready: ready.promise,
    wait,
    begin: ready.resolve,
    fail,
    async take(batch) {
      pendingRows += batch.rows;
      for (let from = 0; from < batch.data.byteLength; from += GATHERED_BYTES) {
        add(batch.data.subarray(from, from + GATHERED_BYTES));
        if (batch.release && from + GATHERED_BYTES >= batch.data.byteLength) releases.push(batch.release);
        if (pending >= GATHERED_BYTES) await flush();
      }
    },
    async end() {
      if (pending > 0) await flush();
      sender.rows += pendingRows;
      link.stream.write(header(link, 0));
    },
    close() {
      session.waiting.delete(fail);
    },
  };
  return sender;
}

/** Cuts pieces of together `length` bytes into packets: headers and parts of the pieces, nothing copied. */
function* packets(link: Wire, pieces: readonly Uint8Array[], length: number): Generator<Uint8Array> {
  let left = length;
  let room = 0;
  for (const piece of pieces) {
    for (let from = 0; from < piece.byteLength; ) {
      if (room === 0) {
        room = Math.min(PACKET_BYTES, left);
        yield header(link, room);
      }
      const part = piece.subarray(from, from + room);
      yield part;
      from += part.byteLength;
      room -= part.byteLength;
      left -= part.byteLength;
    }
  }
}

/** A packet header in a buffer of its own; counts the packet. */
function header(link: Wire, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUIntLE(length, 0, 3);
  bytes.writeUInt8(link.sequenceId & 255, 3);
  link.sequenceId = (link.sequenceId + 1) & 255;
  return bytes;
}

function drained(link: Wire): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      link.stream.off('drain', settle);
      link.stream.off('close', settle);
      resolve();
    };
    link.stream.on('drain', settle);
    link.stream.on('close', settle);
  });
}
