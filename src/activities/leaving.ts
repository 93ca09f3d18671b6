import { log } from '@temporalio/activity';
import type { ClaimedScope, Followed } from '../drivers/apply.ts';
import { isPermanent } from '../drivers/errors.ts';
import type { Position, TableError, TableRef } from '../drivers/model.ts';
import { at, type Ends } from './connections.ts';
import type { Changed } from './pump.ts';

/** A table that leaves the stream, because a user said so. */
export type Leaving = {
  readonly ref: TableRef;
  readonly target: { readonly database: string; readonly table: string };
  readonly state: 'paused' | 'skipped';
};

/** Takes tables out of the stream that users paused or skipped; returns the others. */
export async function leave(
  { destination }: Ends,
  claim: ClaimedScope,
  leaving: readonly Leaving[],
  tables: readonly Followed[],
): Promise<Followed[]> {
  const going = tables.flatMap((table) => {
    const found = leaving.find((one) => one.ref.schema === table.ref.schema && one.ref.name === table.ref.name);
    return found ? [{ id: table.id, database: table.target.database, state: found.state, error: null }] : [];
  });
  if (going.length > 0) await at('destination', () => destination.leave(claim, going));
  return tables.filter((table) => !going.some((one) => one.id === table.id));
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
      log.info('structure change needs a reload', { table: table.ref.name, why: error.message });
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
