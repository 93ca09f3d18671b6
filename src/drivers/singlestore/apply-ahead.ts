import type { Followed } from '../apply.ts';
import type { Position } from '../model.ts';
import type { Marks } from './apply-write.ts';
import type { Links } from './links.ts';
import { sql, table } from './sql.ts';

/** Which tables hold rows that are newer than the stream, and until where (EXACTNESS.md §6, `ahead_until`). */
export type Ahead = {
  /** Indexes of tables whose rows are no newer than the stream. */
  readonly caughtUp: ReadonlySet<number>;
  mark(database: string, position: Position, reread: ReadonlyMap<number, Position>): Marks;
  /** Tables that `mark` would take for caught up, and whose rows have to be looked at first (`findOrphans`). */
  due(database: string, position: Position, reread: ReadonlyMap<number, Position>): readonly number[];
};

/** Begins with what the destination has stored. */
export function createAhead(
  tables: readonly Followed[],
  reached: (position: Position, goal: Position) => boolean,
  links: Links,
): Ahead {
  const caughtUp = new Set<number>();
  const until = new Map<number, Position>();
  // Not ahead from the beginning, but perhaps not marked so yet.
  const unmarked = new Set<number>();
  const indexes = Map.groupBy(tables.keys(), (i) => (tables[i] as Followed).target.database);
  tables.forEach((followed, i) => {
    if (followed.aheadUntil !== null) until.set(i, followed.aheadUntil);
    else {
      caughtUp.add(i);
      unmarked.add(i);
    }
  });
  /** Tables that are no longer ahead at a position. */
  function passedAt(database: string, position: Position, reread: ReadonlyMap<number, Position>): number[] {
    if (until.size === 0 && unmarked.size === 0) return [];
    const known = new Map<Position, boolean>();
    const isPast = (goal: Position) => {
      const answer = known.get(goal) ?? reached(position, goal);
      known.set(goal, answer);
      return answer;
    };
    const isAhead = (i: number) => {
      const goal = until.get(i);
      return reread.has(i) || (goal !== undefined && !isPast(goal));
    };
    return (indexes.get(database) ?? []).filter(
      (i) => (unmarked.has(i) || until.has(i)) && !isAhead(i) && ![...links.above(i)].some(isAhead),
    );
  }
  return {
    caughtUp,
    due: (database, position, reread) =>
      passedAt(database, position, reread).filter((i) => until.has(i) && links.unseen(i).length > 0),
    mark(database, position, reread) {
      const passed = passedAt(database, position, reread);
      const newer = Map.groupBy(reread.keys(), (i) => reread.get(i) as Position);
      const statements = [
        ...statementsFor(database, tables, passed, null),
        ...[...newer].flatMap(([goal, group]) => statementsFor(database, tables, group, goal)),
      ];
      const settle = () => {
        for (const i of passed) {
          until.delete(i);
          unmarked.delete(i);
          caughtUp.add(i);
        }
        for (const [i, goal] of reread) {
          until.set(i, goal);
          unmarked.delete(i);
          caughtUp.delete(i);
        }
      };
      return { statements, settle: settle };
    },
  };
}

/** A live table keeps the position with its copy, a shadow with its load, from which the promotion takes it. */
function statementsFor(
  database: string,
  tables: readonly Followed[],
  indexes: readonly number[],
  until: Position | null,
): string[] {
  const group = indexes.map((i) => tables[i] as Followed);
  const live = group.filter((one) => one.place === one.target.table).map((one) => one.id);
  const shadows = group.filter((one) => one.place !== one.target.table).map((one) => one.id);
  const at = table(database, '_flow_tables');
  const statements: string[] = [];
  if (live.length > 0)
    statements.push(
      sql`update ${at} set [state] = ${until === null ? 'consistent' : 'loaded'}, [ahead_until] = ${until} where [table_id] in (${live}) and [state] in ('loaded', 'consistent')`,
    );
  if (shadows.length > 0)
    statements.push(
      sql`update ${at} set [load_until] = ${until} where [table_id] in (${shadows}) and [load_state] = 'sealed'`,
    );
  return statements;
}
