/** Paused tables whose log is kept, so that they go on without a load (EXACTNESS.md §5, pause), as pure functions of a pipeline's state. */
import type { TableState } from '../drivers/destination.ts';
import type { TableRef } from '../drivers/model.ts';
import { nameOf } from './labels.ts';
import type { SelectedTable } from './messages.ts';
import { addEvent, newRun, type PipelineState, selectedTables } from './state.ts';

/** Of a paused table whose log is to be kept. Stored in histories: add fields, never rename. */
export type Pause = {
  readonly from: TableState;
  /** Until when its log is kept, ms; 0: not any more. */
  readonly until: number;
  /** It may have left the stream by now. */
  readonly left?: true;
  /** A run that lets it go on waits, or is under way. */
  readonly resume?: true;
};

export type Change =
  | { readonly table: Partial<SelectedTable>; readonly text: string; readonly run?: true }
  | { readonly refused: string };

const HOUR_MS = 3_600_000;

/** Hours for which the source's log is kept for a paused table. */
export function hoursKept({ source, main }: PipelineState): number {
  return main === null ? 0 : Number(source.params['pause_keeps_log'] ?? 0) || 0;
}

/** Pauses a table and has its log kept; null: its log can't be. */
export function hold(table: SelectedTable, state: PipelineState, now: number): Change | null {
  const { state: from, options, pause } = table;
  const hours = hoursKept(state);
  if (from === 'paused' && pause?.resume) {
    const { resume: _taken, ...held } = pause;
    return { table: { pause: held }, text: 'The table stays paused.' };
  }
  if (hours === 0 || (from !== 'loaded' && from !== 'consistent') || options.history === true) return null;
  const able = state.source.params['type'] === 'rds.pgres' ? ' (PostgreSQL 12 and later)' : '';
  return {
    table: { state: 'paused', pause: { from, until: now + hours * HOUR_MS } },
    text: `The table was paused: its copy stays as it is. Its log is kept for ${hours} hours${able}: resumed by then, it goes on from where it stands.`,
  };
}

/** Lets a table go on whose log was to be kept; null: it was not. */
export function goOn({ state, pause, options }: SelectedTable, now: number): Change | null {
  if (state !== 'paused' || !pause) return null;
  const { paused: _held, ...others } = options;
  if (pause.resume) return { refused: 'The table is about to go on already.' };
  if (!pause.left)
    return {
      table: { state: pause.from, options: others },
      text: 'The table goes on: it had not left the stream yet.',
    };
  if (pause.until <= now) {
    const text = 'Its log is no longer kept: the table is loaded again by the next syncnew, then followed.';
    return { table: { state: 'reload', options: others }, text };
  }
  const text = 'The table goes on from where it was paused: it follows the log from there, then joins the stream.';
  return { table: { options: others, pause: { ...pause, resume: true } }, text, run: true };
}

/** With a run that lets paused tables go on: one that waits already takes all of them. */
export function withResumption(state: PipelineState, now: number): PipelineState {
  if (state.queue.some((run) => run.resume)) return state;
  const run = { ...newRun(state, 'syncnew', now), resume: true as const };
  return { ...state, lastRun: run.id, queue: [...state.queue, run] };
}

/** The option `paused` is the same as the actions. `after`: the state with the option set and nothing else done. */
export function holdByOption(before: PipelineState, after: PipelineState, ref: TableRef, now: number): PipelineState {
  const name = nameOf(ref);
  const [was, is] = [before.tables[name], after.tables[name]];
  if (!was || !is || was.options.paused === is.options.paused) return after;
  const change = is.options.paused === true ? hold(was, before, now) : goOn(was, now);
  if (!change || 'refused' in change || (is.state !== 'paused' && is.state !== 'reload')) return after;
  // The option is as it was asked for.
  const { options: _same, ...rest } = change.table;
  const next = { ...after, tables: { ...after.tables, [name]: withChange(is, { state: was.state, ...rest }) } };
  return note(change.run ? withResumption(next, now) : next, name, 'info', change.text, now);
}

/** A table with a change; only a paused table has a pause. */
export function withChange({ pause, ...table }: SelectedTable, change: Partial<SelectedTable>): SelectedTable {
  const next = { ...table, ...change };
  return next.state === 'paused' && pause && !change.pause ? { ...next, pause } : next;
}

/** A stream begins that takes the paused tables out. */
export function markLeft(state: PipelineState): PipelineState {
  const tables = { ...state.tables };
  for (const [name, table] of Object.entries(tables))
    if (table.state === 'paused' && table.pause && !table.pause.left)
      tables[name] = { ...table, pause: { ...table.pause, left: true } };
  return { ...state, tables };
}

/** Tables whose log is kept. */
export function keptTables(state: PipelineState): TableRef[] {
  return selectedTables(state).flatMap(({ schema, name, pause }) =>
    pause && pause.until > 0 ? [{ schema, name }] : [],
  );
}

/** Tables that wait to go on. */
export function resumingTables(state: PipelineState): SelectedTable[] {
  return selectedTables(state).filter((table) => table.state === 'paused' && table.pause?.resume === true);
}

/** When the time of the first kept log is over, ms; null: none is kept. */
export function expiresAt(state: PipelineState): number | null {
  const times = Object.values(state.tables).flatMap(({ state: now, pause }) =>
    now === 'paused' && pause && pause.until > 0 && !pause.resume ? [pause.until] : [],
  );
  return times.length === 0 ? null : Math.min(...times);
}

/** Gives up the log whose time is over. */
export function expire(state: PipelineState, now: number): PipelineState {
  let next = state;
  for (const [name, table] of Object.entries(state.tables)) {
    const { pause } = table;
    if (table.state !== 'paused' || !pause || pause.resume || pause.until === 0 || pause.until > now) continue;
    next = { ...next, tables: { ...next.tables, [name]: { ...table, pause: { ...pause, until: 0 } } } };
    const message = 'The time for which the log of the paused table is kept is over: resuming loads it again.';
    next = note(next, name, 'warning', message, now);
  }
  return next;
}

function note(state: PipelineState, table: string, level: 'info' | 'warning', message: string, now: number) {
  const code = level === 'info' ? 'pause' : 'log_let_go';
  return addEvent(state, now, { level, group: 'Others', code, message, run: null, table });
}
