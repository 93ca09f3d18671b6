import type { Followed } from '../apply.ts';
import type { Applied } from './apply-database.ts';
import { rows } from './connection.ts';
import { now } from './control.ts';
import { newFold } from './fold.ts';
import { sql, table } from './sql.ts';
import type { Writing } from './stage.ts';
import { noteState } from './trail.ts';

/** Keys that are waiting in `_flow_rereads` to be read from the source again, whatever the log says. */

/** Keys per transaction: each holds its rows' locks until the source has answered. */
const MOST_KEYS = 10_000;

/** What a table's waiting keys come to: states to write, and the statement that takes them off the list in the same transaction. */
export type Waiting = {
  readonly index: number;
  readonly writing: Writing;
  readonly fold: ReturnType<typeof newFold>;
  readonly statement: string;
};

/** Some of the waiting keys of a database's tables, as folds; [] when there are none left. `versions`: tables whose rows become versions. */
export async function readWaiting(
  to: Applied,
  tables: readonly Followed[],
  writings: readonly Writing[],
  versions: ReadonlySet<number>,
): Promise<Waiting[]> {
  const indexes = new Map(
    tables.flatMap(({ id, target }, i) => (target.database === to.database ? [[id, i] as const] : [])),
  );
  if (indexes.size === 0) return [];
  const at = table(to.database, '_flow_rereads');
  const found = await rows(
    to.session,
    sql`select [table_id], [row_key], [key_text] from ${at} where [table_id] in (${[...indexes.keys()]}) limit ${MOST_KEYS}`,
  );
  return [...Map.groupBy(found, (row) => String(row['table_id']))].map(([id, list]) => {
    const index = indexes.get(id) as number;
    const fold = newFold({ versions: versions.has(index) });
    for (const row of list) {
      const key = String(row['key_text']);
      fold.states.set(key, 'reread');
      noteState(fold, key, { transaction: 0, event: 0 }, 1);
    }
    const names = list.map((row) => String(row['row_key']));
    return {
      index,
      writing: writings[index] as Writing,
      fold,
      statement: sql`delete from ${at} where [table_id] = ${id} and [row_key] in (${names})`,
    };
  });
}

/** Puts the keys of a table's dead letters on the list: with another structure they may fit. Part of a guarded transaction. */
export function rereadLetters({ id, target }: Followed): string {
  return sql`replace into ${table(target.database, '_flow_rereads')} ([table_id], [row_key], [key_text], [reason], [recorded_at]) select [table_id], [row_key], [key_text], 'structure', ${now()} from ${table(target.database, '_flow_dead_letters')} where [table_id] = ${id}`;
}
