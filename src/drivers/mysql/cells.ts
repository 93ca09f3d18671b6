import { inflateRawSync, inflateSync } from 'node:zlib';
import { appendHex, appendNull, appendText, findEscape, GROWTH } from '../load-text.ts';
import { isValidDate } from './dates.ts';
import { geometryText } from './geometry.ts';
import { inet4Text, inet6Text, uuidText } from './identifiers.ts';
import { jsonText } from './json-text.ts';
import { type LogColumn, OP } from './log-columns.ts';
import { appendAscii, appendDecimal, doubleText } from './number-text.ts';
import type { Repairs } from './repairs.ts';
import { appendStoredInteger, appendWide } from './stored-integers.ts';
import { damaged } from './table-map.ts';
import {
  appendDate,
  appendDatetime,
  appendOldDatetime,
  appendOldTime,
  appendOldTimestamp,
  appendTime,
  appendTimestamp,
} from './temporals.ts';
import { vectorText } from './vector.ts';

/** Where rows are written: one row at a time, whole, in one buffer. */
export type RowText = {
  data: Buffer;
  at: number;
  /** Where the current row begins. */
  start: number;
  /** Bytes that the fixed cells of a row may need at most. */
  fixed: number;
};

/** Buffers of so many bytes hold many rows. */
const BUFFER_BYTES = 262_144;
/** From here on the bytes that a text needs are counted, not guessed. */
const LARGE = 65_536;

export function createRowText(): RowText {
  return { data: Buffer.allocUnsafeSlow(BUFFER_BYTES), at: 0, start: 0, fixed: 0 };
}

/** Makes sure that `bytes` more, and the row's fixed cells, fit behind what the row has so far, which may move. */
export function room(out: RowText, bytes: number): void {
  const wanted = bytes + out.fixed + 64;
  if (out.data.length - out.at >= wanted) return;
  const so = out.at - out.start;
  const data = Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES, so + wanted));
  out.data.copy(data, 0, out.start, out.at);
  out.data = data;
  out.start = 0;
  out.at = so;
}

/** Where the cell at `p` ends. */
export function skipCell(column: LogColumn, bytes: Buffer, p: number): number {
  return column.width > 0 ? p + column.width : p + column.prefix + cellLength(column, bytes, p);
}

function cellLength(column: LogColumn, bytes: Buffer, p: number): number {
  const first = bytes[p] as number;
  switch (column.prefix) {
    case 1:
      return first;
    case 2:
      return first | ((bytes[p + 1] as number) << 8);
    case 3:
      return first | ((bytes[p + 1] as number) << 8) | ((bytes[p + 2] as number) << 16);
    default:
      return bytes.readUInt32LE(p);
  }
}

/** Writes the cell at `p`, which is not NULL; returns where it ends. Throws for damage, and UnsupportedValue for what no rule may carry. */
export function writeCell(
  out: RowText,
  column: LogColumn,
  bytes: Buffer,
  p: number,
  end: number,
  repairs: Repairs,
): number {
  if (column.width === 0) return writeVariable(out, column, bytes, p, end);
  const { data, at } = out;
  const next = p + column.width;
  if (next > end) throw damaged('a row');
  switch (column.op) {
    case OP.signed:
    case OP.unsigned:
      out.at = appendStoredInteger(data, at, column, bytes, p);
      return next;
    case OP.double:
      out.at = appendAscii(data, at, doubleText(bytes.readDoubleLE(p)));
      return next;
    case OP.float:
      out.at = appendAscii(data, at, doubleText(bytes.readFloatLE(p)));
      return next;
    case OP.decimal:
      out.at = appendDecimal(data, at, bytes, p, column.a, column.b);
      if (out.at < 0) throw damaged('a DECIMAL');
      return next;
    case OP.date:
      return date(out, column, appendDate(data, at, bytes, p), next, repairs);
    case OP.datetime:
      return date(out, column, appendDatetime(data, at, bytes, p, column.a), next, repairs);
    case OP.timestamp:
      return date(out, column, appendTimestamp(data, at, bytes, p, column.a), next, repairs);
    case OP.oldDatetime:
      return date(out, column, appendOldDatetime(data, at, bytes, p, column.width, column.a), next, repairs);
    case OP.oldTimestamp:
      return date(out, column, appendOldTimestamp(data, at, bytes, p, column.width, column.a), next, repairs);
    case OP.time:
      out.at = appendTime(data, at, bytes, p, column.a);
      return next;
    case OP.oldTime:
      out.at = appendOldTime(data, at, bytes, p, column.width, column.a);
      return next;
    case OP.year: {
      const year = bytes[p] as number;
      out.at = appendAscii(data, at, year === 0 ? (column.a === 2 ? '2000' : '0000') : String(1900 + year));
      return next;
    }
    case OP.bits: {
      let high = 0;
      for (let i = p; i < next - 4; i++) high = high * 256 + (bytes[i] as number);
      let low = 0;
      for (let i = Math.max(p, next - 4); i < next; i++) low = low * 256 + (bytes[i] as number);
      out.at = appendWide(data, at, high, low);
      return next;
    }
    case OP.enum: {
      const index = column.width === 1 ? (bytes[p] as number) : bytes.readUInt16LE(p);
      if (index > 0) label(out, column.labels[index - 1]);
      return next;
    }
    case OP.set:
      set(out, column, bytes, p);
      return next;
    case OP.masked:
      out.at = appendNull(data, at);
      return next;
    default:
      throw damaged('a cell');
  }
}

