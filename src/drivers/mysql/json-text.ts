import { appendDecimal, doubleText } from './number-text.ts';
import { damaged, TYPE } from './table-map.ts';

/**
 * MySQL's binary JSON, as it stands in the log, turned into the text that the server prints for it: `{"a": 1, "b": [true, null]}`. Keys
 * stay in their stored order. Throws for bytes that are no JSON.
 */
export function jsonText(bytes: Buffer, start: number, end: number): Buffer {
  // The server reads an empty value, which a column added with NOT NULL holds, as the literal null.
  if (start === end) return Buffer.from('null');
  const writer = { out: Buffer.allocUnsafe(Math.max(256, (end - start) * 2)), at: 0, bytes, end };
  value(writer, bytes[start] as number, start + 1, 0);
  return writer.out.subarray(0, writer.at);
}

type Writer = { out: Buffer; at: number; readonly bytes: Buffer; readonly end: number };

const SMALL_OBJECT = 0;
const LARGE_OBJECT = 1;
const _SMALL_ARRAY = 2;
const LARGE_ARRAY = 3;
const LITERAL = 4;
const STRING = 12;
const OPAQUE = 15;
const LITERALS = ['null', 'true', 'false'];
/** The server refuses deeper documents. */
const DEEPEST = 200;

function room(writer: Writer, bytes: number): void {
  if (writer.out.length - writer.at >= bytes) return;
  const larger = Buffer.allocUnsafe(Math.max(writer.out.length * 2, writer.at + bytes));
  writer.out.copy(larger, 0, 0, writer.at);
  writer.out = larger;
}

/** Appends text that needs no escaping. */
function plain(writer: Writer, text: string): void {
  room(writer, text.length);
  writer.at += writer.out.write(text, writer.at, 'latin1');
}

function value(writer: Writer, type: number, at: number, depth: number): void {
  if (depth > DEEPEST) throw damaged('a JSON value');
  if (type <= LARGE_ARRAY) container(writer, type, at, depth);
  else if (type === STRING) {
    const [from, length] = variable(writer, at);
    string(writer, from, from + length);
  } else if (type === OPAQUE) {
    const [from, length] = variable(writer, at + 1);
    opaque(writer, writer.bytes[at] as number, from, length);
  } else plain(writer, scalar(writer, type, at));
}

function scalar(writer: Writer, type: number, at: number): string {
  const { bytes } = writer;
  check(writer, at, WIDTHS[type] ?? 1);
  switch (type) {
    case LITERAL:
      return literal(bytes[at] as number);
    case 5:
      return String(bytes.readInt16LE(at));
    case 6:
      return String(bytes.readUInt16LE(at));
    case 7:
      return String(bytes.readInt32LE(at));
    case 8:
      return String(bytes.readUInt32LE(at));
    case 9:
      return String(bytes.readBigInt64LE(at));
    case 10:
      return String(bytes.readBigUInt64LE(at));
    case 11:
      return jsonDouble(bytes.readDoubleLE(at));
    default:
      throw damaged('a JSON value');
  }
}

const WIDTHS: Readonly<Record<number, number>> = { 5: 2, 6: 2, 7: 4, 8: 4, 9: 8, 10: 8, 11: 8 };

function check(writer: Writer, at: number, bytes: number): void {
  if (at < 0 || at + bytes > writer.end) throw damaged('a JSON value');
}

function literal(code: number): string {
  const text = LITERALS[code];
  if (text === undefined) throw damaged('a JSON value');
  return text;
}

