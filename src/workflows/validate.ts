import * as wf from '@temporalio/workflow';
import type { CheckedTable, ReadTable } from '../activities/validate.ts';
import { bulk, cleanup } from './activities.ts';
import { signals, type ValidateChildInput, type ValidateResult } from './children.ts';
import { eachLimit } from './each-limit.ts';
import { loadDetails, nameOf } from './labels.ts';
import { ends, threads } from './load.ts';
import { type CheckTotals, queries } from './messages.ts';
import { notice, runError, tell } from './notices.ts';
import type { Progress, ProgressTable } from './progress.ts';

/** Activities of one kind at most: more tables share one. */
const MOST_GROUPS = 200;
/** A table that keeps changing under its check is given up after so many new starts. */
const MOST_TRIES = 4;
/** Pauses between reminders that a check waits for the stream, which takes them as reasons for a delta. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

type Targets = ValidateChildInput['tables'];
type State = {
  readonly tables: Map<string, ProgressTable>;
  readonly totals: { -readonly [K in keyof CheckTotals]: CheckTotals[K] };
  phase: Progress['phase'];
  /** Why it ends before its work is done. */
  ending: 'yielded' | 'lost' | null;
};

/**
 * Compares the copies with their sources (EXACTNESS.md §10) while the stream goes on: each table is read again beside its copy, the stream comes
 * to where the source was then, and what differs is looked at until it is certain. Writes no copies; `repair` has the main stream read the
 * different rows again. Asked to return it does so at once: the results of tables that are done are kept.
 */
export async function validate(input: ValidateChildInput): Promise<ValidateResult> {
  const state: State = {
    tables: new Map(
      input.tables.map(({ ref }) => [nameOf(ref), { ...ref, state: 'waiting', rows: 0, chunksDone: 0, chunks: 1 }]),
    ),
    totals: { tables: 0, checked: 0, different: 0, repaired: 0, unsettled: 0, skipped: 0, failed: 0 },
    phase: 'starting',
    ending: null,
  };
  const work = new wf.CancellationScope();
  const stop = (ending: State['ending']) => (): void => {
    state.ending ??= ending;
    work.cancel();
  };
  wf.setHandler(wf.defineQuery<Progress>(queries.progress), () => progressOf(state));
  wf.setHandler(wf.defineSignal(signals.yieldSoon), stop('yielded'));
  wf.setHandler(wf.defineSignal(signals.mainLost), stop('lost'));
  show(state);
  try {
    await work.run(() => checkAll(input, state));
    await clear(input);
    return { state: 'succeeded', totals: state.totals, error: null };
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
    await wf.CancellationScope.nonCancellable(() => clear(input));
    const { totals } = state;
    if (wf.CancellationScope.current().consideredCancelled) return { state: 'cancelled', totals, error: null };
    if (state.ending === 'yielded') return { state: 'yielded', totals, error: null };
    if (state.ending === 'lost') return { state: 'failed', totals, error: LOST };
    return { state: 'failed', totals, error: runError(error) };
  }
}

const LOST = {
  class: 'StreamFailed',
  message: 'The main stream could not come to where the tables were read.',
  action: 'See why the last delta failed; then validate again.',
};

async function checkAll(input: ValidateChildInput, state: State): Promise<void> {
  state.phase = 'loading';
  const size = Math.max(1, Math.ceil(input.tables.length / MOST_GROUPS));
  const groups: Targets[] = [];
  for (let i = 0; i < input.tables.length; i += size) groups.push(input.tables.slice(i, i + size));
  await eachLimit(groups, threads(input), (group) => checkGroup(input, state, group));
  if (state.totals.repaired === 0) return;
  await tell(signals.keepUp, { run: input.run, again: true });
  await reminding(input, () =>
    bulk.awaitRepairs.executeWithOptions({ summary: 'wait for the stream to read rows again' }, [common(input)]),
  );
}

/** Some tables: read, then compared; those that changed under the check again. */
async function checkGroup(input: ValidateChildInput, state: State, group: Targets): Promise<void> {
  let tables = group;
  for (let tries = 1; tables.length > 0; tries++) {
    mark(state, tables, 'loading');
    const named = title(tables);
    const { read, done } = await bulk.readTables.executeWithOptions({ summary: `read ${named}` }, [
      { ...common(input), run: input.run, tables },
    ]);
    take(input, state, done);
    if (read.length === 0) return;
    state.phase = 'comparing';
    const answer = await reminding(input, () =>
      bulk.settleTables.executeWithOptions({ summary: `compare ${named}` }, [
        { ...common(input), run: input.run, tables: read, repair: input.repair },
      ]),
    );
    take(input, state, answer.done);
    tables = read
      .filter(({ ref }) => answer.again.some((one) => nameOf(one.ref) === nameOf(ref)))
      .map(({ ref, options, target }) => ({ ref, options, target }));
    if (tries < MOST_TRIES) continue;
    take(
      input,
      state,
      tables.map((table) => keepsChanging(table, answer.again)),
    );
    return;
  }
}

