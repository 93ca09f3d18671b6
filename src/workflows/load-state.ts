import type { PortionItem, PortionTable } from '../activities/extract.ts';
import type { PlannedTable } from '../activities/plan.ts';
import type { SealedTable } from '../activities/promote.ts';
import type { TableRef } from '../drivers/model.ts';
import type { FailedTable, FullInput, StreamTotals } from './children.ts';
import { nameOf } from './labels.ts';
import type { Progress, ProgressTable } from './progress.ts';

type LoadedTable = {
  readonly ref: TableRef;
  state: ProgressTable['state'];
  rows: number;
  bytes: number;
  chunks: number;
  chunksDone: number;
  sealed: SealedTable | null;
};

/** What a running load knows. Lives in the workflow only: after continue-as-new it is built again from what the destination holds. */
export type LoadState = {
  phase: Progress['phase'];
  yielding: boolean;
  portions: number;
  /** Tables that stay as an earlier run made them (`skipInitial`). */
  readonly kept: TableRef[];
  readonly total: number;
  readonly tables: Map<string, LoadedTable>;
  readonly failed: FailedTable[];
  readonly restarts: Map<string, number>;
  /** What catching up has applied. */
  streamed: StreamTotals | null;
  mainStopped: boolean;
  /** Tables that are not consistent although they have caught up: keyless ones. */
  behind: readonly TableRef[];
  /** The log has been told of them. */
  warned: boolean;
};

export function newLoad(input: FullInput): LoadState {
  const failedBefore = input.resume?.failed ?? [];
  return {
    phase: 'starting',
    yielding: false,
    portions: 0,
    kept: [],
    total: input.tables.length,
    tables: new Map(failedBefore.map(({ ref }) => [nameOf(ref), { ...blank(ref), state: 'failed' as const }])),
    failed: [...failedBefore],
    restarts: new Map(),
    streamed: null,
    mainStopped: false,
    behind: [],
    warned: false,
  };
}

function blank(ref: TableRef): LoadedTable {
  return { ref, state: 'waiting', rows: 0, bytes: 0, chunks: 0, chunksDone: 0, sealed: null };
}

/** Tables have been planned: forgets what an earlier load of the same table had brought. */
export function startTables(state: LoadState, planned: readonly PlannedTable[], kept: readonly TableRef[]): void {
  for (const { ref, chunks, open, rowsDone } of planned) {
    state.tables.set(nameOf(ref), { ...blank(ref), rows: rowsDone, chunks, chunksDone: chunks - open.length });
  }
  for (const ref of kept) state.tables.set(nameOf(ref), { ...blank(ref), state: 'loaded' });
  state.kept.push(...kept);
}

/** Takes in what an activity says of a table; `seal` when its last chunk has come in and nobody has closed it. */
export function settle(state: LoadState, item: PortionItem, result: PortionTable | undefined): 'seal' | 'settled' {
  const table = state.tables.get(nameOf(item.ref));
  if (!table || !result) return 'settled';
  table.rows += result.rows;
  table.bytes += result.bytes;
  table.chunksDone += result.chunks;
  const { outcome } = result;
  if (outcome.kind === 'sealed') {
    table.state = 'loaded';
    table.rows = outcome.rows;
    table.bytes = Math.max(table.bytes, outcome.bytes);
    table.sealed = { ref: item.ref, options: item.options, target: item.target, id: item.id, load: item.load };
    return 'settled';
  }
  if (outcome.kind !== 'loaded') return 'settled';
  table.state = 'loading';
  return table.chunksDone >= table.chunks ? 'seal' : 'settled';
}

/** Notes a failed table; false when it was known. */
export function failed(state: LoadState, lost: FailedTable): boolean {
  const name = nameOf(lost.ref);
  if (state.failed.some((table) => nameOf(table.ref) === name)) return false;
  state.failed.push(lost);
  state.tables.set(name, { ...(state.tables.get(name) ?? blank(lost.ref)), state: 'failed', sealed: null });
  return true;
}

/** Tables in work or failed first, then the biggest. */
export function progressOf(state: LoadState): Progress {
  const tables = [...state.tables.values()];
  const rank = (table: LoadedTable): number => ['failed', 'loading', 'waiting', 'loaded'].indexOf(table.state);
  return {
    phase: state.phase,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: tables.reduce((sum, table) => sum + table.bytes, 0),
    tablesDone: tables.filter((table) => table.state === 'loaded').length,
    tablesFailed: state.failed.length,
    tablesTotal: state.total,
    tables: tables
      .sort((a, b) => rank(a) - rank(b) || b.rows - a.rows)
      .slice(0, 100)
      .map(({ ref, state: now, rows, chunksDone, chunks }) => ({ ...ref, state: now, rows, chunksDone, chunks })),
  };
}
