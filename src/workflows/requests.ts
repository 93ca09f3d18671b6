/** What users ask of a pipeline, as pure functions: operations, their refusals and cancellation, actions on tables. */
import { captureOf, missingParams } from '../codes.ts';
import { targetOf } from './destinations.ts';
import { label, nameOf } from './labels.ts';
import type {
  Cancel,
  CancelAnswer,
  Operation,
  RefusalCode,
  RequestAnswer,
  Run,
  SelectedTable,
  TableAction,
  TableActionAnswer,
} from './messages.ts';
import { type Change, goOn, hold, withChange, withResumption } from './pause.ts';
import { streamRun } from './schedule.ts';
import { addEvent, keepRun, newRun, type PipelineState, selectedTables } from './state.ts';

/**
 * Queues an operation, or says why not. Refusals change nothing. `knowing`: whether what needs changes is refused where the source, as it is saved
 * now, captures none although it was followed before; asked only then.
 */
export function request(
  state: PipelineState,
  operation: Operation,
  now: number,
  { to, validate }: Pick<Run, 'to' | 'validate'> = {},
  knowing: () => boolean = () => false,
): [PipelineState, RequestAnswer] {
  const refusal = refuse(state, operation, knowing);
  if (refusal) return [state, { accepted: false, ...refusal }];
  const run = { ...newRun(state, operation, now), ...(to ? { to } : {}), ...(validate ? { validate } : {}) };
  const next = { ...state, lastRun: run.id, queue: [...state.queue, run] };
  const event = {
    level: 'info',
    group: 'Others',
    code: 'requested',
    message: `${label(operation)} requested.`,
    run: run.id,
    table: null,
  } as const;
  return [addEvent(next, now, event), { accepted: true, run }];
}

type Refusal = { readonly code: RefusalCode; readonly text: string };

function refuse(state: PipelineState, operation: Operation, knowing: () => boolean): Refusal | null {
  for (const side of ['source', 'destination'] as const) {
    const missing = missingParams(state[side].params);
    if (missing.length > 0) {
      return {
        code: 'no_connection',
        text: `The ${side} connection lacks ${missing.join(', ')}: save it with PATCH conn-${side === 'source' ? 'src' : 'dst'}.`,
      };
    }
  }
  const tables = selectedTables(state);
  if (tables.length === 0)
    return { code: 'no_tables', text: 'No table is selected: select some with PATCH config-tab.' };
  if (state.queue.some((run) => run.operation === operation && !run.resume)) {
    return { code: 'already_queued', text: `${label(operation)} waits in the queue already.` };
  }
  const running = [state.running, state.streaming].find((run) => run?.operation === operation && !run.resume);
  if (running) return { code: 'already_running', text: `${label(operation)} is running as run ${running.id}.` };
  return (operation === 'full' ? null : needsMain(state, operation, knowing)) ?? conflict(state, tables);
}

/** Everything but a full extract builds on the main stream; a rollback may be the way back to a position that is not lost. */
function needsMain(state: PipelineState, operation: Operation, knowing: () => boolean): Refusal | null {
  const captures = captureOf(state.source.params) !== 'none';
  if (!state.everFull && captures)
    return { code: 'needs_full', text: `${label(operation)} needs a completed full extract first.` };
  if (state.positionLost && operation !== 'rollback') {
    const text = 'The source’s log no longer reaches back to where the copy stands: run a full extract.';
    return { code: 'needs_full', text };
  }
  if (state.main !== null && (captures || !knowing())) return null;
  if (captures)
    return {
      code: 'full_only',
      text: 'The last full extract was made without change capture: run another one, which changes are followed from.',
    };
  return {
    code: 'full_only',
    text: 'This source’s changes are not captured: it is copied by full extracts only. Set `capture` or another type, then run a full extract.',
  };
}

