/** What clients send: LOGIN7, SQL batches and calls of sp_executesql ([MS-TDS] 2.2.6). */

export type Login = {
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly packetSize: number;
};

export function parseLogin(body: Buffer): Login {
  const field = (at: number): Buffer => {
    const start = body.readUInt16LE(at);
    return body.subarray(start, start + body.readUInt16LE(at + 2) * 2);
  };
  const hidden = Buffer.from(field(44)).map((byte) => {
    const one = byte ^ 0xa5;
    return ((one << 4) | (one >> 4)) & 255;
  });
  return {
    user: field(40).toString('utf16le'),
    password: Buffer.from(hidden).toString('utf16le'),
    database: field(68).toString('utf16le'),
    packetSize: body.readUInt32LE(8),
  };
}

export type Call = { readonly sql: string; readonly params: Readonly<Record<string, string | bigint | null>> };

/** The text of a batch, behind its ALL_HEADERS. */
export function parseBatch(body: Buffer): Call {
  return { sql: body.subarray(body.readUInt32LE(0)).toString('utf16le'), params: {} };
}

/** A call of sp_executesql, by number (10) or by name. */
export function parseCall(body: Buffer): Call {
  let at = body.readUInt32LE(0);
  const length = body.readUInt16LE(at);
  at += 2;
  let name = 'sp_executesql';
  if (length === 0xffff) {
    if (body.readUInt16LE(at) !== 10) throw new Error(`procedure ${body.readUInt16LE(at)} is not known`);
    at += 2;
  } else {
    name = body.toString('utf16le', at, at + length * 2);
    at += length * 2;
  }
  if (name !== 'sp_executesql') throw new Error(`procedure ${name} is not known`);
  at += 2;
  const values: { name: string; value: string | bigint | null }[] = [];
  while (at < body.length) {
    const nameLength = body.readUInt8(at);
    const param = body.toString('utf16le', at + 1, at + 1 + nameLength * 2);
    at += 1 + nameLength * 2 + 1;
    const [value, next] = parseValue(body, at);
    values.push({ name: param, value });
    at = next;
  }
  const [statement, , ...rest] = values;
  return {
    sql: String(statement?.value),
    params: Object.fromEntries(rest.map((one) => [one.name, one.value])),
  };
}

function parseValue(body: Buffer, start: number): [string | bigint | null, number] {
  let at = start;
  const token = body.readUInt8(at++);
  if (token === 0x26) {
    const length = body.readUInt8(at + 1);
    at += 2;
    if (length === 0) return [null, at];
    const value =
      length === 8 ? body.readBigInt64LE(at) : BigInt(length === 1 ? body.readUInt8(at) : body.readIntLE(at, length));
    return [value, at + length];
  }
  if (token !== 0xe7 && token !== 0xa7) throw new Error(`parameter of type 0x${token.toString(16)} is not known`);
  const most = body.readUInt16LE(at);
  at += 7;
  const encoding = token === 0xe7 ? 'utf16le' : 'latin1';
  if (most !== 0xffff) {
    const length = body.readUInt16LE(at);
    at += 2;
    return length === 0xffff ? [null, at] : [body.toString(encoding, at, at + length), at + length];
  }
  const total = body.readBigUInt64LE(at);
  at += 8;
  if (total === 0xffffffffffffffffn) return [null, at];
  const parts: Buffer[] = [];
  for (;;) {
    const length = body.readUInt32LE(at);
    at += 4;
    if (length === 0) return [Buffer.concat(parts).toString(encoding), at];
    parts.push(body.subarray(at, at + length));
    at += length;
  }
}
