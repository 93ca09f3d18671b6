/**
 * A DOUBLE as MySQL and MariaDB print it (`my_gcvt`): the shortest digits that read back as the same number; with an exponent below 1e-15,
 * and from 1e15 on unless digits stand behind the point. JavaScript finds the same digits, but changes over to an exponent elsewhere.
 */
export function doubleText(number: number): string {
  const size = number < 0 ? -number : number;
  if (size < 1e15 && size >= 1e-6) return String(number);
  if (size === 0) return Object.is(number, -0) ? '-0' : '0';
  const [digitsText = '', exponentText = ''] = size.toExponential().split('e');
  const digits = digitsText.replace('.', '');
  const exponent = Number(exponentText);
  const sign = number < 0 ? '-' : '';
  const point = exponent + 1;
  if (point >= -14 && (point <= 15 || digits.length > point)) {
    if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
    if (point >= digits.length) return `${sign}${digits.padEnd(point, '0')}`;
    return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  }
  return `${sign}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${exponent}`;
}

/** Appends a text of single-byte characters. */
export function appendAscii(out: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[at++] = text.charCodeAt(i);
  return at;
}

/** Appends a whole number of less than 2^53 in size. */
export function appendInteger(out: Uint8Array, at: number, number: number): number {
  if (number < 0) {
    out[at++] = 45;
    number = -number;
  }
  if (number >= 1e9) {
    const high = Math.floor(number / 1e9);
    return appendDigits(out, appendInteger(out, at, high), number - high * 1e9, 9);
  }
  let length = 1;
  for (let limit = 10; number >= limit; limit *= 10) length++;
  return appendDigits(out, at, number, length);
}

/** Appends `number`, less than 1e9, in `length` digits with zeros in front. */
export function appendDigits(out: Uint8Array, at: number, number: number, length: number): number {
  for (let i = at + length - 1; i >= at; i--) {
    const rest = (number / 10) | 0;
    out[i] = 48 + number - rest * 10;
    number = rest;
  }
  return at + length;
}

const POWERS = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/** Bytes that hold so many decimal digits. */
const DIGIT_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/** Bytes of a stored DECIMAL. */
export function decimalBytes(precision: number, scale: number): number {
  const whole = precision - scale;
  return (
    4 * Math.floor(whole / 9) +
    (DIGIT_BYTES[whole % 9] as number) +
    4 * Math.floor(scale / 9) +
    (DIGIT_BYTES[scale % 9] as number)
  );
}

/** Appends the DECIMAL stored at `p`, with all digits of its scale. Returns -1 for bytes that hold no decimal. */
export function appendDecimal(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  p: number,
  precision: number,
  scale: number,
): number {
  // The sign bit is inverted, so that values sort as bytes; of negative values all other bits are inverted too.
  const flip = (bytes[p] as number) & 0x80 ? 0 : 0xff;
  let first = 0x80;
  if (flip !== 0) out[at++] = 45;
  const begin = at;
  const whole = precision - scale;
  const group = (digits: number): number => {
    let value = 0;
    for (let n = DIGIT_BYTES[digits] as number; n > 0; n--) {
      value = value * 256 + ((bytes[p++] as number) ^ flip ^ first);
      first = 0;
    }
    return value;
  };
  for (let left = whole; left > 0; ) {
    const digits = left % 9 === 0 ? 9 : left % 9;
    const value = group(digits);
    if (value >= (POWERS[digits] as number)) return -1;
    if (at > begin) at = appendDigits(out, at, value, digits);
    else if (value > 0) at = appendInteger(out, at, value);
    left -= digits;
  }
  if (at === begin) out[at++] = 48;
  if (scale === 0) return at;
  out[at++] = 46;
  for (let left = scale; left > 0; ) {
    const digits = Math.min(9, left);
    const value = group(digits);
    if (value >= (POWERS[digits] as number)) return -1;
    at = appendDigits(out, at, value, digits);
    left -= digits;
  }
  return at;
}
