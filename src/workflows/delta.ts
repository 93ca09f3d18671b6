import * as wf from '@temporalio/workflow';
import type { SliceAnswer } from '../activities/capture.ts';
import type { TableRef } from '../drivers/model.ts';
import { stream } from './activities.ts';
import { type DeltaInput, type DeltaResult, type FailedTable, type StreamTotals, signals } from './children.ts';
import { nameOf, streamDetails } from './labels.ts';
import { queries } from './messages.ts';
import { notice, noticed, runError, tell } from './notices.ts';
import type { Progress, Sight } from './progress.ts';
import { sightOf } from './sight.ts';

/** A continuous delta tells its pipeline how it stands at least so often. */
const SLICE_SECONDS = 300;
/** A delta to the log's end may take as long as it takes. */
const WHOLE_SECONDS = 30 * 86_400;

type State = {
  rows: DeltaResult['rows'];
  position: string | null;
  at: number | null;
  completeAt: number | null;
  sight: Sight;
  yielding: boolean;
  /** Tables that have left the stream. */
  left: readonly FailedTable[];
  keyless: readonly TableRef[];
};

/**
 * Follows the log of the main stream (EXACTNESS.md §5, §6) in slices; each one goes on from the destination's checkpoint, so nothing but totals
 * travels through this workflow. Asked to return, it writes what it has read and does. Cancelled, too: what is applied stays.
 */
export async function delta(input: DeltaInput): Promise<DeltaResult> {
  const before = input.before ?? {
    rows: { inserted: 0, updated: 0, deleted: 0, parked: 0 },
    position: null,
    at: null,
    completeAt: null,
  };
  const { rows, position, at, completeAt = null, ...sight } = before;
  const state: State = { rows, position, at, completeAt, sight, yielding: false, left: [], keyless: [] };
  let running: wf.CancellationScope | undefined;
  wf.setHandler(wf.defineQuery<Progress>(queries.progress), () => progressOf(state));
  wf.setHandler(wf.defineSignal(signals.yieldSoon), () => {
    state.yielding = true;
    running?.cancel();
  });
  show(state);
  let behind: SliceAnswer['behind'] | null = null;
  try {
    for (;;) {
      if (state.yielding) return result(state, behind, { state: 'yielded' });
      running = new wf.CancellationScope();
      const answer = await running.run(() => slice(input));
      take(input, state, answer);
      await noticed(
        input.run,
        (answer.unkept ?? []).map(({ ref, reason }) => ({
          message: `Its log is not kept while it is paused, so that resuming loads it again: ${reason}`,
          code: 'log_not_kept',
          table: nameOf(ref),
        })),
      );
      behind = [...answer.behind, ...(answer.keyless ?? [])];
      show(state);
      if (wf.CancellationScope.current().consideredCancelled) return result(state, behind, { state: 'cancelled' });
      if (!input.continuous && !state.yielding) return result(state, behind, { state: 'succeeded' });
      if (input.continuous)
        await tell(signals.noteStream, { run: input.run, ...totals(state), left: answer.left, behind });
      if (wf.workflowInfo().continueAsNewSuggested && !state.yielding) {
        await wf.condition(wf.allHandlersFinished);
        return await wf.continueAsNew<typeof delta>({ ...input, before: totals(state), leaving: [] });
      }
    }
  } catch (error) {
    if (error instanceof wf.ContinueAsNew || !(error instanceof wf.TemporalFailure)) throw error;
    if (wf.CancellationScope.current().consideredCancelled) return result(state, behind, { state: 'cancelled' });
    // The worker may have died before it could answer the request to return: the server does not try such an activity again.
    if (state.yielding && (wf.isCancellation(error) || isTimeout(error)))
      return result(state, behind, { state: 'yielded' });
    return result(state, behind, { state: 'failed', error: runError(error) });
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof wf.ActivityFailure && error.cause instanceof wf.TimeoutFailure;
}

function slice(input: DeltaInput): Promise<SliceAnswer> {
  const { pipeline, run, main, structures, look, leaving, kept, options, continuous } = input;
  return stream.captureSlice.executeWithOptions(
    { summary: continuous ? 'stream changes' : 'apply changes up to the end of the log' },
    [
      {
        pipeline,
        run,
        source: input.source.params,
        destination: input.destination.params,
        scope: main.scope,
        databases: main.databases,
        until: continuous ? 'forever' : 'written',
        seconds: continuous ? SLICE_SECONDS : WHOLE_SECONDS,
        structures,
        ...(look ? { look } : {}),
        leaving,
        ...(kept ? { kept } : {}),
        ...(options ? { options } : {}),
      },
    ],
  );
}

function take(input: DeltaInput, state: State, answer: SliceAnswer): void {
  const { rows } = answer;
  state.rows = {
    inserted: state.rows.inserted + rows.inserted,
    updated: state.rows.updated + rows.updated,
    deleted: state.rows.deleted + rows.deleted,
    parked: state.rows.parked + rows.parked,
  };
  state.position = answer.position;
  state.at = answer.at ?? state.at;
  state.completeAt = answer.completeAt ?? state.completeAt;
  state.sight = sightOf(answer);
  state.left = answer.left;
  state.keyless = answer.keyless ?? [];
  notice(input.run, [
    ...answer.altered.map(({ ref, change }) => ({
      message: `The table's structure was changed as at the source: ${change}`,
      code: 'structure_changed',
      table: nameOf(ref),
    })),
  ]);
}

function totals({ rows, position, at, completeAt, sight: { tables: _named, ...sight } }: State): StreamTotals {
  return { ...sight, rows, position, at, completeAt };
}

function result(
  state: State,
  behind: DeltaResult['behind'],
  end: Partial<DeltaResult> & Pick<DeltaResult, 'state'>,
): DeltaResult {
  return { ...totals(state), left: state.left, behind, keyless: state.keyless, error: null, ...end };
}

function progressOf(state: State): Progress {
  return {
    phase: 'streaming',
    rows: 0,
    bytes: 0,
    tablesDone: 0,
    tablesFailed: state.left.length,
    tablesTotal: 0,
    tables: [],
    stream: totals(state),
  };
}

function show(state: State): void {
  wf.setCurrentDetails(streamDetails(totals(state), state.sight.tables));
}
