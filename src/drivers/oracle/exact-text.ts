/**
 * One text for each value, whether it was read from a table or from SQL_REDO: both print numbers, dates and intervals in forms of their own
 * (`.5` and `0.5`, ` 2020-01-02` and `2020-01-02`, `+02-03` and `+2-3`). Pure; what is not of the expected form throws.
 */

const PLAIN = /^-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?$/;
const NUMBER = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/;

/** A NUMBER without exponent, leading or trailing zeros: `-0.05`, `120`. */
export function numberText(text: string): string {
  if (PLAIN.test(text)) return text === '-0' ? '0' : text;
  const [, sign, whole = '', fraction = '', exponent = '0'] = NUMBER.exec(text) ?? [];
  if (sign === undefined || whole + fraction === '') throw new Malformed('NUMBER', text);
  let digits = whole + fraction;
  let point = whole.length + Number(exponent);
  if (point <= 0) {
    digits = '0'.repeat(1 - point) + digits;
    point = 1;
  } else if (point > digits.length) digits += '0'.repeat(point - digits.length);
  const left = digits.slice(0, point).replace(/^0+(?=\d)/, '');
  const right = digits.slice(point).replace(/0+$/, '');
  const value = right === '' ? left : `${left}.${right}`;
  return sign === '-' && value !== '0' ? `-${value}` : value;
}

/** Digits before and after the point of a text of `numberText`. */
export function numberDigits(text: string): { readonly whole: number; readonly fraction: number } {
  const start = text.startsWith('-') ? 1 : 0;
  const point = text.indexOf('.');
  if (point < 0) return { whole: text.length - start, fraction: 0 };
  return { whole: point - start, fraction: text.length - point - 1 };
}

/** A BINARY_FLOAT or BINARY_DOUBLE as the shortest text that is the same number; `NaN`, `Infinity` and `-Infinity` stay. */
export function floatText(value: number | string, single: boolean): string {
  const number = typeof value === 'number' ? value : parseFloatText(value);
  return String(Object.is(number, -0) ? 0 : single ? Math.fround(number) : number);
}

function parseFloatText(text: string): number {
  const word = /^\s*([+-]?)(nan|inf)/i.exec(text);
  if (word) {
    if (word[2]?.toLowerCase() === 'nan') return Number.NaN;
    return word[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  const number = Number(text.trim().replace(/[fdFD]$/, ''));
  if (Number.isNaN(number)) throw new Malformed('BINARY_DOUBLE', text);
  return number;
}

const MOMENT =
  /^\s*(-?)(\d{1,4})-(\d\d)-(\d\d)(?:[ T](\d\d)[:.](\d\d)[:.](\d\d)(?:\.(\d{0,9}))?)?(?:\s*([+-])(\d\d):(\d\d))?\s*$/;

/** A date or time stamp, taken apart. `year` is below 0 for BC. */
export type Moment = { readonly year: number; readonly rest: string; readonly fraction: string };

/**
 * Reads ` 2020-01-02 03:04:05.000006000 +01:00`. A zone offset is counted back to UTC. Years have a sign or a space before them
 * (`SYYYY`).
 */
export function parseMoment(text: string): Moment {
  const found = MOMENT.exec(text);
  if (!found) throw new Malformed('date', text);
  const [, minus, yearText, month, day, hour = '00', minute = '00', second = '00', fraction = ''] = found;
  const year = Number(yearText) * (minus === '-' ? -1 : 1);
  const digits = fraction.replace(/0+$/, '');
  if (found[9] === undefined || (found[10] === '00' && found[11] === '00'))
    return { year, rest: `${month}-${day} ${hour}:${minute}:${second}`, fraction: digits };
  const shift = (Number(found[10]) * 60 + Number(found[11])) * (found[9] === '-' ? 1 : -1);
  const utc = new Date(0);
  // Years BC are astronomical here: there is no year 0 at Oracle, and -1 is the one before 1.
  utc.setUTCFullYear(year < 0 ? year + 1 : year, Number(month) - 1, Number(day));
  utc.setUTCHours(Number(hour), Number(minute) + shift, Number(second));
  const shifted = utc.getUTCFullYear();
  return { year: shifted <= 0 ? shifted - 1 : shifted, rest: restOf(utc), fraction: digits };
}

function restOf(date: Date): string {
  return `${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
}

/** The moment as text, fraction without zeros at its end: `2020-01-02 03:04:05.6`, `-0044-03-15 00:00:00`. */
export function momentText({ year, rest, fraction }: Moment): string {
  const years = `${year < 0 ? '-' : ''}${String(Math.abs(year)).padStart(4, '0')}`;
  return `${years}-${rest}${fraction === '' ? '' : `.${fraction}`}`;
}

const YEARS = /^\s*([+-]?)(\d{1,9})-(\d{1,2})$/;
const DAYS = /^\s*([+-]?)(\d{1,9}) (\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{0,9}))?$/;

/** `+2-03`: sign, years, months. */
export function yearsText(text: string): string {
  const [, sign, years, months] = YEARS.exec(text) ?? [];
  if (years === undefined || months === undefined) throw new Malformed('INTERVAL YEAR TO MONTH', text);
  return `${sign === '-' ? '-' : '+'}${Number(years)}-${two(Number(months))}`;
}

/** `+5 04:03:02.5`: sign, days, time; the fraction without zeros at its end. */
export function daysText(text: string): string {
  const [, sign, days, hours, minutes, seconds, fraction = ''] = DAYS.exec(text) ?? [];
  if (days === undefined) throw new Malformed('INTERVAL DAY TO SECOND', text);
  const digits = fraction.replace(/0+$/, '');
  return `${sign === '-' ? '-' : '+'}${Number(days)} ${two(Number(hours))}:${two(Number(minutes))}:${two(Number(seconds))}${digits === '' ? '' : `.${digits}`}`;
}

function two(number: number): string {
  return number < 10 ? `0${number}` : `${number}`;
}

/** A text that is not of the form that its type prints. */
export class Malformed extends Error {
  constructor(type: string, text: string) {
    super(`The source printed a ${type} that is none: ${text.slice(0, 60)}`);
  }
}
