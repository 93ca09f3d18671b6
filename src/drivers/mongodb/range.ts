import { BSON, type Document } from 'mongodb';

/**
 * A chunk's range of `_id`: `from` inclusive, `to` exclusive, either open, in the order in which MongoDB compares values of all types
 * (https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/). Bounds as canonical Extended JSON. Stored at the destination as JSON: add
 * fields, never rename.
 */
export type Range = { readonly from?: string; readonly to?: string };

/** The whole collection. */
export const EVERYTHING = '{}';

export function encodeRange(range: Range): string {
  return JSON.stringify(range);
}

/**
 * The filter for a range; null: the whole collection. `rare`: name types too that newer servers have given up and imitations never had. Throws for a text that
 * `encodeRange` did not make.
 */
export function rangeFilter(text: string, rare = true): Document | null {
  const range = JSON.parse(text) as Range;
  if (range.from === undefined && range.to === undefined) return null;
  return between(bound(range.from), bound(range.to), rare);
}

/** A value that ranges can begin or end at, and its place among the types. */
type Bound = { readonly value: unknown; readonly bracket: number };

/**
 * The types in their order, those that compare with each other together. `$gte` and `$lt` find values of one bracket only ("type bracketing"), so a
 * range that goes on to others names these.
 */
const BRACKETS: readonly (readonly string[])[] = [
  ['minKey'],
  ['undefined', 'null'],
  ['int', 'long', 'double', 'decimal'],
  ['string', 'symbol'],
  ['object'],
  ['array'],
  ['binData'],
  ['objectId'],
  ['bool'],
  ['date'],
  ['timestamp'],
  ['regex'],
  ['dbPointer'],
  ['javascript'],
  ['javascriptWithScope'],
  ['maxKey'],
];
const NUMBERS = 2;
const RARE: ReadonlySet<string> = new Set(['undefined', 'symbol', 'dbPointer', 'javascript', 'javascriptWithScope']);

function between(from: Bound | null, to: Bound | null, rare: boolean): Document {
  if (from && to && from.bracket === to.bracket) return { _id: { $gte: from.value, $lt: to.value } };
  const any: Document[] = [];
  if (from) any.push({ _id: { $gte: from.value } });
  const types = BRACKETS.slice(from ? from.bracket + 1 : 0, to ? to.bracket : BRACKETS.length)
    .flat()
    .filter((type) => rare || !RARE.has(type));
  if (types.length > 0) any.push({ _id: { $type: types } });
  if (to) {
    any.push({ _id: { $lt: to.value } });
    // NaN is the least number, and no comparison but with itself finds it.
    if (to.bracket === NUMBERS) any.push({ _id: { $eq: Number.NaN } });
  }
  return any.length === 1 ? (any[0] as Document) : { $or: any };
}

function bound(text: string | undefined): Bound | null {
  if (text === undefined) return null;
  const value = (BSON.EJSON.parse(text, { relaxed: false }) as { _id: unknown })._id;
  const bracket = bracketOf(value);
  if (bracket < 0) throw new Error('A stored range of a chunk is damaged.');
  return { value, bracket };
}

/**
 * An `_id` (as bytes of the document `{_id}`) as a bound; undefined for one that can't be: types that don't compare plainly, and what the client
 * library would not send back byte for byte.
 */
export function boundOf(document: Uint8Array): string | undefined {
  if (document.length > MOST_BYTES) return undefined;
  const value = BSON.deserialize(document, { promoteValues: false, promoteBuffers: false, bsonRegExp: true })['_id'];
  if (bracketOf(value) < 0) return undefined;
  const text = BSON.EJSON.stringify({ _id: value }, { relaxed: false });
  const back = BSON.serialize(BSON.EJSON.parse(text, { relaxed: false }) as Document);
  return Buffer.compare(back, document) === 0 ? text : undefined;
}
/** Two bounds in hex or escaped text stay below the 4 KB of a range. */
const MOST_BYTES = 256;

function bracketOf(value: unknown): number {
  if (value instanceof BSON.Int32 || BSON.Long.isLong(value)) return isTimestamp(value) ? 10 : NUMBERS;
  if (value instanceof BSON.Double) return Number.isNaN(value.value) ? -1 : NUMBERS;
  if (typeof value === 'string') return 3;
  if (value instanceof BSON.Binary) return 6;
  if (value instanceof BSON.ObjectId) return 7;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? -1 : 9;
  if (value instanceof BSON.Decimal128) return /^-?\d/.test(value.toString()) ? NUMBERS : -1;
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype ? 4 : -1;
}

function isTimestamp(value: object): boolean {
  return value instanceof BSON.Timestamp;
}
