/**
 * A chunk's range of keys: `from` inclusive, `to` exclusive, either open. Bounds are SQL literals for a prefix of the index's columns, in
 * the server's own order. Stored at the destination as JSON: add fields, never rename.
 */
export type Range = {
  /** The index that holds the bounded columns. */
  readonly index: string;
  readonly columns: readonly string[];
  readonly from?: readonly string[];
  readonly to?: readonly string[];
};

/** The whole table. */
export const EVERYTHING = '{}';

export function encodeRange(range: Range): string {
  return JSON.stringify(range);
}

/** null: the whole table. Throws for a text that `encodeRange` did not make: it becomes SQL. */
export function decodeRange(text: string): Range | null {
  if (text === EVERYTHING) return null;
  const range = JSON.parse(text) as Range;
  for (const bound of [range.from, range.to])
    if (bound !== undefined && (bound.length === 0 || !bound.every((literal) => LITERAL.test(literal))))
      throw new Error('A stored range of a chunk is damaged.');
  if (!Array.isArray(range.columns) || typeof range.index !== 'string')
    throw new Error('A stored range of a chunk is damaged.');
  return range;
}

const LITERAL = /^(-?\d+(\.\d+)?|(_[a-z0-9]+ )?x'([0-9A-Fa-f]{2})*'|'[0-9A-Fa-f:. -]+')$/;

/** The condition for a range, with quoted column names. */
export function rangeCondition(range: Range, quote: (name: string) => string): string {
  const names = range.columns.map(quote);
  const parts: string[] = [];
  if (range.from) parts.push(compare(names, range.from, '>', '>='));
  if (range.to) parts.push(compare(names, range.to, '<', '<'));
  return parts.length === 0 ? 'true' : parts.join(' and ');
}

/**
 * `(a, b) >= (x, y)` as `a >= x and (a > x or (a = x and b >= y))`: row comparisons don't use an index on MySQL 5.7, and the first term
 * lets the optimizer see a plain range. `strict` compares all but the last column.
 */
export function compare(
  names: readonly string[],
  bound: readonly string[],
  strict: '<' | '>',
  last: '<' | '>' | '>=',
): string {
  const expanded = expand(names, bound, strict, last, 0);
  return bound.length === 1 ? expanded : `${names[0]} ${strict}= ${bound[0]} and (${expanded})`;
}

function expand(names: readonly string[], bound: readonly string[], strict: string, last: string, at: number): string {
  const name = names[at];
  const value = bound[at];
  if (at === bound.length - 1) return `${name} ${last} ${value}`;
  return `${name} ${strict} ${value} or (${name} = ${value} and (${expand(names, bound, strict, last, at + 1)}))`;
}
