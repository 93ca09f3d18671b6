import type { SqlError } from './rule.ts';

/** Longest payload of one frame; a packet that is longer goes on in the next frame (MySQL internals: Sending more than 16 MB). */
export const MAX_FRAME = 0xffffff;

/** First bytes of a payload by which server packets are told apart. */
export const OK = 0x00;
export const LOCAL_INFILE = 0xfb;
export const EOF = 0xfe;
export const ERR = 0xff;

/** Bits of the server status. */
export const STATUS = { inTransaction: 0x1, autocommit: 0x2, moreResults: 0x8 } as const;

/** Capability bits that are looked at or taken out of the greeting. */
const CAPABILITY = {
  connectWithDb: 0x8,
  compress: 0x20,
  ssl: 0x800,
  secureConnection: 0x8000,
  lenencAuth: 0x200000,
  sessionTrack: 0x800000,
  deprecateEof: 0x1000000,
  optionalMetadata: 0x2000000,
  zstd: 0x4000000,
  queryAttributes: 0x8000000,
} as const;

const NOT_OFFERED =
  CAPABILITY.compress |
  CAPABILITY.ssl |
  CAPABILITY.sessionTrack |
  CAPABILITY.deprecateEof |
  CAPABILITY.optionalMetadata |
  CAPABILITY.zstd |
  CAPABILITY.queryAttributes;

/** Cuts a payload into frames, numbered from `sequence`. */
export function frames(payload: Buffer, sequence: number): Buffer[] {
  const parts: Buffer[] = [];
  let at = 0;
  let number = sequence;
  for (;;) {
    const length = Math.min(MAX_FRAME, payload.length - at);
    parts.push(frameHeader(length, number), payload.subarray(at, at + length));
    at += length;
    number++;
    // A packet of exactly n × MAX_FRAME bytes ends with an empty frame.
    if (length < MAX_FRAME) return parts;
  }
}

/** Number of frames that a payload of some length takes. */
export function frameCount(length: number): number {
  return Math.floor(length / MAX_FRAME) + 1;
}

/** The four bytes before a frame's payload. */
export function frameHeader(length: number, sequence: number): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(length, 0, 3);
  header[3] = sequence & 0xff;
  return header;
}

/** An ERR packet with its frame. */
export function errorPacket(error: SqlError, sequence: number): Buffer {
  const message = Buffer.from(`#${error.state}${error.message.slice(0, 500)}`);
  const payload = Buffer.concat([Buffer.from([ERR, error.code & 0xff, error.code >> 8]), message]);
  return Buffer.concat(frames(payload, sequence));
}

/** Reads a length-encoded integer; null stands for more than 53 bits, which nothing here counts. */
export function readLength(buffer: Buffer, at: number): { value: number; end: number } {
  const first = buffer[at] ?? 0;
  if (first < 0xfb) return { value: first, end: at + 1 };
  if (first === 0xfc) return { value: buffer.readUInt16LE(at + 1), end: at + 3 };
  if (first === 0xfd) return { value: buffer.readUIntLE(at + 1, 3), end: at + 4 };
  return { value: Number(buffer.readBigUInt64LE(at + 1)), end: at + 9 };
}

/** The server status in an OK packet. */
export function okStatus(head: Buffer): number {
  const affected = readLength(head, 1);
  const inserted = readLength(head, affected.end);
  return head.readUInt16LE(inserted.end);
}

/**
 * The server's greeting with the name of another server and without what SingleStore lacks or the proxy does not follow:
 * TLS, compression, session tracking, result sets without EOF, MariaDB's extended capabilities. An ERR instead of a
 * greeting ("too many connections") comes back as it is.
 */
export function rewriteGreeting(payload: Buffer, version: string): Buffer {
  if (payload[0] === ERR) return payload;
  const versionEnd = payload.indexOf(0, 1);
  const rest = Buffer.from(payload.subarray(versionEnd));
  // After the name: 0, connection id (4), scramble (8), 0, capabilities low (2), charset, status (2), capabilities high (2).
  const low = 1 + 4 + 8 + 1;
  const high = low + 2 + 1 + 2;
  rest.writeUInt16LE(rest.readUInt16LE(low) & ~NOT_OFFERED & 0xffff, low);
  rest.writeUInt16LE(rest.readUInt16LE(high) & (~NOT_OFFERED >>> 16) & 0xffff, high);
  // The low bit is CLIENT_LONG_PASSWORD; MariaDB clears it to announce its own bits in the reserved bytes.
  rest[low] = (rest[low] ?? 0) | 1;
  rest.fill(0, high + 3, high + 13);
  return Buffer.concat([payload.subarray(0, 1), Buffer.from(version, 'latin1'), rest]);
}

/** The default database of a client's handshake response, and the response without what was not offered. */
export function readHandshakeResponse(payload: Buffer): { database: string | undefined; payload: Buffer } {
  const changed = Buffer.from(payload);
  const capabilities = (changed.readUInt32LE(0) & ~NOT_OFFERED) >>> 0;
  changed.writeUInt32LE(capabilities, 0);
  if (!(capabilities & CAPABILITY.connectWithDb)) return { database: undefined, payload: changed };
  let at = changed.indexOf(0, 32) + 1;
  if (capabilities & CAPABILITY.lenencAuth) {
    const auth = readLength(changed, at);
    at = auth.end + auth.value;
  } else if (capabilities & CAPABILITY.secureConnection) at += 1 + (changed[at] ?? 0);
  else at = changed.indexOf(0, at) + 1;
  return { database: readText(changed, at) || undefined, payload: changed };
}

/** The database of a COM_CHANGE_USER. */
export function readChangeUser(payload: Buffer): string | undefined {
  const user = payload.indexOf(0, 1) + 1;
  return readText(payload, user + 1 + (payload[user] ?? 0)) || undefined;
}

function readText(payload: Buffer, at: number): string {
  const end = payload.indexOf(0, at);
  return payload.toString('utf8', at, end < 0 ? payload.length : end);
}
