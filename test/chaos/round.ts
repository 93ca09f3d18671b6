import { setTimeout as delay } from 'node:timers/promises';
import { makeRandom, type Random } from '../../scripts/demo/random.ts';
import type { Run } from '../../src/workflows/messages.ts';
import { type Api, requestFull, runEnd } from './api.ts';
import { compare, fingerprint, leftovers } from './checks.ts';
import type { Card } from './deck.ts';
import { type Fleet, type Part, type Victim, victimOf } from './fleet.ts';
import { type Aimed, look, type Phase, phaseAt, timeline, untilPhase, watchStatus } from './phases.ts';
import { signal } from './process.ts';
import type { Blow, RoundRecord } from './record.ts';
import { keepSaving } from './settings.ts';
import type { ChaosSource } from './source.ts';

/** A pipeline that lives for some rounds. */
export type Session = {
  readonly api: Api;
  readonly db: string;
  /** Fulls that succeeded: from the second on live copies are replaced. */
  loaded: number;
};

/** Longer than a heartbeat may stay away (30 s). */
const zombieMs = [36_000, 42_000] as const;
const runPatienceMs = 420_000;

type Stage = {
  readonly fleet: Fleet;
  readonly session: Session;
  readonly card: Card;
  readonly random: Random;
  readonly workflowId: string;
  readonly watch: ReturnType<typeof watchStatus>;
  readonly blows: Omit<Blow, 'phase' | 'midRun'>[];
};

/** Plays one round: a full extract, blows, recovery, comparison. `usual` are the phases' times without blows. */
export async function playRound(
  fleet: Fleet,
  source: ChaosSource,
  session: Session,
  card: Card,
  attempt: number,
  usual: ReadonlyMap<Phase, number>,
): Promise<Omit<RoundRecord, 'servers'>> {
  const random = makeRandom(card.seed + attempt);
  const before = card.kind === 'cancel' ? await fingerprint(fleet, session.db) : '';
  const repeated = session.loaded > 0;
  const run = await requestFull(session.api);
  const workflowId = `pipeline/${session.api.pipeline}/full/${run.id}`;
  const stage: Stage = { fleet, session, card, random, workflowId, watch: watchStatus(session.api), blows: [] };
  const saving = card.kind === 'settings' ? keepSaving(session.api) : undefined;
  await strikeAll(stage, (card.share + attempt * 0.13) % 1, usual);
  const ended = await runEnd(session.api, run.id, runPatienceMs);
  await stage.watch.stop();
  const saved = await saving?.check();
  const cancel = await stageCancel(stage);
  if (ended.state === 'succeeded') session.loaded++;

  const steps = await timeline(fleet.client, workflowId);
  const blows = stage.blows.map((blow): Blow => {
    const at = Date.parse(blow.at);
    return { ...blow, phase: phaseAt(steps, at), midRun: at < Date.parse(ended.endedAt ?? '') };
  });
  const problems = [...(saved?.lost ?? []), ...outcomeProblems(card, ended)];
  const expected = { pipeline: session.api.pipeline, db: session.db, loaded: session.loaded > 0 };
  problems.push(...(await leftovers(fleet, source, expected)));
  let rows = 0;
  let differences = 0;
  if (ended.state === 'succeeded') {
    const compared = await compare(fleet, source, session.db);
    ({ rows, differences } = compared);
    problems.push(...compared.examples);
  } else if (card.kind === 'cancel' && (await fingerprint(fleet, session.db)) !== before)
    problems.push('a cancelled run has changed copies');
  return {
    card,
    mode: fleet.mode,
    attempt,
    pipeline: session.api.pipeline,
    run: run.id,
    repeated,
    blows,
    outcome: ended.state,
    cancel,
    settings: saved ? { acknowledged: saved.acknowledged, unanswered: saved.unanswered } : null,
    startedAt: ended.startedAt,
    endedAt: ended.endedAt,
    recoveryMs:
      blows.length === 0 ? 0 : Date.parse(ended.endedAt ?? '') - Math.max(...blows.map((blow) => Date.parse(blow.at))),
    retries: steps.reduce((sum, step) => sum + step.attempts - 1, 0),
    rows,
    differences,
    problems,
    counted: blows.length >= card.victims.length && blows.every((blow) => blow.midRun && blow.phase !== 'starting'),
  };
}

