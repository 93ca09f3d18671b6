import type { Followed } from '../apply.ts';
import type { TableId } from '../destination.ts';
import { DestinationRejected } from '../errors.ts';
import type { Position } from '../model.ts';
import type { Applied } from './apply-database.ts';
import type { Means, Part } from './apply-write.ts';
import { writeAccepted } from './park.ts';

/**
 * A source transaction that changes more tables than one destination transaction may write is written in passes, by ascending table id. Each pass
 * stores the last id that it wrote; the position moves with the last pass (EXACTNESS.md §6).
 */

/** Tables up to this id hold all changes up to the position. Stored in the checkpoint row. */
export type Pass = { readonly table: TableId; readonly until: Position };

/** What earlier attempts and passes have written of transactions whose end is not durable. */
export type Passes = {
  /** Some are open. */
  readonly areOpen: boolean;
  /** Whether the changes that come to a table are written already; `position`: where the stream stands before them. */
  wrote(index: number, position: Position): boolean;
  /** Whether the batch has to end here, so that later changes are not mixed with those of passes. */
  endAt(position: Position): boolean;
};

/** `databases`: of each table. */
export function createPasses(
  tables: readonly Followed[],
  databases: readonly Applied[],
  reached: (position: Position, goal: Position) => boolean,
): Passes {
  const all = new Set(databases);
  const open = () => [...all].flatMap(({ part }) => (part === null ? [] : [part]));
  return {
    get areOpen() {
      return open().length > 0;
    },
    wrote(index, position) {
      const { id, joined } = tables[index] as Followed;
      const { part } = databases[index] as Applied;
      if (part === null || id > part.table || joined === part.until) return false;
      return !reached(position, part.until);
    },
    endAt: (position) => open().some(({ until }) => reached(position, until)),
  };
}

/** Writes a part; whole transactions of more tables than one destination transaction takes in several. */
export async function writeInPasses(to: Applied, part: Part, means: Means): Promise<void> {
  const { end } = part;
  // Each may need its staging table; the checkpoint, the table of tables and the run's record are written, too.
  const most = Math.max(1, Math.floor((means.pool.dialect.transactionTables - CONTROL_TABLES) / 2));
  let left = part.folds;
  if (end !== null && to.open === null && left.length > most) {
    const lost = left.find(({ fold }) => fold.left.size > 0 || fold.made.size > 0);
    // A row that it brought in a later pass would not be found in an earlier one.
    if (lost) {
      const { schema, name } = lost.writing.followed.ref;
      throw new DestinationRejected(
        `A source transaction changes more tables than one transaction of the destination writes, and keys of ${schema}.${name}, by which foreign keys change rows below the log.`,
        'Load the tables again with `full`; leave such tables out of transactions of that size, or drop the actions (CASCADE, SET NULL) of the keys.',
      );
    }
    left = [...left].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    for (; left.length > most; left = left.slice(most)) {
      const folds = left.slice(0, most);
      const pass = { table: idOf(folds[most - 1] as (typeof folds)[number]), until: end.position };
      await writeAccepted(to, { ...part, folds, pass }, means);
    }
  }
  await writeAccepted(to, { ...part, folds: left }, means);
}

const CONTROL_TABLES = 5;

function idOf({ writing }: Part['folds'][number]): TableId {
  return writing.followed.id;
}
