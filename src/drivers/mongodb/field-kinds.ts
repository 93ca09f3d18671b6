import { isUtf8 } from 'node:buffer';
import { appendText, GROWTH } from '../load-text.ts';
import type { ColumnType } from '../model.ts';
import { int32, stringBytes, TYPE } from './bson-bytes.ts';
import { appendObjectId, ascii } from './json-strings.ts';
import { decimalText, doubleText, longText } from './numbers.ts';
import { charactersOf, type RowText, room } from './row-text.ts';

/**
 * What a column of a top-level field takes. A value of another type stays in the document, so that none is changed. `any` takes everything, as Extended
 * JSON. `decimal`: a Decimal128 as its text; `decimal(s)`: one with exactly s digits behind the point. Stored with its table (`Column.sourceType`): add
 * kinds, never rename.
 */
export type FieldKind =
  | 'int'
  | 'long'
  | 'double'
  | 'bool'
  | 'date'
  | 'objectId'
  | 'string'
  | 'decimal'
  | `decimal(${number})`
  | 'any';

/** A Decimal128 has so many digits, and its longest text so many characters. */
const DIGITS = 34;
const DECIMAL_LENGTH = 45;
const MOST_SCALE = 30;

/** The narrowest type that holds every value of a kind. */
export function typeOfKind(kind: FieldKind): ColumnType {
  switch (kind) {
    case 'int':
      return { kind: 'int', bytes: 4, unsigned: false };
    case 'long':
      return { kind: 'int', bytes: 8, unsigned: false };
    case 'double':
      return { kind: 'double' };
    case 'bool':
      return { kind: 'int', bytes: 1, unsigned: false };
    case 'date':
      return { kind: 'datetime', fraction: 6 };
    case 'objectId':
      return { kind: 'char', length: 24 };
    case 'string':
      return { kind: 'text', size: 'long' };
    case 'decimal':
      return { kind: 'varchar', length: DECIMAL_LENGTH };
    case 'any':
      return { kind: 'json' };
    default:
      return { kind: 'decimal', precision: DIGITS, scale: scaleOf(kind) };
  }
}

/** The kind of a field that a user has named with a type; undefined: none has such values. */
export function kindOfType(type: ColumnType): FieldKind | undefined {
  switch (type.kind) {
    case 'int':
      return type.unsigned ? undefined : type.bytes === 1 ? 'bool' : type.bytes === 8 ? 'long' : 'int';
    case 'double':
      return 'double';
    case 'datetime':
      return type.fraction === 6 ? 'date' : undefined;
    case 'char':
      return type.length === 24 ? 'objectId' : undefined;
    case 'varchar':
    case 'text':
      return 'string';
    case 'decimal':
      return `decimal(${type.scale})`;
    case 'json':
      return 'any';
    default:
      return undefined;
  }
}

/** The kind of values like this one; `any` where only JSON says what it is, undefined for null, which every kind has. */
export function kindOfValue(type: number, bytes: Buffer, p: number): FieldKind | undefined {
  switch (type) {
    case TYPE.null:
      return undefined;
    case TYPE.int:
      return 'int';
    case TYPE.long:
      return 'long';
    case TYPE.double:
      return 'double';
    case TYPE.bool:
      return 'bool';
    case TYPE.date:
      return 'date';
    case TYPE.objectId:
      return 'objectId';
    case TYPE.string:
      return 'string';
    case TYPE.decimal: {
      const scale = decimalScale(decimalText(bytes, p));
      return scale === undefined ? 'decimal' : `decimal(${scale})`;
    }
    default:
      return 'any';
  }
}

/** The kind that holds values of both. Plain JSON does not tell int32 from int64 either; `canonical` does. */
export function commonKind(
  a: FieldKind | undefined,
  b: FieldKind | undefined,
  canonical: boolean,
): FieldKind | undefined {
  if (a === undefined || b === undefined || a === b) return a ?? b;
  if (!canonical && (a === 'int' || a === 'long') && (b === 'int' || b === 'long')) return 'long';
  return a.startsWith('decimal') && b.startsWith('decimal') ? 'decimal' : 'any';
}

