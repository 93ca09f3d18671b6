import type { SqlName } from './sql-tokens.ts';

/** What a statement of the log means for a table. */
export type Effect = {
  /** The table; `name` undefined: all tables of the schema. */
  readonly schema: string | undefined;
  readonly name: string | undefined;
  /**
   * `truncate`: emptied. `look`: its structure may have changed so that the values of all rows can be told from the catalog. `defaults`: only the
   * default of a column that is there has changed. `reload`: the log does not tell what its rows are now.
   */
  readonly what: 'truncate' | 'look' | 'defaults' | 'reload';
  readonly reason: string;
  /** Columns that have another name from here on, as the statement writes them; absent: none. */
  readonly renames?: readonly { readonly from: string; readonly to: string }[];
  /** Columns were added whose value in rows from before is not NULL, but the same in all. */
  readonly fills?: boolean;
  /** Values that do not fit a changed column were changed with it instead of being refused: NULL, for one. */
  readonly lax?: boolean;
};

/** An effect on one table. */
export function effect(name: SqlName, what: Effect['what'], reason: string): Effect {
  return { ...name, what, reason };
}