function outcomeProblems(card: Card, run: Run): string[] {
  if (run.state === 'succeeded' || (card.kind === 'cancel' && run.state === 'cancelled')) return [];
  return [`the run ${run.state}: ${run.error?.message ?? 'no error'}`];
}

const cancels = new WeakMap<Stage, Promise<RoundRecord['cancel']>>();

function stageCancel(stage: Stage): Promise<RoundRecord['cancel']> {
  return cancels.get(stage) ?? Promise.resolve(null);
}

async function strikeAll(stage: Stage, share: number, usual: ReadonlyMap<Phase, number>): Promise<void> {
  const { card, fleet, random, workflowId } = stage;
  const aimed = await untilPhase(fleet.client, workflowId, card.phase);
  if (aimed.ended) return;
  // What it takes to see a phase begin and to strike is a good part of the shortest phases.
  const wait = aimed.phase === card.phase ? Math.max(0, share * (usual.get(card.phase) ?? 0) - 30) : 0;
  if (card.kind === 'cancel') cancels.set(stage, cancelLater(stage, random.number(0, Math.round(wait) + 3_000)));
  await delay(wait);
  // Who holds an activity may have changed.
  const now = card.victims.includes('worker') ? await look(fleet.client, workflowId).catch(() => aimed) : aimed;
  if (card.kind === 'zombie') return stopAndWake(stage, now);
  if (card.kind === 'double') {
    const downs = card.victims.map((part, index) =>
      kill(stage, chosen(stage, part, now), now, card.downMs + index * random.number(0, 2_000)),
    );
    await Promise.all(downs);
    return;
  }
  const victim = chosen(stage, card.victims[0] as Part, now);
  for (const [index] of card.victims.entries()) {
    if (index > 0) await delay(random.number(200, 2_500));
    await kill(stage, victim, now, index === 0 ? card.downMs : random.number(100, 3_000));
  }
}

/** Of the workers one that holds an activity of the run, if any does. */
function chosen({ fleet, random }: Stage, part: Part, aimed: Aimed): Victim {
  return victimOf(
    fleet,
    part,
    random.number(0, 7),
    aimed.pids.find((pid) => pid > 0),
  );
}

/** Kills a victim, and brings it back after `downMs`. */
async function kill(stage: Stage, victim: Victim, aimed: Aimed, downMs: number): Promise<void> {
  const blow = note(stage, victim.name, 'SIGKILL', aimed.pids.includes(victim.pid()), downMs);
  const gone = victim.kill9();
  stage.blows.push(blow);
  await gone;
  await delay(downMs);
  await victim.restart();
}

async function stopAndWake(stage: Stage, aimed: Aimed): Promise<void> {
  const { random } = stage;
  const victim = chosen(stage, 'worker', aimed);
  const pid = victim.pid();
  const forMs = random.number(...zombieMs);
  const blow = note(stage, victim.name, 'SIGSTOP', aimed.pids.includes(pid), forMs);
  signal(pid, 'SIGSTOP');
  stage.blows.push(blow);
  await delay(forMs);
  signal(pid, 'SIGCONT');
  // What it was about to write, it writes now.
  await delay(3_000);
}

function note(
  stage: Stage,
  victim: string,
  name: Blow['signal'],
  busy: boolean,
  downMs: number,
): Stage['blows'][number] {
  const now = Date.now();
  const last = stage.watch.last();
  const seen = last && { state: last.state, phase: last.phase, rows: last.rows, ageMs: now - last.at };
  return { victim, signal: name, at: new Date(now).toISOString(), seen, busy, downMs };
}

async function cancelLater({ session }: Stage, ms: number): Promise<RoundRecord['cancel']> {
  await delay(ms);
  const answer = await session.api.send<{ cancelled: number[]; refused: unknown[] }>('POST', '/ops/cancel');
  if (answer.cancelled.length > 0) return 'cancelled';
  return answer.refused.length > 0 ? 'refused' : 'too late';
}
