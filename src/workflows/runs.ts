/** How runs begin and end, as pure functions of a pipeline's state. */
import type { DeltaInput, FullInput, FullResult, NoteEvents } from './children.ts';
import { leavingTables, targetOf } from './destinations.ts';
import { label, nameOf } from './labels.ts';
import type { Run, SelectedTable, Side } from './messages.ts';
import { keptTables, markLeft, resumingTables } from './pause.ts';
import { request } from './requests.ts';
import { isContinuous, laneOf, tickAfter } from './schedule.ts';
import { lasting } from './sight.ts';
import { addEvent, keepRun, type PipelineState, selectedTables } from './state.ts';

/** Takes a run from the queue, or one that the scheduler wants, into its lane. */
export function begin(state: PipelineState, run: Run, now: number): PipelineState {
  const started: Run = { ...run, state: 'running', startedAt: run.startedAt ?? new Date(now).toISOString() };
  const next = {
    ...state,
    lastRun: Math.max(state.lastRun, run.id),
    queue: state.queue.filter((other) => other.id !== run.id),
  };
  if (laneOf(run.operation) === 'stream')
    return { ...markLeft(next), streaming: started, ...(run.scheduled ? { nextDue: tickAfter(state, now) } : {}) };
  const tables = { ...state.tables };
  for (const table of run.resume ? resumingTables(state) : toLoad(state, run))
    tables[nameOf(table)] = { ...table, state: 'loading', was: table.state };
  return { ...next, running: started, tables };
}

function toLoad(state: PipelineState, run: Run): SelectedTable[] {
  if (run.operation === 'rollback' || run.operation === 'validate') return [];
  const selected = selectedTables(state);
  if (run.operation === 'full') return selected;
  return selected.filter(
    ({ state: now, options }) =>
      now === 'new' || now === 'reload' || (options.redoInitial === true && now !== 'paused' && now !== 'skipped'),
  );
}

/** The tables that `begin` marked: a selection made since waits for the next run. */
export function fullInput(state: PipelineState, run: Run): FullInput {
  return {
    pipeline: state.name,
    run: run.id,
    source: state.source,
    destination: state.destination,
    tables: Object.values(state.tables)
      .filter((table) => table.state === 'loading')
      .map((table) => ({
        ref: { schema: table.schema, name: table.name },
        options: table.options,
        target: targetOf(state, table),
      })),
    ...(run.operation === 'syncnew' && state.main ? { side: state.main } : {}),
  };
}

/** What a child that ended without a result has done. */
export const NO_LOAD = { rows: 0, bytes: 0, position: null, scope: 0, loaded: 0, failed: [], findings: [] } as const;
export const NO_STREAM = {
  rows: { inserted: 0, updated: 0, deleted: 0, parked: 0 },
  position: null,
  at: null,
  left: [],
  behind: null,
} as const;

export function deltaInput(state: PipelineState, run: Run): DeltaInput {
  const policy = state.source.params['ddl_policy'] ?? 'additive';
  return {
    pipeline: state.name,
    run: run.id,
    source: state.source,
    destination: state.destination,
    main: state.main ?? { scope: 0, databases: [] },
    continuous: isContinuous(state, run),
    structures: run.operation === 'syncstruct' || policy === 'additive' ? 'alter' : 'leave',
    ...(run.operation === 'syncstruct' ? { look: true as const } : {}),
    leaving: leavingTables(state),
    kept: keptTables(state),
    options: selectedTables(state)
      .filter(({ options }) => Object.keys(options).length > 0)
      .map(({ schema, name, options }) => ({ ref: { schema, name }, options })),
  };
}

/** A table whose structure changes during each load is loaded again by itself so often; then it waits for a user. */
const MOST_CHANGED = 5;

/**
 * Takes in how a load ended: a full extract or a side stream. `mayLoadAgain`: whether tables whose structure changed meanwhile are loaded again at
 * once; asked only if there are any.
 */
