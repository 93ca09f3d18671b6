/**
 * COPY's text format is LOAD DATA's default format but for two escapes: PostgreSQL writes form feed and vertical tab as `\f` and `\v`, which
 * LOAD DATA reads as the letters f and v (drivers.md §2.2). This turns them into the bytes themselves, which both sides take as they are.
 */

const BACKSLASH = 0x5c;
const FORM_FEED = 0x0c;
const VERTICAL_TAB = 0x0b;

/** Corrects the two escapes in place in bytes that end at a row's end; returns what is left, which is shorter if anything was corrected. */
export function fixEscapes(data: Buffer): Buffer {
  let at = next(data, 0);
  if (at < 0) return data;
  let read = 0;
  let write = 0;
  while (at >= 0) {
    if (escapes(data, at)) {
      if (write !== read) data.copy(data, write, read, at);
      write += at - read;
      data[write++] = data[at + 1] === 0x66 ? FORM_FEED : VERTICAL_TAB;
      read = at + 2;
    }
    at = next(data, at + 2);
  }
  if (write === 0 && read === 0) return data;
  if (read < data.length) data.copy(data, write, read);
  return data.subarray(0, write + data.length - read);
}

/** The next `\f` or `\v`, or -1. Searches for the pairs run natively, and most data has none. */
function next(data: Buffer, from: number): number {
  const f = data.indexOf('\\f', from, 'latin1');
  const v = data.indexOf('\\v', from, 'latin1');
  if (f < 0) return v;
  return v < 0 ? f : Math.min(f, v);
}

/** Whether the backslash at `at` begins an escape and is not the second half of `\\`: an even number of backslashes stands before it. */
function escapes(data: Buffer, at: number): boolean {
  let before = at;
  while (before > 0 && data[before - 1] === BACKSLASH) before--;
  return (at - before) % 2 === 0;
}

/** The letter after the backslash, by byte, as COPY writes it and `fixEscapes` leaves it; 0 where the byte travels as it is. */
const LETTER = new Uint8Array(256);
for (const [byte, letter] of [
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [13, 'r'],
  [BACKSLASH, '\\'],
] as const)
  LETTER[byte] = letter.charCodeAt(0);

/** Appends a value's text as a COPY that `fixEscapes` has been over gives it; `out` must have room for twice as much. Returns where it ends. */
export function appendCopyText(out: Buffer, at: number, source: Buffer, start: number, end: number): number {
  if (end - start > LONG) return appendLong(out, at, source, start, end);
  for (let i = start; i < end; i++) {
    const byte = source[i] as number;
    if ((byte < 14 || byte === BACKSLASH) && LETTER[byte] !== 0) {
      out[at++] = BACKSLASH;
      out[at++] = LETTER[byte] as number;
    } else out[at++] = byte;
  }
  return at;
}
/** From here on copying natively between escapes is faster than byte by byte. */
const LONG = 64;

function appendLong(out: Buffer, at: number, source: Buffer, start: number, end: number): number {
  let from = start;
  for (let i = start; i < end; i++) {
    const byte = source[i] as number;
    if ((byte < 14 || byte === BACKSLASH) && LETTER[byte] !== 0) {
      if (i > from) at += source.copy(out, at, from, i);
      out[at++] = BACKSLASH;
      out[at++] = LETTER[byte] as number;
      from = i + 1;
    }
  }
  return from < end ? at + source.copy(out, at, from, end) : at;
}

/** How many bytes `appendCopyText` writes. */
export function copyTextLength(source: Buffer, start: number, end: number): number {
  let length = end - start;
  for (let i = start; i < end; i++) {
    const byte = source[i] as number;
    if ((byte < 14 || byte === BACKSLASH) && LETTER[byte] !== 0) length++;
  }
  return length;
}
