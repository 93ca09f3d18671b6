import type { ClaimedScope, Followed } from '../apply.ts';
import type { Applied } from './apply-database.ts';
import type { Part } from './apply-write.ts';
import { now } from './control.ts';
import { timeText } from './history.ts';
import { inserts, sql, table } from './sql.ts';

/**
 * How many changes a run has applied to each table. Counted in the transaction that writes them, so that an attempt which dies neither loses nor
 * doubles any, in the run's own row of `_flow_runs`: no other stream writes it, so that nobody waits for its lock.
 */
export type Counts = Map<number, Counted>;
type Counted = {
  readonly followed: Followed;
  inserted: number;
  updated: number;
  deleted: number;
  changed: boolean;
  /** Commit time at the source of its last change, ms; undefined: that of the transaction which goes on. */
  at: number | undefined;
};

/** Nothing yet. */
export function newCounts(): Counts {
  return new Map();
}

/** Takes in what a part of the open transaction brings. */
export function noteFolds(counts: Counts, { folds, times, end }: Part): void {
  for (const { index, writing, fold } of folds) {
    const { inserted, updated, deleted } = fold;
    const counted = counts.get(index) ?? blank(writing.followed);
    counts.set(index, counted);
    counted.inserted += inserted;
    counted.updated += updated;
    counted.deleted += deleted;
    // What is only read again did not change.
    if (inserted + updated + deleted === 0 && !fold.emptied) continue;
    counted.changed = true;
    counted.at = end === null ? undefined : times[fold.last];
  }
}

/** The statement which adds the counts of the open transaction to the run's; `at`: commit time of a source transaction that came in parts, ms. */
export function countStatements(
  { counts, letters, database }: Pick<Applied, 'counts' | 'letters' | 'database'>,
  at: number | undefined,
  { pipeline, run }: ClaimedScope,
): string[] {
  const written = now();
  const rows = [...counts].flatMap(([index, counted]) => {
    const { followed, inserted, updated, deleted, changed } = counted;
    const parked = letters.fresh.get(index)?.size ?? 0;
    if (!changed && parked === 0) return [];
    const time = counted.at ?? at;
    const changedAt = changed && time !== undefined ? timeText(time) : null;
    const { ref, id, target } = followed;
    const about = [pipeline, run, id, ref.schema, ref.name, target.table, 'streamed', written] as const;
    return [[...about, inserted, updated, deleted, parked, changedAt, written] as const];
  });
  return inserts(
    sql`insert into ${table(database, '_flow_runs')} ([pipeline], [run], [table_id], [source_schema], [source_name], [target_table], [state], [started_at], [inserted], [updated], [deleted], [parked], [changed_at], [written_at])`,
    rows,
    sql`on duplicate key update [inserted] = [inserted] + values([inserted]), [updated] = [updated] + values([updated]), [deleted] = [deleted] + values([deleted]), [parked] = [parked] + values([parked]), [changed_at] = coalesce(values([changed_at]), [changed_at]), [written_at] = values([written_at])`,
  );
}

function blank(followed: Followed): Counted {
  return { followed, inserted: 0, updated: 0, deleted: 0, changed: false, at: undefined };
}
