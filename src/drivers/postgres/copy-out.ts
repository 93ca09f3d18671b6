import type { Socket } from 'node:net';
import type { Batch } from '../model.ts';
import { recycled } from '../recycled.ts';
import type { Session } from './connection.ts';

/**
 * COPY TO STDOUT as batches of whole rows. PostgreSQL sends one CopyData message a row; `pg` would make an object of each, so the socket's
 * bytes are taken before its parser, and only what is not row data is passed on to it. Uses the `connection` and `stream` of `pg` 8, which
 * are not documented; test/drivers/postgres-copy.db.test.ts holds them.
 */

/** Bytes of a batch. A longer row is a batch of its own. */
const BATCH_BYTES = 256 * 1024;
/** Batches that may wait for the consumer before the socket is paused. */
const WAITING = 2;

const COPY_DATA = 0x64;
const COPY_DONE = 0x63;
const COPY_OUT_RESPONSE = 0x48;
const HEADER = 5;

type PgConnection = { readonly stream: Socket; query(text: string): void };

/** The seam that `pg` gives to objects that run a query themselves. */
type Submittable = {
  submit(connection: PgConnection): void;
  handleError(error: Error): void;
  handleReadyForQuery(): void;
  handleCommandComplete(): void;
  handleRowDescription(): void;
  handleDataRow(): void;
  handleEmptyQuery(): void;
};

/**
 * Runs a COPY statement and yields its rows; the socket is read only as fast as batches are taken. Throws the server's error. Leaving early
 * stops reading but does not end the statement: the caller must then close the connection.
 */
export async function* copyOut(session: Session, statement: string): AsyncGenerator<Batch, void, undefined> {
  const ready: Batch[] = [];
  let finished = false;
  let failed: Error | undefined;
  let wake: (() => void) | undefined;
  let stream: Socket | undefined;
  let parser: ((bytes: Buffer) => void) | undefined;
  const signalled = (): void => {
    wake?.();
    wake = undefined;
  };
  const rows = rowCollector((batch) => {
    ready.push(batch);
    if (ready.length >= WAITING) stream?.pause();
    signalled();
  });
  const split = messageSplitter(rows, (bytes) => parser?.(bytes));
  const letGo = (): void => {
    if (stream === undefined || parser === undefined) return;
    stream.off('data', split);
    stream.on('data', parser);
    stream.resume();
  };
  const query: Submittable = {
    submit(connection) {
      stream = connection.stream;
      const listeners = stream.listeners('data');
      if (listeners.length !== 1) throw new Error('the connection is read by someone else');
      parser = listeners[0] as (bytes: Buffer) => void;
      stream.off('data', parser);
      stream.on('data', split);
      connection.query(statement);
    },
    handleError(error) {
      letGo();
      failed = error;
      signalled();
    },
    handleReadyForQuery() {
      letGo();
      rows.flush();
      finished = true;
      signalled();
    },
    handleCommandComplete() {},
    handleRowDescription() {},
    handleDataRow() {},
    handleEmptyQuery() {},
  };
  (session.query as unknown as (query: Submittable) => void).call(session, query);
  for (;;) {
    const batch = ready.shift();
    if (batch !== undefined) {
      if (ready.length < WAITING) stream?.resume();
      yield batch;
    } else if (failed !== undefined) throw failed;
    else if (finished) return;
    else
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  }
}

type RowCollector = {
  /** A row of so many bytes begins. */
  begin(length: number): void;
  add(bytes: Buffer, from: number, to: number): void;
  end(): void;
  flush(): void;
};

/** Puts rows one behind the other into batches. */
function rowCollector(emit: (batch: Batch) => void): RowCollector {
  const buffers = recycled(BATCH_BYTES);
  let data = buffers.take();
  let used = 0;
  let rows = 0;
  const flush = (room = BATCH_BYTES): void => {
    if (rows > 0) emit({ data: data.subarray(0, used), rows, release: buffers.giver(data) });
    if (room > BATCH_BYTES && (rows > 0 || room > data.length)) data = Buffer.allocUnsafeSlow(room);
    else if (rows > 0) data = buffers.take();
    used = 0;
    rows = 0;
  };
  return {
    begin(length) {
      if (used + length > data.length) flush(length);
    },
    add(bytes, from, to) {
      bytes.copy(data, used, from, to);
      used += to - from;
    },
    end() {
      rows++;
      if (used >= BATCH_BYTES) flush();
    },
    flush() {
      flush();
    },
  };
}

/** Cuts the socket's bytes into messages: row data to `rows`, all others to `other`, in order. */
function messageSplitter(rows: RowCollector, other: (bytes: Buffer) => void): (chunk: Buffer) => void {
  const header = Buffer.alloc(HEADER);
  let headerFilled = 0;
  let type = 0;
  let left = 0;
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (left === 0) {
        if (headerFilled === 0 && chunk.length - at >= HEADER) {
          type = chunk[at] as number;
          left = chunk.readUInt32BE(at + 1) - 4;
          if (type === COPY_DATA) rows.begin(left);
          else if (!isOurs(type)) other(chunk.subarray(at, at + HEADER));
          at += HEADER;
        } else {
          const part = Math.min(HEADER - headerFilled, chunk.length - at);
          chunk.copy(header, headerFilled, at, at + part);
          headerFilled += part;
          at += part;
          if (headerFilled < HEADER) return;
          headerFilled = 0;
          type = header[0] as number;
          left = header.readUInt32BE(1) - 4;
          if (type === COPY_DATA) rows.begin(left);
          else if (!isOurs(type)) other(Buffer.from(header));
        }
        if (left === 0 && type === COPY_DATA) rows.end();
        continue;
      }
      const part = Math.min(left, chunk.length - at);
      if (type === COPY_DATA) rows.add(chunk, at, at + part);
      else if (!isOurs(type)) other(chunk.subarray(at, at + part));
      at += part;
      left -= part;
      if (left === 0 && type === COPY_DATA) rows.end();
    }
  };
}

function isOurs(type: number): boolean {
  return type === COPY_DATA || type === COPY_DONE || type === COPY_OUT_RESPONSE;
}
