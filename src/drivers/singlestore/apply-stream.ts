import type { Position } from '../model.ts';

/** Where the stream stands, and where each database stands in it. Positions are compared only where that is needed: marks count the events that have one. */
export type Stream<D extends { readonly position: Position }> = {
  readonly now: { readonly position: Position; readonly mark: number; readonly at: number | null };
  /** Databases that hold more than the stream has delivered yet. */
  readonly watched: number;
  /** The stream has come to a position; `at`: with the end of a source transaction. */
  reach(position: Position, at: number | null): void;
  /** A change for a database has come while some are watched. */
  touched(database: D): void;
  isBehind(database: D, mark: number): boolean;
  moved(database: D, mark: number): void;
  durable(): Position;
};

/** Begins at the smallest position. */
export function createStream<D extends { readonly position: Position }>(
  databases: readonly D[],
  reached: (position: Position, goal: Position) => boolean,
): Stream<D> {
  const beyond = new Set(
    databases.filter(({ position }) => databases.some((other) => !reached(other.position, position))),
  );
  const marks = new Map(databases.map((one) => [one, beyond.has(one) ? Number.POSITIVE_INFINITY : 0]));
  const first = databases.find((one) => !beyond.has(one)) ?? databases[0];
  const found = new Set<D>();
  let now = { position: (first as D).position, mark: 0, at: null as number | null };
  return {
    get now() {
      return now;
    },
    get watched() {
      return beyond.size;
    },
    reach(position, at) {
      for (const one of beyond) {
        if (reached(one.position, position)) {
          if (found.has(one)) throw new Error('The capture delivered changes which their database holds already.');
          continue;
        }
        beyond.delete(one);
        marks.set(one, now.mark);
      }
      found.clear();
      now = { position, mark: now.mark + 1, at: at ?? now.at };
    },
    touched(database) {
      if (beyond.has(database)) found.add(database);
    },
    isBehind: (database, mark) => (marks.get(database) as number) < mark,
    moved(database, mark) {
      marks.set(database, mark);
    },
    durable() {
      let least = databases[0] as D;
      for (const one of databases) if ((marks.get(one) as number) < (marks.get(least) as number)) least = one;
      return least.position;
    },
  };
}
