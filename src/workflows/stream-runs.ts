/** How runs of the stream end, as pure functions of a pipeline's state. */

import { captureOf } from '../codes.ts';
import type { TableRef } from '../drivers/model.ts';
import type { DeltaInput, DeltaResult, NoteStream } from './children.ts';
import { nameOf } from './labels.ts';
import type { Run } from './messages.ts';
import type { Sight } from './progress.ts';
import { request } from './requests.ts';
import { connected, deltaInput, endEvent, endedRun } from './runs.ts';
import { queueBehind, tickAfter } from './schedule.ts';
import { lasting } from './sight.ts';
import { addEvent, keepRun, type PipelineState } from './state.ts';

/** Tables that the log names when many are lost at once. */
const MOST_EVENTS = 100;

/** Takes in how a stream ended. One that only made room, in the middle of its way, goes on behind that. */
export function endStream(
  state: PipelineState,
  run: Run,
  input: DeltaInput,
  result: DeltaResult,
  now: number,
): PipelineState {
  // A stream that goes on tells its totals; one that goes on after it made room begins to count anew.
  const applied = { ...result.rows, loaded: 0 };
  const rows = totalRows(result) ?? (input.continuous ? applied : sum(run.rows, applied));
  if (result.state === 'yielded' && !input.continuous) {
    const again: Run = { ...run, state: 'queued', rows };
    return { ...takeIn(state, result), streaming: null, queue: queueBehind(state.queue, again) };
  }
  const ended = endedRun(run, { ...result, state: result.state === 'yielded' ? 'succeeded' : result.state }, now, rows);
  const failed = result.state === 'failed';
  const failures = failed ? state.failures + 1 : 0;
  let next: PipelineState = {
    ...takeIn(state, result),
    ...pick(keepRun(state, ended)),
    streaming: null,
    failures,
    positionLost: state.positionLost || result.error?.class === 'PositionLost',
    source: connected(state, 'source', result, input),
    destination: connected(state, 'destination', result, input),
  };
  if (failed || run.scheduled) next = { ...next, nextDue: tickAfter(next, now) };
  const { inserted, updated, deleted } = ended.rows;
  const unseen = captureOf(input.source.params) === 'timestamp' ? ' (a cursor sees none: `validate` finds them)' : '';
  const details = `${inserted} inserts, ${updated} updates, ${deleted} deletes${unseen}`;
  next = addEvent(next, now, {
    ...endEvent(ended, { ...result, failed: result.left }, details),
    run: run.id,
    table: null,
  });
  if (result.state === 'succeeded' && !input.continuous) next = reloadKeyless(next, result.keyless ?? [], now);
  return reloadLost(state, next, run, now);
}

/** What the destination has counted, attempts that died included. */
function totalRows({ total }: Sight): Run['rows'] | undefined {
  return total && { ...total, loaded: 0 };
}

function pick({ runs }: PipelineState): Pick<PipelineState, 'runs'> {
  return { runs };
}

/** Takes in what a continuous stream tells while it goes on. */
export function noteStream(state: PipelineState, note: NoteStream, now: number): PipelineState {
  const run = state.streaming;
  if (run?.id !== note.run) return state;
  const next = takeIn(state, note);
  const going = { ...next, streaming: { ...run, rows: totalRows(note) ?? { ...note.rows, loaded: 0 } }, failures: 0 };
  return reloadLost(state, going, run, now);
}

/** Position and table states as a stream has left them. */
function takeIn(
  state: PipelineState,
  {
    position,
    at,
    completeAt,
    left,
    behind,
    ...told
  }: Pick<DeltaResult, 'position' | 'at' | 'completeAt' | 'left' | 'behind'> & Sight,
): PipelineState {
  const lost = new Map(left.map((table) => [nameOf(table.ref), table.error]));
  const ahead = new Set(behind?.map(nameOf));
  const tables = { ...state.tables };
  for (const [name, table] of Object.entries(state.tables)) {
    // Others are being loaded, or wait for it: the destination tells of tables that it has lost again and again.
    if (table.state !== 'loaded' && table.state !== 'consistent') continue;
    const error = lost.get(name);
    if (error) tables[name] = { ...table, state: 'reload', error };
    else if (behind !== null) tables[name] = { ...table, state: ahead.has(name) ? 'loaded' : 'consistent' };
  }
  return {
    ...state,
    tables,
    position: position ?? state.position,
    streamedAt: at ?? state.streamedAt,
    completeAt: completeAt ?? state.completeAt,
    sight: { ...state.sight, ...lasting(told) },
  };
}

/** A table whose structure changed beyond what can be altered is loaded again at once, unless structures are the user's own business. */
function reloadLost(before: PipelineState, after: PipelineState, run: Run, now: number): PipelineState {
  let next = after;
  let lost = 0;
  let reloads = 0;
  for (const [name, table] of Object.entries(after.tables)) {
    const was = before.tables[name]?.state;
    if (table.state !== 'reload' || !table.error || (was !== 'loaded' && was !== 'consistent')) continue;
    // What can't be followed would be lost again at once.
    if (table.error.class !== 'UnsupportedValue') reloads++;
    if (++lost > MOST_EVENTS) continue;
    const message = `${table.error.message} ${table.error.action}`.slice(0, 500);
    next = addEvent(next, now, {
      level: 'error',
      group: 'Errors',
      code: table.error.class,
      message,
      run: run.id,
      table: name,
    });
  }
  if (reloads === 0 || deltaInput(before, run).structures !== 'alter') return next;
  return loadAgain(next, now);
}

/** `keyless_delta` = reload: what a delta can't follow is loaded again behind it. */
function reloadKeyless(state: PipelineState, keyless: readonly TableRef[], now: number): PipelineState {
  if (state.source.params['keyless_delta'] !== 'reload') return state;
  const tables = { ...state.tables };
  let found = false;
  for (const name of keyless.map(nameOf)) {
    const table = tables[name];
    if (table?.state !== 'loaded') continue;
    tables[name] = { ...table, state: 'reload' };
    found = true;
  }
  return found ? loadAgain({ ...state, tables }, now) : state;
}

/** Loads tables in state `reload` as soon as that can be: behind a load that is running, for it has taken its tables already. */
function loadAgain(state: PipelineState, now: number): PipelineState {
  const [next, answer] = request(state, 'syncnew', now);
  return !answer.accepted && answer.code === 'already_running' ? { ...next, loadAgain: true } : next;
}

function sum(a: Run['rows'], b: Run['rows']): Run['rows'] {
  return {
    loaded: a.loaded + b.loaded,
    inserted: a.inserted + b.inserted,
    updated: a.updated + b.updated,
    deleted: a.deleted + b.deleted,
    parked: a.parked + b.parked,
  };
}
