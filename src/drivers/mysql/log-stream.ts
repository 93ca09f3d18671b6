import { randomInt } from 'node:crypto';
import { AccessDenied, PositionLost } from '../errors.ts';
import type { Connection } from './connection.ts';
import { translate } from './errors.ts';
import { encodeGtidSet, type GtidSet } from './gtid.ts';
import type { LogPlace } from './log-place.ts';
import { createPackets, type Packets } from './packets.ts';

/** Events of the binlog as the server sends them. Reads ahead by at most about 1 MB. */
export type LogStream = {
  /** The current event: `bytes[start, end)`. */
  readonly packets: Packets;
  /** Moves to the next event that has arrived; false when there is none now. */
  next(): boolean;
  /** Waits until more has arrived: true, or false at the log's end, if it was asked to end there. Throws when the connection is lost or silent. */
  wait(): Promise<boolean>;
};

/** Where a dump begins. `place` and `gtids` exclude each other; MariaDB's ids are set on the session instead. */
export type DumpFrom = {
  readonly place?: LogPlace;
  readonly gtids?: GtidSet;
  /** MariaDB's position by ids. */
  readonly domains?: string;
};

/** The server says that it has nothing new so often. */
const HEARTBEAT_SECONDS = 1;
/** Without a sign of life for so long the connection counts as dead. */
const SILENCE_MS = 20_000;
const QUEUED_MOST = 1_048_576;
const NON_BLOCKING = 1;

/** Statements that a session needs before it may read the log. */
async function prepare(connection: Connection, from: DumpFrom): Promise<void> {
  const { product } = connection.facts;
  const set = (list: string) => connection.query(`set ${list}`);
  const [row] = await connection.query("show global variables like 'binlog_checksum'");
  const checksum = row?.[1] ?? 'NONE';
  const nanoseconds = HEARTBEAT_SECONDS * 1_000_000_000;
  // Servers since 8.0.26 look for the second name of each pair first.
  for (const name of ['master', 'source'])
    await set(
      `@${name}_binlog_checksum = '${checksum.replaceAll("'", '')}', @${name}_heartbeat_period = ${nanoseconds}`,
    );
  if (product !== 'MariaDB') return;
  await set('@mariadb_slave_capability = 4, @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0');
  if (from.domains !== undefined) await set(`@slave_connect_state = '${from.domains.replace(/[^0-9,-]/g, '')}'`);
}

/**
 * Starts a dump on a session, which is of no use afterwards. `toEnd`: the stream ends where the log ends. Throws `PositionLost` from
 * `wait` when the server has no log from there on.
 */
export async function openLogStream(connection: Connection, from: DumpFrom, toEnd: boolean): Promise<LogStream> {
  await prepare(connection, from);
  const { wire } = connection;
  const packets = createPackets();
  const queue: Buffer[] = [];
  let queued = 0;
  let failure: Error | undefined;
  let ended = false;
  let registered = false;
  let wake = () => {};
  /** When the reader began to wait for what has not come yet. */
  let waitingSince: number | undefined;
  // One timer that looks, not one for each wait: there are many of these in a second.
  const watch = setInterval(() => {
    if (waitingSince !== undefined && performance.now() - waitingSince > SILENCE_MS)
      fail(new Error(`The source has said nothing for ${SILENCE_MS / 1000} s: the connection is dead.`));
  }, SILENCE_MS / 4);
  wire.stream.once('close', () => clearInterval(watch));

  const fail = (error: Error) => {
    failure ??= error;
    wake();
  };
  const onData = (chunk: Buffer) => {
    queue.push(chunk);
    queued += chunk.length;
    if (queued >= QUEUED_MOST) wire.stream.pause();
    wake();
  };
  // Below 2^32, and nowhere near the small numbers that people give their servers: two readers with one number end each other.
  const reader = 0x4000_0000 + randomInt(0x7fff_0000);
  const send = (packet: Buffer) => {
    packets.restart(1);
    wire.stream.write(packet);
  };
  wire.stream.once('close', () => fail(new Error('The connection to the source was lost.')));
  wire.addCommand({
    execute(): boolean {
      wire.stream.removeAllListeners('data');
      wire.stream.on('data', onData);
      send(registerPacket(reader));
      return false;
    },
    onResult: (error: Error | null) => {
      if (error) fail(translate(error));
    },
  });

  function next(): boolean {
    if (ended) return false;
    while (!packets.next()) {
      const chunk = queue.shift();
      if (!chunk) {
        // What came before the connection was lost counts: a server that has come to its end says so and closes it.
        if (failure) throw failure;
        return false;
      }
      queued -= chunk.length;
      if (queued < QUEUED_MOST / 2 && wire.stream.isPaused()) wire.stream.resume();
      packets.push(chunk);
    }
    const { bytes, start, end } = packets;
    const first = bytes[start];
    if (first === 0xff) throw logError(bytes, start, end, connection);
    if (!registered) {
      registered = true;
      send(dumpPacket(from, reader, toEnd));
      return next();
    }
    if (first === 0xfe && end - start < 9) {
      ended = true;
      return false;
    }
    if (first !== 0) throw new Error('The server sent a packet that is no event of the log.');
    return true;
  }

  function wait(): Promise<boolean> {
    if (ended) return Promise.resolve(false);
    if (queue.length > 0) return Promise.resolve(true);
    if (failure) return Promise.reject(failure);
    return new Promise((resolve, reject) => {
      waitingSince = performance.now();
      wake = () => {
        wake = () => {};
        waitingSince = undefined;
        if (failure) reject(failure);
        else resolve(true);
      };
    });
  }

  return { packets, next, wait };
}

