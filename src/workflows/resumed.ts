/** How runs that let paused tables go on begin and end, as pure functions of a pipeline's state. */
import type { ResumeChildInput, ResumeResult } from './children.ts';
import { targetOf } from './destinations.ts';
import { nameOf } from './labels.ts';
import type { Run, SelectedTable } from './messages.ts';
import { request } from './requests.ts';
import { connected, endEvent, endedRun } from './runs.ts';
import { queueBehind } from './schedule.ts';
import { addEvent, keepRun, type PipelineState } from './state.ts';

/** The tables that `begin` marked. */
function going(state: PipelineState): SelectedTable[] {
  return Object.values(state.tables).filter((table) => table.state === 'loading' && table.pause?.resume === true);
}

export function resumeInput(state: PipelineState, run: Run): ResumeChildInput {
  const { name, source, destination, main } = state;
  return {
    pipeline: name,
    run: run.id,
    source,
    destination,
    main: main ?? { scope: 0, databases: [] },
    structures: (source.params['ddl_policy'] ?? 'additive') === 'additive' ? 'alter' : 'leave',
    tables: going(state).map((table) => ({
      ref: { schema: table.schema, name: table.name },
      options: table.options,
      target: targetOf(state, table),
    })),
  };
}

/** Takes in how a resumption ended. Tables that could not go on are loaded again; one that only made room goes on behind what it made room for. */
export function endResume(
  state: PipelineState,
  run: Run,
  input: ResumeChildInput,
  result: Partial<ResumeResult> & Pick<ResumeResult, 'state' | 'error'>,
  now: number,
): PipelineState {
  const lost = new Map(result.lost?.map(({ ref, error }) => [nameOf(ref), error]));
  const behind = new Set(result.behind?.map(nameOf));
  const tables = { ...state.tables };
  for (const table of going(state)) {
    const name = nameOf(table);
    const { was: _was, pause, error: _earlier, ...rest } = table;
    const error = lost.get(name);
    if (error) tables[name] = { ...rest, state: 'reload', error };
    else if (result.state === 'succeeded')
      tables[name] = { ...rest, state: behind.has(name) ? 'loaded' : 'consistent' };
    else if (pause) {
      const { resume, ...held } = pause;
      tables[name] = { ...rest, state: 'paused', pause: result.state === 'yielded' && resume ? pause : held };
    }
  }
  const next: PipelineState = { ...state, tables, running: null, handingOver: 0 };
  if (result.state === 'yielded') return { ...next, queue: queueBehind(state.queue, { ...run, state: 'queued' }) };
  const rows = { ...run.rows, ...result.rows };
  const done = {
    ...keepRun(next, endedRun(run, result, now, rows)),
    source: connected(state, 'source', { position: null, ...result }, input),
    destination: connected(state, 'destination', { position: null, ...result }, input),
  };
  const failed = result.lost ?? [];
  const details = `${input.tables.length - failed.length} paused tables go on`;
  let told = addEvent(done, now, { ...endEvent(run, { ...result, failed }, details), run: run.id, table: null });
  for (const { ref, error } of failed.slice(0, 100)) {
    const message = `The paused table can not go on: ${error.message} It is loaded again.`.slice(0, 500);
    told = addEvent(told, now, {
      level: 'warning',
      group: 'Source',
      code: 'log_not_kept',
      message,
      run: run.id,
      table: nameOf(ref),
    });
  }
  return failed.length > 0 ? request(told, 'syncnew', now)[0] : told;
}
