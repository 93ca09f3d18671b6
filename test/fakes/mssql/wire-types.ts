import { COLLATION, u16, u32, type WireType } from './tokens.ts';

/** Types on the wire by their T-SQL names ([MS-TDS] 2.2.5.5): those that clients meet in plain SELECTs too, not only those that the driver asks for. */
export function wireType(full: string): WireType {
  const [, word = '', first = '', second = ''] = /^([a-z_0-9]+)(?:\((max|\d+)(?:,\s*(\d+))?\))?$/.exec(full) ?? [];
  switch (word) {
    case 'bit':
      return fixed(0x68, 1, (value) => Buffer.from([Number(value)]));
    case 'tinyint':
      return fixed(0x26, 1, (value) => Buffer.from([Number(value)]));
    case 'smallint':
      return fixed(0x26, 2, (value) => write(2, (b) => b.writeInt16LE(Number(value))));
    case 'int':
      return fixed(0x26, 4, (value) => write(4, (b) => b.writeInt32LE(Number(value))));
    case 'bigint':
      return fixed(0x26, 8, (value) => write(8, (b) => b.writeBigInt64LE(BigInt(value as bigint))));
    case 'real':
      return fixed(0x6d, 4, (value) => write(4, (b) => b.writeFloatLE(Number(value))));
    case 'float':
      return fixed(0x6d, 8, (value) => write(8, (b) => b.writeDoubleLE(Number(value))));
    case 'uniqueidentifier':
      return fixed(0x24, 16, (value) => guid(String(value)));
    case 'decimal':
    case 'numeric':
      return decimal(Number(first || 18), Number(second || 0));
    case 'money':
      return fixed(0x6e, 8, (value) => {
        const units = digits(String(value), 4);
        return Buffer.concat([write(4, (b) => b.writeInt32LE(Number(units >> 32n))), u32(Number(units & 0xffffffffn))]);
      });
    case 'date':
      return lengthed(Buffer.from([0x28]), (value) => days(String(value)));
    case 'datetime2':
      return datetime2(Number(first || 7));
    case 'varchar':
    case 'char':
    case 'text':
      return text(0xa7, first === 'max' || word === 'text' ? -1 : Number(first || 1), 'latin1');
    case 'binary':
    case 'varbinary':
    case 'image':
    case 'timestamp':
      return bytes(word === 'timestamp' ? 8 : first === 'max' || word === 'image' ? -1 : Number(first || 1));
    default:
      return text(0xe7, word === 'nvarchar' && first !== 'max' ? Number(first) * 2 : -1, 'utf16le');
  }
}

function fixed(token: number, size: number, value: (value: unknown) => Buffer): WireType {
  return lengthed(Buffer.from([token, size]), value);
}

/** A length byte, then the value. */
function lengthed(info: Buffer, value: (value: unknown) => Buffer): WireType {
  return {
    info,
    nullable: Buffer.from([0]),
    value(one) {
      const body = value(one);
      return Buffer.concat([Buffer.from([body.length]), body]);
    },
  };
}

function decimal(precision: number, scale: number): WireType {
  const size = precision <= 9 ? 5 : precision <= 19 ? 9 : precision <= 28 ? 13 : 17;
  return lengthed(Buffer.from([0x6a, size, precision, scale]), (value) => {
    let units = digits(String(value), scale);
    const body = Buffer.alloc(size);
    body[0] = units < 0n ? 0 : 1;
    if (units < 0n) units = -units;
    for (let i = 1; i < size; i++, units >>= 8n) body[i] = Number(units & 255n);
    return body;
  });
}

/** A decimal text as a whole number of its last digit. */
function digits(text: string, scale: number): bigint {
  const [, sign, whole = '0', fraction = ''] = /^(-?)(\d*)\.?(\d*)$/.exec(text) ?? [];
  const units = BigInt(`${whole}${fraction.padEnd(scale, '0').slice(0, scale)}`);
  return sign === '-' ? -units : units;
}

function days(text: string): Buffer {
  const since = Math.round(
    (Date.parse(`${text.slice(0, 10)}T00:00:00Z`) - Date.parse('0001-01-01T00:00:00Z')) / 86_400_000,
  );
  return Buffer.from([since & 255, (since >> 8) & 255, (since >> 16) & 255]);
}

function datetime2(scale: number): WireType {
  const size = scale <= 2 ? 3 : scale <= 4 ? 4 : 5;
  return lengthed(Buffer.from([0x2a, scale]), (value) => {
    const [, h = '0', m = '0', s = '0', f = ''] = /(\d\d):(\d\d):(\d\d)(?:\.(\d+))?$/.exec(String(value)) ?? [];
    let ticks =
      BigInt(Number(h) * 3600 + Number(m) * 60 + Number(s)) * 10n ** BigInt(scale) +
      BigInt(f.padEnd(scale, '0').slice(0, scale) || '0');
    const time = Buffer.alloc(size);
    for (let i = 0; i < size; i++, ticks >>= 8n) time[i] = Number(ticks & 255n);
    return Buffer.concat([time, days(String(value))]);
  });
}

function text(token: number, size: number, encoding: 'latin1' | 'utf16le'): WireType {
  const whole = size < 0 || size > 8000;
  return {
    info: Buffer.concat([Buffer.from([token]), u16(whole ? 0xffff : Math.max(size, 1)), COLLATION]),
    nullable: Buffer.alloc(0),
    value(one) {
      const body = Buffer.from(String(one), encoding);
      return whole ? chunked(body) : Buffer.concat([u16(body.length), body]);
    },
  };
}

function bytes(size: number): WireType {
  const whole = size < 0 || size > 8000;
  return {
    info: Buffer.concat([Buffer.from([0xa5]), u16(whole ? 0xffff : Math.max(size, 1))]),
    nullable: Buffer.alloc(0),
    value(one) {
      const body = Buffer.from(one as Uint8Array);
      return whole ? chunked(body) : Buffer.concat([u16(body.length), body]);
    },
  };
}

/** Partially length-prefixed: the whole length, pieces, an empty piece. In two pieces, so that clients must join them. */
function chunked(body: Buffer): Buffer {
  const total = Buffer.alloc(8);
  total.writeBigUInt64LE(BigInt(body.length));
  const half = body.length >> 1;
  const pieces = [body.subarray(0, half), body.subarray(half)].filter((one) => one.length > 0);
  return Buffer.concat([total, ...pieces.flatMap((one) => [u32(one.length), one]), u32(0)]);
}

function guid(value: string): Buffer {
  const hex = Buffer.from(value.replaceAll('-', ''), 'hex');
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  return Buffer.from(order.map((i) => hex[i] as number));
}

function write(size: number, fill: (bytes: Buffer) => void): Buffer {
  const made = Buffer.alloc(size);
  fill(made);
  return made;
}
