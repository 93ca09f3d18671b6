import { isUtf8 } from 'node:buffer';
import { appendBytes, escapeText } from '../load-text.ts';
import { type RowText, room } from './row-text.ts';

/** Long texts are written in pieces of so many bytes. */
const PIECE = 16_384;

/** What a byte becomes inside a JSON string, as load text; undefined where it stays. */
const ESCAPES: (Buffer | undefined)[] = Array.from({ length: 128 }, (_, code) => {
  const char = String.fromCharCode(code);
  const json = JSON.stringify(char).slice(1, -1);
  const text = escapeText(json);
  return text === char ? undefined : Buffer.from(text, 'latin1');
});
/** 1 for bytes that stay as they are in a JSON string. */
const STAYS = Uint8Array.from({ length: 256 }, (_, code) => (ESCAPES[code] === undefined ? 1 : 0));
/** No byte becomes more than `\\u0000`. */
const ESCAPE_GROWTH = 7;

/** Bytes that should be UTF-8, as a JSON string. */
export function appendJsonText(out: RowText, bytes: Buffer, from: number, to: number): void {
  let high = 0;
  for (let i = from; i < to; i++) high |= bytes[i] as number;
  if (high < 0x80 || isUtf8(bytes.subarray(from, to))) appendQuoted(out, bytes, from, to);
  else {
    ascii(out, '{"$invalidUtf8":"');
    appendBase64(out, bytes, from, to);
    ascii(out, '"}');
  }
}

/** UTF-8 as a JSON string. */
export function appendQuoted(out: RowText, bytes: Buffer, from: number, to: number): void {
  room(out, 2);
  out.data[out.at++] = 0x22;
  while (from < to) {
    const stop = Math.min(to, from + PIECE);
    room(out, (stop - from) * ESCAPE_GROWTH + 2);
    const { data } = out;
    let o = out.at;
    while (from < stop) {
      let clean = from;
      while (clean < stop && STAYS[bytes[clean] as number] !== 0) clean++;
      o = appendBytes(data, o, bytes, from, clean);
      from = clean;
      if (from === stop) break;
      const letters = ESCAPES[bytes[from] as number] as Buffer;
      for (let i = 0; i < letters.length; i++) data[o++] = letters[i] as number;
      from++;
    }
    out.at = o;
  }
  room(out, 1);
  out.data[out.at++] = 0x22;
}

/** Appends bytes as base64. */
export function appendBase64(out: RowText, bytes: Buffer, from: number, to: number): void {
  for (const step = 12_288; from < to; from += step)
    ascii(out, bytes.toString('base64', from, Math.min(to, from + step)));
}

const HEX = Buffer.from('0123456789abcdef', 'latin1');

/** The 24 digits of an ObjectId. */
export function appendObjectId(out: RowText, bytes: Buffer, p: number): void {
  room(out, 24);
  const { data } = out;
  let o = out.at;
  for (let i = p; i < p + 12; i++) {
    const byte = bytes[i] as number;
    data[o++] = HEX[byte >> 4] as number;
    data[o++] = HEX[byte & 15] as number;
  }
  out.at = o;
}

/** Appends ASCII that needs no escaping. */
export function ascii(out: RowText, text: string): void {
  room(out, text.length);
  const { data } = out;
  let o = out.at;
  if (text.length > 40) o += data.write(text, o, 'latin1');
  else for (let i = 0; i < text.length; i++) data[o++] = text.charCodeAt(i);
  out.at = o;
}
