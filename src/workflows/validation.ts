/** How a validation begins and ends, and what it asks of the main stream, as pure functions of a pipeline's state. */
import type { KeepUp, ValidateChildInput, ValidateResult } from './children.ts';
import { targetOf } from './destinations.ts';
import { nameOf } from './labels.ts';
import type { CheckTotals, Run } from './messages.ts';
import { request } from './requests.ts';
import { endEvent, endedRun } from './runs.ts';
import { laneOf, queueBehind, streamRun } from './schedule.ts';
import { addEvent, keepRun, newRun, type PipelineState, selectedTables } from './state.ts';

export function validateInput(state: PipelineState, run: Run): ValidateChildInput {
  const { name, source, destination, main } = state;
  const wanted = run.validate?.tables ?? null;
  const tables = selectedTables(state).filter((table) => wanted === null || wanted.includes(nameOf(table)));
  return {
    pipeline: name,
    run: run.id,
    source,
    destination,
    main: main ?? { scope: 0, databases: [] },
    tables: tables.map((table) => ({
      ref: { schema: table.schema, name: table.name },
      options: table.options,
      target: targetOf(state, table),
    })),
    repair: run.validate?.repair ?? false,
  };
}

const NOTHING: CheckTotals = {
  tables: 0,
  checked: 0,
  different: 0,
  repaired: 0,
  unsettled: 0,
  skipped: 0,
  failed: 0,
};

/** Takes in how a validation ended. One that only made room goes on behind what it made room for. */
export function endValidate(
  state: PipelineState,
  run: Run,
  result: Partial<ValidateResult> & Pick<ValidateResult, 'state' | 'error'>,
  now: number,
): PipelineState {
  if (result.state === 'yielded') {
    const again: Run = { ...run, state: 'queued' };
    return { ...state, running: null, queue: queueBehind(state.queue, again) };
  }
  const check = result.totals ?? NOTHING;
  const ended: Run = { ...endedRun(run, result, now, run.rows), check };
  const next: PipelineState = { ...keepRun(state, ended), running: null };
  const details =
    `${check.tables} tables, ${check.checked} rows compared, ${check.different} different` +
    (check.repaired > 0 ? ` and read again from the source` : '') +
    (check.unsettled > 0 ? `, ${check.unsettled} unsettled` : '') +
    (check.skipped > 0 ? `, ${check.skipped} tables left out` : '') +
    (check.failed > 0 ? `, ${check.failed} tables failed` : '');
  const event = endEvent(run, { ...result, failed: [] }, details);
  const alarming = result.state === 'succeeded' && check.different + check.failed > 0;
  return addEvent(next, now, { ...event, ...(alarming ? { level: 'warning' } : {}), run: run.id, table: null });
}

/** A validation waits for the main stream: where none goes on or is about to, a delta is requested. */
export function keepUp(state: PipelineState, { run, again }: KeepUp, now: number): PipelineState {
  if (state.running?.id !== run || state.queue.some(({ operation }) => laneOf(operation) !== 'load')) return state;
  if (!again) return streamRun(state) ? state : request(state, 'delta', now)[0];
  // Behind one that runs, which therefore returns: only a new attempt reads the rows that wait for it.
  const next = newRun(state, 'delta', now);
  return { ...state, lastRun: next.id, queue: [...state.queue, next] };
}

/** What the validation that runs must be told: to make room for an operation that takes both lanes, or that its wait is in vain. */
export function toldToValidate({
  running,
  queue,
  runs,
  main,
  positionLost,
}: PipelineState): 'yieldSoon' | 'mainLost' | null {
  if (running?.operation !== 'validate') return null;
  const delta = runs.findLast(({ operation, id }) => laneOf(operation) === 'stream' && id > running.id);
  if (main === null || positionLost || delta?.state === 'failed') return 'mainLost';
  return queue.some(({ operation }) => laneOf(operation) === 'both') ? 'yieldSoon' : null;
}
