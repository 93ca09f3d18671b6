/**
 * Configuration of a pipeline as an immutable value, and the pure functions that handlers apply to it. Stored in histories by
 * continue-as-new: add fields with a default in `revive`, never rename.
 */
import type { TableOptions } from '../drivers/model.ts';
import { nextDue } from './calendar.ts';
import type { FullResume, MainStream } from './children.ts';
import { nameOf } from './labels.ts';
import type {
  Connection,
  NoteConnection,
  Operation,
  PipelineEvent,
  Run,
  Schedule,
  SelectedTable,
  SetConnection,
  SetSchedule,
  SetScheduler,
  SetTable,
} from './messages.ts';
import type { Sight } from './progress.ts';

export type PipelineState = {
  readonly version: 1;
  readonly name: string;
  readonly zone: string;
  readonly source: Connection;
  readonly destination: Connection;
  readonly licence: string;
  readonly schedule: Schedule;
  readonly scheduler: { readonly on: boolean; readonly reason: string };
  /** By `schema.name`. */
  readonly tables: Readonly<Record<string, SelectedTable>>;
  readonly queue: readonly Run[];
  readonly running: Run | null;
  /** Set while a run is interrupted for continue-as-new. */
  readonly resume: FullResume | null;
  /** Run that was cancelled while no child of it was open. */
  readonly cancelling: number;
  readonly lastRun: number;
  readonly runs: readonly Run[];
  readonly events: readonly PipelineEvent[];
  readonly lastEvent: number;
  /** Answers by idempotency key, oldest first. */
  readonly answers: readonly (readonly [key: string, answer: unknown])[];
  readonly everFull: boolean;
  readonly position: string | null;
  readonly removed: boolean;
  /** The run in the stream lane; `running` is the one in the load lane, or in both (full, rollback). */
  readonly streaming: Run | null;
  /** The scope that deltas follow; null: none, or the source captures no changes. */
  readonly main: MainStream | null;
  /** Run of a side stream that waits for the main stream to stop, or takes its tables over. */
  readonly handingOver: number;
  /** The source's log no longer reaches back to the main stream's position: only a full extract helps. */
  readonly positionLost: boolean;
  /** When the scheduler starts the next delta, ms; null: not by time. */
  readonly nextDue: number | null;
  /** Scheduled deltas that failed in a row. */
  readonly failures: number;
  /** Tables wait to be loaded again until the load that is running has ended; absent: none do. */
  readonly loadAgain?: boolean;
  /** Commit time at the source of the last applied change, ms. */
  readonly streamedAt: number | null;
  /** The moment up to which the copy is known to hold everything, ms. */
  readonly completeAt: number | null;
  /** What the stream has told of itself besides; {}: nothing yet. */
  readonly sight: Omit<Sight, 'total' | 'tables'>;
};

const KEPT_RUNS = 50;
const KEPT_EVENTS = 500;
const KEPT_ANSWERS = 256;
/** Selected tables travel in workflow payloads; far below the server's 2 MB, enough for 5,000 tables with options on some. */
export const MAX_SELECTION_BYTES = 900_000;

const unset: Connection = { params: {}, fingerprint: '', connected: false, revision: 0 };

export function newState(name: string, zone: string): PipelineState {
  return {
    version: 1,
    name,
    zone,
    source: unset,
    destination: unset,
    licence: '',
    schedule: { type: 'manual', duration: null, offset: '0d00h00m', weekFlags: null },
    scheduler: { on: false, reason: 'Never switched on' },
    tables: {},
    queue: [],
    running: null,
    resume: null,
    cancelling: 0,
    lastRun: 0,
    runs: [],
    events: [],
    lastEvent: 0,
    answers: [],
    everFull: false,
    position: null,
    removed: false,
    streaming: null,
    main: null,
    handingOver: 0,
    positionLost: false,
    nextDue: null,
    failures: 0,
    streamedAt: null,
    completeAt: null,
    sight: {},
  };
}

/** A state that an earlier version may have stored, with what it lacks. */
export function revive(stored: unknown, name: string, zone: string): PipelineState {
  return { ...newState(name, zone), ...(stored as PipelineState) };
}

export function addEvent(state: PipelineState, now: number, event: Omit<PipelineEvent, 'seq' | 'at'>): PipelineState {
  const seq = state.lastEvent + 1;
  const next: PipelineEvent = { seq, at: new Date(now).toISOString(), ...event };
  return { ...state, lastEvent: seq, events: [...state.events.slice(1 - KEPT_EVENTS), next] };
}

function note(
  state: PipelineState,
  now: number,
  code: string,
  message: string,
  more: Partial<PipelineEvent> = {},
): PipelineState {
  return addEvent(state, now, { level: 'info', group: 'Others', code, message, run: null, table: null, ...more });
}

export function rememberAnswer(state: PipelineState, key: string | undefined, answer: unknown): PipelineState {
  if (key === undefined) return state;
  return { ...state, answers: [...state.answers.slice(1 - KEPT_ANSWERS), [key, answer] as const] };
}

export function answerFor(state: PipelineState, key: string | undefined): { readonly answer: unknown } | undefined {
  const found = key === undefined ? undefined : state.answers.find(([known]) => known === key);
  return found && { answer: found[1] };
}

