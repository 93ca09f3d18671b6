import type { Run } from '../workflows/messages.ts';
import type { Progress } from '../workflows/progress.ts';
import type { Pipelines } from './pipelines.ts';

type LiveProgress = Pick<Progress, 'phase' | 'rows' | 'bytes' | 'tablesDone' | 'tablesFailed' | 'tablesTotal'>;
export type LiveRun = Run & { readonly progress?: LiveProgress | null };

/** A run with the numbers of this moment, if it is open. A child that doesn't answer leaves the run as the pipeline knows it. */
export async function liveRun(pipelines: Pipelines, pipeline: string, run: Run): Promise<LiveRun> {
  if (run.state !== 'running') return run;
  const progress = await liveProgress(pipelines, pipeline, run);
  if (progress === null) return { ...run, progress: null };
  const { phase, rows, bytes, tablesDone, tablesFailed, tablesTotal } = progress;
  return {
    ...run,
    rows: { ...run.rows, loaded: Math.max(rows, run.rows.loaded) },
    progress: { phase, rows, bytes, tablesDone, tablesFailed, tablesTotal },
  };
}

/** Progress of a run, or null when it can't be had just now. */
export function liveProgress(pipelines: Pipelines, pipeline: string, run: Run): Promise<Progress | null> {
  return run.state === 'running' ? pipelines.progress(pipeline, run).catch(() => null) : Promise.resolve(null);
}
