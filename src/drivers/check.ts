import type { Batch, ChunkRead } from './model.ts';

/** What a destination needs to compare a copy with its source, and what it answers. Types only; part of the contract in `destination.ts`. */

/** Rows of the source at the destination: all as they were read first, those that match `where`, and those of the last two looks. */
export type CheckPart = 'all' | 'where' | 'odd' | 'even';

/**
 * Compares one live copy with rows of its source that are loaded into tables beside it. Never writes the copy. Rows are compared byte for byte, NULL only
 * equals NULL. Throws `StructureChanged` when the copy is no longer what `Followed.table` says, or the tables of the check are gone.
 */
export interface Check {
  /** Removes what earlier checks of the table have left, and makes the places for these parts. */
  begin(parts: readonly CheckPart[]): Promise<void>;

  /** Adds rows to a part; all or none. `replace`: a row may come twice. Returns how many were sent. */
  load(
    part: CheckPart,
    replace: boolean,
    batches: AsyncGenerator<Batch, ChunkRead, undefined>,
    progress: (rows: number, bytes: number) => void,
    signal: AbortSignal,
  ): Promise<number>;

  /** Rows of a part. */
  count(part: CheckPart): Promise<number>;

  /** Of a table without a key: rows that are there more often on one side than on the other, each as often as that. */
  surplus(part: CheckPart): Promise<number>;

  /**
   * Keys (as in `RowChange.key`) whose rows are not the same in the copy and in part `all`: at most `most` of them, and how many there are. Rows that the
   * copy lacks count if they are in part `missing`; null: they don't.
   */
  differing(missing: 'all' | 'where' | null, most: number): Promise<{ keys: readonly string[]; total: number }>;

  /** Empties the part of a look (made when it is not there) and notes the keys that it is about. */
  look(part: 'odd' | 'even', keys: readonly string[]): Promise<void>;

  /** For each key of the last look: whether the copy holds what the look found, and whether that is what part `before` holds. */
  compare(
    before: CheckPart,
    part: 'odd' | 'even',
  ): Promise<readonly { readonly same: boolean; readonly unchanged: boolean }[]>;

  /** Has the main stream read these keys from the source when its next attempt begins (`_flow_rereads`). */
  repair(keys: readonly string[]): Promise<void>;

  /** Removes the tables of this check. */
  end(): Promise<void>;
}

/** What a check of one table has found. `unsettled`: rows that kept changing, and those beyond the number that is followed. Stored: add fields only. */
export type Checked = {
  readonly checked: number;
  readonly different: number;
  readonly repaired: number;
  readonly unsettled: number;
  /** Up to ten keys of different rows, as people read them. */
  readonly examples: readonly string[];
};
