import type { Followed } from '../apply.ts';
import type { Position } from '../model.ts';

/** Which of the tables in history mode make versions by now: those whose loaded rows hold nothing of what comes (EXACTNESS.md §10). */
export type Baseline = {
  /** Tables (by index) whose changes make versions from here on. */
  readonly versions: ReadonlySet<number>;
  /** Some do not yet. */
  readonly waits: boolean;
  /** A source transaction which ends at the position comes next; true: there are more of them for it. */
  next(position: Position): boolean;
  /** The stream stands here, and it is not known where the transaction ends that comes next; true: there are more of them. */
  standing(position: Position): boolean;
};

/** Begins where the tables' databases stand. */
export function createBaseline(
  tables: readonly Followed[],
  positions: (database: string) => Position,
  reached: (position: Position, goal: Position) => boolean,
): Baseline {
  const versions = new Set<number>();
  const waiting = new Map<number, Position>();
  tables.forEach(({ options: { history }, target }, i) => {
    if (history === null || history.until === 'all') return;
    if (history.until === null || reached(positions(target.database), history.until)) versions.add(i);
    else waiting.set(i, history.until);
  });
  const move = (isOver: (until: Position) => boolean) => {
    // Tables of one load share their end.
    const answers = new Map<Position, boolean>();
    let moved = false;
    for (const [i, until] of waiting) {
      const over = answers.get(until) ?? isOver(until);
      answers.set(until, over);
      if (!over) continue;
      waiting.delete(i);
      versions.add(i);
      moved = true;
    }
    return moved;
  };
  return {
    versions,
    get waits() {
      return waiting.size > 0;
    },
    next: (position) => move((until) => !reached(until, position)),
    standing: (position) => move((until) => reached(position, until)),
  };
}
