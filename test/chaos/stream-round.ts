import { setTimeout as delay } from 'node:timers/promises';
import { makeRandom, type Random } from '../../scripts/demo/random.ts';
import type { Api } from './api.ts';
import { atDestination, compare } from './checks.ts';
import { type Fleet, type Part, parts, victimOf } from './fleet.ts';
import { signal } from './process.ts';
import type { ChaosSource } from './source.ts';
import { type Operation, operate, operations, replacing, type Validated } from './stream-operations.ts';
import { showCurrent, versionTables, wrongVersions } from './stream-versions.ts';
import { accountTables, type Extra, keepWriting, MONEY } from './stream-work.ts';

export type StreamRecord = {
  readonly round: number;
  readonly source: string;
  readonly mode: string;
  readonly schedule: 'auto' | 'periodic';
  readonly operation: Operation;
  /** Victim, signal, milliseconds after the writing began, down time, and what the pipeline's status said last. */
  readonly blows: readonly {
    readonly victim: string;
    readonly signal: string;
    readonly at: number;
    readonly downMs: number;
    readonly during: string;
  }[];
  readonly transactions: number;
  /** From the end of the writing until the copy was equal. */
  readonly settleMs: number;
  readonly rows: number;
  readonly differences: number;
  /** How often all accounts were added up at the destination while the stream wrote. */
  readonly sums: number;
  /** Versions of rows whose order was checked. */
  readonly versions: number;
  /** What a comparison by the product came to. */
  readonly validated: Validated | null;
  readonly problems: readonly string[];
};

const settleMs = 240_000;

export type StreamStage = {
  readonly fleet: Fleet;
  readonly source: ChaosSource;
  readonly api: Api;
  readonly db: string;
  readonly extra: Extra;
};

/** Writes to the source, kills what the seed says, and waits until the copy is equal. */
export async function playStreamRound(stage: StreamStage, round: number, seed: number): Promise<StreamRecord> {
  const { fleet, source, api } = stage;
  const random = makeRandom(seed);
  const schedule = random.chance(70) ? 'auto' : 'periodic';
  const operation = random.pick(operations);
  const duration = schedule === 'auto' ? null : '0d00h00m01s';
  await api.send('PATCH', '/config-sched', { type: schedule, ...(duration === null ? {} : { duration }) });
  const began = Date.now();
  const kind = fleet.sourceName === 'postgres' ? 'postgres' : 'mysql';
  const work = keepWriting(source, kind, seed, { ddl: operation === 'structure', extra: stage.extra });
  // Tables change one by one when a full or a side stream puts them in place.
  const adding = replacing.includes(operation) ? undefined : addUp(stage);
  // With chances of its own: how it and the blows take turns is not the seed's.
  const operating = operate(stage, operation, round, makeRandom(seed + 1));
  const blows: StreamRecord['blows'][number][] = [];
  const struck = strike(stage, random, (blow) => blows.push({ ...blow, at: Date.now() - began }));
  const [outcome] = await Promise.all([operating, struck]);
  await delay(random.number(200, 1_500));
  const { transactions } = await work.stop();
  await fleet.ready();
  const stopped = Date.now();
  const { validated, problems: wrong } = await outcome();
  const { rows, differences, examples } = await settled(stage);
  const sums = (await adding?.stop()) ?? { sums: 0, wrong: [] };
  const odd = await strange(stage);
  const kept = await wrongVersions(fleet, stage.db, withVersions(stage));
  const problems = [...wrong, ...sums.wrong, ...(differences > 0 ? examples : []), ...odd, ...kept.problems];
  return {
    round,
    source: fleet.sourceName,
    mode: fleet.mode,
    schedule,
    operation,
    blows,
    transactions,
    settleMs: Date.now() - stopped,
    rows,
    differences,
    sums: sums.sums,
    versions: kept.versions,
    validated,
    problems,
  };
}

type Struck = { readonly victim: string; readonly signal: string; readonly downMs: number; readonly during: string };

async function strike(stage: StreamStage, random: Random, note: (blow: Struck) => void): Promise<void> {
  const { fleet } = stage;
  if (random.chance(8)) {
    // A worker that sleeps for longer than its heartbeats may stay away, and wakes up after its successor has written.
    await delay(random.number(200, 2_000));
    const pid = victimOf(fleet, 'worker', random.number(0, 1)).pid();
    const downMs = random.number(34_000, 40_000);
    note({ victim: 'worker', signal: 'SIGSTOP', downMs, during: await during(stage) });
    signal(pid, 'SIGSTOP');
    await delay(downMs);
    signal(pid, 'SIGCONT');
    await delay(2_000);
    return;
  }
  const kills = random.pick([1, 1, 2, 3]);
  await Promise.all(
    Array.from({ length: kills }, async (_, index) => {
      const part: Part = random.pick(parts);
      const [wait, downMs] = [random.number(100, 2_500) + index * random.number(0, 2_000), random.number(50, 3_000)];
      const victim = victimOf(fleet, part, random.number(0, 1));
      await delay(wait);
      note({ victim: victim.name, signal: 'SIGKILL', downMs, during: await during(stage) });
      await victim.kill9();
      await delay(downMs);
      await victim.restart();
    }),
  );
}

