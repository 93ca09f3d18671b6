import type { Applied } from '../apply.ts';
import { type Batch, countsOf } from './apply-batch.ts';

/** What an applier has taken, and what of it is durable, by table. */
export type Tally = {
  readonly counts: readonly Applied[];
  /** Changes taken and not durable yet. */
  readonly pending: number;
  /** When changes last became durable, ms; null: none have yet. */
  readonly writtenAt: number | null;
  take(changes: number): void;
  park(index: number, rows: number): void;
  /** A batch has been written; `ends`: whole transactions, or the end of a large one, with which its parts become durable. */
  settle(batch: Batch, ends: boolean): void;
};

export function createTally(tables: number): Tally {
  const counts = Array.from({ length: tables }, () => ({ inserted: 0, updated: 0, deleted: 0, parked: 0 }));
  const waiting: { readonly changes: number; readonly folds: readonly ReturnType<typeof countsOf>[] }[] = [];
  let taken = 0;
  let settled = 0;
  let writtenAt: number | null = null;
  return {
    counts,
    get pending() {
      return taken - settled;
    },
    get writtenAt() {
      return writtenAt;
    },
    take(changes) {
      taken += changes;
    },
    park(index, rows) {
      const count = counts[index];
      if (count) count.parked += rows;
    },
    settle({ changes, touched, folds }, ends) {
      waiting.push({ changes, folds: touched.map((index) => countsOf(index, folds[index])) });
      if (!ends) return;
      for (const done of waiting.splice(0)) {
        settled += done.changes;
        if (done.changes > 0) writtenAt = Date.now();
        for (const { index, inserted, updated, deleted } of done.folds) {
          const count = counts[index];
          if (!count) continue;
          count.inserted += inserted;
          count.updated += updated;
          count.deleted += deleted;
        }
      }
    },
  };
}