/** A whole number that is a double keeps `.0`, so that it is read back as one. */
function jsonDouble(number: number): string {
  const text = doubleText(number);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function container(writer: Writer, type: number, base: number, depth: number): void {
  const { bytes } = writer;
  const large = type === LARGE_OBJECT || type === LARGE_ARRAY;
  const isObject = type === SMALL_OBJECT || type === LARGE_OBJECT;
  const wide = large ? 4 : 2;
  check(writer, base, wide * 2);
  const number = (at: number) => (large ? bytes.readUInt32LE(at) : bytes.readUInt16LE(at));
  const count = number(base);
  const keys = base + wide * 2;
  const values = keys + (isObject ? count * (wide + 2) : 0);
  check(writer, values, count * (wide + 1));
  plain(writer, isObject ? '{' : '[');
  for (let i = 0; i < count; i++) {
    if (i > 0) plain(writer, ', ');
    if (isObject) {
      const key = keys + i * (wide + 2);
      const from = base + number(key);
      const length = bytes.readUInt16LE(key + wide);
      check(writer, from, length);
      string(writer, from, from + length);
      plain(writer, ': ');
    }
    const entry = values + i * (wide + 1);
    const kind = bytes[entry] as number;
    const inline = kind === LITERAL || kind === 5 || kind === 6 || (large && (kind === 7 || kind === 8));
    // Everything lies behind its container's head, so that offsets of a damaged value can't lead in circles.
    const at = inline ? entry + 1 : base + number(entry + 1);
    if (at <= base) throw damaged('a JSON value');
    value(writer, kind, at, depth + 1);
  }
  plain(writer, isObject ? '}' : ']');
}

/** A length in groups of seven bits, and what follows it. */
function variable(writer: Writer, at: number): [from: number, length: number] {
  let length = 0;
  for (let i = 0; i < 5; i++) {
    check(writer, at + i, 1);
    const byte = writer.bytes[at + i] as number;
    length += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) {
      check(writer, at + i + 1, length);
      return [at + i + 1, length];
    }
  }
  throw damaged('a JSON value');
}

const LETTERS: Readonly<Record<number, string>> = { 8: 'b', 9: 't', 10: 'n', 12: 'f', 13: 'r', 34: '"', 92: '\\' };

function string(writer: Writer, from: number, to: number): void {
  const { bytes } = writer;
  room(writer, (to - from) * 2 + 2);
  writer.out[writer.at++] = 34;
  for (let p = from; p < to; p++) {
    const byte = bytes[p] as number;
    if (byte >= 32 && byte !== 34 && byte !== 92) {
      writer.out[writer.at++] = byte;
      continue;
    }
    const letter = LETTERS[byte];
    room(writer, 6 + (to - p) * 2 + 1);
    writer.at += writer.out.write(
      letter === undefined ? `\\u${byte.toString(16).padStart(4, '0')}` : `\\${letter}`,
      writer.at,
      'latin1',
    );
  }
  writer.out[writer.at++] = 34;
}

function opaque(writer: Writer, type: number, from: number, length: number): void {
  const { bytes } = writer;
  if (type === TYPE.decimal) {
    check(writer, from, 3);
    const scratch = Buffer.alloc(100);
    const end = appendDecimal(scratch, 0, bytes, from + 2, bytes[from] as number, bytes[from + 1] as number);
    if (end < 0) throw damaged('a JSON value');
    plain(writer, scratch.toString('latin1', 0, end));
    return;
  }
  if (type === TYPE.date || type === TYPE.datetime || type === TYPE.timestamp || type === TYPE.time) {
    check(writer, from, 8);
    plain(writer, `"${temporal(type, bytes.readBigInt64LE(from))}"`);
    return;
  }
  // As the server encodes it, with a line's end after every 76 characters.
  const base64 = bytes.toString('base64', from, from + length).replace(/.{76}(?=.)/g, '$&\n');
  const text = Buffer.from(`base64:type${type}:${base64}`);
  const nested: Writer = { out: writer.out, at: writer.at, bytes: text, end: text.length };
  string(nested, 0, text.length);
  writer.out = nested.out;
  writer.at = nested.at;
}

function temporal(type: number, packed: bigint): string {
  const size = packed < 0n ? -packed : packed;
  const micros = Number(size & 0xffffffn);
  const high = Number(size >> 24n);
  const time = type === TYPE.time ? high : high % 131_072;
  const [hour, minute, second] = [(time >> 12) % 1024, (time >> 6) & 63, time & 63];
  const clock = `${two(hour)}:${two(minute)}:${two(second)}.${String(micros).padStart(6, '0')}`;
  if (type === TYPE.time) return `${packed < 0n ? '-' : ''}${clock}`;
  const days = Math.floor(high / 131_072);
  const months = days >> 5;
  const date = `${String(Math.floor(months / 13)).padStart(4, '0')}-${two(months % 13)}-${two(days & 31)}`;
  return type === TYPE.date ? date : `${date} ${clock}`;
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}
