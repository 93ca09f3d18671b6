import * as wf from '@temporalio/workflow';
import type { PipelineState } from './state.ts';

/** Writes a pipeline's events into its worker's log as they come, each once: not when a history is replayed, nor after a turn. */
export function logEvents(state: () => PipelineState): void {
  const follow = async (): Promise<void> => {
    for (let said = state().lastEvent; ; said = state().lastEvent) {
      await wf.condition(() => state().lastEvent > said);
      for (const { seq, level, group, code, message, run, table } of state().events) {
        if (seq <= said) continue;
        const about = { group, code, seq, ...(run === null ? {} : { run }), ...(table === null ? {} : { table }) };
        wf.log[level === 'warning' ? 'warn' : level](message, about);
      }
    }
  };
  // The workflow's end ends it.
  follow().catch(() => {});
}
