import { UnsupportedValue } from '../errors.ts';
import { afterText, valueEnd } from './bson-bytes.ts';

const MOST_SHAPES = 20_000;

/** Throws for an object with two fields of one name. Sequences of names that were looked at before are known by their hash. */
export function checkNames(shapes: Set<number>, bytes: Buffer, p: number, last: number, hash: number): void {
  if (shapes.has(hash)) return;
  const names = new Set<string>();
  for (let at = p + 4; at < last; ) {
    const from = afterText(bytes, at + 1, last);
    const name = bytes.toString('latin1', at + 1, from - 1);
    if (names.has(name))
      throw new UnsupportedValue(
        `A document of the source has two fields "${Buffer.from(name, 'latin1').toString()}" in one object, of which a JSON column keeps one.`,
        'Copy the documents as text, which keeps both: set `types` of the table to {"_more":"LONGTEXT"}. Or write the document again at the source.',
      );
    names.add(name);
    at = valueEnd(bytes[at] as number, bytes, from, last);
  }
  if (shapes.size >= MOST_SHAPES) shapes.clear();
  shapes.add(hash);
}
