import * as wf from '@temporalio/workflow';
import type { LoadOutcome, PortionTable } from '../activities/extract.ts';
import type { PlanAnswer, PlannedTable, RunTarget } from '../activities/plan.ts';
import { bulk } from './activities.ts';
import type { FailedTable, FullInput } from './children.ts';
import { eachLimit } from './each-limit.ts';
import { loadDetails, nameOf, title } from './labels.ts';
import { failed, type LoadState, progressOf, settle, startTables } from './load-state.ts';
import { notice } from './notices.ts';
import { type Portion, portions } from './portions.ts';

/** Tables that one planning activity takes: its answer must stay far below the payload limit. */
const PLAN_TABLES = 100;
/** Portions per workflow run; then it continues as new (DESIGN.md §4). */
const MAX_PORTIONS = 500;
/** A table that keeps changing under its load is given up after so many new starts. */
const MAX_RESTARTS = 3;

/**
 * Plans and loads until every table is sealed or failed (`complete`), or the run should go on in another workflow run. `first`: the plan of
 * all tables, when it is made already.
 */
export async function load(
  input: FullInput,
  state: LoadState,
  scope: number,
  first: PlanAnswer | null,
): Promise<'complete' | 'yielded' | 'turnover'> {
  const known = new Set(state.failed.map((table) => nameOf(table.ref)));
  let targets: readonly RunTarget[] = input.tables.filter((table) => !known.has(nameOf(table.ref)));
  for (let again = false; targets.length > 0; again = true) {
    state.phase = 'planning';
    const planned = await plan(input, state, scope, targets, again ? 'again' : first);
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
  made: PlanAnswer | 'again' | null,
): Promise<PlannedTable[]> {
  const again = made === 'again';
  const planned: PlannedTable[] = [];
  for (let at = 0; at < targets.length; at += PLAN_TABLES) {
    const tables = targets.slice(at, at + PLAN_TABLES);
    const last = Math.min(at + PLAN_TABLES, targets.length);
    const answer =
      made !== null && made !== 'again'
        ? made
        : await bulk.planTables.executeWithOptions(
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
export async function giveUp(input: FullInput, state: LoadState, tables: readonly FailedTable[]): Promise<void> {
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

type Ends = Pick<FullInput, 'pipeline' | 'run' | 'source' | 'destination'>;

/** What every activity of a run takes. */
export function ends(input: Ends) {
  return {
    pipeline: input.pipeline,
    run: input.run,
    source: input.source.params,
    destination: input.destination.params,
  };
}

/** Chunks under way at a time: each needs a reader and a loader. */
export function threads(input: Ends): number {
  const bounded = (text: string | undefined): number => Math.min(64, Math.max(1, Number(text ?? 4) || 4));
  return Math.min(bounded(input.source.params['extract_threads']), bounded(input.destination.params['load_threads']));
}

/** Shows progress in Temporal's Web UI. */
export function show(state: LoadState): void {
  wf.setCurrentDetails(loadDetails(progressOf(state)));
}
