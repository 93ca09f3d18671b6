import { int32, TYPE } from './bson-bytes.ts';
import { decimalText, doubleText, longText } from './numbers.ts';

/**
 * Numbers as parts of keys. MongoDB takes 1, 1.0 and NumberLong(1) for the same `_id`, and a replaced document may change from one to the other without
 * a word of the change stream: equal numbers get equal texts, in canonical Extended JSON of the smallest type that holds them exactly (int, long, double,
 * Decimal128 in this order; a Decimal128 without the zeros at its end).
 */
export function numberKey(type: number, bytes: Buffer, p: number): string {
  switch (type) {
    case TYPE.int:
      return whole(BigInt(int32(bytes, p)));
    case TYPE.long:
      return whole(BigInt(longText(bytes, p)));
    case TYPE.double:
      return doubleKey(bytes.readDoubleLE(p));
    default:
      return decimalKey(decimalText(bytes, p));
  }
}

/** Whether a type is one of the numbers. */
export function isNumber(type: number): boolean {
  return type === TYPE.int || type === TYPE.long || type === TYPE.double || type === TYPE.decimal;
}

/** Most digits of a Decimal128. */
const DIGITS = 34;
const INT = 2n ** 31n;
const LONG = 2n ** 63n;

function isLong(value: bigint): boolean {
  return value >= -LONG && value < LONG;
}

function whole(value: bigint): string {
  return value >= -INT && value < INT ? `{"$numberInt":"${value}"}` : `{"$numberLong":"${value}"}`;
}

function doubleKey(value: number): string {
  if (Number.isInteger(value) && isLong(BigInt(value))) return whole(BigInt(value));
  return `{"$numberDouble":"${doubleText(value)}"}`;
}

function decimalKey(text: string): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]\d+))?$/.exec(text);
  // NaN and the infinities are the same as those of doubles.
  if (!match) return `{"$numberDouble":"${text}"}`;
  const [, sign = '', before = '', fraction = '', power = '0'] = match;
  const digits = `${before}${fraction}`.replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  // More digits than there can be are a zero to servers, too.
  if (kept === '' || digits.length > DIGITS) return whole(0n);
  const exponent = Number(power) - fraction.length + digits.length - kept.length;
  const coefficient = BigInt(sign + kept);
  // Beyond the doubles, whose largest has 309 digits.
  if (exponent >= 0 && exponent < 310) {
    const value = coefficient * 10n ** BigInt(exponent);
    if (isLong(value)) return whole(value);
    const near = Number(value);
    if (Number.isFinite(near) && BigInt(near) === value) return doubleKey(near);
  }
  if (exponent < 0 && exponent > -60) {
    // A fraction of binary digits is one of 5^n in decimal ones.
    const fives = 5n ** BigInt(-exponent);
    const halves = coefficient / fives;
    if (halves * fives === coefficient && BigInt.asIntN(54, halves) === halves)
      return doubleKey(Number(halves) / 2 ** -exponent);
  }
  return `{"$numberDecimal":"${sign}${kept}E${exponent < 0 ? '' : '+'}${exponent}"}`;
}
