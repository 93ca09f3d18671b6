import type { PipelineOverview, Run } from '../workflows/messages.ts';
import type { Progress } from '../workflows/progress.ts';
import type { Pipelines } from './pipelines.ts';

type LiveProgress = Pick<Progress, 'phase' | 'rows' | 'bytes' | 'tablesDone' | 'tablesFailed' | 'tablesTotal'>;
export type LiveRun = Run & { readonly progress?: LiveProgress | null };

/** A run with the numbers of this moment, if it is open. A child that doesn't answer leaves the run as the pipeline knows it. */
export async function liveRun(pipelines: Pipelines, pipeline: string, run: Run): Promise<LiveRun> {
  if (run.state !== 'running') return run;
  return withProgress(run, await liveProgress(pipelines, pipeline, run));
}

/** A run with what its workflow tells of it. */
export function withProgress(run: Run, progress: Progress | null): LiveRun {
  if (progress === null) return { ...run, progress: null };
  const { phase, rows, bytes, tablesDone, tablesFailed, tablesTotal, stream } = progress;
  return {
    ...run,
    rows: { ...run.rows, ...stream?.rows, loaded: Math.max(rows, run.rows.loaded) },
    progress: { phase, rows, bytes, tablesDone, tablesFailed, tablesTotal },
  };
}

/** Progress of a run, or null when it can't be had just now. */
export function liveProgress(pipelines: Pipelines, pipeline: string, run: Run): Promise<Progress | null> {
  return run.state === 'running' ? pipelines.progress(pipeline, run).catch(() => null) : Promise.resolve(null);
}

/** How far a copy is behind its source: by its open stream, or as its last one left it. */
export function lagOf(overview: PipelineOverview, stream: Progress['stream'], now: number): PipelineOverview['lag'] {
  const complete = stream?.completeAt ?? overview.completeAt ?? stream?.at ?? overview.streamedAt ?? null;
  return {
    seconds: complete === null ? null : Math.max(0, Math.round((now - complete) / 100) / 10),
    bytes: stream?.behindBytes ?? null,
    logHoursLeft: stream?.logHoursLeft ?? null,
  };
}