function keepsChanging(
  { ref }: Pick<ReadTable, 'ref'>,
  again: readonly { ref: CheckedTable['ref']; reason: string }[],
): CheckedTable {
  const why = again.find((one) => nameOf(one.ref) === nameOf(ref))?.reason ?? '';
  const error = {
    class: 'StructureChanged',
    message: why,
    action: 'Validate the table when it is no longer being changed.',
  };
  return { ref, state: 'failed', check: null, error };
}

/** Work that waits for the main stream: where none goes on, the pipeline starts one. */
async function reminding<T>(input: ValidateChildInput, work: () => Promise<T>): Promise<T> {
  let done = false;
  const answer = work().finally(() => {
    done = true;
  });
  // Awaited below, also when the waiting here is cancelled first.
  answer.catch(() => {});
  try {
    for (let pause = FIRST_PAUSE_MS; !done; pause = Math.min(LONGEST_PAUSE_MS, pause * 1.25)) {
      await tell(signals.keepUp, { run: input.run, again: false });
      await wf.condition(() => done, pause);
    }
  } catch (error) {
    await answer.catch(() => {});
    throw error;
  }
  return answer;
}

function common(input: ValidateChildInput) {
  const { run: _run, ...rest } = ends(input);
  return { ...rest, main: input.main };
}

async function clear(input: ValidateChildInput): Promise<void> {
  try {
    await cleanup.clearChecks.executeWithOptions({ summary: 'remove the tables of the check' }, [common(input)]);
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
    const message = 'Tables of the check could not be removed; the next validation does so.';
    notice(input.run, [{ message, code: 'left_over', table: null }]);
  }
}

/** Takes in results, and tells of tables that are not as they should be. */
function take(input: ValidateChildInput, state: State, done: readonly CheckedTable[]): void {
  const { totals } = state;
  for (const { ref, state: how, check } of done) {
    totals.tables += how === 'checked' ? 1 : 0;
    totals.skipped += how === 'skipped' ? 1 : 0;
    totals.failed += how === 'failed' ? 1 : 0;
    totals.checked += check?.checked ?? 0;
    totals.different += check?.different ?? 0;
    totals.repaired += check?.repaired ?? 0;
    totals.unsettled += check?.unsettled ?? 0;
    const table = { ...ref, rows: check?.checked ?? 0, chunksDone: 1, chunks: 1 };
    state.tables.set(nameOf(ref), { ...table, state: how === 'failed' ? 'failed' : 'loaded' });
  }
  notice(
    input.run,
    done.flatMap((one) => {
      const told = tellOf(one);
      return told === null ? [] : [{ ...told, table: nameOf(one.ref), failed: one.state === 'failed' }];
    }),
  );
  show(state);
}

function tellOf({ check, error }: CheckedTable): { readonly message: string; readonly code: string } | null {
  if (error) return { message: `Not compared: ${error.message} ${error.action}`, code: error.class };
  if (!check || check.different + check.unsettled === 0) return null;
  const examples = check.examples.length > 0 ? ` (${check.examples.slice(0, 3).join('; ')} …)` : '';
  const repaired = check.repaired > 0 ? ` ${check.repaired} of them are read again from the source.` : '';
  const unsettled =
    check.unsettled > 0 ? ` ${check.unsettled} rows changed too often, or were too many, to say it of them.` : '';
  const message = `${check.different} of ${check.checked} rows differ from the source${examples}.${repaired}${unsettled}`;
  return { message, code: 'different' };
}

function mark(state: State, tables: Targets, how: ProgressTable['state']): void {
  for (const { ref } of tables) {
    const table = state.tables.get(nameOf(ref));
    if (table) state.tables.set(nameOf(ref), { ...table, state: how });
  }
  show(state);
}

function title(tables: Targets): string {
  const first = tables[0] ? nameOf(tables[0].ref).slice(0, 40) : 'nothing';
  return tables.length > 1 ? `${first} and ${tables.length - 1} more` : first;
}

function progressOf({ phase, tables, totals }: State): Progress {
  const rank = (table: ProgressTable): number => ['failed', 'loading', 'waiting', 'loaded'].indexOf(table.state);
  return {
    phase,
    rows: totals.checked,
    bytes: 0,
    tablesDone: totals.tables + totals.skipped,
    tablesFailed: totals.failed,
    tablesTotal: tables.size,
    tables: [...tables.values()].sort((a, b) => rank(a) - rank(b)).slice(0, 100),
  };
}

function show(state: State): void {
  wf.setCurrentDetails(loadDetails(progressOf(state)));
}
