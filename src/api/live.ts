import type { PipelineOverview, RowCounts, Run } from '../workflows/messages.ts';
import type { Progress } from '../workflows/progress.ts';
import { lagSeconds } from '../workflows/sight.ts';
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
    rows: { ...run.rows, ...(stream?.total ?? stream?.rows), loaded: Math.max(rows, run.rows.loaded) },
    progress: { phase, rows, bytes, tablesDone, tablesFailed, tablesTotal },
  };
}

/** Progress of a run, or null when it can't be had just now. */
export function liveProgress(pipelines: Pipelines, pipeline: string, run: Run): Promise<Progress | null> {
  return run.state === 'running' ? pipelines.progress(pipeline, run).catch(() => null) : Promise.resolve(null);
}

type Stream = Progress['stream'];

/** How far a copy is behind its source: by its open stream, or as its last one left it. */
export function lagOf(overview: PipelineOverview, stream: Stream, now: number): PipelineOverview['lag'] {
  const applied = stream?.applied ?? overview.applied;
  const seconds = lagSeconds(
    {
      completeAt: stream?.completeAt ?? overview.completeAt ?? null,
      at: stream?.at ?? overview.streamedAt ?? null,
      writtenAt: applied?.writtenAt ? Date.parse(applied.writtenAt) : null,
      clockOffset: stream?.clockOffset ?? overview.clockOffset ?? null,
    },
    now,
  );
  return {
    seconds,
    bytes: stream?.behindBytes ?? null,
    logHoursLeft: stream?.logHoursLeft ?? hoursLeft(overview, now),
  };
}

/** The source goes on dropping its log while nobody reads it: what was left at the last look, less the time since. */
function hoursLeft({ log }: PipelineOverview, now: number): number | null {
  if (!log || log.hoursLeft === null) return null;
  return Math.max(0, Math.round((log.hoursLeft - (now - log.at) / 3_600_000) * 1000) / 1000);
}

/** The last change of the source that is applied, and its write. */
export function lastChange(overview: PipelineOverview, stream: Stream) {
  const applied = stream?.applied ?? overview.applied;
  return { lastChangeAt: applied?.changedAt ?? null, lastWrittenAt: applied?.writtenAt ?? null };
}

/** Changes by operation; null: not known. */
export function countsOf(changes: Omit<RowCounts, 'loaded'> | undefined): Omit<RowCounts, 'loaded'> | null {
  if (!changes) return null;
  const { inserted, updated, deleted, parked } = changes;
  return { inserted, updated, deleted, parked };
}
