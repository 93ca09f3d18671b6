import { isUtf8 } from 'node:buffer';
import { UnsupportedValue } from '../errors.ts';
import { afterText, binaryBytes, damaged, documentEnd, int32, stringBytes, TYPE, valueEnd } from './bson-bytes.ts';
import { checkNames } from './field-names.ts';
import { appendBase64, appendJsonText, appendObjectId, appendQuoted, ascii } from './json-strings.ts';
import { isNumber, numberKey } from './number-keys.ts';
import { appendInt, appendIso, decimalText, doubleText, longText } from './numbers.ts';
import { type RowText, room } from './row-text.ts';

/**
 * BSON to JSON, from bytes to load text in one walk: MongoDB Extended JSON v2
 * (https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md), exact in both forms. `canonical` says the type of
 * every number. `relaxed` writes int32 and int64 as their digits, a double as the shortest number that is read back as the same, always with a point or an
 * exponent, and dates of the years 1970 to 9999 as ISO 8601 in UTC. A string that is not UTF-8 becomes `{"$invalidUtf8": base64}`.
 */
export type JsonForm = {
  readonly canonical: boolean;
  /** Refuse objects with two fields of one name: a JSON column would keep one of them. */
  readonly unique: boolean;
  /** Of keys: what MongoDB takes for equal has one text, whatever its type. */
  readonly byValue: boolean;
  /** Sequences of field names that are known to hold no name twice, as hashes. */
  readonly shapes: Set<number>;
};

export function jsonForm(canonical: boolean, unique: boolean, byValue = false): JsonForm {
  return { canonical, unique, byValue, shapes: new Set() };
}

/** Servers take up to 100 levels (200 inside them). */
const MOST_DEPTH = 250;
/** Room for a value that is no text: the longest is a code's or pointer's wording. */
const FIXED = 192;

/** Appends a document without the element at `skipped` (-1: all of it), or without several. */
export function appendDocument(
  out: RowText,
  form: JsonForm,
  bytes: Buffer,
  p: number,
  end: number,
  skipped: number | ReadonlySet<number>,
): void {
  appendObject(out, form, bytes, p, end, skipped, 0);
}

function appendObject(
  out: RowText,
  form: JsonForm,
  bytes: Buffer,
  p: number,
  end: number,
  skipped: number | ReadonlySet<number>,
  depth: number,
): number {
  if (depth > MOST_DEPTH) throw damaged(`it is nested more than ${MOST_DEPTH} levels deep`);
  const last = documentEnd(bytes, p, end);
  room(out, 2);
  out.data[out.at++] = 0x7b;
  let at = p + 4;
  let first = true;
  // Two hashes of the sequence of names, of which 53 bits are kept.
  let low = 0x811c9dc5;
  let high = 0x9e3779b9;
  while (at < last) {
    const type = bytes[at] as number;
    if (typeof skipped === 'number' ? at === skipped : skipped.has(at)) {
      at = valueEnd(type, bytes, afterText(bytes, at + 1, last), last);
      continue;
    }
    let name = at + 1;
    if (!first) {
      room(out, 1);
      out.data[out.at++] = 0x2c;
    }
    first = false;
    // Most names are short and plain: copied and hashed in one go.
    room(out, 80);
    const { data } = out;
    let o = out.at;
    data[o++] = 0x22;
    const most = Math.min(name + 64, last);
    for (; name < most; name++) {
      const c = bytes[name] as number;
      if (c < 0x20 || c > 0x7f || c === 0x22 || c === 0x5c) break;
      data[o++] = c;
      low = Math.imul(low ^ c, 0x01000193);
    }
    high = Math.imul(high ^ low, 0x85ebca6b) ^ (name - at);
    if (name < last && bytes[name] === 0) {
      data[o++] = 0x22;
      data[o++] = 0x3a;
      out.at = o;
      name++;
    } else {
      name = appendName(out, bytes, at + 1, last);
      for (let i = at + 1; i < name; i++) low = Math.imul(low ^ (bytes[i] as number), 0x01000193);
      high = Math.imul(high ^ low, 0x85ebca6b);
    }
    at = appendValue(out, form, type, bytes, name, last, depth);
  }
  if (at !== last) throw damaged('a document does not end where it says');
  if (form.unique) checkNames(form.shapes, bytes, p, last, (low >>> 0) + (high & 0x1fffff) * 4_294_967_296);
  room(out, 1);
  out.data[out.at++] = 0x7d;
  return last + 1;
}

/** A name of any characters, with its quotes and colon. */
function appendName(out: RowText, bytes: Buffer, from: number, last: number): number {
  const next = afterText(bytes, from, last);
  if (!isUtf8(bytes.subarray(from, next - 1)))
    throw new UnsupportedValue(
      'A document of the source has a field name that is not UTF-8.',
      'Rename the field at the source ($rename), or deselect the collection.',
    );
  appendQuoted(out, bytes, from, next - 1);
  room(out, 1);
  out.data[out.at++] = 0x3a;
  return next;
}

function appendArray(out: RowText, form: JsonForm, bytes: Buffer, p: number, end: number, depth: number): number {
  if (depth > MOST_DEPTH) throw damaged(`it is nested more than ${MOST_DEPTH} levels deep`);
  const last = documentEnd(bytes, p, end);
  room(out, 2);
  out.data[out.at++] = 0x5b;
  let at = p + 4;
  let first = true;
  while (at < last) {
    if (!first) {
      room(out, 1);
      out.data[out.at++] = 0x2c;
    }
    first = false;
    at = appendValue(out, form, bytes[at] as number, bytes, afterText(bytes, at + 1, last), last, depth);
  }
  if (at !== last) throw damaged('an array does not end where it says');
  room(out, 1);
  out.data[out.at++] = 0x5d;
  return last + 1;
}

