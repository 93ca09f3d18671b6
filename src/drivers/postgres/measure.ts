import type { Relation } from './catalog.ts';
import type { Session } from './connection.ts';
import { quoteName, quoteTable } from './sql.ts';
import type { OpenKey } from './table.ts';

/** Larger tables are sampled: a key has room for twice what was seen, and a longer one is an error of its row, never cut. */
const SAMPLED_PAGES = 1_000;
/** Tables measured by one statement. */
const TABLES_AT_ONCE = 50;

export type ToMeasure = { readonly relation: Relation; readonly keys: readonly OpenKey[] };

/** Bytes (4 for a character) of the longest value of each open key column, by its name, for each table. */
export async function measure(session: Session, tables: readonly ToMeasure[]): Promise<Map<string, number>[]> {
  const results = tables.map(() => new Map<string, number>());
  for (let first = 0; first < tables.length; first += TABLES_AT_ONCE) {
    const part = tables.slice(first, first + TABLES_AT_ONCE);
    const { rows } = await session.query<{ place: number; longest: number[] }>(
      part.map((one, index) => longestOf(one, first + index)).join(' union all '),
    );
    for (const { place, longest } of rows)
      for (const [index, key] of (tables[place] as ToMeasure).keys.entries())
        (results[place] as Map<string, number>).set(key.name, longest[index] ?? 0);
  }
  return results;
}

function longestOf({ relation, keys }: ToMeasure, place: number): string {
  const pages = relation.storage.reduce((sum, one) => sum + one.pages, 0);
  const sample =
    pages > SAMPLED_PAGES && relation.storage.every((one) => one.kind === 'r')
      ? ` tablesample system (${((100 * SAMPLED_PAGES) / pages).toFixed(4)})`
      : '';
  const longest = keys.map(({ name, binary }) =>
    binary
      ? `coalesce(max(octet_length(${quoteName(name)})), 0)`
      : `coalesce(max(char_length(${quoteName(name)}::text)), 0) * 4`,
  );
  return `select ${place} as place, array[${longest.join(', ')}]::float8[] as longest from ${relation.kind === 'r' ? 'only ' : ''}${quoteTable(relation.ref)}${sample}`;
}
