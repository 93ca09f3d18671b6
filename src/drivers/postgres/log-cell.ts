import { appendBytes, appendNull } from '../load-text.ts';
import { appendCopyText, copyTextLength } from './copy-text.ts';
import { type JsonText, moneyText } from './log-json.ts';
import type { LogForm } from './types.ts';

/** A cell's text in the log as load text: the same bytes that COPY gives for `Cell.sql` after `read.ts` is done with them. */

/** Longer texts are measured before they are written, so that their escapes don't cost twice the memory. */
const MEASURED = 65_536;

/** How many bytes `appendCell` may write for a text that is no JSON. */
export function roomFor(form: LogForm, source: Buffer, start: number, end: number): number {
  const length = end - start;
  return form === 'text' && length > MEASURED
    ? copyTextLength(source, start, end)
    : 2 * Math.min(length, MEASURED) + Math.max(length - MEASURED, 0) + 64;
}

/** Appends what needs neither JSON nor a rule (`ruleText`, `jsonCell`); `out` has room. Returns where it ends. */
export function appendCell(out: Buffer, at: number, form: LogForm, source: Buffer, start: number, end: number): number {
  switch (form) {
    case 'text':
      return appendCopyText(out, at, source, start, end);
    case 'bool':
      out[at] = source[start] === 0x74 ? 0x31 : 0x30;
      return at + 1;
    case 'utc':
      return at + out.write(source.toString('latin1', start, end).replace('+00', ''), at, 'latin1');
    case 'timestamptz':
      return appendBytes(out, at, source, start, end - (isUtc(source, end) ? 3 : 0));
    case 'hex':
      // The text begins with \x.
      return appendBytes(out, at, source, start + 2, end);
    case 'bits':
      return at + out.write(BigInt(`0b${source.toString('latin1', start, end)}`).toString(), at, 'latin1');
    case 'point': {
      const [x, y] = source.toString('latin1', start + 1, end - 1).split(',');
      return at + out.write(`POINT(${x} ${y})`, at, 'latin1');
    }
    case 'masked':
    case 'unknown':
      return appendNull(out, at);
    default:
      return appendBytes(out, at, source, start, end);
  }
}

/** Money as its digits; the scale is the server's, so that it is no part of the form. */
export function moneyCell(source: Buffer, start: number, end: number, scale: number): string {
  return moneyText(source.toString('latin1', start, end), scale);
}

/** The text of a value that a rule replaces, or undefined; forms that no rule knows have none. */
export function ruledText(form: LogForm, source: Buffer, start: number, end: number): string | undefined {
  const first = source[start] as number;
  switch (form) {
    case 'number': {
      // NaN, Infinity, -Infinity.
      const letter = first === MINUS ? source[start + 1] : first;
      return letter === 0x4e || letter === 0x49 ? source.toString('latin1', start, end) : undefined;
    }
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      // Four digits of a year from 1000 on, and no BC at the end.
      if (first >= 0x31 && first <= 0x39 && source[start + 4] === MINUS && source[end - 1] !== 0x43) return undefined;
      return source.toString('latin1', start, end).replace('+00', '');
    default:
      return undefined;
  }
}
const MINUS = 0x2d;

function isUtc(source: Buffer, end: number): boolean {
  return source[end - 3] === 0x2b;
}

/** JSON as latin1, with its backslashes doubled as COPY does; undefined: not known. */
export function jsonCell(json: JsonText, source: Buffer, start: number, end: number): string | undefined {
  const text = json(source.toString('latin1', start, end));
  // JSON that comes from json columns within arrays may hold line breaks and tabs as they are.
  return text === undefined || !/[\\\n\r\t\b]/.test(text)
    ? text
    : text.replace(/[\\\n\r\t\b]/g, (char) => COPY_ESCAPES[char] ?? char);
}
const COPY_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
};
