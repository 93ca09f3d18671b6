import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Api, OpenRun } from './api.ts';

/** What a full extract does, in this order. `sealing`: closing a table whose chunks were loaded by several portions. */
export const phases = ['position', 'planning', 'loading', 'sealing', 'journal', 'promotion', 'ending'] as const;
export type Phase = (typeof phases)[number] | 'starting' | 'taking back';

const byActivity: Readonly<Record<string, Phase>> = {
  beginFull: 'position',
  planTables: 'planning',
  loadPortion: 'loading',
  failTables: 'loading',
  sealTables: 'sealing',
  journalTables: 'journal',
  promoteTables: 'promotion',
  endFull: 'ending',
  abandonFull: 'taking back',
};

/** One activity of a run, from its scheduling to its end. */
export type Step = {
  readonly phase: Phase;
  readonly from: number;
  readonly to: number | null;
  readonly attempts: number;
};

/** Every activity of a run, as its histories tell, those before a continue-as-new included. */
export async function timeline(client: Client, workflowId: string): Promise<Step[]> {
  const steps: Step[] = [];
  for await (const { runId } of client.workflow.list({ query: `WorkflowId = '${workflowId}'` })) {
    const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    const open = new Map<string, { phase: Phase; from: number; attempts: number }>();
    for (const event of events ?? []) {
      const at = Number(event.eventTime?.seconds ?? 0) * 1000 + Math.floor((event.eventTime?.nanos ?? 0) / 1e6);
      const scheduled = event.activityTaskScheduledEventAttributes;
      if (scheduled) {
        const phase = byActivity[scheduled.activityType?.name ?? ''] ?? 'starting';
        open.set(String(event.eventId), { phase, from: at, attempts: 1 });
      }
      const started = event.activityTaskStartedEventAttributes;
      const of = open.get(String(started?.scheduledEventId));
      if (started && of) of.attempts = started.attempt ?? 1;
      const ended =
        event.activityTaskCompletedEventAttributes ??
        event.activityTaskFailedEventAttributes ??
        event.activityTaskTimedOutEventAttributes ??
        event.activityTaskCanceledEventAttributes;
      const step = open.get(String(ended?.scheduledEventId));
      if (!ended || !step) continue;
      open.delete(String(ended.scheduledEventId));
      steps.push({ ...step, to: at });
    }
    for (const step of open.values()) steps.push({ ...step, to: null });
  }
  return steps.sort((a, b) => a.from - b.from);
}

/** What a run was at: the latest of the phases that were under way, or the one that had just ended. */
export function phaseAt(steps: readonly Step[], at: number): Phase {
  const begun = steps.filter((step) => step.from <= at);
  const open = begun.filter((step) => step.to === null || step.to > at);
  return (open.length > 0 ? latest(open.map((step) => step.phase)) : begun.at(-1)?.phase) ?? 'starting';
}

/** How long each phase of a run took, in milliseconds. */
export function durations(steps: readonly Step[]): Map<Phase, number> {
  const spans = Map.groupBy(steps, (step) => step.phase);
  return new Map(
    [...spans].map(([phase, own]) => [
      phase,
      Math.max(...own.map((step) => step.to ?? step.from)) - Math.min(...own.map((step) => step.from)),
    ]),
  );
}

function latest(found: readonly Phase[]): Phase | undefined {
  return [...found].sort((a, b) => order(b) - order(a))[0];
}

function order(phase: Phase): number {
  return phase === 'taking back' ? phases.length : phases.indexOf(phase as (typeof phases)[number]);
}

export type Aimed = { readonly ended: boolean; readonly phase: Phase; readonly pids: readonly number[] };

/** Waits until a run is at `phase` or past it, and says which processes hold its activities then. */
export async function untilPhase(client: Client, workflowId: string, phase: Phase): Promise<Aimed> {
  for (;;) {
    const seen = await look(client, workflowId).catch(() => undefined);
    if (seen && (seen.ended || (seen.pids.some((pid) => pid > 0) && order(seen.phase) >= order(phase)))) return seen;
    await delay(8);
  }
}

/** What a run is at now, and who holds its activities. */
export async function look(client: Client, workflowId: string): Promise<Aimed> {
  const { status, raw } = await client.workflow.getHandle(workflowId).describe();
  const pending = raw.pendingActivities ?? [];
  const now = pending.map((one) => byActivity[one.activityType?.name ?? ''] ?? 'starting');
  const phase = latest(now) ?? 'starting';
  const pids = pending
    .filter((_, index) => now[index] === phase)
    .map((one) => Number.parseInt(one.lastWorkerIdentity ?? '', 10) || 0);
  return { ended: status.name !== 'RUNNING' && status.name !== 'CONTINUED_AS_NEW', phase, pids };
}

/** What `GET status` showed last, and when. */
export type Seen = {
  readonly at: number;
  readonly state: string | null;
  readonly phase: string | null;
  readonly rows: number;
};

/** Asks for the status all the time, so that the last answer before a kill is at hand. */
export function watchStatus(api: Api): { last(): Seen | null; stop(): Promise<void> } {
  let last: Seen | null = null;
  let going = true;
  const done = (async () => {
    while (going) {
      const at = Date.now();
      const status = await api.once<{ current: { load: OpenRun | null } }>('GET', '/status').catch(() => undefined);
      const run = status?.current.load;
      if (status)
        last = { at, state: run?.state ?? null, phase: run?.progress?.phase ?? null, rows: run?.progress?.rows ?? 0 };
      await delay(40);
    }
  })();
  return {
    last: () => last,
    stop: async () => {
      going = false;
      await done;
    },
  };
}
