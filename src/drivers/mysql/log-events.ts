import { crc32 } from 'node:zlib';
import { damaged } from './table-map.ts';

/** Numbers of the events that are looked at. */
export const EVENT = {
  query: 2,
  stop: 3,
  rotate: 4,
  format: 15,
  xid: 16,
  executeLoad: 18,
  tableMap: 19,
  incident: 26,
  heartbeat: 27,
  ignorable: 28,
  gtid: 33,
  anonymousGtid: 34,
  xaPrepare: 38,
  partialUpdate: 39,
  payload: 40,
  heartbeat2: 41,
  taggedGtid: 42,
  mariadbGtid: 162,
  queryCompressed: 165,
} as const;

/** Row events by number: what they hold, and how they are written. */
export const ROWS: Readonly<
  Record<number, { readonly kind: 'insert' | 'update' | 'delete'; readonly extra: boolean; readonly packed: boolean }>
> = {
  23: { kind: 'insert', extra: false, packed: false },
  24: { kind: 'update', extra: false, packed: false },
  25: { kind: 'delete', extra: false, packed: false },
  30: { kind: 'insert', extra: true, packed: false },
  31: { kind: 'update', extra: true, packed: false },
  32: { kind: 'delete', extra: true, packed: false },
  166: { kind: 'insert', extra: false, packed: true },
  167: { kind: 'update', extra: false, packed: true },
  168: { kind: 'delete', extra: false, packed: true },
  169: { kind: 'insert', extra: true, packed: true },
  170: { kind: 'update', extra: true, packed: true },
  171: { kind: 'delete', extra: true, packed: true },
};

/** Events that say nothing of rows: variables of statements, comments, lists of ids, notes between servers. */
const HARMLESS: ReadonlySet<number> = new Set([1, 3, 5, 13, 14, 17, 28, 29, 35, 36, 37, 43, 160, 161, 163, 164]);

/** Whether an event of an unknown number may be passed over. */
export function isHarmless(type: number, flags: number): boolean {
  return HARMLESS.has(type) || (flags & 0x80) !== 0;
}

export const EVENT_HEADER = 19;
const CHECKSUM = 4;

export function eventType(bytes: Buffer, start: number): number {
  return bytes[start + 4] as number;
}

/** Seconds since 1970 at which the statement began. */
export function eventSeconds(bytes: Buffer, start: number): number {
  return bytes.readUInt32LE(start);
}

/** Where the event ends in its file, modulo 2^32; 0 where that is not said. */
export function eventEnd(bytes: Buffer, start: number): number {
  return bytes.readUInt32LE(start + 13);
}

export function eventFlags(bytes: Buffer, start: number): number {
  return bytes.readUInt16LE(start + 17);
}

/** Not in the file: made for this reader. */
export const ARTIFICIAL = 0x20;

/** Checks that an event is as long as it says. */
export function checkLength(bytes: Buffer, start: number, end: number): void {
  if (end - start < EVENT_HEADER || bytes.readUInt32LE(start + 9) !== end - start) throw damaged('an event');
}

/** Whether the last four bytes are the checksum of those before them. */
export function hasChecksum(bytes: Buffer, start: number, end: number): boolean {
  if (end - start < EVENT_HEADER + CHECKSUM) return false;
  return crc32(bytes.subarray(start, end - CHECKSUM)) === bytes.readUInt32LE(end - CHECKSUM);
}

/** Where the event's body ends. Throws when the checksum is wrong. */
export function bodyEnd(bytes: Buffer, start: number, end: number, checksums: boolean): number {
  if (!checksums) return end;
  if (!hasChecksum(bytes, start, end))
    throw new Error('The checksum of an event of the log is wrong: the log or the network has damaged it.');
  return end - CHECKSUM;
}

/** Whether the events behind a FORMAT_DESCRIPTION event have checksums; undefined for a version of the log that is not known. */
export function formatChecksums(bytes: Buffer, start: number, end: number): boolean | undefined {
  const body = start + EVENT_HEADER;
  if (end - body < 57 || bytes.readUInt16LE(body) !== 4 || bytes[body + 56] !== EVENT_HEADER) return undefined;
  const version = bytes.toString('latin1', body + 2, body + 52);
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  const number = Number(major) * 10_000 + Number(minor) * 100 + Number(patch);
  const mariadb = /mariadb/i.test(version);
  if (number < (mariadb ? 50_300 : 50_601)) return false;
  const algorithm = bytes[end - CHECKSUM - 1];
  if (algorithm !== 0 && algorithm !== 1) return undefined;
  return algorithm === 1;
}

/** Next file and place of a ROTATE event. */
export function rotation(bytes: Buffer, start: number, end: number): { file: string; offset: number } {
  const body = start + EVENT_HEADER;
  if (end - body < 9) throw damaged('an event');
  return { offset: Number(bytes.readBigUInt64LE(body)), file: bytes.toString('utf8', body + 8, end) };
}

/** A statement of the log, with what decides how it is read. */
export type LogStatement = {
  readonly schema: string;
  readonly sql: string;
  /** `"` quotes names, as the session's ANSI_QUOTES said. */
  readonly ansiQuotes: boolean;
  /** `\` is no escape, as NO_BACKSLASH_ESCAPES said. */
  readonly plainBackslash: boolean;
  /** Values that do not fit are refused, as STRICT_TRANS_TABLES or STRICT_ALL_TABLES said. */
  readonly strict: boolean;
  /** The statement may be in another charset than UTF-8, as far as letters beyond ASCII go: the client's collation, 0 where it is not told. */
  readonly collation: number;
};

