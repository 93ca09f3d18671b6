import { log } from '@temporalio/activity';
import type { ClaimedScope, Followed } from '../drivers/apply.ts';
import { isPermanent } from '../drivers/errors.ts';
import type { Position, TableError, TableRef } from '../drivers/model.ts';
import { at, type Ends } from './connections.ts';
import { keepLog, type Unkept } from './paused.ts';
import { keyOf } from './plan.ts';
import type { Changed } from './pump.ts';

/** A table that leaves the stream, because a user said so. */
export type Leaving = {
  readonly ref: TableRef;
  readonly target: { readonly database: string; readonly table: string };
  readonly state: 'paused' | 'skipped';
};

/**
 * Takes tables out of the stream that users paused or skipped; returns the others. The log is kept for paused tables that are in `keep`; `unkept`: those
 * of them for which it can't be.
 */
export async function leave(
  ends: Ends,
  claim: ClaimedScope,
  leaving: readonly Leaving[],
  tables: readonly Followed[],
  keep: readonly TableRef[] = [],
): Promise<{ readonly tables: Followed[]; readonly unkept: readonly Unkept[] }> {
  const { destination } = ends;
  const states = new Map(leaving.map(({ ref, state }) => [keyOf(ref), state]));
  const going = tables.filter(({ ref }) => states.has(keyOf(ref)));
  if (going.length === 0) return { tables: [...tables], unkept: [] };
  // An older version's control tables may lack the columns.
  for (const { database } of claim.databases) await at('destination', () => destination.prepare(database));
  const keys = new Set(keep.map(keyOf));
  const paused = going.filter(({ ref }) => states.get(keyOf(ref)) === 'paused' && keys.has(keyOf(ref)));
  const { kept, unkept } = await keepLog(ends, claim, paused);
  const out = going.map(({ id, ref, target: { database } }) => {
    const log = kept.get(id);
    return { id, database, state: states.get(keyOf(ref)) ?? 'paused', error: null, ...(log ? { kept: log } : {}) };
  });
  await at('destination', () => destination.leave(claim, out));
  return { tables: tables.filter(({ ref }) => !states.has(keyOf(ref))), unkept };
}

/** Brings a changed structure to the copy and returns true, or takes the table out of the stream. */
export async function restructure(
  { destination }: Ends,
  structures: 'alter' | 'leave',
  claim: ClaimedScope,
  table: Followed,
  { now, reason, carry }: Changed,
  from: Position,
): Promise<boolean> {
  if (now !== null && structures === 'alter') {
    try {
      await at('destination', () =>
        destination.restructure({ claim, table, now, from, alter: true, ...(carry ? { carry } : {}) }),
      );
      return true;
    } catch (error) {
      if (!isPermanent(error) || error.name === 'Superseded') throw error;
      log.info('structure change needs a reload', {
        group: 'Source',
        table: `${table.ref.schema}.${table.ref.name}`,
        why: error.message,
      });
    }
  }
  const problem: TableError = {
    class: 'StructureChanged',
    message: `The structure of ${table.ref.schema}.${table.ref.name} changed at the source: ${reason}`,
    action: 'The copy stays as it was before the change; load the table again with syncnew.',
  };
  await at('destination', () =>
    destination.leave(claim, [{ id: table.id, database: table.target.database, state: 'reload', error: problem }]),
  );
  return false;
}
