import type { FollowedTable } from '../changes.ts';
import type { Described, DescribeRequest, Table } from '../model.ts';
import type { Session } from './connection.ts';
import type { LogRelation } from './log-relation.ts';
import { structureParts } from './table.ts';

/**
 * The structure that a table has today, if it is the one of `relation`, whose column types are `types`, and the rows that were copied before
 * can be brought there without reading them again (EXACTNESS.md §7). Otherwise null, with the reason.
 */
export async function structureNow(
  session: Session,
  describe: (requests: readonly DescribeRequest[]) => Promise<Described[]>,
  followed: FollowedTable,
  relation: LogRelation,
  types: readonly string[],
): Promise<{ now: Table } | { now: null; reason: string }> {
  const { table, options = {} } = followed;
  const [answer] = await describe([{ ref: table.ref, options }]);
  if (answer === undefined || 'error' in answer) return { now: null, reason: answer?.error.message ?? '' };
  const now = answer.table;
  const matches =
    now.columns.length === relation.columns.length &&
    now.columns.every(
      (column, index) => column.name === relation.columns[index]?.name && column.sourceType === types[index],
    );
  if (!matches) return { now: null, reason: 'Its structure has changed again since.' };
  if (now.key.join('\0') !== table.key.join('\0')) return { now: null, reason: 'Its key is another one.' };
  const reason = await unknownValues(session, table, now);
  return reason === undefined ? { now } : { now: null, reason };
}

/** Why rows that the log has not reported may hold something else than NULL in a new column, or something else than before in another one. */
async function unknownValues(session: Session, table: Table, now: Table): Promise<string | undefined> {
  const before = structureParts(table);
  const after = structureParts(now);
  if (before === undefined || after === undefined || before.oid !== after.oid)
    return 'Another table has taken its name.';
  const added: number[] = [];
  let changed = false;
  for (const [index, column] of now.columns.entries()) {
    const number = after.numbers[index] as number;
    const place = table.columns.findIndex((one) => one.name === column.name);
    const old = table.columns[place];
    if (old === undefined) {
      if (before.numbers.includes(number)) return `A column was renamed to "${column.name}".`;
      added.push(number);
    } else if (before.numbers[place] !== number) return `Its column "${column.name}" was dropped and added again.`;
    else if (old.sourceType !== column.sourceType) {
      if (!sameText(old.sourceType, column.sourceType))
        return `Its column "${column.name}" became ${column.sourceType}.`;
      changed = true;
    }
  }
  if ((changed || added.length > 0) && table.storage !== now.storage)
    return 'Its rows were written anew, so that they may hold other values than the log says.';
  if (added.length === 0) return undefined;
  // A default, or what is left of one, is what the rows before hold without a change in the log. Columns of older servers lack some of these.
  const { rows } = await session.query<{ name: string }>(
    `select attname as name from pg_attribute a where attrelid = $1 and attnum = any($2::int2[])
       and (atthasdef or attidentity <> '' or to_jsonb(a) ->> 'atthasmissing' = 'true' or coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '')`,
    [after.oid, added],
  );
  return rows.length === 0
    ? undefined
    : `Its new column "${rows[0]?.name}" has a default, which the rows before it hold too.`;
}

/** Whether a value prints the same under both types when its bytes were not touched: other lengths of the same type, and its text. */
function sameText(before: string, after: string): boolean {
  const base = (type: string): string => type.replace(/\([\d, -]*\)/, '').replace(/^text$/, 'character varying');
  return base(before) === base(after);
}
