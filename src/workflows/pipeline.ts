import * as wf from '@temporalio/workflow';
import { answerQueries } from './answers.ts';
import { beside, isLoad } from './beside.ts';
import { type Lost, newChild, type OpenChild, runChild, tellChild } from './child.ts';
import {
  type DeltaResult,
  type FullInput,
  type FullResult,
  type FullResume,
  type KeepUp,
  type NoteEvents,
  type NoteStream,
  signals,
} from './children.ts';
import { letLogGo } from './kept-log.ts';
import {
  type Cancel,
  type CancelAnswer,
  type Keyed,
  type NoteConnection,
  type PipelineInput,
  type RequestAnswer,
  type RequestOperation,
  type Run,
  runWorkflowId,
  type SetConnection,
  type SetLicence,
  type SetSchedule,
  type SetScheduler,
  type SetTable,
  type TableAction,
  type TableActionAnswer,
  updates,
} from './messages.ts';
import { details } from './overview.ts';
import { expire, expiresAt, holdByOption, hoursKept } from './pause.ts';
import { actOnTable, cancel, request } from './requests.ts';
import { begin, deltaInput, end, fullInput, NO_LOAD, NO_STREAM, noteEvents } from './runs.ts';
import { due, laneOf, shouldReturn, streamKey, wakesAt } from './schedule.ts';
import {
  answerFor,
  noteConnection,
  type PipelineState,
  rememberAnswer,
  revive,
  setConnection,
  setSchedule,
  setScheduler,
  setTable,
} from './state.ts';
import { endStream, noteStream } from './stream-runs.ts';
import { keepUp, toldToValidate } from './validation.ts';
import { checkRevision, checkSelection } from './validators.ts';

/** Updates that one workflow run takes before it turns over: the server allows 2,000. */
const MAX_UPDATES = 1000;

/**
 * One pipeline for as long as it exists (DESIGN.md §4): owns configuration, queue and runs. Handlers only replace the state; one loop
 * starts at most one child per lane (a full extract takes both lanes), asks children to return and sets the scheduler's timer.
 */