function registerPacket(reader: number): Buffer {
  const host = Buffer.from('flow-ingest');
  const body = Buffer.alloc(1 + 4 + 1 + host.length + 2 + 2 + 8);
  body[0] = 0x15;
  body.writeUInt32LE(reader, 1);
  body[5] = host.length;
  host.copy(body, 6);
  return packet(body);
}

function dumpPacket({ place, gtids }: DumpFrom, reader: number, toEnd: boolean): Buffer {
  const flags = toEnd ? NON_BLOCKING : 0;
  if (gtids) {
    const set = encodeGtidSet(gtids);
    const body = Buffer.alloc(1 + 2 + 4 + 4 + 8 + 4);
    body[0] = 0x1e;
    body.writeUInt16LE(flags | 4, 1);
    body.writeUInt32LE(reader, 3);
    body.writeBigUInt64LE(4n, 11);
    body.writeUInt32LE(set.length, 19);
    return packet(Buffer.concat([body, set]));
  }
  const body = Buffer.alloc(11);
  body[0] = 0x12;
  body.writeUInt32LE(place?.offset ?? 4, 1);
  body.writeUInt16LE(flags, 5);
  body.writeUInt32LE(reader, 7);
  return packet(Buffer.concat([body, Buffer.from(place?.file ?? '')]));
}

function packet(body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  return Buffer.concat([head, body]);
}

/** The file that the server reads from ends in the middle of an event, as the last one of a server that died does. */
export class TornLog extends Error {}

const READING_FAILED = 1236;
/** What the server says of a log that it does not have. Other refusals pass: another reader with our number, a server that shuts down. */
const LOST =
  /purged|could not find|not find|impossible position|> file size|diverge|more GTIDs than|is not in the (master|source)|no such file|missing/i;
const DAMAGED = /corrupt|bogus|truncated|checksum|max_allowed_packet|event header|read.*error/i;

/** The log is there and can't be read. */
export function unreadable(text: string): PositionLost {
  return new PositionLost(
    `The source can't read its own log: ${text}`,
    'Repair the log at the source, or load the tables again.',
  );
}

function logError(bytes: Buffer, start: number, end: number, connection: Connection): Error {
  const number = bytes.readUInt16LE(start + 1);
  const text = bytes.toString('utf8', bytes[start + 3] === 0x23 ? start + 9 : start + 3, end);
  if (number === READING_FAILED && /truncated in the middle/i.test(text)) return new TornLog(text);
  if (number === READING_FAILED && LOST.test(text))
    return new PositionLost(
      `The source has no log from the stored position on: ${text}`,
      'Load the tables again; raise the time that the source keeps its log.',
    );
  if (number === READING_FAILED && DAMAGED.test(text)) return unreadable(text);
  if (number === 1227 || number === 1045)
    return new AccessDenied(
      text,
      `Grant the source user the right to read the log: GRANT REPLICATION ${connection.facts.product === 'MariaDB' ? 'REPLICA' : 'SLAVE'} ON *.* TO <user>.`,
    );
  return translate(Object.assign(new Error(text), { errno: number }));
}
