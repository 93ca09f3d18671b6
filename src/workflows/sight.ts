import type { Sight } from './progress.ts';

/** What is known of a stream, and how far a copy is behind its source by that. Pure; shared by workflows and the API. Times in ms. */

/** `at` is a time of the source's clock, all others of the worker's; `clockOffset`: the source's minus the worker's. */
export type Known = {
  /** When the reader last stood at the log's end with everything written. */
  readonly completeAt?: number | null;
  /** Commit time of the last change that is applied. */
  readonly at: number | null;
  /** When it was written at the destination. */
  readonly writtenAt?: number | null;
  readonly clockOffset?: number | null;
};

/**
 * The moment up to which the copy holds what its source holds, by the worker's clock; null: not known. A commit time counts only with the offset of
 * the clock that gave it, and no change was made after it was written here, whatever its session took for the time.
 */
export function heldUpTo({ completeAt, at, writtenAt, clockOffset }: Known): number | null {
  const changes =
    at === null || clockOffset === null || clockOffset === undefined
      ? null
      : Math.min(at - clockOffset, writtenAt ?? Number.POSITIVE_INFINITY);
  if (completeAt === null || completeAt === undefined) return changes;
  return changes === null ? completeAt : Math.max(changes, completeAt);
}

/** Seconds that the copy is behind, in tenths; null: not known. */
export function lagSeconds(known: Known, now: number): number | null {
  const held = heldUpTo(known);
  return held === null ? null : Math.max(0, Math.round((now - held) / 100) / 10);
}

/** Only what belongs to it, and only what is known. */
export function sightOf({ total, applied, clockOffset, log, tables }: Sight): Sight {
  return {
    ...(total ? { total } : {}),
    ...(applied ? { applied } : {}),
    ...(clockOffset === undefined ? {} : { clockOffset }),
    ...(log === undefined ? {} : { log }),
    ...(tables ? { tables } : {}),
  };
}

/** What a pipeline remembers of it: not what belongs to one run. */
export function lasting(sight: Sight): Omit<Sight, 'total' | 'tables'> {
  const { total: _total, tables: _tables, ...rest } = sightOf(sight);
  return rest;
}