export async function pipeline(input: PipelineInput): Promise<void> {
  let state: PipelineState = revive(input.state, input.name, input.zone);
  let handled = 0;
  let rolledForward = 0;
  let notes = 0;
  let freeing: Promise<unknown> = Promise.resolve();
  /** What the open stream was started with. */
  let startedWith = '';
  const children: { stream?: OpenChild; load?: OpenChild } = {};

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

  answerQueries(() => state);
  /** Whether the log of tables that are paused now is kept, or that of paused ones was. */
  const keeps = (): boolean =>
    (hoursKept(state) > 0 || expiresAt(state) !== null) && wf.patched('paused-tables-keep-log');

  onUpdate<SetConnection, number>(
    updates.setConnection,
    (argument, now) => {
      const next = setConnection(state, argument, now);
      return [next, next[argument.side].revision];
    },
    (argument) => checkRevision(state, argument),
  );
  onUpdate<NoteConnection & Keyed, null>(updates.noteConnection, (argument) => [noteConnection(state, argument), null]);
  onUpdate<SetLicence, null>(updates.setLicence, ({ key }) => [{ ...state, licence: key }, null]);
  onUpdate<SetSchedule, null>(updates.setSchedule, (argument, now) => [setSchedule(state, argument, now), null]);
  onUpdate<SetScheduler, null>(updates.setScheduler, (argument, now) => [setScheduler(state, argument, now), null]);
  onUpdate<SetTable, null>(
    updates.setTable,
    (argument, now) => {
      const next = setTable(state, argument, now);
      return [keeps() ? holdByOption(state, next, argument.table, now) : next, null];
    },
    (argument) => checkSelection(state, argument),
  );
  onUpdate<RequestOperation, RequestAnswer>(updates.request, (argument, now) =>
    request(state, argument.operation, now, argument, () => wf.patched('uncaptured-is-refused')),
  );
  onUpdate<TableAction, TableActionAnswer>(updates.tableAction, (argument, now) =>
    actOnTable(state, argument, now, keeps()),
  );
  onUpdate<Cancel, CancelAnswer>(updates.cancel, (argument, now) => {
    const [next, { stop, ...answer }] = cancel(state, argument, rolledForward, now);
    const open = [children.stream, children.load].filter((one) => one !== undefined && stop.includes(one.run.id));
    for (const one of open) one?.scope.cancel();
    const [waiting] = stop;
    return [waiting === undefined ? next : { ...next, cancelling: state.running?.id ?? waiting }, answer];
  });
  onUpdate<Keyed, null>(updates.remove, () => {
    children.stream?.scope.cancel();
    children.load?.scope.cancel();
    return [{ ...state, removed: true, queue: [] }, null];
  });
  wf.setHandler(wf.defineSignal<[number]>(signals.rolledForward), (run) => {
    rolledForward = run;
  });
  wf.setHandler(wf.defineSignal<[NoteEvents]>(signals.noteEvents), (note) => {
    state = noteEvents(state, note, Date.now());
  });

  wf.setHandler(wf.defineSignal<[NoteStream]>(signals.noteStream), (note) => {
    state = noteStream(state, note, Date.now());
    told();
  });
  wf.setHandler(wf.defineSignal<[number]>(signals.handOver), (run) => {
    if (state.running?.id === run) state = { ...state, handingOver: run };
    told();
  });
  wf.setHandler(wf.defineSignal<[KeepUp]>(signals.keepUp), (ask) => {
    state = keepUp(state, ask, Date.now());
    told();
  });

  const turnover = (): boolean => handled >= MAX_UPDATES || wf.workflowInfo().continueAsNewSuggested;

  /**
   * A workflow task without commands is taken for a heartbeat: a worker that has lost its cache would handle an update that comes next before
   * it knows what a child has told, and the other way round when it replays.
   */
  function told(): void {
    wf.upsertMemo({ told: ++notes });
    wf.setCurrentDetails(details(state));
  }

  /** A child in its lane. */
  async function inLane<R>(
    lane: 'stream' | 'load',
    run: Run,
    type: string,
    argument: unknown,
    about: string,
  ): Promise<R | Lost> {
    const open = newChild(run);
    children[lane] = open;
    // A cancel may have come between two workflow runs, when there was no scope.
    if (state.cancelling === run.id) open.scope.cancel();
    try {
      return await runChild<R>(open, type, runWorkflowId(state.name, run.operation, run.id), argument, about);
    } finally {
      delete children[lane];
    }
  }

  /** Runs one load; returns when it ended, or when it was asked to make room for continue-as-new. */
  async function runLoad(run: Run, resume: FullResume | null): Promise<void> {
    state = resume ? { ...state, resume: null } : begin(state, run, Date.now());
    wf.setCurrentDetails(details(state));
    const argument: FullInput = { ...fullInput(state, run), ...(resume ? { resume } : {}) };
    // Nothing is new: there is no child to ask.
    const result: FullResult =
      argument.tables.length === 0
        ? { ...NO_LOAD, state: 'succeeded', error: null, databases: state.main?.databases ?? [] }
        : {
            ...NO_LOAD,
            ...(await inLane<FullResult>('load', run, run.operation, argument, `${argument.tables.length} tables`)),
          };
    const current = state.running ?? run;
    if (result.resume && !state.removed) state = { ...state, resume: result.resume, handingOver: 0 };
    else state = end(state, current, argument, result, Date.now(), () => wf.patched('changed-tables-again'));
    ended(run, result.state);
  }

  /** Runs what takes the load lane and loads nothing. */
  async function runBeside(run: Run): Promise<void> {
    state = begin(state, run, Date.now());
    const one = beside(state, run);
    if (!one) return;
    const result = await inLane<Lost>('load', run, one.type, one.argument, one.about);
    state = one.end(state, state.running ?? run, result, Date.now());
    ended(run, result.state);
  }

  /** Runs one delta, or a continuous stream until it is asked to return. */
  async function runStream(run: Run): Promise<void> {
    state = begin(state, run, Date.now());
    wf.setCurrentDetails(details(state));
    const argument = deltaInput(state, run);
    startedWith = streamKey(state);
    const about = argument.continuous ? 'changes as they come' : 'changes';
    const done = await inLane<DeltaResult>('stream', run, 'delta', argument, about);
    const result: DeltaResult = { ...NO_STREAM, ...done };
    state = endStream(state, state.streaming ?? run, argument, result, Date.now());
    ended(run, result.state);
  }

  // A state change needs a command (see `told`).
  function ended(run: Run, how: string): void {
    if (wf.patched('run-ends-with-a-command')) wf.upsertMemo({ lastRun: { id: run.id, state: how } });
    wf.setCurrentDetails(details(state));
  }

  const lanes: Record<'stream' | 'load', Promise<void> | undefined> = { stream: undefined, load: undefined };
  /** An error in a lane is a bug: it must fail the workflow task, also while nobody awaits the lane. */
  let broken: { readonly error: unknown } | undefined;
  function occupy(lane: 'stream' | 'load', work: Promise<void>): void {
    lanes[lane] = work
      .catch((error: unknown) => {
        broken = { error };
      })
      .finally(() => {
        lanes[lane] = undefined;
      });
  }
  function startDue(): void {
    if (state.resume && state.running && !lanes.load) occupy('load', runLoad(state.running, state.resume));
    for (let run = due(state, Date.now()); run; run = due(state, Date.now())) {
      if (laneOf(run.operation) === 'stream') occupy('stream', runStream(run));
      else occupy('load', isLoad(run) ? runLoad(run, null) : runBeside(run));
    }
  }

  /** What children should be told now: to return where that lets something else go on, or that the main stream stands still. */
  function wanted(): { readonly child: OpenChild; readonly signal: 'yieldSoon' | 'mainStopped' | 'mainLost' } | null {
    const { stream, load } = children;
    if (stream?.handle && !stream.told.has('yieldSoon') && (turnover() || shouldReturn(state, startedWith)))
      return { child: stream, signal: 'yieldSoon' };
    if (load?.handle && !load.told.has('yieldSoon') && turnover()) return { child: load, signal: 'yieldSoon' };
    const word = toldToValidate(state);
    if (load?.handle && word && !load.told.has(word)) return { child: load, signal: word };
    const stopped = load !== undefined && state.handingOver === load.run.id && !state.streaming;
    return load?.handle && stopped && !load.told.has('mainStopped') ? { child: load, signal: 'mainStopped' } : null;
  }

  wf.setCurrentDetails(details(state));
  while (!state.removed) {
    if (!turnover()) startDue();
    else if (!lanes.stream && !lanes.load) break;
    const now = Date.now();
    if ((expiresAt(state) ?? now + 1) <= now) {
      state = expire(state, now);
      freeing = Promise.all([freeing, letLogGo(state)]);
    }
    const wake = turnover() ? null : wakesAt(state);
    const awake = (): boolean =>
      broken !== undefined ||
      state.removed ||
      wanted() !== null ||
      (turnover() ? !lanes.stream && !lanes.load : due(state, Date.now()) !== null || resumable());
    const before = wakesAt(state);
    if (wake === null) await wf.condition(() => awake() || wakesAt(state) !== before);
    else await wf.condition(() => awake() || wakesAt(state) !== before, Math.max(1, wake - now));
    if (broken) throw broken.error;
    for (let next = wanted(); next; next = wanted()) await tellChild(next.child, signals[next.signal]);
  }
  await Promise.all([lanes.stream, lanes.load]);
  if (broken) throw broken.error;
  await wf.condition(wf.allHandlersFinished);
  if (state.removed) return;
  await freeing;
  await wf.continueAsNew<typeof pipeline>({ ...input, state });

  function resumable(): boolean {
    return state.resume !== null && state.running !== null && !lanes.load;
  }
}
