import { isUtf8 } from 'node:buffer';
import { BSON, ObjectId } from 'mongodb';
import { UnsupportedValue } from '../errors.ts';
import { appendText, GROWTH, unescapeText } from '../load-text.ts';
import { stringBytes, TYPE, valueEnd } from './bson-bytes.ts';
import { appendObjectId, appendQuoted } from './json-strings.ts';
import { appendValue, jsonForm } from './json-text.ts';
import { orderedJson } from './ordered-json.ts';
import { type RowText, room } from './row-text.ts';

/**
 * `_id` as text, so that different ones are different texts and those that MongoDB takes for the same (1 and 1.0, a string and a symbol) are one: an ObjectId
 * is its 24 hex digits, a string is itself, anything else is canonical Extended JSON, numbers by their value (`numberKey`).
 * A string that could be taken for one of the others (24 lower-case hex digits, `null`, `true`, `false`, or one that begins with `{`, `[` or `"`) is
 * written as JSON, in quotes.
 */
const form = jsonForm(true, false, true);

/** Appends the text of the `_id` at `p`; returns where the value ends. */
export function appendId(out: RowText, type: number, bytes: Buffer, p: number, end: number): number {
  if (type === TYPE.objectId) {
    const to = valueEnd(type, bytes, p, end);
    appendObjectId(out, bytes, p);
    return to;
  }
  if (type !== TYPE.string && type !== TYPE.symbol) return appendValue(out, form, type, bytes, p, end, 0);
  const from = p + 4;
  const to = from + stringBytes(bytes, p, end);
  const text = bytes.subarray(from, to);
  if (!isUtf8(text)) return appendValue(out, form, type, bytes, p, end, 0);
  if (isAmbiguous(bytes, from, to)) appendQuoted(out, bytes, from, to);
  else {
    room(out, (to - from) * GROWTH);
    out.at = appendText(out.data, out.at, bytes, from, to);
  }
  return to + 1;
}

function isAmbiguous(bytes: Buffer, from: number, to: number): boolean {
  const first = bytes[from];
  if (first === 0x7b || first === 0x5b || first === 0x22) return true;
  const length = to - from;
  return (length === 24 || length === 5 || length === 4) && WORD.test(bytes.toString('latin1', from, to));
}
const WORD = /^(?:[0-9a-f]{24}|null|true|false)$/;

/** The value that a key (`RowChange.key`) stands for, to ask the server for. Throws for one that no client can ask for. */
export function idOfKey(key: string): unknown {
  const text = Buffer.from(unescapeText(key), 'latin1').toString();
  if (/^[0-9a-f]{24}$/.test(text)) return new ObjectId(text);
  if (text === 'null') return null;
  if (text === 'true' || text === 'false') return text === 'true';
  if (text.startsWith('"')) return JSON.parse(text);
  if (!text.startsWith('{') && !text.startsWith('[')) return text;
  return clientValue(orderedJson(text));
}

/** Canonical Extended JSON, its objects as maps, as values of the client. */
function clientValue(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(clientValue);
  if (!(json instanceof Map)) return json;
  const [first] = json.keys();
  if (first === '$invalidUtf8')
    throw new UnsupportedValue(
      'A document whose _id is not UTF-8 has changed, and no client can read it again by its _id.',
      'Give the document another _id at the source, then load the collection again.',
    );
  if (typeof first === 'string' && first.startsWith('$')) return BSON.EJSON.parse(plain(json), { relaxed: false });
  return new Map([...json].map(([name, value]) => [name, clientValue(value)]));
}

/** JSON text of maps. */
function plain(json: unknown): string {
  if (Array.isArray(json)) return `[${json.map(plain).join(',')}]`;
  if (!(json instanceof Map)) return JSON.stringify(json);
  return `{${[...json].map(([name, value]) => `${JSON.stringify(name)}:${plain(value)}`).join(',')}}`;
}
