import * as wf from '@temporalio/workflow';
import { type FullInput, type FullResult, type FullResume, type NoteEvents, signals } from './children.ts';
import type { full } from './full.ts';
import {
  type Cancel,
  type CancelAnswer,
  type EventsSince,
  type Keyed,
  type NoteConnection,
  type PipelineConfig,
  type PipelineEvent,
  type PipelineInput,
  type PipelineOverview,
  queries,
  type RequestAnswer,
  type RequestOperation,
  type Run,
  runWorkflowId,
  type SelectedTable,
  type SetConnection,
  type SetLicence,
  type SetSchedule,
  type SetScheduler,
  type SetTable,
  updates,
} from './messages.ts';
import {
  begin,
  cancel,
  databasesOf,
  details,
  due,
  end,
  fullInput,
  label,
  noteEvents,
  overview,
  request,
} from './schedule.ts';
import {
  answerFor,
  MAX_SELECTION_BYTES,
  newState,
  noteConnection,
  type PipelineState,
  rememberAnswer,
  selectionBytes,
  setConnection,
  setSchedule,
  setScheduler,
  setTable,
} from './state.ts';

/** Updates that one workflow run takes before it turns over: the server allows 2,000. */
const MAX_UPDATES = 1000;

/**
 * One pipeline for as long as it exists (DESIGN.md §4): owns configuration, queue and runs. Handlers only replace the state; one loop
 * starts at most one child at a time (a full extract takes both lanes).
 */