/** Appends a value as the cell of a column that is not `any`; false, and nothing appended, where the column can't hold exactly this. */
export function appendField(
  out: RowText,
  kind: FieldKind,
  canonical: boolean,
  type: number,
  bytes: Buffer,
  p: number,
  end: number,
): boolean {
  switch (kind) {
    case 'int':
      return type === TYPE.int && put(out, String(int32(bytes, p)));
    case 'long':
      if (type === TYPE.int && !canonical) return put(out, String(int32(bytes, p)));
      return type === TYPE.long && put(out, longText(bytes, p));
    case 'double': {
      if (type !== TYPE.double) return false;
      const value = bytes.readDoubleLE(p);
      // Servers don't keep the sign of a zero alike.
      return Number.isFinite(value) && !Object.is(value, -0) && put(out, doubleText(value));
    }
    case 'bool':
      return type === TYPE.bool && (bytes[p] as number) < 2 && put(out, bytes[p] === 1 ? '1' : '0');
    case 'date': {
      const text = type === TYPE.date ? dateText(bytes.readBigInt64LE(p)) : undefined;
      return text !== undefined && put(out, text);
    }
    case 'objectId':
      if (type !== TYPE.objectId) return false;
      appendObjectId(out, bytes, p);
      return true;
    case 'string': {
      if (type !== TYPE.string) return false;
      const to = p + 4 + stringBytes(bytes, p, end);
      if (!isUtf8(bytes.subarray(p + 4, to))) return false;
      room(out, (to - p) * GROWTH);
      out.at = appendText(out.data, out.at, bytes, p + 4, to);
      return true;
    }
    default: {
      if (type !== TYPE.decimal) return false;
      const text = decimalText(bytes, p);
      if (kind === 'decimal') return put(out, text);
      // A zero with a sign has no place in a DECIMAL.
      return decimalScale(text) === scaleOf(kind) && !/^-[0.]+$/.test(text) && put(out, text);
    }
  }
}

/** Whether a column of this type has room for a cell, given as load text: users may choose shorter ones than `typeOfKind`. */
export function hasRoomFor(type: ColumnType, cell: Buffer): boolean {
  switch (type.kind) {
    case 'varchar':
      return cell.length <= type.length || charactersOf(cell) <= type.length;
    case 'text':
      return cell.length <= TEXT_BYTES[type.size];
    case 'decimal': {
      const digits = /^-?0*(\d*)/.exec(cell.toString('latin1', 0, 64))?.[1] ?? '';
      return digits.length <= type.precision - type.scale;
    }
    default:
      return true;
  }
}
const TEXT_BYTES = { tiny: 255, normal: 65_535, medium: 16_777_215, long: Number.POSITIVE_INFINITY } as const;

function put(out: RowText, text: string): true {
  ascii(out, text);
  return true;
}

function scaleOf(kind: string): number {
  return Number(/^decimal\((\d+)\)$/.exec(kind)?.[1] ?? 0);
}

/** Digits behind the point of a plain number; undefined: another exponent, or no number. */
function decimalScale(text: string): number | undefined {
  const fraction = /^-?\d+(?:\.(\d+))?$/.exec(text);
  if (!fraction) return undefined;
  const scale = fraction[1]?.length ?? 0;
  return scale <= MOST_SCALE ? scale : undefined;
}

const FIRST = BigInt(Date.UTC(1000, 0, 1));
const LAST = BigInt(Date.UTC(9999, 11, 31, 23, 59, 59, 999));

/** A time in UTC as a DATETIME(6); undefined outside of the years that it has. */
function dateText(ms: bigint): string | undefined {
  if (ms < FIRST || ms > LAST) return undefined;
  const iso = new Date(Number(ms)).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}000`;
}
