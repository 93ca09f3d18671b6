import type { OpenChunk, Planned, TablePlan } from '../destination.ts';
import { DestinationRejected } from '../errors.ts';
import type { Row } from './connection.ts';
import { MAX_NAME, shadowName } from './names.ts';
import { isPromoted, type Registered } from './tables.ts';

/** What planning sees of a database, read once. */
export type View = {
  readonly names: ReadonlySet<string>;
  readonly byId: ReadonlyMap<string, Registered>;
  readonly byTarget: ReadonlyMap<string, Registered[]>;
  readonly chunks: ReadonlyMap<string, Row[]>;
};

/** Whether this run's earlier planning stands: same shape, same way of loading, not asked to begin anew, rows still there. */
export function resumable(before: Registered, wanted: TablePlan, chunks: readonly Row[], view: View): boolean {
  if (before.run !== wanted.run) return false;
  // From the journal on a load only goes forward.
  if (before.loadState === 'journalled') return true;
  const same =
    before.shape === wanted.shape &&
    before.replace === wanted.replace &&
    before.loadHistory === (wanted.history ?? false);
  if (!same) return false;
  if (before.loadState === '') return !wanted.again && isPromoted(before);
  if (before.loadState !== 'loading' && before.loadState !== 'sealed') return false;
  if (!before.keep && !view.names.has(shadowName(before.id, before.load))) return false;
  // A repeated request to begin anew finds the load that its first answer began.
  return !wanted.again || chunks.every((row) => row['state'] === 'open' && Number(row['token']) === 0);
}

/** An earlier planning as answer. */
export function planned(before: Registered, chunks: readonly Row[]): Planned {
  const open: OpenChunk[] = chunks
    .filter((row) => row['state'] === 'open')
    .map((row) => ({ chunk: Number(row['chunk']), range: String(row['cut'] ?? '') }));
  const rowsDone = chunks.reduce((sum, row) => sum + Number(row['rows_sent']), 0);
  return { id: before.id, load: before.load, open, chunks: chunks.length, rowsDone };
}

/** Refuses a table whose id another one has. */
export function checkIdentity(wanted: TablePlan, id: string, before: Registered | undefined): void {
  const { ref, pipeline } = wanted;
  if (!before || (before.pipeline === pipeline && before.ref.schema === ref.schema && before.ref.name === ref.name))
    return;
  throw new DestinationRejected(
    `The tables ${before.ref.schema}.${before.ref.name} and ${ref.schema}.${ref.name} have the same id ${id}.`,
    'Give one of the pipelines another name.',
  );
}

/** Refuses a target that is not the table's: names, other tables' targets, tables that are not ours. */
export function checkTarget(wanted: TablePlan, id: string, before: Registered | undefined, view: View): void {
  const { target } = wanted;
  if ([...target.table].length > MAX_NAME)
    throw new DestinationRejected(
      `The table name "${target.table}" has ${[...target.table].length} characters; the destination takes ${MAX_NAME}.`,
      'Copy a view with a shorter name.',
    );
  if (target.table.startsWith('_flow_'))
    throw new DestinationRejected(
      `The name "${target.table}" is kept for control tables.`,
      'Copy a view with another name.',
    );
  const others = (view.byTarget.get(target.table) ?? []).filter(
    (row) => row.id !== id && (row.live || row.loadState !== ''),
  );
  const conflict = others.find((row) => row.pipeline === wanted.pipeline) ?? (wanted.adopt ? undefined : others[0]);
  if (conflict)
    throw new DestinationRejected(
      `${target.database}.${target.table} belongs to ${conflict.ref.schema}.${conflict.ref.name} of pipeline "${conflict.pipeline}".`,
      conflict.pipeline === wanted.pipeline
        ? 'Deselect one of the two tables, or set `db`.'
        : 'Set `adopt` of the table to take it over, or set `db`.',
    );
  if (view.names.has(target.table) && !before?.live && !wanted.adopt)
    throw new DestinationRejected(
      `${target.database}.${target.table} exists at the destination and was not made by this product.`,
      'Set `adopt` of the table to replace it, rename it, or set `db`.',
    );
}
