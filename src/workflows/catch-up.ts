import * as wf from '@temporalio/workflow';
import type { BeginAnswer } from '../activities/plan.ts';
import type { SealedTable } from '../activities/promote.ts';
import type { TableRef } from '../drivers/model.ts';
import { bulk, stream } from './activities.ts';
import { type FullInput, type MainStream, signals } from './children.ts';
import { nameOf } from './labels.ts';
import { ends, giveUp, show } from './load.ts';
import type { LoadState } from './load-state.ts';
import { notice, tell } from './notices.ts';
import { sightOf } from './sight.ts';

/** Longer than any log takes to be read. */
const CATCH_UP_SECONDS = 30 * 86_400;

/**
 * Follows the log into the loaded shadows up to its end: afterwards every table equals its source as of one position (EXACTNESS.md §4). A table
 * whose structure changed meanwhile is given up and loaded again later.
 */
export async function catchUp(input: FullInput, state: LoadState, began: BeginAnswer): Promise<void> {
  state.phase = 'catching up';
  show(state);
  const answer = await stream.captureSlice.executeWithOptions({ summary: 'catch up with the log' }, [
    {
      ...ends(input),
      scope: began.scope,
      databases: began.databases,
      until: 'written',
      seconds: CATCH_UP_SECONDS,
      structures: 'alter',
      leaving: [],
      options: input.tables
        .filter(({ options }) => Object.keys(options).length > 0)
        .map(({ ref, options }) => ({ ref, options })),
    },
  ]);
  state.streamed = {
    ...sightOf(answer),
    rows: answer.rows,
    position: answer.position,
    at: answer.at,
    completeAt: answer.completeAt ?? null,
  };
  const keyless = answer.keyless ?? [];
  state.behind = [...answer.behind, ...keyless, ...state.kept];
  if (!state.warned) {
    const say = (code: string, message: string) => (ref: TableRef) => ({ message, code, table: nameOf(ref) });
    notice(input.run, [
      ...keyless.map(
        say(
          'keyless',
          'Deltas do not follow it, because it is a view or has no key: name a `key`, or load it again when it has changed.',
        ),
      ),
      ...state.kept.map(
        say('not_followed', 'The table stays as it was (skipInitial), and deltas do not follow it: load it again.'),
      ),
    ]);
  }
  state.warned = true;
  const own = new Set(input.tables.map(({ ref }) => nameOf(ref)));
  await giveUp(
    input,
    state,
    answer.left.filter(({ ref }) => own.has(nameOf(ref))),
  );
}

/**
 * Gives a side stream's tables to the main stream (EXACTNESS.md §5): the main stream stops at a boundary, the side stream follows to one that
 * contains it, then the tables change their scope. Returns the databases of the main stream.
 */
export async function handOver(
  input: FullInput,
  state: LoadState,
  began: BeginAnswer,
  main: MainStream,
): Promise<readonly string[]> {
  await tell(signals.handOver, input.run);
  await wf.condition(() => state.mainStopped);
  await catchUp(input, state, began);
  if (sealed(state).length === 0) return main.databases;
  return wf.CancellationScope.nonCancellable(async () => {
    await tell(signals.rolledForward, input.run);
    state.phase = 'promoting';
    show(state);
    for (;;) {
      const tables = sealed(state);
      if (tables.length === 0) return main.databases;
      const { lost, databases, behind } = await bulk.handOverTables.executeWithOptions(
        { summary: `hand ${tables.length} tables over to the main stream` },
        [{ ...ends(input), scope: began.scope, databases: began.databases, tables, main }],
      );
      await giveUp(input, state, lost);
      if (!behind) return databases;
      await catchUp(input, state, began);
    }
  });
}

/** Tables that are loaded and closed. */
export function sealed(state: LoadState): SealedTable[] {
  return [...state.tables.values()].flatMap((table) =>
    table.state === 'loaded' && table.sealed ? [table.sealed] : [],
  );
}
