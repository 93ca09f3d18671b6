/**
 * A part of a table, as text for the destination's control tables. Stored at the destination: add forms, never change one.
 *
 * - `all`: every row, in one snapshot.
 * - `pages`: rows of one table file from page `from` (included) to page `to` (not included); null: no end. `storage` and `filenode` prove
 *   that the file is still the one that was split.
 * - `keys`: rows whose key columns, compared as a row in the server's own order, are `>= from` and `< to`; null: no end.
 */
export type Range =
  | { readonly form: 'all' }
  | {
      readonly form: 'pages';
      readonly schema: string;
      readonly name: string;
      readonly storage: number;
      readonly filenode: number;
      readonly from: number;
      readonly to: number | null;
    }
  | {
      readonly form: 'keys';
      readonly columns: readonly string[];
      readonly from: readonly string[] | null;
      readonly to: readonly string[] | null;
    };

export function formatRange(range: Range): string {
  return JSON.stringify(range);
}

export function parseRange(text: string): Range {
  return JSON.parse(text) as Range;
}
