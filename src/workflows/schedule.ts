/** Which run starts when, as pure functions of a pipeline's state: lanes, the queue, and the scheduler's ticks (DESIGN.md §4). */
import { nextDue } from './calendar.ts';
import { leavingTables } from './destinations.ts';
import type { Lane, Operation, Run } from './messages.ts';
import { expiresAt } from './pause.ts';
import { newRun, type PipelineState } from './state.ts';

/** A scheduled delta that failed is tried again after a pause that doubles up to the longest. */
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 300_000;

/** Full and rollback need both lanes. */
export function laneOf(operation: Operation): Lane | 'both' {
  if (operation === 'full' || operation === 'rollback') return 'both';
  return operation === 'delta' || operation === 'syncstruct' ? 'stream' : 'load';
}

/** What the stream lane runs, whichever operation: a full extract takes it, too. */
export function streamRun(state: PipelineState): Run | null {
  return state.streaming ?? (state.running && laneOf(state.running.operation) === 'both' ? state.running : null);
}

/** A run that can start now. Whatever waits behind an exclusive operation waits for it. */
export function due(state: PipelineState, now: number): Run | null {
  for (const run of state.queue) {
    if (isFree(state, laneOf(run.operation))) return run;
    if (laneOf(run.operation) === 'both') return null;
  }
  return isFree(state, 'stream') && isTicking(state) && (state.nextDue ?? now) <= now
    ? { ...newRun(state, 'delta', now), scheduled: true }
    : null;
}

/** When `due` should be asked again although nothing happened, ms; null: never. */
export function wakeAt(state: PipelineState): number | null {
  return isFree(state, 'stream') && isTicking(state) ? state.nextDue : null;
}

/** When the pipeline must look again although nothing happened, ms: a run is due, or the time of a kept log is over; null: never. */
export function wakesAt(state: PipelineState): number | null {
  const times = [wakeAt(state), expiresAt(state)].filter((time) => time !== null);
  return times.length === 0 ? null : Math.min(...times);
}

/** Whether the scheduler starts deltas: once a full extract has been made, and as long as its position holds. */
function isTicking({ scheduler, schedule, main, positionLost, removed }: PipelineState): boolean {
  return scheduler.on && schedule.type !== 'manual' && main !== null && !positionLost && !removed;
}

function isFree(state: PipelineState, lane: Lane | 'both'): boolean {
  const load = state.running === null;
  const stream = streamRun(state) === null && state.handingOver === 0;
  if (lane === 'load') return load;
  return lane === 'stream' ? stream : load && stream;
}

/** The scheduler's next tick after a delta that began, ended well or failed at `now`. */
export function tickAfter(state: PipelineState, now: number): number | null {
  if (state.failures > 0) return now + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (state.failures - 1));
  return nextDue(state.schedule, state.zone, now);
}

/** Streams on instead of ending at the log's end. */
export function isContinuous(state: PipelineState, run: Run): boolean {
  return run.operation === 'delta' && run.scheduled === true && state.schedule.type === 'auto';
}

/** What a stream was started with; with anything else it must return, and is started again. */
export function streamKey(state: PipelineState): string {
  const { source, destination, scheduler, schedule } = state;
  return JSON.stringify([source.revision, destination.revision, scheduler.on && schedule.type, leavingTables(state)]);
}

/** Whether a continuous stream should return at its next boundary. */
export function shouldReturn(state: PipelineState, startedWith: string): boolean {
  if (state.handingOver !== 0 || streamKey(state) !== startedWith) return true;
  return state.queue.some((run) => laneOf(run.operation) !== 'load');
}

/** The queue with a run that made room: it goes on behind what it made room for, or the two would make room for each other for ever. */
export function queueBehind(queue: readonly Run[], run: Run): readonly Run[] {
  const last = queue.findLastIndex(({ operation }) => laneOf(operation) !== 'load') + 1;
  return queue.toSpliced(last, 0, run);
}
