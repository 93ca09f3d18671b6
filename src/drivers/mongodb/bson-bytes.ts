import { UnsupportedValue } from '../errors.ts';

/**
 * BSON as bytes (https://bsonspec.org/spec.html): a document is its length in four bytes, elements and a zero byte; an element is a type, a
 * name that ends in a zero byte, and a value. Nothing here trusts a length before it is held against the end of what surrounds it.
 */

/** Element types. */
export const TYPE = {
  double: 0x01,
  string: 0x02,
  object: 0x03,
  array: 0x04,
  binary: 0x05,
  undefined: 0x06,
  objectId: 0x07,
  bool: 0x08,
  date: 0x09,
  null: 0x0a,
  regex: 0x0b,
  pointer: 0x0c,
  code: 0x0d,
  symbol: 0x0e,
  scopedCode: 0x0f,
  int: 0x10,
  timestamp: 0x11,
  long: 0x12,
  decimal: 0x13,
  minKey: 0xff,
  maxKey: 0x7f,
} as const;

/** The bytes are no TYPE. */
export function damaged(what: string): UnsupportedValue {
  return new UnsupportedValue(
    `A document of the source is damaged: ${what}.`,
    'Check the collection with validate at the source; the copy takes only whole documents.',
  );
}

/** A document at `p`: where its elements end, at its last byte. */
export function documentEnd(bytes: Buffer, p: number, end: number): number {
  if (end - p < 5) throw damaged('a document is cut off');
  const size = int32(bytes, p);
  if (size < 5 || size > end - p) throw damaged('the length of a document is wrong');
  const last = p + size - 1;
  if (bytes[last] !== 0) throw damaged('a document has no end');
  return last;
}

export function int32(bytes: Buffer, p: number): number {
  return (
    (bytes[p] as number) |
    ((bytes[p + 1] as number) << 8) |
    ((bytes[p + 2] as number) << 16) |
    ((bytes[p + 3] as number) << 24)
  );
}

/** The byte after the zero that ends a name or a C string. */
export function afterText(bytes: Buffer, p: number, end: number): number {
  while (p < end) if (bytes[p++] === 0) return p;
  throw damaged('a name has no end');
}

/** The length of a string's bytes, without its zero; the text begins four bytes behind `p`. */
export function stringBytes(bytes: Buffer, p: number, end: number): number {
  if (end - p < 5) throw damaged('a string is cut off');
  const size = int32(bytes, p);
  if (size < 1 || size > end - p - 4 || bytes[p + 3 + size] !== 0) throw damaged('the length of a string is wrong');
  return size - 1;
}

/** The length of a binary's bytes, which begin five bytes behind `p`, after the subtype. */
export function binaryBytes(bytes: Buffer, p: number, end: number): number {
  if (end - p < 5) throw damaged('a binary is cut off');
  const size = int32(bytes, p);
  if (size < 0 || size > end - p - 5) throw damaged('the length of a binary is wrong');
  return size;
}

/** Where the value at `p` ends. Values inside it are not looked at. */
export function valueEnd(type: number, bytes: Buffer, p: number, end: number): number {
  const width = WIDTHS[type] as number;
  if (width >= 0) {
    if (end - p < width) throw damaged('a value is cut off');
    return p + width;
  }
  switch (type) {
    case TYPE.string:
    case TYPE.code:
    case TYPE.symbol:
      return p + 5 + stringBytes(bytes, p, end);
    case TYPE.object:
    case TYPE.array:
      return documentEnd(bytes, p, end) + 1;
    case TYPE.binary:
      return p + 5 + binaryBytes(bytes, p, end);
    case TYPE.regex:
      return afterText(bytes, afterText(bytes, p, end), end);
    case TYPE.pointer: {
      const to = p + 5 + stringBytes(bytes, p, end) + 12;
      if (to > end) throw damaged('a value is cut off');
      return to;
    }
    case TYPE.scopedCode: {
      if (end - p < 14) throw damaged('a code is cut off');
      const size = int32(bytes, p);
      if (size < 14 || size > end - p) throw damaged('the length of a code is wrong');
      return p + size;
    }
    default:
      throw damaged(`there is no element type ${type}`);
  }
}

/** Bytes of a value by type; -1: told by the value, or no type. */
const WIDTHS = new Int8Array(256).fill(-1);
for (const [type, width] of [
  [TYPE.double, 8],
  [TYPE.undefined, 0],
  [TYPE.objectId, 12],
  [TYPE.bool, 1],
  [TYPE.date, 8],
  [TYPE.null, 0],
  [TYPE.int, 4],
  [TYPE.timestamp, 8],
  [TYPE.long, 8],
  [TYPE.decimal, 16],
  [TYPE.minKey, 0],
  [TYPE.maxKey, 0],
] as const)
  WIDTHS[type] = width;

/** One element of a document: its type, and where its value is. */
export type Element = { readonly type: number; readonly from: number; readonly to: number };

/** The elements of the document at `p` by name; of those with one name the first. For small documents, or few names. */
export function elementsOf(bytes: Buffer, p: number, end: number): Map<string, Element> {
  const found = new Map<string, Element>();
  const last = documentEnd(bytes, p, end);
  let at = p + 4;
  while (at < last) {
    const type = bytes[at] as number;
    const from = afterText(bytes, at + 1, last);
    const to = valueEnd(type, bytes, from, last);
    const name = bytes.toString('utf8', at + 1, from - 1);
    if (!found.has(name)) found.set(name, { type, from, to });
    at = to;
  }
  if (at !== last) throw damaged('a document does not end where it says');
  return found;
}

/** Where the element `_id` of a document begins, at its type; -1: there is none. */
export function findId(bytes: Buffer, p: number, last: number): number {
  let at = p + 4;
  while (at < last) {
    const name = at + 1;
    if (bytes[name] === 0x5f && bytes[name + 1] === 0x69 && bytes[name + 2] === 0x64 && bytes[name + 3] === 0)
      return at;
    const from = afterText(bytes, name, last);
    at = valueEnd(bytes[at] as number, bytes, from, last);
  }
  return -1;
}