export async function pipeline(input: PipelineInput): Promise<void> {
  let state: PipelineState = input.state ? (input.state as PipelineState) : newState(input.name, input.zone);
  let handled = 0;
  let rolledForward = 0;
  let running: wf.CancellationScope | undefined;
  let child: wf.ChildWorkflowHandle<typeof full> | undefined;

  /** An update: a key seen before gets its first answer; otherwise the change is made and its answer kept. */
  function onUpdate<A extends Keyed, R>(
    name: string,
    change: (argument: A, now: number) => [PipelineState, R],
    check: (argument: A) => void = () => {},
  ): void {
    const handler = (argument: A): R => {
      handled++;
      const known = answerFor(state, argument.idempotencyKey);
      if (known) return known.answer as R;
      const [next, answer] = change(argument, Date.now());
      state = rememberAnswer(next, argument.idempotencyKey, answer);
      wf.setCurrentDetails(details(state));
      return answer;
    };
    wf.setHandler(wf.defineUpdate<R, [A]>(name), handler, {
      validator: (argument: A) => {
        if (!answerFor(state, argument.idempotencyKey)) check(argument);
      },
    });
  }

  wf.setHandler(wf.defineQuery<PipelineConfig>(queries.config), () => configOf(state));
  wf.setHandler(wf.defineQuery<PipelineOverview>(queries.overview), () => overview(state));
  wf.setHandler(wf.defineQuery<readonly SelectedTable[]>(queries.selection), () => Object.values(state.tables));
  wf.setHandler(wf.defineQuery<readonly Run[]>(queries.runs), () => allRuns(state));
  wf.setHandler(wf.defineQuery<readonly string[]>(queries.databases), () => databasesOf(state));
  wf.setHandler(wf.defineQuery<readonly PipelineEvent[], [EventsSince]>(queries.events), ({ since }) =>
    state.events.filter((event) => event.seq > since),
  );

  onUpdate<SetConnection, number>(
    updates.setConnection,
    (argument, now) => {
      const next = setConnection(state, argument, now);
      return [next, next[argument.side].revision];
    },
    ({ side, revision }) => {
      if (state[side].revision !== revision)
        throw refusal('Conflict', 'The connection was saved by someone else meanwhile.');
    },
  );
  onUpdate<NoteConnection & Keyed, null>(updates.noteConnection, (argument) => [noteConnection(state, argument), null]);
  onUpdate<SetLicence, null>(updates.setLicence, ({ key }) => [{ ...state, licence: key }, null]);
  onUpdate<SetSchedule, null>(updates.setSchedule, (argument, now) => [setSchedule(state, argument, now), null]);
  onUpdate<SetScheduler, null>(updates.setScheduler, (argument, now) => [setScheduler(state, argument, now), null]);
  onUpdate<SetTable, null>(
    updates.setTable,
    (argument, now) => [setTable(state, argument, now), null],
    (argument) => {
      if (selectionBytes(setTable(state, argument, 0).tables) > MAX_SELECTION_BYTES) {
        const name = `${argument.table.schema}.${argument.table.name}`;
        throw refusal(
          'SelectionTooLarge',
          `With ${name} the selection would exceed what a pipeline can hold: use a second pipeline.`,
        );
      }
    },
  );
  onUpdate<RequestOperation, RequestAnswer>(updates.request, ({ operation }, now) => request(state, operation, now));
  onUpdate<Cancel, CancelAnswer>(updates.cancel, (argument, now) => {
    const [next, { stopRunning, ...answer }] = cancel(state, argument, rolledForward === state.running?.id, now);
    if (!stopRunning) return [next, answer];
    running?.cancel();
    return [{ ...next, cancelling: state.running?.id ?? 0 }, answer];
  });
  onUpdate<Keyed, null>(updates.remove, () => {
    running?.cancel();
    return [{ ...state, removed: true, queue: [] }, null];
  });
  wf.setHandler(wf.defineSignal<[number]>(signals.rolledForward), (run) => {
    rolledForward = run;
  });
  wf.setHandler(wf.defineSignal<[NoteEvents]>(signals.noteEvents), (note) => {
    state = noteEvents(state, note, Date.now());
  });

  const turnover = (): boolean => handled >= MAX_UPDATES || wf.workflowInfo().continueAsNewSuggested;

  /** Runs one full extract; returns when it ended, or when it was asked to make room for continue-as-new. */
  async function runFull(run: Run, resume: FullResume | null): Promise<void> {
    state = resume ? { ...state, resume: null } : begin(state, run, Date.now());
    wf.setCurrentDetails(details(state));
    const argument: FullInput = { ...fullInput(state, run), ...(resume ? { resume } : {}) };
    const result = await startFull(run, argument);
    child = undefined;
    running = undefined;
    const current = state.running ?? run;
    if (result.resume && !state.removed) state = { ...state, resume: result.resume };
    else state = end(state, current, argument, result, Date.now());
    // A workflow task without commands is taken for a heartbeat: a worker that has lost its cache would handle an update that comes next
    // before it knows of the end, and the other way round when it replays.
    if (wf.patched('run-ends-with-a-command')) wf.upsertMemo({ lastRun: { id: run.id, state: result.state } });
    wf.setCurrentDetails(details(state));
  }

  async function startFull(run: Run, argument: FullInput): Promise<FullResult> {
    try {
      running = new wf.CancellationScope();
      // A cancel may have come between two workflow runs, when there was no scope.
      if (state.cancelling === run.id) running.cancel();
      return await running.run(async () => {
        child = await wf.startChild<typeof full>('full', {
          workflowId: runWorkflowId(state.name, run.operation, run.id),
          args: [argument],
          parentClosePolicy: wf.ParentClosePolicy.REQUEST_CANCEL,
          staticSummary: `${label(run.operation)} of ${argument.tables.length} tables`,
        });
        return await child.result();
      });
    } catch (error) {
      // Anything but a failed or cancelled child is a bug: it fails the task, which a corrected worker repeats.
      if (!(error instanceof wf.TemporalFailure)) throw error;
      const lost = { rows: 0, bytes: 0, position: null, scope: 0, loaded: 0, failed: [], findings: [] };
      if (wf.isCancellation(error)) return { ...lost, state: 'cancelled', error: null };
      return {
        ...lost,
        state: 'failed',
        error: {
          class: 'ChildFailed',
          message: 'The run ended without a result.',
          action: 'See its workflow in the Temporal Web UI.',
        },
      };
    }
  }

  wf.setCurrentDetails(details(state));
  while (!state.removed) {
    const waiting = due(state);
    if (turnover()) break;
    if (state.resume && state.running) await underway(runFull(state.running, state.resume));
    else if (waiting) await underway(runFull(waiting, null));
    else await wf.condition(() => state.removed || due(state) !== null || turnover());
  }
  await wf.condition(wf.allHandlersFinished);
  if (!state.removed) await wf.continueAsNew<typeof pipeline>({ ...input, state });

  /** Awaits a run, and asks its child to return at its next boundary when this workflow should turn over meanwhile. */
  async function underway(run: Promise<void>): Promise<void> {
    let ended = false;
    const done = run.finally(() => {
      ended = true;
    });
    await wf.condition(() => ended || (turnover() && child !== undefined));
    if (!ended && child) await child.signal(signals.yieldSoon);
    await done;
  }
}

function configOf(state: PipelineState): PipelineConfig {
  const { name, zone, source, destination, licence, schedule, scheduler } = state;
  return { name, zone, source, destination, licence, schedule, scheduler: { ...scheduler, nextDueAt: null } };
}

/** Newest first: what waits, what runs, what ended. */
function allRuns(state: PipelineState): Run[] {
  return [...state.runs, ...(state.running ? [state.running] : []), ...state.queue].sort((a, b) => b.id - a.id);
}

function refusal(type: string, message: string): wf.ApplicationFailure {
  return wf.ApplicationFailure.nonRetryable(message, type);
}
