/** What a pipeline does next, as pure functions: requests, refusals, begin and end of runs, and how it all looks. */
import { destinationOf, missingParams, sourceCode } from '../codes.ts';
import type { FullInput, FullResult, NoteEvents } from './children.ts';
import { nameOf } from './labels.ts';
import type {
  Cancel,
  CancelAnswer,
  Operation,
  PipelineOverview,
  RefusalCode,
  RequestAnswer,
  Run,
  SelectedTable,
} from './messages.ts';
import { addEvent, keepRun, newRun, type PipelineState, selectedTables } from './state.ts';

/** Queues an operation, or says why not. Refusals change nothing. */
export function request(state: PipelineState, operation: Operation, now: number): [PipelineState, RequestAnswer] {
  const refusal = refuse(state, operation);
  if (refusal) return [state, { accepted: false, ...refusal }];
  const run = newRun(state, operation, now);
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

function refuse(state: PipelineState, operation: Operation): { code: RefusalCode; text: string } | null {
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
  if (state.queue.some((run) => run.operation === operation)) {
    return { code: 'already_queued', text: `${label(operation)} waits in the queue already.` };
  }
  if (state.running?.operation === operation) {
    return { code: 'already_running', text: `${label(operation)} is running as run ${state.running.id}.` };
  }
  if (operation !== 'full') {
    if (!state.everFull)
      return { code: 'needs_full', text: `${label(operation)} needs a completed full extract first.` };
    return { code: 'full_only', text: 'This version copies by full extract only; changes are not captured yet.' };
  }
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

function targetOf(state: PipelineState, table: SelectedTable): { database: string; table: string } {
  return destinationOf(state.source.params['type'] ?? '', table.database, table, state.destination.params);
}

/** Destination databases that this pipeline's tables are or were copied to. */
export function databasesOf(state: PipelineState): string[] {
  const known = Object.values(state.tables).filter((table) => table.selected || table.state !== 'new');
  return [...new Set(known.map((table) => targetOf(state, table).database))].sort();
}

/** The run to start now, if nothing runs. */
export function due(state: PipelineState): Run | null {
  return state.running ? null : (state.queue[0] ?? null);
}

export function begin(state: PipelineState, run: Run, now: number): PipelineState {
  const running: Run = { ...run, state: 'running', startedAt: run.startedAt ?? new Date(now).toISOString() };
  const tables = { ...state.tables };
  for (const table of selectedTables(state)) tables[nameOf(table)] = { ...table, state: 'loading', was: table.state };
  return { ...state, running, queue: state.queue.filter((other) => other.id !== run.id), tables };
}

/** The tables that `begin` marked: a selection made since waits for the next run. */
export function fullInput(state: PipelineState, run: Run): FullInput {
  return {
    pipeline: state.name,
    run: run.id,
    source: state.source,
    destination: state.destination,
    tables: loading(state).map((table) => ({
      ref: { schema: table.schema, name: table.name },
      options: table.options,
      target: targetOf(state, table),
    })),
  };
}

function loading(state: PipelineState): SelectedTable[] {
  return Object.values(state.tables).filter((table) => table.state === 'loading');
}

/** Takes in how a full extract ended. */
export function end(state: PipelineState, run: Run, input: FullInput, result: FullResult, now: number): PipelineState {
  const ended: Run = {
    ...run,
    state: result.state === 'yielded' ? 'running' : result.state,
    startedAt: run.startedAt,
    endedAt: new Date(now).toISOString(),
    rows: { ...run.rows, loaded: result.rows },
    error: result.error,
  };
  const tables = { ...state.tables };
  const errors = new Map(result.failed.map((table) => [nameOf(table.ref), table.error]));
  for (const { ref } of input.tables) {
    const name = nameOf(ref);
    const table = tables[name];
    if (!table) continue;
    const { was, error: earlier, ...rest } = table;
    const error = errors.get(name);
    if (error) tables[name] = { ...rest, state: 'reload', error };
    else if (result.state === 'succeeded') tables[name] = { ...rest, state: 'loaded' };
    // The run was taken back: what was there before is there still.
    else tables[name] = { ...rest, state: was ?? 'new', ...(earlier ? { error: earlier } : {}) };
  }
  const succeeded = result.state === 'succeeded';
  const next: PipelineState = {
    ...keepRun(state, ended),
    running: null,
    resume: null,
    tables,
    everFull: state.everFull || succeeded,
    position: succeeded ? result.position : state.position,
    source: connected(state, 'source', result, input),
    destination: connected(state, 'destination', result, input),
  };
  return addEvent(next, now, { ...endEvent(run, result), run: run.id, table: null });
}

function endEvent(run: Run, result: FullResult) {
  const what = label(run.operation);
  if (result.state === 'succeeded') {
    const failed = result.failed.length > 0 ? `, ${result.failed.length} failed and must be loaded again` : '';
    const message = `${what} complete: ${result.loaded} tables, ${result.rows} records${failed}.`;
    return { level: failed ? 'warning' : 'info', group: 'Others', code: 'run_ended', message } as const;
  }
  if (result.state === 'cancelled')
    return {
      level: 'warning',
      group: 'Others',
      code: 'run_cancelled',
      message: `${what} was cancelled; nothing was changed.`,
    } as const;
  const message = `${what} failed: ${result.error?.message ?? ''} ${result.error?.action ?? ''}`.trim().slice(0, 1000);
  return { level: 'error', group: 'Errors', code: result.error?.class ?? 'run_failed', message } as const;
}

/** A run is an attempt to connect (API.md): it tells of the parameters that it was started with. */
function connected(state: PipelineState, side: 'source' | 'destination', result: FullResult, input: FullInput) {
  const saved = state[side];
  if (saved.fingerprint !== input[side].fingerprint) return saved;
  if (result.position !== null) return { ...saved, connected: true };
  return result.error?.class === 'AccessDenied' && result.error.side === side ? { ...saved, connected: false } : saved;
}

/** What a cancel can stop. A full that has begun to replace tables can only be finished (EXACTNESS.md §5). */
export function cancel(
  state: PipelineState,
  { lane }: Cancel,
  rolledForward: boolean,
  now: number,
): [PipelineState, CancelAnswer & { stopRunning: boolean }] {
  const queue = lane === undefined || lane === 'queue';
  const cancelled = queue ? state.queue.map((run) => run.id) : [];
  let next = state;
  if (queue) {
    for (const run of state.queue)
      next = keepRun(next, { ...run, state: 'cancelled', endedAt: new Date(now).toISOString() });
    next = { ...next, queue: [] };
  }
  const running = lane === 'queue' ? null : state.running;
  // A full takes both lanes, so naming either stops it.
  if (!running) return [next, { cancelled, refused: [], stopRunning: false }];
  if (rolledForward) {
    const reason = 'The run has begun to put tables in place and can only be finished.';
    return [next, { cancelled, refused: [{ run: running.id, reason }], stopRunning: false }];
  }
  return [next, { cancelled: [...cancelled, running.id], refused: [], stopRunning: true }];
}

export function noteEvents(state: PipelineState, { run, events }: NoteEvents, now: number): PipelineState {
  return events.reduce((next, event) => addEvent(next, now, { ...event, run }), state);
}

export function overview(state: PipelineState): PipelineOverview {
  const counts: Record<string, number> = {};
  for (const table of selectedTables(state)) counts[table.state] = (counts[table.state] ?? 0) + 1;
  return {
    pipeline: state.name,
    state: state.everFull ? 'ready' : 'new',
    // Without change capture nobody can say that the copy has caught up.
    consistent: false,
    scheduler: { ...state.scheduler, nextDueAt: null },
    current: { stream: null, load: state.running },
    queue: state.queue.map((run) => run.operation),
    lag: { seconds: null, bytes: null, logHoursLeft: null },
    position: state.position,
    tables: counts,
  };
}

/** The pipeline in Temporal's Web UI. */
export function details(state: PipelineState): string {
  const view = overview(state);
  const type = state.source.params['type'] ?? '';
  const at = (side: 'source' | 'destination') =>
    `${state[side].params['host'] ?? 'not set'}:${state[side].params['port'] ?? ''}`;
  const running = state.running
    ? `**${label(state.running.operation)}**, run ${state.running.id}, since ${state.running.startedAt}`
    : 'idle';
  const states = Object.entries(view.tables).map(([name, count]) => `${count} ${name}`);
  const last = state.runs.at(-1);
  return [
    `${sourceCode(type)?.product ?? 'no source'} at ${at('source')} → ${at('destination')}`,
    '',
    `* now: ${running}`,
    `* queue: ${view.queue.map(label).join(', ') || 'empty'}`,
    `* tables: ${states.join(', ') || 'none selected'}`,
    `* scheduler: ${state.scheduler.on ? 'on' : 'off'} (${state.scheduler.reason})`,
    last
      ? `* last run: ${label(last.operation)} ${last.id} ${last.state}, ${last.rows.loaded} rows${last.error ? `: ${last.error.message}` : ''}`
      : '* last run: none',
  ].join('\n');
}

const labels: Readonly<Record<Operation, string>> = {
  full: 'Full Extract',
  syncnew: 'Sync New Tables',
  syncstruct: 'Synchronize Structure',
  delta: 'Manual Delta',
  rollback: 'Rollback',
  validate: 'Validate',
};

export function label(operation: Operation): string {
  return labels[operation];
}
