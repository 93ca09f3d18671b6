import * as wf from '@temporalio/workflow';
import type { SliceAnswer } from '../activities/capture.ts';
import type { ResumeAnswer } from '../activities/resumption.ts';
import type { TableError } from '../drivers/model.ts';
import { bulk, cleanup, stream } from './activities.ts';
import { type FailedTable, type ResumeChildInput, type ResumeResult, signals } from './children.ts';
import { nameOf, streamDetails } from './labels.ts';
import { ends } from './load.ts';
import { queries } from './messages.ts';
import { notice, runError, tell } from './notices.ts';
import type { Progress } from './progress.ts';

/** Longer than any log takes to be read. */
const CATCH_UP_SECONDS = 30 * 86_400;

type State = Pick<ResumeResult, 'rows' | 'behind' | 'position'> & {
  at: number | null;
  lost: readonly FailedTable[];
  yielding: boolean;
  stopped: boolean;
};

/**
 * Lets paused tables go on without a load (EXACTNESS.md §5, pause): a scope of their own follows the log from where they stand, beside the main stream,
 * and gives them back to it at a boundary.
 */
export async function resume(input: ResumeChildInput): Promise<ResumeResult> {
  const state: State = {
    rows: { inserted: 0, updated: 0, deleted: 0, parked: 0 },
    behind: [],
    position: null,
    at: null,
    lost: [],
    yielding: false,
    stopped: false,
  };
  let first: wf.CancellationScope | undefined;
  wf.setHandler(wf.defineQuery<Progress>(queries.progress), () => progressOf(input, state));
  wf.setHandler(wf.defineSignal(signals.yieldSoon), () => {
    state.yielding = true;
    first?.cancel();
  });
  wf.setHandler(wf.defineSignal(signals.mainStopped), () => {
    state.stopped = true;
  });
  const run = { ...ends(input), main: input.main };
  try {
    const began = await bulk.beginResume.executeWithOptions({ summary: 'take the position of the paused tables' }, [
      { ...run, tables: input.tables },
    ]);
    await giveUp(input, state, began.lost);
    if (began.tables.length === 0) return result(state, 'succeeded');
    first = new wf.CancellationScope();
    if (state.yielding) return result(state, 'yielded');
    await first.run(() => follow(input, state, began));
    if (state.yielding) return result(state, 'yielded');
    await tell(signals.handOver, input.run);
    await wf.condition(() => state.stopped);
    await follow(input, state, began);
    const { scope, databases } = began;
    await wf.CancellationScope.nonCancellable(async () => {
      await tell(signals.rolledForward, input.run);
      await bulk.handBack.executeWithOptions({ summary: 'give the tables back to the main stream' }, [
        { ...run, scope, databases },
      ]);
    });
    return result(state, 'succeeded');
  } catch (error) {
    // A bug must fail the task, which a corrected worker can repeat, and not the run.
    if (!(error instanceof wf.TemporalFailure)) throw error;
    const cancelled = wf.CancellationScope.current().consideredCancelled;
    // The worker may have died before it could answer the request to make room.
    if (state.yielding && !cancelled && !state.stopped) return result(state, 'yielded');
    const why = runError(error);
    const isLost = why.class === 'PositionLost';
    await wf.CancellationScope.nonCancellable(() => takeBack(input, isLost && !cancelled ? why : null));
    if (cancelled) return result(state, 'cancelled');
    if (!isLost) return { ...result(state, 'failed'), error: why };
    const known = new Set(state.lost.map(({ ref }) => nameOf(ref)));
    const rest = input.tables.filter(({ ref }) => !known.has(nameOf(ref)));
    state.lost = [...state.lost, ...rest.map(({ ref }) => ({ ref, error: why }))];
    return result(state, 'succeeded');
  }
}

/** Follows the log to its end as it is now. Tables whose structure changed beyond what can be brought to their copies leave. */
async function follow(input: ResumeChildInput, state: State, { scope, databases }: ResumeAnswer): Promise<void> {
  const answer = await stream.captureSlice.executeWithOptions({ summary: 'catch up with the log' }, [
    {
      ...ends(input),
      scope,
      databases,
      until: 'written',
      seconds: CATCH_UP_SECONDS,
      structures: input.structures,
      leaving: [],
      options: input.tables
        .filter(({ options }) => Object.keys(options).length > 0)
        .map(({ ref, options }) => ({ ref, options })),
    },
  ]);
  take(input, state, answer);
  wf.setCurrentDetails(streamDetails(state));
}

function take(input: ResumeChildInput, state: State, { rows, position, at, behind, left, altered }: SliceAnswer): void {
  const sum = (name: 'inserted' | 'updated' | 'deleted' | 'parked') => state.rows[name] + rows[name];
  const own = new Set(input.tables.map(({ ref }) => nameOf(ref)));
  const known = new Set(state.lost.map(({ ref }) => nameOf(ref)));
  const fresh = left.filter(({ ref }) => own.has(nameOf(ref)) && !known.has(nameOf(ref)));
  Object.assign(state, {
    rows: { inserted: sum('inserted'), updated: sum('updated'), deleted: sum('deleted'), parked: sum('parked') },
    position,
    at: at ?? state.at,
    behind,
    lost: [...state.lost, ...fresh],
  });
  notice(
    input.run,
    altered.map(({ ref, change }) => ({
      message: `The table's structure was changed as at the source: ${change}`,
      code: 'structure_changed',
      table: nameOf(ref),
    })),
  );
}

/** Marks tables at the destination whose log is gone. */
async function giveUp(input: ResumeChildInput, state: State, lost: readonly FailedTable[]): Promise<void> {
  if (lost.length === 0) return;
  const errors = new Map(lost.map(({ ref, error }) => [nameOf(ref), error]));
  const tables = input.tables.flatMap((table) => {
    const error = errors.get(nameOf(table.ref));
    return error ? [{ ...table, error }] : [];
  });
  await bulk.failTables.executeWithOptions({ summary: `mark ${tables.length} to be loaded again` }, [
    { ...ends(input), tables },
  ]);
  state.lost = lost;
}

async function takeBack(input: ResumeChildInput, error: TableError | null): Promise<void> {
  try {
    await cleanup.takeBackResume.executeWithOptions({ summary: 'pause the tables where they stand' }, [
      { ...ends(input), main: input.main, error },
    ]);
  } catch (failure) {
    if (!(failure instanceof wf.TemporalFailure)) throw failure;
    notice(input.run, [
      {
        message: 'The paused tables could not be taken out of their stream: load them again.',
        code: 'left_over',
        table: null,
      },
    ]);
  }
}

function result(state: State, end: ResumeResult['state']): ResumeResult {
  const { rows, position, behind, lost } = state;
  return { state: end, rows, position, behind, lost, error: null };
}

function progressOf(input: ResumeChildInput, { rows, position, at, lost }: State): Progress {
  return {
    phase: 'catching up',
    rows: 0,
    bytes: 0,
    tablesDone: 0,
    tablesFailed: lost.length,
    tablesTotal: input.tables.length,
    tables: [],
    stream: { rows, position, at, completeAt: null },
  };
}
