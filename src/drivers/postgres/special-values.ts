import { UnsupportedValue } from '../errors.ts';
import type { Rule, RuleUse } from '../model.ts';
import { OUT_OF_RANGE, type Special } from './types.ts';

/**
 * Values that the destination cannot hold (EXACTNESS.md §9), found in COPY text. Numbers print as NaN, Infinity or -Infinity by themselves;
 * dates out of range carry a mark from the SELECT (`types.ts`). Batches are searched for these few bytes natively, and only rows with a hit
 * are looked at field by field: tables without such values pay a search, no scan of the source and no work per row.
 */

/** Column `index` of the rows needs watching. On a key column a special value is an error. */
export type Watched = {
  readonly index: number;
  readonly name: string;
  readonly special: Special;
  readonly key: boolean;
};

export type Watcher = {
  /** Applies the rules to whole rows; the same bytes when there was nothing to do. Throws `UnsupportedValue`. */
  apply(data: Buffer): Buffer;
  /** Uses so far, by column and rule. */
  uses(): RuleUse[];
};

const MAX_EXAMPLES = 3;
const MARK = Buffer.from(OUT_OF_RANGE);
const NEWLINE = 0x0a;
const TAB = 0x09;
/** Longer fields are no special values; numbers may have thousands of digits. */
const LONGEST = 64;

/** `key`: names and places of the key columns, for examples and errors. `refuse`: special values are errors everywhere (`on_unrepresentable`). */
export function watchSpecials(
  table: string,
  watched: readonly Watched[],
  key: readonly { readonly index: number; readonly name: string }[],
  refuse: boolean,
): Watcher {
  const tally = ruleTally();
  const needles = needlesOf(watched);
  // Pieces, because a row may be as long as a cell of many megabytes.
  const repairRow = (row: Buffer): Buffer[] | undefined => {
    const bounds = fieldBounds(row);
    const field = (index: number): string => row.toString('utf8', bounds[index], (bounds[index + 1] as number) - 1);
    const where = (): string =>
      key.length === 0 ? '' : ` (${key.map((one) => `${one.name}=${field(one.index).slice(0, 100)}`).join(', ')})`;
    const parts: Buffer[] = [];
    let kept = 0;
    for (const one of watched) {
      const start = bounds[one.index] as number;
      const end = (bounds[one.index + 1] as number) - 1;
      const special = end - start > LONGEST ? undefined : specialOf(one.special, field(one.index));
      if (special === undefined) continue;
      if (one.key || refuse) throw unrepresentable(table, special.value, one, where());
      tally.count(special.rule, one.name, () => `${special.value}${where()}`);
      parts.push(row.subarray(kept, start), Buffer.from(special.text));
      kept = end;
    }
    return parts.length === 0 ? undefined : [...parts, row.subarray(kept)];
  };
  return {
    apply(data) {
      if (needles.length === 0) return data;
      const parts: Buffer[] = [];
      let kept = 0;
      const hits = needles.map((needle) => data.indexOf(needle));
      for (;;) {
        const at = firstOf(hits);
        if (at < 0) break;
        const start = data.lastIndexOf(NEWLINE, at) + 1;
        const end = data.indexOf(NEWLINE, at);
        const row = repairRow(data.subarray(start, end));
        if (row !== undefined) {
          parts.push(data.subarray(kept, start), ...row);
          kept = end;
        }
        for (const [index, needle] of needles.entries())
          if ((hits[index] as number) >= 0 && (hits[index] as number) < end) hits[index] = data.indexOf(needle, end);
      }
      return parts.length === 0 ? data : Buffer.concat([...parts, data.subarray(kept)]);
    },
    uses: tally.uses,
  };
}

/** A special value that no rule may replace. `where`: the row's key, as ` (id=1)`. */
export function unrepresentable(
  table: string,
  value: string,
  column: { readonly name: string; readonly key: boolean },
  where: string,
): UnsupportedValue {
  return new UnsupportedValue(
    `Table ${table} has the value ${value} in column "${column.name}"${where}, which the destination can't hold.`,
    column.key
      ? 'A key can not be replaced: correct the row at the source, or choose another `key`.'
      : 'Correct the row, set `types` of the column to VARCHAR(64), or set `on_unrepresentable` to rule.',
  );
}

/** Counts uses of rules by column and rule, with a few examples. */
export function ruleTally(): {
  count(rule: Rule, column: string, example: () => string): void;
  uses(): RuleUse[];
  /** The uses, which are forgotten. */
  take(): RuleUse[];
} {
  const uses = new Map<string, { rule: Rule; column: string; count: number; examples: string[] }>();
  return {
    count(rule, column, example) {
      const id = `${rule} ${column}`;
      const use = uses.get(id) ?? { rule, column, count: 0, examples: [] };
      uses.set(id, use);
      use.count++;
      if (use.examples.length < MAX_EXAMPLES) use.examples.push(example());
    },
    uses: () => [...uses.values()],
    take() {
      const taken = [...uses.values()];
      uses.clear();
      return taken;
    },
  };
}

/** What a value becomes, or undefined if it can stay. */
export function specialOf(
  kind: Special,
  value: string,
): { readonly rule: Rule; readonly value: string; readonly text: string } | undefined {
  if (kind === 'number' || kind === 'infinite') {
    const special = value === 'NaN' || value === 'Infinity' || value === '-Infinity';
    return special ? { rule: 'not_a_number', value, text: '\\N' } : undefined;
  }
  if (!value.startsWith(OUT_OF_RANGE)) return undefined;
  const plain = value.slice(OUT_OF_RANGE.length);
  return { ...repairDate(plain, kind), value: plain };
}

/**
 * The date rules: infinity and years after 9999 become the last date, -infinity and BC the first, and 1000 years are added to the years 1 to
 * 999 (flow-product.md §5.10). 29 February becomes the 28th where the new year has none.
 */
function repairDate(value: string, kind: 'date' | 'datetime'): { rule: Rule; text: string } {
  const last = kind === 'date' ? '9999-12-31' : '9999-12-31 23:59:59.999999';
  const first = kind === 'date' ? '1000-01-01' : '1000-01-01 00:00:00';
  if (value === '-infinity' || value.endsWith(' BC')) return { rule: 'date_range', text: first };
  const year = Number(value.slice(0, value.indexOf('-')));
  if (value === 'infinity' || !(year < 1000)) return { rule: 'date_range', text: last };
  const moved = String(year + 1000) + value.slice(value.indexOf('-'));
  // Of the years 1 to 999, only 400 and 800 are leap years whose counterpart is none.
  return { rule: 'date_repair', text: moved.replace(/^(1400|1800)-02-29/, '$1-02-28') };
}

function needlesOf(watched: readonly Watched[]): Buffer[] {
  const kinds = new Set(watched.map((one) => one.special));
  return [
    ...(kinds.has('date') || kinds.has('datetime') ? [MARK] : []),
    ...(kinds.has('number') || kinds.has('infinite') ? [Buffer.from('NaN')] : []),
    ...(kinds.has('infinite') ? [Buffer.from('Infinity')] : []),
  ];
}

/** Where the fields of a row begin; the last entry is one past the end of a field that would follow. */
function fieldBounds(row: Buffer): number[] {
  const bounds = [0];
  for (let at = row.indexOf(TAB); at >= 0; at = row.indexOf(TAB, at + 1)) bounds.push(at + 1);
  bounds.push(row.length + 1);
  return bounds;
}

/** The smallest hit, or -1. */
function firstOf(hits: readonly number[]): number {
  let first = -1;
  for (const hit of hits) if (hit >= 0 && (first < 0 || hit < first)) first = hit;
  return first;
}
