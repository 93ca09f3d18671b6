import * as wf from '@temporalio/workflow';
import type { BeginAnswer, StartAnswer } from '../activities/plan.ts';
import { bulk, cleanup } from './activities.ts';
import { catchUp, handOver, sealed } from './catch-up.ts';
import { type FullInput, type FullResult, signals } from './children.ts';
import { nameOf } from './labels.ts';
import { ends, giveUp, load, show } from './load.ts';
import { type LoadState, newLoad, progressOf } from './load-state.ts';
import { queries } from './messages.ts';
import { notice, runError, tell } from './notices.ts';
import type { Progress } from './progress.ts';
import { sightOf } from './sight.ts';

/** Tables that one activity puts in place: a cancel of the worker then has to repeat only these. */
const PROMOTE_TABLES = 100;
/** Runs of at most so many tables take fewer and longer activities, because each hop through a task queue costs time. */
const FEW_TABLES = 100;

/**
 * The same as a side stream (EXACTNESS.md §5) for tables that are new or must be loaded again: loaded beside the running main stream, then
 * handed over to it at a boundary.
 */
export async function syncnew(input: FullInput): Promise<FullResult> {
  return full(input);
}

/**
 * One full extract (EXACTNESS.md §3–5): a new scope takes its position, all tables are loaded into shadows in parallel chunks and follow the
 * log to its end, then shadows take the place of live tables. A table that fails keeps its old copy and is marked; the others go on. Until the first
 * journal row is written a cancel takes everything back; from there on the run only rolls forward.
 */
export async function full(input: FullInput): Promise<FullResult> {
  const state = newLoad(input);
  wf.setHandler(wf.defineQuery<Progress>(queries.progress), () => progressOf(state));
  wf.setHandler(wf.defineSignal(signals.yieldSoon), () => {
    state.yielding = true;
  });
  wf.setHandler(wf.defineSignal(signals.mainStopped), () => {
    state.mainStopped = true;
  });
  let began: BeginAnswer | undefined;
  try {
    show(state);
    const start = await begin(input, state);
    began = start.began;
    const outcome = await load(input, state, began.scope, start.plan);
    if (outcome !== 'complete') {
      const resume = {
        scope: began.scope,
        failed: state.failed,
        turns: (input.resume?.turns ?? 0) + 1,
      };
      if (outcome === 'yielded') return result(state, began, { state: 'yielded', resume });
      await wf.condition(wf.allHandlersFinished);
      return await wf.continueAsNew<typeof full>({ ...input, resume });
    }
    return await finish(input, state, began);
  } catch (error) {
    if (error instanceof wf.ContinueAsNew) throw error;
    // A bug must fail the task, which a corrected worker can repeat, and not the run.
    if (!(error instanceof wf.TemporalFailure)) throw error;
    // The worker may have died before it could answer the cancel: the activity's own failure comes in its place then.
    const cancelled = wf.isCancellation(error) || wf.CancellationScope.current().consideredCancelled;
    if (began || cancelled) await wf.CancellationScope.nonCancellable(() => takeBack(input, began));
    if (cancelled) return result(state, began, { state: 'cancelled' });
    return result(state, began, { state: 'failed', error: runError(error) });
  }
}

async function begin(input: FullInput, state: LoadState): Promise<StartAnswer> {
  const argument = { ...ends(input), tables: input.tables, ...(input.side ? { main: input.side.scope } : {}) };
  const { began, plan } =
    !input.resume && few(input)
      ? await bulk.startFull.executeWithOptions({ summary: 'take the position and plan' }, [argument])
      : {
          began: await bulk.beginFull.executeWithOptions({ summary: 'take the position' }, [argument]),
          plan: null,
        };
  if (!input.resume) {
    notice(
      input.run,
      began.warnings.map((finding) => ({
        message: finding.message,
        code: finding.code,
        table: finding.table ? nameOf(finding.table) : null,
      })),
    );
    await giveUp(input, state, began.failed);
  }
  return { began, plan };
}

function few(input: FullInput): boolean {
  return input.tables.length <= FEW_TABLES && wf.patched('few-hops');
}

/** Catches up, journals and promotes; from the journal on it can no longer be cancelled. */
async function finish(input: FullInput, state: LoadState, began: BeginAnswer): Promise<FullResult> {
  const follows = began.captures === true;
  if (follows && sealed(state).length > 0) await catchUp(input, state, began);
  if (follows && input.side && sealed(state).length > 0) {
    const databases = await handOver(input, state, began, input.side);
    if (sealed(state).length > 0) return result(state, began, { state: 'succeeded', databases });
  }
  const tables = sealed(state);
  if (tables.length === 0 && state.kept.length === 0) {
    await takeBack(input, began);
    const error = {
      class: 'UnsupportedValue',
      message: 'No table could be loaded.',
      action: 'See the errors of the tables.',
    };
    return result(state, began, { state: 'failed', error });
  }
  await wf.CancellationScope.nonCancellable(async () => {
    await tell(signals.rolledForward, input.run);
    state.phase = 'promoting';
    show(state);
    const base = { ...ends(input), scope: began.scope, databases: began.databases };
    if (few(input)) {
      const lost = await bulk.placeTables.executeWithOptions({ summary: `put ${tables.length} tables in place` }, [
        { ...base, tables },
      ]);
      await giveUp(input, state, lost);
      return;
    }
    await bulk.journalTables.executeWithOptions({ summary: `journal ${tables.length} tables` }, [{ ...base, tables }]);
    for (let at = 0; at < tables.length; at += PROMOTE_TABLES) {
      const some = tables.slice(at, at + PROMOTE_TABLES);
      const lost = await bulk.promoteTables.executeWithOptions({ summary: `put ${some.length} tables in place` }, [
        { ...base, tables: some },
      ]);
      await giveUp(input, state, lost);
    }
    state.phase = 'ending';
    show(state);
    await bulk.endFull.executeWithOptions({ summary: 'let the old position go' }, [base]);
  });
  return result(state, began, { state: 'succeeded' });
}

/** Without `began` nobody knows how far the position was taken: the activity finds out. */
async function takeBack(input: FullInput, began: BeginAnswer | undefined): Promise<void> {
  const databases = began?.databases ?? [...new Set(input.tables.map((table) => table.target.database))].sort();
  const base = { ...ends(input), scope: began?.scope ?? null, databases };
  try {
    await cleanup.abandonFull.executeWithOptions({ summary: 'take the run back' }, [base]);
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
    notice(input.run, [
      {
        message: 'Shadow tables of the run could not be removed; the next full extract does so.',
        code: 'left_over',
        table: null,
      },
    ]);
  }
}

function result(
  state: LoadState,
  began: BeginAnswer | undefined,
  end: Partial<FullResult> & Pick<FullResult, 'state'>,
): FullResult {
  const progress = progressOf(state);
  return {
    rows: progress.rows,
    bytes: progress.bytes,
    position: state.streamed?.position ?? began?.position ?? null,
    at: state.streamed?.at ?? null,
    completeAt: state.streamed?.completeAt ?? null,
    ...(state.streamed ? { sight: sightOf(state.streamed) } : {}),
    follows: began?.captures === true,
    behind: state.behind,
    databases: began?.databases ?? [],
    scope: began?.scope ?? 0,
    loaded: progress.tablesDone,
    failed: state.failed.slice(0, 1000),
    findings: [],
    error: null,
    ...end,
  };
}
