/** How a rollback begins and ends, as pure functions of a pipeline's state. */
import type { RollbackChildInput, RollbackResult } from './children.ts';
import type { Run } from './messages.ts';
import { endEvent, endedRun } from './runs.ts';
import { addEvent, keepRun, type PipelineState } from './state.ts';

export function rollbackInput(state: PipelineState, run: Run): RollbackChildInput {
  const { name, source, destination, main } = state;
  return {
    pipeline: name,
    run: run.id,
    source,
    destination,
    main: main ?? { scope: 0, databases: [] },
    to: run.to ?? { point: 0 },
  };
}

/** After a rollback every table is ahead of the stream until a delta has replayed it. */
export function endRollback(state: PipelineState, run: Run, result: RollbackResult, now: number): PipelineState {
  const back = result.state === 'succeeded';
  const tables = Object.fromEntries(
    Object.entries(state.tables).map(([name, table]) => [
      name,
      table.state === 'consistent' ? { ...table, state: 'loaded' as const } : table,
    ]),
  );
  const next = {
    ...keepRun(state, endedRun(run, result, now, run.rows)),
    running: null,
    ...(back ? { tables, position: result.position, positionLost: false, streamedAt: null, completeAt: null } : {}),
  };
  const details = `the stream stands at ${result.position}, and the next delta replays from there`;
  return addEvent(next, now, { ...endEvent(run, { ...result, failed: [] }, details), run: run.id, table: null });
}
