import type { Column } from '../model.ts';

/**
 * A chunk's range of keys: `from` inclusive, `to` exclusive, either open; values of the first columns of the key, as texts that are bound as
 * parameters. Stored at the destination as JSON: add fields, never rename.
 */
export type Range = { readonly from?: Bound; readonly to?: Bound };
export type Bound = readonly string[];

/** The whole table. */
export const EVERYTHING = '{}';

export function encodeRange(range: Range): string {
  return JSON.stringify(range);
}

export function decodeRange(text: string): Range {
  const range = JSON.parse(text) as Range;
  for (const bound of [range.from, range.to])
    if (
      bound !== undefined &&
      (!Array.isArray(bound) || bound.length === 0 || !bound.every((one) => typeof one === 'string'))
    )
      throw new Error('A stored range of a chunk is damaged.');
  return range;
}

/** A condition and its parameters: a letter of how to bind it (java/Session.java) and the value, in turns. */
export type Condition = { readonly sql: string; readonly parameters: readonly string[] };

/** How a key column is bound; undefined: it can't be a bound. Floats and dates have no text that surely means the value. */
export function boundKind({ type, masked }: Column): 'l' | 'd' | 's' | undefined {
  if (masked) return undefined;
  if (type.kind === 'int') return type.bytes === 8 && type.unsigned ? 'd' : 'l';
  if (type.kind === 'decimal') return 'd';
  return type.kind === 'char' || type.kind === 'varchar' ? 's' : undefined;
}

/** The conditions of a range over the key's columns. A key lies in exactly one of adjoining ranges, in whatever order the database has. */
export function rangeConditions(range: Range, key: readonly Column[], quote: (name: string) => string): Condition[] {
  const conditions: Condition[] = [];
  if (range.from) conditions.push(compare(key, range.from, quote, '>', '>='));
  if (range.to) conditions.push(compare(key, range.to, quote, '<', '<'));
  return conditions;
}

/** `(a, b) >= (x, y)` as `a >= x and (a > x or (a = x and b >= y))`: few databases compare rows, and the first term lets an index be used. */
function compare(
  key: readonly Column[],
  bound: Bound,
  quote: (name: string) => string,
  strict: '<' | '>',
  last: '<' | '>=',
): Condition {
  const parameters: string[] = [];
  const bind = (at: number): string => {
    parameters.push(boundKind(key[at] as Column) ?? 's', bound[at] as string);
    return '?';
  };
  const name = (at: number): string => quote((key[at] as Column).name);
  const expand = (at: number): string => {
    if (at === bound.length - 1) return `${name(at)} ${last} ${bind(at)}`;
    const above = `${name(at)} ${strict} ${bind(at)}`;
    return `${above} or (${name(at)} = ${bind(at)} and (${expand(at + 1)}))`;
  };
  const first = bound.length === 1 ? '' : `${name(0)} ${strict}= ${bind(0)} and `;
  return { sql: `${first}(${expand(0)})`, parameters };
}
