/**
 * Load text: rows as one LOAD DATA takes them with the server's defaults. Fields end in a tab, rows in a newline; NULL is `\N`; within
 * a field tab, newline, carriage return, NUL and backslash are written as `\t`, `\n`, `\r`, `\0`, `\\`, every other byte as it is
 * (reference/drivers.md §7.3). Binary kinds travel as upper-case hex. The escaping rules live here only.
 */

export const TAB = 9;
export const NEWLINE = 10;
const BACKSLASH = 92;

/** No input byte becomes more than this many bytes, in any of the functions below. */
export const GROWTH = 2;

/** The letter that follows the backslash, by input byte; 0 where the byte travels as it is. */
const LETTER = new Uint8Array(256);
LETTER[0] = 48; // \0
LETTER[TAB] = 116; // \t
LETTER[NEWLINE] = 110; // \n
LETTER[13] = 114; // \r
LETTER[BACKSLASH] = BACKSLASH;

/** First byte of `source` in `[start, end)` that must be escaped, or `end`. */
export function findEscape(source: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) {
    const byte = source[i] as number;
    // All but the backslash are below 14: most bytes are settled by two comparisons, without a look at the table.
    if ((byte < 14 || byte === BACKSLASH) && LETTER[byte] !== 0) return i;
  }
  return end;
}

/** Appends `source[start, end)` as text to `out` at `at`; returns where it ends. `out` must have room for `GROWTH` times as much. */
export function appendText(out: Buffer, at: number, source: Buffer, start: number, end: number): number {
  let from = start;
  while (from < end) {
    const stop = findEscape(source, from, end);
    at = appendBytes(out, at, source, from, stop);
    if (stop === end) return at;
    out[at++] = BACKSLASH;
    out[at++] = LETTER[source[stop] as number] as number;
    from = stop + 1;
  }
  return at;
}

/** Appends bytes that need no escaping. */
export function appendBytes(out: Buffer, at: number, source: Buffer, start: number, end: number): number {
  if (end - start < 24) for (let i = start; i < end; i++) out[at++] = source[i] as number;
  else {
    source.copy(out, at, start, end);
    at += end - start;
  }
  return at;
}

/** Appends the hex form of `source[start, end)`. */
export function appendHex(out: Buffer, at: number, source: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) {
    const byte = source[i] as number;
    out[at++] = HEX[byte >> 4] as number;
    out[at++] = HEX[byte & 15] as number;
  }
  return at;
}
const HEX = Buffer.from('0123456789ABCDEF', 'latin1');

/** Appends `\N`. */
export function appendNull(out: Buffer, at: number): number {
  out[at] = BACKSLASH;
  out[at + 1] = 78;
  return at + 2;
}

/** A whole text as load text; for short values only. */
export function escapeText(text: string): string {
  return text.replace(/[\0\t\n\r\\]/g, (char) => `\\${String.fromCharCode(LETTER[char.charCodeAt(0)] as number)}`);
}

/** The text that a short cell of load text stands for. The cell is not NULL. */
export function unescapeText(cell: string): string {
  return cell.replace(/\\([\s\S])/g, (_, letter: string) => PLAIN[letter] ?? letter);
}
const PLAIN: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', b: '\b', '0': '\0', Z: '\x1a' };