/** What the pipeline was at; the answer must not take longer than the blow can wait. */
async function during({ api }: StreamStage): Promise<string> {
  type Status = {
    current: {
      stream: { progress?: { phase: string } } | null;
      load: { operation: string; progress?: { phase: string } } | null;
    };
  };
  const ask = api
    .once<Status>('GET', '/status')
    .then(({ current: { stream, load } }) =>
      [stream ? 'streaming' : 'idle', ...(load ? [`${load.operation} ${load.progress?.phase ?? ''}`] : [])].join(', '),
    );
  return Promise.race([ask.catch(() => 'unknown'), delay(300, 'unknown')]);
}

function withVersions({ extra: { table } }: StreamStage): Readonly<Record<string, readonly string[]>> {
  return { ...versionTables, ...(table?.history ? { [table.name]: ['id'] } : {}) };
}

/** Compares until the copy is equal, or patience ends. */
async function settled(stage: StreamStage): Promise<Awaited<ReturnType<typeof compare>>> {
  const { fleet, source, db, extra } = stage;
  const all = { ...source, tables: [...source.tables, ...(extra.table ? [extra.table.name] : [])] };
  const kept = Object.keys(withVersions(stage));
  const look = async () => {
    const current = await showCurrent(fleet, db, kept);
    return compare(fleet, all, (table) => (kept.includes(table) ? current : db));
  };
  for (const deadline = Date.now() + settleMs; ; await delay(500)) {
    const compared = await look().catch((error: unknown) => ({
      rows: 0,
      differences: 1,
      examples: [`the comparison failed: ${String(error)}`],
    }));
    if (compared.differences === 0 || Date.now() > deadline) return compared;
  }
}

/** Adds up all accounts again and again; each answer is one snapshot. */
function addUp(stage: StreamStage): { stop(): Promise<{ sums: number; wrong: string[] }> } {
  let going = true;
  let sums = 0;
  const wrong: string[] = [];
  const parts = accountTables.map((name) => `(select sum(balance) from \`${stage.db}\`.${name})`);
  // Rows that had to be read again are newer than the stream until it has come there, and the control row says so.
  const ahead = `(select count(*) from \`${stage.db}\`._flow_tables where source_name in ('${accountTables.join("', '")}') and state <> 'consistent')`;
  const done = (async () => {
    while (going) {
      const [row] = await atDestination(stage.fleet, `select ${parts.join(' + ')} as money, ${ahead} as ahead`).catch(
        () => [],
      );
      if (row && Number(row['ahead']) === 0) {
        sums++;
        if (Number(row['money']) !== MONEY) wrong.push(`all accounts hold ${row['money']} instead of ${MONEY}`);
      }
      await delay(40);
    }
  })();
  return {
    stop: async () => {
      going = false;
      await done;
      return { sums, wrong: wrong.slice(0, 5) };
    },
  };
}

/** What should not be there once everything is quiet. */
async function strange({ fleet, api }: StreamStage): Promise<string[]> {
  type Status = { consistent: boolean; queue: string[]; current: { load: unknown }; tables: Record<string, number> };
  for (const deadline = Date.now() + settleMs; Date.now() < deadline; await delay(300)) {
    const { consistent, queue, current, tables } = await api.get<Status>('/status');
    if (queue.length > 0 || current.load !== null) continue;
    if (consistent) break;
    // A table may have been resumed while an earlier syncnew was running, which refused another one.
    if (tables['reload'] || tables['new']) await api.send('POST', '/ops/extract/syncnew');
  }
  const { tables } = await api.get<{ tables: { name: string; state: string; error: unknown }[] }>('/tables');
  const { events } = await api.get<{ events: { code: string; message: string }[] }>('/events');
  return [
    ...tables
      .filter((table) => table.state !== 'consistent')
      .map(({ name, state, error }) => `${name} is ${state}: ${JSON.stringify(error)}`),
    ...events.filter(({ code }) => ['PositionLost', 'ChildFailed'].includes(code)).map(({ message }) => message),
    ...fleet.rejections().map(({ sql, rule }) => `SingleStore would refuse (${rule}): ${sql.slice(0, 200)}`),
  ];
}
