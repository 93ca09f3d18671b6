/** How a pipeline looks: to the API and in Temporal's Web UI. */
import { captureOf, sourceCode } from '../codes.ts';
import { changes, heldDetails, label } from './labels.ts';
import type { PipelineConfig, PipelineOverview, Run, Scheduler } from './messages.ts';
import { streamRun, wakeAt } from './schedule.ts';
import { type PipelineState, selectedTables } from './state.ts';

export function overview(state: PipelineState): PipelineOverview {
  const counts: Record<string, number> = {};
  const selected = selectedTables(state);
  for (const table of selected) counts[table.state] = (counts[table.state] ?? 0) + 1;
  return {
    pipeline: state.name,
    state: state.positionLost ? 'needs_full' : state.everFull ? 'ready' : 'new',
    consistent: state.main !== null && !state.positionLost && counts['consistent'] === selected.length,
    scheduler: scheduler(state),
    current: { stream: state.streaming, load: state.running },
    queue: state.queue.map((run) => run.operation),
    lag: { seconds: null, bytes: null, logHoursLeft: null },
    position: state.position,
    tables: counts,
    streamedAt: state.streamedAt,
    completeAt: state.completeAt,
    ...(captureOf(state.source.params) === 'timestamp' ? { notice: UNSEEN } : {}),
    ...state.sight,
  };
}

const UNSEEN =
  'Changes are found by cursor columns: deleted rows, changed keys, and writes that leave these columns as they were are not seen. `validate` finds them.';

export function configOf(state: PipelineState): PipelineConfig {
  const { name, zone, source, destination, licence, schedule, main } = state;
  return { name, zone, source, destination, licence, schedule, scheduler: scheduler(state), main };
}

function scheduler(state: PipelineState): Scheduler {
  const ticks = state.scheduler.on && state.main !== null && !state.positionLost;
  const next = wakeAt(state) ?? (ticks ? state.nextDue : null);
  return { ...state.scheduler, nextDueAt: next === null ? null : new Date(next).toISOString() };
}

/** Newest first: what waits, what runs, what ended. */
export function allRuns(state: PipelineState): Run[] {
  const open = [state.running, state.streaming].filter((run) => run !== null);
  return [...state.runs, ...open, ...state.queue].sort((a, b) => b.id - a.id);
}

/** The pipeline in Temporal's Web UI. */
export function details(state: PipelineState): string {
  const view = overview(state);
  const type = state.source.params['type'] ?? '';
  const at = (side: 'source' | 'destination') =>
    `${state[side].params['host'] ?? 'not set'}:${state[side].params['port'] ?? ''}`;
  const open = [...new Set([state.running, streamRun(state)])].filter((run) => run !== null);
  const running = open.map((run) => `**${label(run.operation)}**, run ${run.id}, since ${run.startedAt}`);
  const states = Object.entries(view.tables).map(([name, count]) => `${count} ${name}`);
  const last = state.runs.at(-1);
  const due = view.scheduler.nextDueAt ? `, next ${view.scheduler.nextDueAt}` : '';
  return [
    `${sourceCode(type)?.product ?? 'no source'} at ${at('source')} → ${at('destination')}`,
    '',
    `* now: ${running.join('; ') || 'idle'}`,
    `* queue: ${view.queue.map(label).join(', ') || 'empty'}`,
    `* tables: ${states.join(', ') || 'none selected'}`,
    `* scheduler: ${state.scheduler.on ? 'on' : 'off'} (${state.scheduler.reason})${due}`,
    ...(state.sight.applied ? appliedDetails(state.sight.applied) : []),
    ...heldDetails({ ...state.sight, completeAt: state.completeAt, at: state.streamedAt }),
    ...(view.notice ? [`* ${view.notice}`] : []),
    ...(state.position ? [`* position: ${state.position}${state.positionLost ? ', **lost**' : ''}`] : []),
    last ? `* last run: ${lastRun(last)}` : '* last run: none',
  ].join('\n');
}

function appliedDetails(applied: NonNullable<PipelineState['sight']['applied']>): string[] {
  const { changedAt, writtenAt } = applied;
  return [
    `* changes in all: ${changes(applied)}`,
    `* last change of the source: ${changedAt ?? 'none yet'}, written ${writtenAt ?? 'never'}`,
  ];
}

function lastRun({ operation, id, state, rows, error }: Run): string {
  const count = rows.inserted + rows.updated + rows.deleted;
  const what = count > 0 ? `${count} changes` : `${rows.loaded} rows`;
  return `${label(operation)} ${id} ${state}, ${what}${error ? `: ${error.message}` : ''}`;
}
