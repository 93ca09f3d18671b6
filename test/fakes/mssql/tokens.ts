/** Tokens that a server sends, as Microsoft's [MS-TDS] writes them (sections 2.2.5 to 2.2.7); version 7.4. */

/** A type on the wire: its TYPE_INFO, and a value as a ROW holds it. */
export type WireType = { readonly info: Buffer; readonly nullable: Buffer; value(value: unknown): Buffer };
export type WireColumn = { readonly name: string; readonly type: WireType };

/** Latin1_General_CI_AS: LCID 0x0409, sort id 0, code page 1252. */
export const COLLATION = Buffer.from([0x09, 0x04, 0xd0, 0x00, 0x34]);

export function colMetadata(columns: readonly WireColumn[]): Buffer {
  const parts = [Buffer.from([0x81]), u16(columns.length)];
  for (const { name, type } of columns) parts.push(u32(0), u16(0x0009), type.info, byteText(name));
  return Buffer.concat(parts);
}

/** ROW, or NBCROW where a value is NULL. */
export function row(columns: readonly WireColumn[], values: readonly unknown[]): Buffer {
  if (!values.includes(null)) {
    const parts: Buffer[] = [Buffer.from([0xd1])];
    for (let i = 0; i < columns.length; i++) parts.push((columns[i] as WireColumn).type.value(values[i]));
    return Buffer.concat(parts);
  }
  const bitmap = Buffer.alloc(1 + Math.ceil(columns.length / 8));
  bitmap[0] = 0xd2;
  const parts: Buffer[] = [bitmap];
  for (let i = 0; i < columns.length; i++)
    if (values[i] === null) bitmap[1 + (i >> 3)] = (bitmap[1 + (i >> 3)] as number) | (1 << (i & 7));
    else parts.push((columns[i] as WireColumn).type.value(values[i]));
  return Buffer.concat(parts);
}

/** DONE (0xFD), DONEPROC (0xFE) or DONEINPROC (0xFF). Status: 1 more, 2 error, 16 count, 32 attention. */
export function done(token: 0xfd | 0xfe | 0xff, status: number, count = 0): Buffer {
  const rows = Buffer.alloc(8);
  rows.writeBigUInt64LE(BigInt(count));
  return Buffer.concat([Buffer.from([token]), u16(status), u16(0xc1), rows]);
}

export function returnStatus(status: number): Buffer {
  return Buffer.concat([Buffer.from([0x79]), u32(status)]);
}

export type ServerMessage = {
  readonly number: number;
  readonly message: string;
  readonly state?: number;
  readonly level?: number;
};

export function errorToken({ number, message, state = 1, level = 16 }: ServerMessage): Buffer {
  const text = Buffer.from(message, 'utf16le');
  const body = Buffer.concat([
    u32(number),
    Buffer.from([state, level]),
    u16(text.length / 2),
    text,
    byteText('fake'),
    byteText(''),
    u32(1),
  ]);
  return Buffer.concat([Buffer.from([0xaa]), u16(body.length), body]);
}

/** What a login is answered with. */
export function loginTokens(database: string, packetSize: number, tdsVersion: number): Buffer {
  const version = Buffer.alloc(4);
  version.writeUInt32BE(tdsVersion);
  const ack = Buffer.concat([
    Buffer.from([1]),
    version,
    byteText('Microsoft SQL Server'),
    Buffer.from([16, 0, 0x10, 0x3e]),
  ]);
  return Buffer.concat([
    envChange(1, byteText(database), byteText('master')),
    envChange(7, Buffer.concat([Buffer.from([5]), COLLATION]), Buffer.from([0])),
    Buffer.from([0xad]),
    u16(ack.length),
    ack,
    envChange(4, byteText(String(packetSize)), byteText('4096')),
    done(0xfd, 0),
  ]);
}

function envChange(type: number, now: Buffer, before: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xe3]), u16(1 + now.length + before.length), Buffer.from([type]), now, before]);
}

/** B_VARCHAR: a byte that counts characters, then UTF-16. */
function byteText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf16le');
  return Buffer.concat([Buffer.from([bytes.length / 2]), bytes]);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