/** The text of a date that stands at `out.at` and ends at `stop` is put right where a rule says so. */
function date(out: RowText, column: LogColumn, stop: number, next: number, repairs: Repairs): number {
  const { data, at } = out;
  if (column.repaired && !isValidDate(data, at))
    stop = appendAscii(data, at, repairs.repair(column.target, data.toString('latin1', at, stop)));
  out.at = stop;
  return next;
}

function label(out: RowText, text: Buffer | undefined): void {
  if (!text) throw damaged('an ENUM or SET without a label');
  out.at += text.copy(out.data, out.at);
}

function set(out: RowText, column: LogColumn, bytes: Buffer, p: number): void {
  let first = true;
  for (let bit = 0; bit < column.width * 8; bit++) {
    if ((((bytes[p + (bit >> 3)] as number) >> (bit & 7)) & 1) === 0) continue;
    if (!first) out.data[out.at++] = 44;
    first = false;
    label(out, column.labels[bit]);
  }
}

function writeVariable(out: RowText, column: LogColumn, source: Buffer, at: number, limit: number): number {
  const from = at + column.prefix;
  const next = from + cellLength(column, source, at);
  if (!(next <= limit)) throw damaged('a row');
  let bytes = source;
  let p = from;
  let end = next;
  if (column.compressed && end > p) {
    bytes = uncompressed(source, p, end);
    p = 0;
    end = bytes.length;
  }
  switch (column.op) {
    case OP.text:
      if (column.decode) {
        bytes = column.decode(bytes, p, end);
        p = 0;
        end = bytes.length;
      }
      text(out, bytes, p, end);
      return next;
    case OP.hex: {
      const missing = Math.max(0, column.a - (end - p));
      room(out, (end - p + missing) * GROWTH);
      out.at = appendHex(out.data, out.at, bytes, p, end);
      // BINARY(n) is stored without the zeros at its end.
      out.data.fill(48, out.at, out.at + missing * 2);
      out.at += missing * 2;
      return next;
    }
    case OP.json: {
      const json = jsonText(bytes, p, end);
      text(out, json, 0, json.length);
      return next;
    }
    case OP.geometry:
    case OP.vector: {
      const raw = bytes.subarray(p, end);
      const shown = column.op === OP.vector ? vectorText(raw) : geometryText(raw);
      room(out, shown.length);
      out.at = appendAscii(out.data, out.at, shown);
      return next;
    }
    case OP.uuid:
    case OP.inet4:
    case OP.inet6: {
      const padded = Buffer.alloc(column.a);
      bytes.copy(padded, 0, p, end);
      const shown =
        column.op === OP.uuid
          ? uuidText(padded, column.b === 1)
          : column.op === OP.inet4
            ? inet4Text(padded)
            : inet6Text(padded);
      out.at = appendAscii(out.data, out.at, shown);
      return next;
    }
    case OP.masked:
      out.at = appendNull(out.data, out.at);
      return next;
    default:
      throw damaged('a cell');
  }
}

function text(out: RowText, bytes: Buffer, p: number, end: number): void {
  let wanted = (end - p) * GROWTH;
  if (end - p > LARGE) {
    wanted = end - p;
    for (let i = findEscape(bytes, p, end); i < end; i = findEscape(bytes, i + 1, end)) wanted++;
  }
  room(out, wanted);
  const { data } = out;
  let { at } = out;
  if (end - p < SHORT)
    for (; p < end; p++) {
      const byte = bytes[p] as number;
      // Nothing else can need an escape (load-text.ts).
      if (byte < 14 || byte === 92) break;
      data[at++] = byte;
    }
  out.at = p === end ? at : appendText(data, at, bytes, p, end);
}

/** Texts below are looked at and moved in one go, byte by byte. */
const SHORT = 256;

/** A value of a COMPRESSED column: how it is packed, its length, and zlib's bytes. */
function uncompressed(bytes: Buffer, start: number, end: number): Buffer {
  const head = bytes[start] as number;
  if (head >> 4 === 0) return bytes.subarray(start + 1, end);
  if (head >> 4 !== 8) throw damaged('a compressed value');
  const packed = bytes.subarray(start + 1 + (head & 7), end);
  return head & 8 ? inflateRawSync(packed) : inflateSync(packed);
}
