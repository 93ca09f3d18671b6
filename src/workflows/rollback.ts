import * as wf from '@temporalio/workflow';
import type { PointsAnswer, PointsInput } from '../activities/rollback.ts';
import { cleanup, quick } from './activities.ts';
import type { RollbackChildInput, RollbackResult } from './children.ts';
import { runError } from './notices.ts';

/** Sets the main stream back to a point where it has been (EXACTNESS.md §10); the next delta replays from there. */
export async function rollback(input: RollbackChildInput): Promise<RollbackResult> {
  const { pipeline, run, main, to } = input;
  wf.setCurrentDetails('point' in to ? `Going back to point ${to.point}` : `Going back to ${to.position}`);
  try {
    const { position } = await cleanup.rollBack.executeWithOptions({ summary: 'set the stream back' }, [
      { pipeline, run, main, to, source: input.source.params, destination: input.destination.params },
    ]);
    return { state: 'succeeded', position, error: null };
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
    if (wf.isCancellation(error)) return { state: 'cancelled', position: null, error: null };
    return { state: 'failed', position: null, error: runError(error) };
  }
}

/** A short workflow: what a pipeline can be set back to. */
export async function rollbackPoints(input: PointsInput): Promise<PointsAnswer> {
  return quick.readPoints.executeWithOptions({ summary: 'list rollback points' }, [input]);
}
