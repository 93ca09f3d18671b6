import { appendDigits, appendInteger } from './number-text.ts';

/** Dates and times as rows of the log hold them, appended as the server prints them. Each returns where the text ends. */

const COLON = 58;
const DASH = 45;
const SPACE = 32;
const POINT = 46;

/** Bytes of a fraction of so many digits. */
export function fractionBytes(digits: number): number {
  return (digits + 1) >> 1;
}

function big(bytes: Uint8Array, p: number, length: number): number {
  let number = 0;
  for (let i = 0; i < length; i++) number = number * 256 + (bytes[p + i] as number);
  return number;
}

function little(bytes: Uint8Array, p: number, length: number): number {
  let number = 0;
  for (let i = length - 1; i >= 0; i--) number = number * 256 + (bytes[p + i] as number);
  return number;
}

function appendDay(out: Uint8Array, at: number, year: number, month: number, day: number): number {
  at = appendDigits(out, at, year, 4);
  out[at++] = DASH;
  at = appendDigits(out, at, month, 2);
  out[at++] = DASH;
  return appendDigits(out, at, day, 2);
}

function appendClock(out: Uint8Array, at: number, hour: number, minute: number, second: number): number {
  at = hour > 99 ? appendInteger(out, at, hour) : appendDigits(out, at, hour, 2);
  out[at++] = COLON;
  at = appendDigits(out, at, minute, 2);
  out[at++] = COLON;
  return appendDigits(out, at, second, 2);
}

/** `micros` cut to so many digits, which is all that is stored. */
function appendFraction(out: Uint8Array, at: number, micros: number, digits: number): number {
  if (digits === 0) return at;
  out[at++] = POINT;
  return appendDigits(out, at, Math.floor(micros / 10 ** (6 - digits)), digits);
}

/** The stored fraction in microseconds. */
function micros(bytes: Uint8Array, p: number, digits: number): number {
  const length = fractionBytes(digits);
  return length === 0 ? 0 : big(bytes, p, length) * 100 ** (3 - length);
}

export function appendDate(out: Uint8Array, at: number, bytes: Uint8Array, p: number): number {
  const number = little(bytes, p, 3);
  return appendDay(out, at, number >> 9, (number >> 5) & 15, number & 31);
}

export function appendDatetime(out: Uint8Array, at: number, bytes: Uint8Array, p: number, digits: number): number {
  // The highest of 40 bits is always set; 17 bits of month count, 5 of day, 5 of hour, 6 of minute, 6 of second.
  const high = (((bytes[p] as number) & 127) << 16) | ((bytes[p + 1] as number) << 8) | (bytes[p + 2] as number);
  const low = ((bytes[p + 3] as number) << 8) | (bytes[p + 4] as number);
  const months = high >> 6;
  at = appendDay(out, at, (months / 13) | 0, months % 13, (high >> 1) & 31);
  out[at++] = SPACE;
  at = appendClock(out, at, ((high & 1) << 4) | (low >> 12), (low >> 6) & 63, low & 63);
  return appendFraction(out, at, micros(bytes, p + 5, digits), digits);
}

export function appendTimestamp(out: Uint8Array, at: number, bytes: Uint8Array, p: number, digits: number): number {
  return appendMoment(out, at, big(bytes, p, 4), micros(bytes, p + 4, digits), digits);
}

/** The day that was last turned into text: timestamps of a log are mostly of one day. */
let lastDay = -1;
const lastDate = new Uint8Array(10);

/** Seconds since 1970 as a date in UTC; 0 is how the zero date is stored. */
function appendMoment(out: Uint8Array, at: number, seconds: number, fraction: number, digits: number): number {
  const day = (seconds / 86_400) | 0;
  if (seconds === 0 && fraction === 0) appendDay(out, at, 0, 0, 0);
  else {
    if (day !== lastDay) {
      const date = new Date(day * 86_400_000);
      appendDay(lastDate, 0, date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate());
      lastDay = day;
    }
    for (let i = 0; i < 10; i++) out[at + i] = lastDate[i] as number;
  }
  at += 10;
  out[at++] = SPACE;
  const rest = seconds - day * 86_400;
  const hour = (rest / 3600) | 0;
  const minute = ((rest - hour * 3600) / 60) | 0;
  at = appendClock(out, at, hour, minute, rest - hour * 3600 - minute * 60);
  return appendFraction(out, at, fraction, digits);
}

export function appendTime(out: Uint8Array, at: number, bytes: Uint8Array, p: number, digits: number): number {
  // Sign and whole in 24 bits with the middle at 0x800000, the fraction behind; a negative value is the complement of both together.
  const length = fractionBytes(digits);
  const scale = 256 ** length;
  let packed = big(bytes, p, 3 + length) - 0x800000 * scale;
  if (packed < 0) {
    packed = -packed;
    out[at++] = DASH;
  }
  const whole = Math.floor(packed / scale);
  at = appendClock(out, at, (whole >> 12) & 1023, (whole >> 6) & 63, whole & 63);
  return appendFraction(out, at, (packed - whole * scale) * 100 ** (3 - length), digits);
}

/** Digits of a stored number as `…hhmmss`. */
export function appendOldTime(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  p: number,
  width: number,
  digits: number,
): number {
  let number: number;
  let fraction = 0;
  if (digits > 0) {
    const all =
      (big(bytes, p, width) - ((838 * 3600 + 59 * 60 + 60) * 1_000_000) / 10 ** (6 - digits)) * 10 ** (6 - digits);
    const size = Math.abs(all);
    const seconds = Math.floor(size / 1_000_000);
    fraction = size - seconds * 1_000_000;
    if (all < 0) out[at++] = DASH;
    at = appendClock(out, at, Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60);
    return appendFraction(out, at, fraction, digits);
  }
  number = (little(bytes, p, 3) << 8) >> 8;
  if (number < 0) {
    number = -number;
    out[at++] = DASH;
  }
  return appendClock(out, at, Math.floor(number / 10_000), Math.floor(number / 100) % 100, number % 100);
}

export function appendOldDatetime(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  p: number,
  width: number,
  digits: number,
): number {
  if (digits > 0) {
    let rest = BigInt(0);
    for (let i = 0; i < width; i++) rest = rest * 256n + BigInt(bytes[p + i] as number);
    rest *= 10n ** BigInt(6 - digits);
    const take = (size: number): number => {
      const part = Number(rest % BigInt(size));
      rest /= BigInt(size);
      return part;
    };
    const [fraction, second, minute, hour, day, month] = [1_000_000, 60, 60, 24, 32, 13].map(take) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    at = appendDay(out, at, Number(rest), month, day);
    out[at++] = SPACE;
    at = appendClock(out, at, hour, minute, second);
    return appendFraction(out, at, fraction, digits);
  }
  const number = little(bytes, p, 8);
  const day = Math.floor(number / 1_000_000);
  const time = number - day * 1_000_000;
  at = appendDay(out, at, Math.floor(day / 10_000), Math.floor(day / 100) % 100, day % 100);
  out[at++] = SPACE;
  return appendClock(out, at, Math.floor(time / 10_000), Math.floor(time / 100) % 100, time % 100);
}

export function appendOldTimestamp(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  p: number,
  width: number,
  digits: number,
): number {
  if (digits === 0) return appendMoment(out, at, little(bytes, p, 4), 0, 0);
  return appendMoment(out, at, big(bytes, p, 4), big(bytes, p + 4, width - 4) * 10 ** (6 - digits), digits);
}
