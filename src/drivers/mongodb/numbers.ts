import { Decimal128 } from 'mongodb';
import { int32 } from './bson-bytes.ts';

/** An int64 in digits. */
export function longText(bytes: Buffer, p: number): string {
  const high = int32(bytes, p + 4);
  // All of these are exact as a double.
  if (high >= -0x20_0000 && high < 0x20_0000) return String(high * 4_294_967_296 + (int32(bytes, p) >>> 0));
  return bytes.readBigInt64LE(p).toString();
}

/** Appends an int32 in digits; needs 11 bytes of room. */
export function appendInt(data: Buffer, at: number, value: number): number {
  if (value < 0) {
    data[at++] = 0x2d;
    value = -value;
  }
  let width = 1;
  for (let limit = 10; value >= limit && width < 10; limit *= 10) width++;
  for (let i = at + width - 1; i >= at; i--) {
    const rest = Math.floor(value / 10);
    data[i] = 0x30 + value - rest * 10;
    value = rest;
  }
  return at + width;
}

const DAY_MS = 86_400_000;

/**
 * Appends milliseconds since 1970 as ISO 8601 in UTC, without a fraction of zero; needs 24 bytes of room. -1: the date lies outside the years 1970
 * to 9999. Days become a date as in http://howardhinnant.github.io/date_algorithms.html.
 */
export function appendIso(data: Buffer, at: number, bytes: Buffer, p: number): number {
  const time = int32(bytes, p + 4) * 4_294_967_296 + (int32(bytes, p) >>> 0);
  if (!(time >= 0 && time <= 253_402_300_799_999)) return -1;
  const days = Math.floor(time / DAY_MS);
  let ms = time - days * DAY_MS;
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const ofEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * ofYear + 2) / 153);
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  at = two(data, at, Math.floor(year / 100));
  at = two(data, at, year % 100);
  data[at++] = 0x2d;
  at = two(data, at, month);
  data[at++] = 0x2d;
  at = two(data, at, ofYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1);
  data[at++] = 0x54;
  at = two(data, at, Math.floor(ms / 3_600_000));
  data[at++] = 0x3a;
  ms %= 3_600_000;
  at = two(data, at, Math.floor(ms / 60_000));
  data[at++] = 0x3a;
  ms %= 60_000;
  at = two(data, at, Math.floor(ms / 1000));
  ms %= 1000;
  if (ms > 0) {
    data[at++] = 0x2e;
    data[at++] = 0x30 + Math.floor(ms / 100);
    at = two(data, at, ms % 100);
  }
  data[at++] = 0x5a;
  return at;
}

function two(data: Buffer, at: number, value: number): number {
  const tens = Math.floor(value / 10);
  data[at] = 0x30 + tens;
  data[at + 1] = 0x30 + value - tens * 10;
  return at + 2;
}

/** The shortest number that is read back as the same double, with a point or an exponent. */
export function doubleText(value: number): string {
  if (Number.isInteger(value)) return Object.is(value, -0) ? '-0.0' : value.toFixed(1);
  return String(value);
}

/** A Decimal128 with all its digits, as the client library writes it. */
export function decimalText(bytes: Buffer, p: number): string {
  const top = int32(bytes, p + 12);
  const low = int32(bytes, p + 4) >>> 0;
  // Coefficients below 2^53 with the plain layout of the exponent: nearly all that occur.
  if ((top & 0x6000_0000) === 0x6000_0000 || (top & 0x1ffff) !== 0 || int32(bytes, p + 8) !== 0 || low >= 0x20_0000)
    return new Decimal128(Buffer.from(bytes.subarray(p, p + 16))).toString();
  const sign = top < 0 ? '-' : '';
  const digits = String(low * 4_294_967_296 + (int32(bytes, p) >>> 0));
  const exponent = ((top >>> 17) & 0x3fff) - 6176;
  const scientific = digits.length - 1 + exponent;
  if (exponent > 0 || scientific < -6) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${sign}${digits[0]}${fraction}E${scientific > 0 ? '+' : ''}${scientific}`;
  }
  if (exponent === 0) return sign + digits;
  const point = digits.length + exponent;
  return point > 0
    ? `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
    : `${sign}0.${'0'.repeat(-point)}${digits}`;
}
