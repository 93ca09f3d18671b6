import * as wf from '@temporalio/workflow';
import type { LoadOutcome, PortionTable } from '../activities/extract.ts';
import type { FailureDetails } from '../activities/failure.ts';
import type { BeginAnswer, PlannedTable, RunTarget } from '../activities/plan.ts';
import { bulk, cleanup } from './activities.ts';
import { eachLimit } from './each-limit.ts';
import { loadDetails, nameOf, title } from './labels.ts';
import { failed, type LoadState, newLoad, progressOf, settle, startTables } from './load-state.ts';
import {
  type FailedTable,
  type FullInput,
  type FullResult,
  type NoteEvents,
  type Progress,
  queries,
  type RunError,
  signals,
} from './messages.ts';
import { type Portion, portions } from './portions.ts';

/** Tables that one planning activity takes: its answer must stay far below the payload limit. */
const PLAN_TABLES = 100;
/** Portions per workflow run; then it continues as new (DESIGN.md §4). */
const MAX_PORTIONS = 500;
/** A table that keeps changing under its load is given up after so many new starts. */
const MAX_RESTARTS = 3;

/**
 * One full extract (EXACTNESS.md §3–5): a new scope takes its position, all tables are loaded into shadows in parallel chunks, then
 * shadows take the place of live tables. A table that fails keeps its old copy and is marked; the others go on. Until the first
 * journal row is written a cancel takes everything back; from there on the run only rolls forward.
 */