export function end(
  state: PipelineState,
  run: Run,
  input: FullInput,
  result: FullResult,
  now: number,
  mayLoadAgain: () => boolean = () => true,
): PipelineState {
  const ended = endedRun(run, result, now, {
    ...run.rows,
    ...result.sight?.total,
    loaded: result.rows,
  });
  const succeeded = result.state === 'succeeded';
  const errors = new Map(result.failed.map((table) => [nameOf(table.ref), table.error]));
  const behind = new Set(result.behind?.map(nameOf));
  const tables = { ...state.tables };
  let unsettled = false;
  for (const { ref } of input.tables) {
    const name = nameOf(ref);
    const table = tables[name];
    // A user may have deselected, skipped or reset it meanwhile.
    if (table?.state !== 'loading') continue;
    const { was, error: earlier, pause, changed = 0, ...rest } = table;
    const error = errors.get(name);
    if (error?.class === 'StructureChanged') {
      tables[name] = { ...rest, state: 'reload', error, changed: changed + 1 };
      if (changed < MOST_CHANGED) unsettled = true;
    } else if (error) tables[name] = { ...rest, state: 'reload', error };
    else if (succeeded) tables[name] = { ...loaded(rest), state: stateOf(rest, result, behind) };
    // The run was taken back: what was there before is there still.
    else
      tables[name] = {
        ...rest,
        state: was ?? 'new',
        ...(earlier ? { error: earlier } : {}),
        ...(pause ? { pause } : {}),
        ...(changed > 0 ? { changed } : {}),
      };
  }
  const next: PipelineState = {
    ...keepRun(state, ended),
    running: null,
    resume: null,
    handingOver: 0,
    tables,
    ...(succeeded ? followed(state, run, result, now) : {}),
    source: connected(state, 'source', result, input),
    destination: connected(state, 'destination', result, input),
  };
  const details = `${result.loaded} tables, ${result.rows} records`;
  const told = addEvent(next, now, { ...endEvent(run, result, details), run: run.id, table: null });
  const again = unsettled && told.main !== null && deltaInput(told, run).structures === 'alter' && mayLoadAgain();
  return again || state.loadAgain === true ? request({ ...told, loadAgain: false }, 'syncnew', now)[0] : told;
}

/** A loaded table that its option pauses leaves the stream at once, and must be loaded again when it is resumed. */
function stateOf({ options, ...ref }: SelectedTable, result: FullResult, behind: ReadonlySet<string>) {
  if (options.paused === true) return 'paused';
  return result.follows && !behind.has(nameOf(ref)) ? 'consistent' : 'loaded';
}

/** `redoInitial` asks for one load. */
function loaded({ options: { redoInitial: _done, ...options }, ...table }: SelectedTable): SelectedTable {
  return { ...table, options };
}

function followed(state: PipelineState, run: Run, result: FullResult, now: number): Partial<PipelineState> {
  const databases = result.databases ?? [];
  if (run.operation !== 'full') return state.main ? { main: { ...state.main, databases } } : {};
  return {
    everFull: true,
    positionLost: false,
    failures: 0,
    position: result.position,
    streamedAt: result.at ?? null,
    completeAt: result.completeAt ?? null,
    sight: { ...state.sight, log: null, ...lasting(result.sight ?? {}) },
    main: result.follows ? { scope: result.scope, databases } : null,
    nextDue: tickAfter({ ...state, failures: 0 }, now),
  };
}

type Ended = Pick<FullResult, 'error' | 'failed'> & { readonly state: FullResult['state'] };

export function endedRun(run: Run, result: Pick<Ended, 'state' | 'error'>, now: number, rows: Run['rows']): Run {
  return {
    ...run,
    state: result.state === 'yielded' ? 'running' : result.state,
    endedAt: new Date(now).toISOString(),
    rows,
    error: result.error,
  };
}

export function endEvent(run: Run, result: Ended, details: string) {
  const what = label(run.operation);
  if (result.state === 'succeeded' || result.state === 'yielded') {
    const failed = result.failed.length > 0 ? `, ${result.failed.length} failed and must be loaded again` : '';
    const message = `${what} complete: ${details}${failed}.`;
    return { level: failed ? 'warning' : 'info', group: 'Others', code: 'run_ended', message } as const;
  }
  if (result.state === 'cancelled') {
    const kept = laneOf(run.operation) === 'stream' ? 'what was applied stays' : 'nothing was changed';
    const message = `${what} was cancelled; ${kept}.`;
    return { level: 'warning', group: 'Others', code: 'run_cancelled', message } as const;
  }
  const message = `${what} failed: ${result.error?.message ?? ''} ${result.error?.action ?? ''}`.trim().slice(0, 1000);
  return { level: 'error', group: 'Errors', code: result.error?.class ?? 'run_failed', message } as const;
}

/** A run is an attempt to connect (API.md): it tells of the parameters that it was started with. */
export function connected(
  state: PipelineState,
  side: Side,
  result: Pick<FullResult, 'position' | 'error'>,
  input: Pick<FullInput, Side>,
) {
  const saved = state[side];
  if (saved.fingerprint !== input[side].fingerprint) return saved;
  if (result.position !== null) return { ...saved, connected: true };
  return result.error?.class === 'AccessDenied' && result.error.side === side ? { ...saved, connected: false } : saved;
}

export function noteEvents(state: PipelineState, { run, events }: NoteEvents, now: number): PipelineState {
  return events.reduce((next, event) => addEvent(next, now, { ...event, run }), state);
}
