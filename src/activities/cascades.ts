import type { ClaimedScope, Followed } from '../drivers/apply.ts';
import { cascadeProblem } from '../drivers/cascades.ts';
import type { Table, TableError } from '../drivers/model.ts';
import { at, type Ends } from './connections.ts';

/**
 * Takes tables out of the stream whose rows foreign keys change below the log, where those can't be found: the source's `cascade` refuses it, or a parent
 * isn't there. Returns the others. A load that waits to be put in place stays, as long as `cascade` refuses: it is what a full extract gives.
 */
export async function leaveUnlogged(
  { destination, params }: Ends,
  claim: ClaimedScope,
  tables: readonly Followed[],
): Promise<Followed[]> {
  const wanted = params.source['cascade'] === 'reload';
  let staying = [...tables];
  const going = new Map<Followed, TableError>();
  for (;;) {
    const before = staying.length;
    for (const table of staying) {
      const live = table.place === table.target.table;
      const problem = wanted || live ? problemOf(table, staying, wanted) : undefined;
      if (problem !== undefined) going.set(table, problem);
    }
    staying = staying.filter((table) => !going.has(table));
    // What has left may have been the parent of others.
    if (staying.length === before) break;
  }
  const leaving = [...going].map(([{ id, target }, error]) => ({
    id,
    database: target.database,
    state: 'reload' as const,
    error,
  }));
  if (leaving.length > 0) await at('destination', () => destination.leave(claim, leaving));
  return staying;
}

/** Whether all changes of a table have to be delivered, although its copy holds some already: they lead to rows of other tables that do not. */
export function leadsOn({ table: parent, followFrom }: Followed, tables: readonly Followed[]): boolean {
  return tables.some(({ table, followFrom: since }) => since !== followFrom && parentsOf(table).some(isRef(parent)));
}

function problemOf({ table, target }: Followed, tables: readonly Followed[], wanted: boolean): TableError | undefined {
  const name = `${table.ref.schema}.${table.ref.name}`;
  for (const cascade of table.cascades ?? []) {
    const found = tables.find((one) => isRef(one.table)(cascade.parent));
    const why = wanted
      ? cascadeProblem(
          table,
          cascade,
          found && { table: found.table, sameDatabase: found.target.database === target.database },
        )
      : 'the source’s option `cascade` refuses that';
    if (why === undefined) continue;
    const parent = `${cascade.parent.schema}.${cascade.parent.name}`;
    return {
      class: 'UnsupportedValue',
      message: `The foreign key ${cascade.name} changes rows of ${name} without a word in the log, so that the stream can't follow the table: ${why.replace(/\.$/, '')}.`,
      action:
        cascade.refused?.action ??
        (wanted
          ? `Load ${name} and ${parent} again together: set \`redoInitial\` of both, then syncnew; or run a full extract.`
          : 'Set `cascade` = reload and load the table again together with its parents, or drop the actions (CASCADE, SET NULL) of the key.'),
    };
  }
  return undefined;
}

function parentsOf({ cascades = [] }: Table) {
  return cascades.map(({ parent }) => parent);
}

function isRef({ ref }: Table) {
  return (other: Table['ref']): boolean => other.schema === ref.schema && other.name === ref.name;
}