export function setConnection(
  state: PipelineState,
  { side, params, fingerprint, unknown }: SetConnection,
  now: number,
): PipelineState {
  const before = state[side];
  const connected = before.connected && before.fingerprint === fingerprint;
  const saved: Connection = { params, fingerprint, connected, revision: before.revision + 1 };
  const group = side === 'source' ? 'Source' : 'Destination';
  let next: PipelineState = { ...state, [side]: saved };
  // What made scheduled deltas fail may be mended.
  if (state.failures > 0) next = { ...next, failures: 0, nextDue: nextDue(state.schedule, state.zone, now) };
  next = note(next, now, 'connection_saved', `The ${side} connection was saved.`, { group });
  if (unknown.length > 0) {
    next = note(
      next,
      now,
      'unknown_parameter',
      `Stored, but not known to this version: ${unknown.join(', ').slice(0, 300)}.`,
      { group, level: 'warning' },
    );
  }
  return next;
}

export function noteConnection(state: PipelineState, { side, fingerprint, connected }: NoteConnection): PipelineState {
  const before = state[side];
  if (before.fingerprint !== fingerprint || before.connected === connected) return state;
  return { ...state, [side]: { ...before, connected } };
}

export function setSchedule(state: PipelineState, { schedule, isScheduled }: SetSchedule, now: number): PipelineState {
  const on = isScheduled ?? schedule.type !== 'manual';
  const next = { ...state, schedule, nextDue: nextDue(schedule, state.zone, now), failures: 0 };
  const changed = note(next, now, 'schedule_saved', `The schedule was set to ${schedule.type}.`);
  return on === state.scheduler.on
    ? changed
    : setScheduler(changed, { on, reason: `Schedule set to ${schedule.type}` }, now);
}

export function setScheduler(state: PipelineState, { on, reason }: SetScheduler, now: number): PipelineState {
  const why = reason ?? `Manual ${on ? 'on' : 'off'}`;
  return note(
    { ...state, scheduler: { on, reason: why }, nextDue: nextDue(state.schedule, state.zone, now), failures: 0 },
    now,
    'scheduler',
    `Scheduler ${on ? 'on' : 'off'}: ${why}`.slice(0, 300),
  );
}

export function setTable(
  state: PipelineState,
  { table, select, options, unknown }: SetTable,
  now: number,
): PipelineState {
  const name = nameOf(table);
  const before = state.tables[name];
  const selected = select ?? before?.selected ?? false;
  const merged = { ...before?.options, ...options };
  const kept = Object.fromEntries(
    Object.entries(merged).filter(([, value]) => value !== null && value !== undefined),
  ) as TableOptions;
  const strange = { ...before?.unknown, ...unknown };
  const keptUnknown = Object.fromEntries(Object.entries(strange).filter(([, value]) => value !== null)) as Record<
    string,
    string
  >;
  // Selecting again makes a table new: its copy was not followed meanwhile (API.md).
  const again = selected && before?.selected === false;
  const next: SelectedTable = {
    schema: table.schema,
    name: table.name,
    database: table.database,
    selected,
    state: before && !again ? pausedOr(before, kept) : 'new',
    options: kept,
    ...(Object.keys(keptUnknown).length > 0 ? { unknown: keptUnknown } : {}),
    ...(before?.error && !again ? { error: before.error } : {}),
    ...(before?.pause && before.state === 'paused' && selected ? { pause: before.pause } : {}),
  };
  const tables = { ...state.tables };
  // A table that was never selected and has no options left is nothing to remember.
  if (!selected && Object.keys(kept).length === 0 && Object.keys(keptUnknown).length === 0 && next.state === 'new')
    delete tables[name];
  else tables[name] = next;
  let changed: PipelineState = { ...state, tables };
  if (select !== undefined && select !== before?.selected) {
    changed = note(
      changed,
      now,
      select ? 'selected' : 'deselected',
      select ? 'The table was selected.' : 'The table was deselected; its copy stays.',
      { table: name },
    );
  }
  const fresh = Object.keys(unknown ?? {});
  if (fresh.length > 0) {
    changed = note(
      changed,
      now,
      'unknown_option',
      `Stored, but not known to this version: ${fresh.join(', ').slice(0, 300)}.`,
      { level: 'warning', table: name },
    );
  }
  return changed;
}

/** The option `paused` is the same as the action: a table that it lets go must be loaded again. */
function pausedOr({ state, options }: SelectedTable, { paused }: TableOptions): SelectedTable['state'] {
  if (paused === true && options.paused !== true && state !== 'loading' && state !== 'new') return 'paused';
  return paused !== true && options.paused === true && state === 'paused' ? 'reload' : state;
}

export function selectionBytes(tables: Readonly<Record<string, SelectedTable>>): number {
  return JSON.stringify(tables).length;
}

export function selectedTables(state: PipelineState): SelectedTable[] {
  return Object.values(state.tables).filter((table) => table.selected);
}

export function newRun(state: PipelineState, operation: Operation, now: number): Run {
  return {
    id: state.lastRun + 1,
    operation,
    state: 'queued',
    requestedAt: new Date(now).toISOString(),
    startedAt: null,
    endedAt: null,
    rows: { loaded: 0, inserted: 0, updated: 0, deleted: 0, parked: 0 },
    error: null,
  };
}

export function keepRun(state: PipelineState, run: Run): PipelineState {
  return { ...state, runs: [...state.runs, run].slice(-KEPT_RUNS) };
}
