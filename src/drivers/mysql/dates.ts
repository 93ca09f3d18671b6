/**
 * Dates that MySQL stores and the destination cannot hold (reference/flow-product.md §5.10), in this order: years 0000 to 0999 get 1000
 * added; month or day `00` becomes `01`; and, which the documented rules leave open, a day past the month's end (stored under
 * ALLOW_INVALID_DATES, or 29 February of a year that is no leap year after the first rule) becomes the month's last day. The documented
 * zero value `0000-00-00 00:00:00` → `1000-01-01 00:00:00` follows from the first two. Snapshot and change log use these same functions.
 */

const ZERO = 48;

/** True when the date that begins at `at` (`YYYY-MM-DD…`) is one that the destination can hold. */
export function isValidDate(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === ZERO) return false;
  const month = twoDigits(bytes, at + 5);
  const day = twoDigits(bytes, at + 8);
  if (month === 0 || day === 0) return false;
  if (day <= 28) return true;
  return day <= lastDay(twoDigits(bytes, at) * 100 + twoDigits(bytes, at + 2), month);
}

/** The date or date-time `text` (`YYYY-MM-DD`, optionally with a time) as the destination can hold it; unchanged where it can. */
export function repairDate(text: string): string {
  const year = Number(text.slice(0, 4));
  const goodYear = year < 1000 ? year + 1000 : year;
  const month = Math.max(1, Number(text.slice(5, 7)));
  const day = Math.min(Math.max(1, Number(text.slice(8, 10))), lastDay(goodYear, month));
  return `${goodYear}-${two(month)}-${two(day)}${text.slice(10)}`;
}

function lastDay(year: number, month: number): number {
  if (month !== 2) return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
}

function twoDigits(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) - ZERO) * 10 + (bytes[at + 1] as number) - ZERO;
}

function two(number: number): string {
  return number < 10 ? `0${number}` : `${number}`;
}