export async function full(input: FullInput): Promise<FullResult> {
  const state = newLoad(input);
  wf.setHandler(wf.defineQuery<Progress>(queries.progress), () => progressOf(state));
  wf.setHandler(wf.defineSignal(signals.yieldSoon), () => {
    state.yielding = true;
  });
  let began: BeginAnswer | undefined;
  try {
    show(state);
    began = await begin(input, state);
    const outcome = await load(input, state, began);
    if (outcome !== 'complete') {
      const resume = {
        scope: began.scope,
        rolledForward: false,
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
    await wf.CancellationScope.nonCancellable(() => takeBack(input, began));
    if (wf.isCancellation(error)) return result(state, began, { state: 'cancelled' });
    return result(state, began, { state: 'failed', error: runError(error) });
  }
}

async function begin(input: FullInput, state: LoadState): Promise<BeginAnswer> {
  const began = await bulk.beginFull.executeWithOptions({ summary: 'take the position' }, [
    { ...ends(input), tables: input.tables },
  ]);
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
  return began;
}

/** Plans and loads until every table is sealed or failed (`complete`), or the run should go on in another workflow run. */
async function load(
  input: FullInput,
  state: LoadState,
  began: BeginAnswer,
): Promise<'complete' | 'yielded' | 'turnover'> {
  const known = new Set(state.failed.map((table) => nameOf(table.ref)));
  let targets: readonly RunTarget[] = input.tables.filter((table) => !known.has(nameOf(table.ref)));
  for (let again = false; targets.length > 0; again = true) {
    state.phase = 'planning';
    const planned = await plan(input, state, began.scope, targets, again);
    state.phase = 'loading';
    show(state);
    const restart: RunTarget[] = [];
    const more = (): boolean => !state.yielding && state.portions < MAX_PORTIONS;
    const work = portions(planned, threads(input));
    let started = 0;
    await eachLimit(
      work,
      threads(input),
      async (portion) => {
        started++;
        await loadOne(input, state, portion, restart);
      },
      more,
    );
    if (started < work.length || (restart.length > 0 && !more())) return state.yielding ? 'yielded' : 'turnover';
    targets = restart;
  }
  return 'complete';
}

async function plan(
  input: FullInput,
  state: LoadState,
  scope: number,
  targets: readonly RunTarget[],
  again: boolean,
): Promise<PlannedTable[]> {
  const planned: PlannedTable[] = [];
  for (let at = 0; at < targets.length; at += PLAN_TABLES) {
    const tables = targets.slice(at, at + PLAN_TABLES);
    const last = Math.min(at + PLAN_TABLES, targets.length);
    const answer = await bulk.planTables.executeWithOptions(
      { summary: `plan tables ${at + 1} to ${last} of ${targets.length}` },
      [{ ...ends(input), scope, tables, again }],
    );
    planned.push(...answer.planned);
    startTables(state, answer.planned, answer.kept);
    if (!input.resume && !again)
      notice(
        input.run,
        answer.warnings.map((one) => ({
          message: one.message,
          code: one.code,
          table: one.table ? nameOf(one.table) : null,
        })),
      );
    await giveUp(input, state, answer.failed);
    show(state);
  }
  return planned;
}

async function loadOne(input: FullInput, state: LoadState, portion: Portion, restart: RunTarget[]): Promise<void> {
  state.portions++;
  const results = await bulk.loadPortion.executeWithOptions({ summary: title(portion) }, [
    { ...ends(input), items: portion.items },
  ]);
  const toSeal = portion.items.filter((item, index) => settle(state, item, results[index]) === 'seal');
  show(state);
  let sealed: readonly PortionTable[] = [];
  if (toSeal.length > 0) {
    const items = toSeal.map((item) => ({ ...item, take: [], seal: true }));
    sealed = await bulk.sealTables.executeWithOptions(
      { summary: `close ${nameOf(items[0]?.ref ?? { schema: '', name: '' })}`.slice(0, 60) },
      [{ ...ends(input), items }],
    );
    for (const [index, item] of toSeal.entries()) settle(state, item, sealed[index]);
  }
  const lost: FailedTable[] = [];
  for (const table of [...results, ...sealed]) {
    const item = portion.items.find((one) => one.id === table.id);
    if (!item) continue;
    const error = problem(table.outcome);
    if (error === 'restart') {
      const restarts = (state.restarts.get(item.id) ?? 0) + 1;
      state.restarts.set(item.id, restarts);
      const target = { ref: item.ref, options: item.options, target: item.target };
      const reason = table.outcome.kind === 'restart' ? table.outcome.reason : '';
      if (restarts <= MAX_RESTARTS) {
        if (!restart.some((one) => nameOf(one.ref) === nameOf(item.ref))) restart.push(target);
        notice(input.run, [{ message: `${reason} Its load starts over.`, code: 'restart', table: nameOf(item.ref) }]);
      } else
        lost.push({
          ref: item.ref,
          error: {
            class: 'StructureChanged',
            message: reason,
            action: 'Load the table when it is no longer being changed.',
          },
        });
    } else if (error) lost.push({ ref: item.ref, error });
  }
  await giveUp(input, state, lost);
  show(state);
}

function problem(outcome: LoadOutcome): 'restart' | FailedTable['error'] | null {
  if (outcome.kind === 'restart') return 'restart';
  return outcome.kind === 'failed' ? outcome.error : null;
}

/** Marks tables as failed, here and at the destination, and tells the pipeline. */
async function giveUp(input: FullInput, state: LoadState, tables: readonly FailedTable[]): Promise<void> {
  const fresh = tables.filter((table) => failed(state, table));
  if (fresh.length === 0) return;
  const targets = fresh.flatMap(({ ref, error }) => {
    const table = input.tables.find((one) => nameOf(one.ref) === nameOf(ref));
    return table ? [{ ...table, error }] : [];
  });
  await bulk.failTables.executeWithOptions({ summary: `mark ${targets.length} failed` }, [
    { ...ends(input), tables: targets },
  ]);
  notice(
    input.run,
    fresh.map(({ ref, error }) => ({
      message: `${error.message} ${error.action}`,
      code: error.class,
      table: nameOf(ref),
      failed: true,
    })),
  );
}

/** Journals and promotes; can no longer be cancelled. */
async function finish(input: FullInput, state: LoadState, began: BeginAnswer): Promise<FullResult> {
  const tables = [...state.tables.values()].flatMap((table) =>
    table.state === 'loaded' && table.sealed ? [table.sealed] : [],
  );
  if (tables.length === 0 && state.kept === 0) {
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
    await bulk.journalTables.executeWithOptions({ summary: `journal ${tables.length} tables` }, [{ ...base, tables }]);
    for (let at = 0; at < tables.length; at += PLAN_TABLES) {
      const some = tables.slice(at, at + PLAN_TABLES);
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

async function takeBack(input: FullInput, began: BeginAnswer | undefined): Promise<void> {
  if (!began) return;
  const base = { ...ends(input), scope: began.scope, databases: began.databases };
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

function ends(input: FullInput) {
  return {
    pipeline: input.pipeline,
    run: input.run,
    source: input.source.params,
    destination: input.destination.params,
  };
}

/** Chunks under way at a time: each needs a reader and a loader. */
function threads(input: FullInput): number {
  const bounded = (text: string | undefined): number => Math.min(64, Math.max(1, Number(text ?? 4) || 4));
  return Math.min(bounded(input.source.params['extract_threads']), bounded(input.destination.params['load_threads']));
}

function show(state: LoadState): void {
  wf.setCurrentDetails(loadDetails(progressOf(state)));
}

type Notice = {
  readonly message: string;
  readonly code: string;
  readonly table: string | null;
  readonly failed?: boolean;
};

/** Events for the pipeline's log; at most a hundred at a time, the rest is in the tables' records. */
function notice(run: number, notices: readonly Notice[]): void {
  if (notices.length === 0) return;
  const note: NoteEvents = {
    run,
    events: notices.slice(0, 100).map(({ message, code, table, failed: bad }) => ({
      level: bad ? ('error' as const) : ('warning' as const),
      group: bad ? ('Errors' as const) : ('Source' as const),
      code,
      message: message.slice(0, 500),
      table,
    })),
  };
  void tell(signals.noteEvents, note);
}

/** Tells the parent pipeline; a parent that is gone is no reason to stop. */
async function tell(signal: string, argument: unknown): Promise<void> {
  const parent = wf.workflowInfo().parent;
  if (!parent) return;
  try {
    await wf.getExternalWorkflowHandle(parent.workflowId).signal(signal, argument);
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
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
    position: began?.position ?? null,
    scope: began?.scope ?? 0,
    loaded: progress.tablesDone,
    failed: state.failed.slice(0, 1000),
    findings: [],
    error: null,
    ...end,
  };
}

function runError(error: wf.TemporalFailure): RunError {
  const cause =
    error instanceof wf.ActivityFailure && error.cause instanceof wf.ApplicationFailure ? error.cause : error;
  const details =
    cause instanceof wf.ApplicationFailure ? (cause.details?.[0] as Partial<FailureDetails> | undefined) : undefined;
  const type = cause instanceof wf.ApplicationFailure ? (cause.type ?? 'Error') : cause.name;
  return { class: type, message: cause.message, action: details?.action ?? '', side: details?.side ?? null };
}