/** Statements are looked at up to here: no DDL is longer, and what names a table stands in front. */
const LONGEST_STATEMENT = 4_194_304;

/** Reads a QUERY event, or the statement of an EXECUTE_LOAD_QUERY event. */
export function readStatement(
  bytes: Buffer,
  start: number,
  end: number,
  inflate: (packed: Buffer) => Buffer,
): LogStatement {
  const type = eventType(bytes, start);
  const body = start + EVENT_HEADER;
  const fixed = type === EVENT.executeLoad ? 26 : 13;
  if (end - body < fixed) throw damaged('an event');
  const schemaLength = bytes[body + 8] as number;
  const variables = body + fixed;
  const schemaAt = variables + bytes.readUInt16LE(body + 11);
  const sqlAt = schemaAt + schemaLength + 1;
  if (sqlAt > end) throw damaged('an event');
  const { mode, collation } = sessionOf(bytes, variables, schemaAt);
  const raw =
    type === EVENT.queryCompressed
      ? inflate(bytes.subarray(sqlAt, end))
      : bytes.subarray(sqlAt, Math.min(end, sqlAt + LONGEST_STATEMENT));
  return {
    schema: bytes.toString('utf8', schemaAt, schemaAt + schemaLength),
    sql: raw.toString('utf8').replace(/\0+$/, ''),
    ansiQuotes: (mode & 4n) !== 0n,
    plainBackslash: (mode & 0x100000n) !== 0n,
    strict: (mode & 0x600000n) !== 0n,
    collation,
  };
}

/** The session's `sql_mode` and the client's collation; variables stand in the order of their numbers, and what follows is of no interest. */
function sessionOf(bytes: Buffer, from: number, to: number): { mode: bigint; collation: number } {
  let mode = 0n;
  for (let at = from; at < to; ) {
    const code = bytes[at++] as number;
    if (code === 0) at += 4;
    else if (code === 1 && at + 8 <= to) {
      mode = bytes.readBigUInt64LE(at);
      at += 8;
    } else if (code === 2) at += (bytes[at] ?? 0) + 2;
    else if (code === 3) at += 4;
    else if (code === 6) at += (bytes[at] ?? 0) + 1;
    else return { mode, collation: code === 4 && at + 2 <= to ? bytes.readUInt16LE(at) : 0 };
  }
  return { mode, collation: 0 };
}

/** What a GTID event says. `source`: UUID (with `:tag`), or MariaDB's domain. */
export type LogGtid = {
  readonly source: string;
  readonly number: number;
  readonly server: number;
  /** Commit time in ms since 1970; undefined where the event does not tell. */
  readonly at: number | undefined;
  /** A group of one event, without an end mark (MariaDB). */
  readonly alone: boolean;
  /** The rows that follow are prepared, not committed (MariaDB). */
  readonly prepared: boolean;
};

export function readGtid(bytes: Buffer, start: number, end: number): LogGtid {
  const body = start + EVENT_HEADER;
  if (end - body < 25) throw damaged('an event');
  const hex = bytes.toString('hex', body + 1, body + 17);
  return {
    source: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    number: Number(bytes.readBigInt64LE(body + 17)),
    server: 0,
    at:
      end - body >= 49
        ? bytes.readUIntLE(body + 42, 6) / 1000 + (((bytes[body + 48] as number) & 127) * 2 ** 48) / 1000
        : undefined,
    alone: false,
    prepared: false,
  };
}

export function readMariadbGtid(bytes: Buffer, start: number, end: number): LogGtid {
  const body = start + EVENT_HEADER;
  if (end - body < 13) throw damaged('an event');
  const flags = bytes[body + 12] as number;
  return {
    source: String(bytes.readUInt32LE(body + 8)),
    number: Number(bytes.readBigUInt64LE(body)),
    server: bytes.readUInt32LE(start + 5),
    at: undefined,
    alone: (flags & 1) !== 0,
    prepared: (flags & 64) !== 0,
  };
}

/** The id of an XA_PREPARE event as statements spell it, and whether it commits at once. */
export function readXaPrepare(bytes: Buffer, start: number, end: number): { xid: string; commits: boolean } {
  const body = start + EVENT_HEADER;
  if (end - body < 13) throw damaged('an event');
  const [first, second] = [bytes.readUInt32LE(body + 5), bytes.readUInt32LE(body + 9)];
  const at = body + 13;
  if (first + second > end - at) throw damaged('an event');
  const part = (from: number, length: number) => `x'${bytes.toString('hex', from, from + length)}'`;
  return {
    xid: `${part(at, first)},${part(at + first, second)},${bytes.readUInt32LE(body + 1)}`,
    commits: bytes[body] === 1,
  };
}

/** A part of an event that MariaDB has compressed (`log_bin_compress`): its length in front, big end first. Returns zlib's bytes. */
export function packedPart(packed: Buffer): { readonly data: Buffer; readonly length: number } {
  const head = packed[0] ?? 0;
  const width = head & 7;
  if ((head & 0x80) === 0 || (head & 0x70) !== 0 || width < 1 || width > 4 || packed.length < 1 + width)
    throw damaged('a compressed event');
  return { data: packed.subarray(1 + width), length: packed.readUIntBE(1, width) };
}
