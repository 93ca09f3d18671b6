import * as wf from '@temporalio/workflow';
import { cleanup } from './activities.ts';
import { keptTables } from './pause.ts';
import type { PipelineState } from './state.ts';

/** Lets go of the log of paused tables whose time is over. What can't be done now, the next delta does. */
export async function letLogGo({ name, source, destination, main, ...state }: PipelineState): Promise<void> {
  if (main === null) return;
  const wanted = keptTables({ name, source, destination, main, ...state });
  try {
    await cleanup.letLogGo.executeWithOptions({ summary: 'let log of paused tables go' }, [
      { pipeline: name, main, wanted, source: source.params, destination: destination.params },
    ]);
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
  }
}