function conflict(state: PipelineState, tables: readonly SelectedTable[]): Refusal | null {
  const taken = new Map<string, SelectedTable>();
  for (const table of tables) {
    const target = targetOf(state, table);
    const place = `${target.database}.${target.table}`;
    const other = taken.get(place);
    if (other) {
      return {
        code: 'name_conflict',
        text: `${nameOf(other)} and ${nameOf(table)} would both be copied to ${place}: unset \`db\` of the destination or deselect one.`,
      };
    }
    taken.set(place, table);
  }
  return null;
}

/** Runs that a cancel ends at once, or has to stop. A run that has begun to replace tables can only be finished (EXACTNESS.md §5). */
export function cancel(
  state: PipelineState,
  { lane }: Cancel,
  rolledForward: number,
  now: number,
): [PipelineState, CancelAnswer & { readonly stop: readonly number[] }] {
  const queue = lane === undefined || lane === 'queue';
  let next = state;
  if (queue) {
    for (const run of state.queue)
      next = keepRun(next, { ...run, state: 'cancelled', endedAt: new Date(now).toISOString() });
    next = { ...next, queue: [] };
  }
  const cancelled = queue ? state.queue.map((run) => run.id) : [];
  // A full takes both lanes, so naming either stops it.
  const open = [...(lane === 'load' ? [] : [streamRun(state)]), ...(lane === 'stream' ? [] : [state.running])];
  const lanes = lane === 'queue' ? [] : [...new Set(open)].filter((run) => run !== null);
  const reason = 'The run has begun to put tables in place and can only be finished.';
  const refused = lanes.filter((run) => run.id === rolledForward).map((run) => ({ run: run.id, reason }));
  const stop = lanes.filter((run) => run.id !== rolledForward).map((run) => run.id);
  return [next, { cancelled: [...cancelled, ...stop], refused, stop }];
}

/** What a user wants of one table (API.md, table states). `keeps`: the log of paused tables is kept as `pause_keeps_log` says. */
export function actOnTable(
  state: PipelineState,
  { table: ref, action }: TableAction,
  now: number,
  keeps = false,
): [PipelineState, TableActionAnswer] {
  const name = nameOf(ref);
  const table = state.tables[name];
  if (!table?.selected) return [state, { done: false, text: `${name} is not selected.` }];
  const change = (keeps ? withLog(action, table, state, now) : null) ?? actions[action](table, state);
  if ('refused' in change) return [state, { done: false, text: change.refused }];
  const { error: _error, ...rest } = table;
  const changed = { ...state, tables: { ...state.tables, [name]: withChange(rest, change.table) } };
  const next = change.run ? withResumption(changed, now) : changed;
  const event = { level: 'info', group: 'Others', code: action, message: change.text, run: null, table: name } as const;
  return [addEvent(next, now, event), { done: true, text: change.text }];
}

/** What becomes of a table whose log is or was to be kept; null: nothing else than of others. */
function withLog(
  action: TableAction['action'],
  table: SelectedTable,
  state: PipelineState,
  now: number,
): Change | null {
  if (action === 'pause') return hold(table, state, now);
  return action === 'resume' ? goOn(table, now) : null;
}

type Act = (table: SelectedTable, state: PipelineState) => Change;

const busy = (table: SelectedTable): Change | null =>
  table.state === 'loading' ? { refused: 'The table is being loaded: cancel the run or wait for its end.' } : null;

const actions: Readonly<Record<TableAction['action'], Act>> = {
  pause: (table) => {
    if (table.state === 'paused') return { refused: 'The table is paused already.' };
    const text =
      'The table was paused: its copy stays as it is. The source’s log is not kept for it, so resuming loads it again.';
    return busy(table) ?? { table: { state: 'paused' }, text };
  },
  resume: (table) => {
    if (table.state !== 'paused' && table.state !== 'skipped')
      return { refused: `The table is not paused but ${table.state}.` };
    return { table: { state: 'reload' }, text: 'The table is loaded again by the next syncnew, then followed.' };
  },
  skip: (table) =>
    busy(table) ?? { table: { state: 'skipped' }, text: 'The table left the stream; its copy stays as it is.' },
  reload: (table) =>
    busy(table) ?? { table: { state: 'reload' }, text: 'The table is loaded again by the next syncnew.' },
};