/** Appends the value at `p`; returns where it ends. */
export function appendValue(
  out: RowText,
  form: JsonForm,
  type: number,
  bytes: Buffer,
  p: number,
  end: number,
  depth: number,
): number {
  room(out, FIXED);
  switch (type) {
    case TYPE.string:
      return appendString(out, bytes, p, end);
    case TYPE.object:
      return appendObject(out, form, bytes, p, end, -1, depth + 1);
    case TYPE.array:
      return appendArray(out, form, bytes, p, end, depth + 1);
    case TYPE.pointer:
    case TYPE.code:
    case TYPE.symbol:
    case TYPE.scopedCode:
    case TYPE.regex:
    case TYPE.binary:
      return appendWorded(out, form, type, bytes, p, end, depth);
  }
  const to = valueEnd(type, bytes, p, end);
  if (form.byValue && isNumber(type)) {
    ascii(out, numberKey(type, bytes, p));
    return to;
  }
  switch (type) {
    case TYPE.int:
      if (form.canonical) ascii(out, `{"$numberInt":"${int32(bytes, p)}"}`);
      else out.at = appendInt(out.data, out.at, int32(bytes, p));
      break;
    case TYPE.long:
      if (form.canonical) ascii(out, `{"$numberLong":"${longText(bytes, p)}"}`);
      else ascii(out, longText(bytes, p));
      break;
    case TYPE.double: {
      const value = bytes.readDoubleLE(p);
      const text = doubleText(value);
      ascii(out, form.canonical || !Number.isFinite(value) ? `{"$numberDouble":"${text}"}` : text);
      break;
    }
    case TYPE.decimal:
      ascii(out, `{"$numberDecimal":"${decimalText(bytes, p)}"}`);
      break;
    case TYPE.objectId:
      ascii(out, '{"$oid":"');
      appendObjectId(out, bytes, p);
      ascii(out, '"}');
      break;
    case TYPE.bool:
      if ((bytes[p] as number) > 1) throw damaged('a boolean is neither');
      ascii(out, bytes[p] === 1 ? 'true' : 'false');
      break;
    case TYPE.date: {
      const before = out.at;
      ascii(out, '{"$date":"');
      const iso = form.canonical ? -1 : appendIso(out.data, out.at, bytes, p);
      if (iso < 0) {
        out.at = before;
        ascii(out, `{"$date":{"$numberLong":"${longText(bytes, p)}"}}`);
      } else {
        out.at = iso;
        ascii(out, '"}');
      }
      break;
    }
    case TYPE.null:
      ascii(out, 'null');
      break;
    case TYPE.timestamp:
      ascii(out, `{"$timestamp":{"t":${int32(bytes, p + 4) >>> 0},"i":${int32(bytes, p) >>> 0}}}`);
      break;
    case TYPE.undefined:
      ascii(out, '{"$undefined":true}');
      break;
    case TYPE.minKey:
      ascii(out, '{"$minKey":1}');
      break;
    default:
      ascii(out, '{"$maxKey":1}');
  }
  return to;
}

/** The types that Extended JSON words around a text. */
function appendWorded(
  out: RowText,
  form: JsonForm,
  type: number,
  bytes: Buffer,
  p: number,
  end: number,
  depth: number,
): number {
  let to: number;
  switch (type) {
    case TYPE.binary: {
      const subtype = bytes[p + 4] as number;
      to = valueEnd(type, bytes, p, end);
      // The old subtype has a second length inside.
      const inner = subtype === 2 ? 9 : 5;
      if (binaryBytes(bytes, p, end) < inner - 5 || (inner === 9 && int32(bytes, p + 5) !== to - p - 9))
        throw damaged('the inner length of a binary is wrong');
      ascii(out, '{"$binary":{"base64":"');
      appendBase64(out, bytes, p + inner, to);
      ascii(out, `","subType":"${subtype.toString(16).padStart(2, '0')}"}}`);
      return to;
    }
    case TYPE.regex: {
      const options = afterText(bytes, p, end);
      to = afterText(bytes, options, end);
      ascii(out, '{"$regularExpression":{"pattern":');
      appendJsonText(out, bytes, p, options - 1);
      ascii(out, ',"options":');
      appendJsonText(out, bytes, options, to - 1);
      ascii(out, '}}');
      return to;
    }
    case TYPE.pointer:
      to = valueEnd(type, bytes, p, end);
      ascii(out, '{"$dbPointer":{"$ref":');
      appendString(out, bytes, p, end);
      ascii(out, ',"$id":{"$oid":"');
      appendObjectId(out, bytes, to - 12);
      ascii(out, '"}}}');
      return to;
    case TYPE.scopedCode: {
      to = valueEnd(type, bytes, p, end);
      ascii(out, '{"$code":');
      const scope = appendString(out, bytes, p + 4, to);
      ascii(out, ',"$scope":');
      if (appendObject(out, form, bytes, scope, to, -1, depth + 1) !== to)
        throw damaged('the length of a code is wrong');
      ascii(out, '}');
      return to;
    }
    default:
      if (form.byValue && type === TYPE.symbol) return appendString(out, bytes, p, end);
      ascii(out, type === TYPE.code ? '{"$code":' : '{"$symbol":');
      to = appendString(out, bytes, p, end);
      ascii(out, '}');
      return to;
  }
}

/** A string value as JSON. */
function appendString(out: RowText, bytes: Buffer, p: number, end: number): number {
  const to = p + 4 + stringBytes(bytes, p, end);
  appendJsonText(out, bytes, p + 4, to);
  return to + 1;
}
