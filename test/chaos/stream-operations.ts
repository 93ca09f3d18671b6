import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../scripts/demo/random.ts';
import type { Run } from '../../src/workflows/messages.ts';
import { atDestination } from './checks.ts';
import type { SourceSession } from './source.ts';
import type { StreamStage } from './stream-round.ts';
import { versionTables } from './stream-versions.ts';
import { STILL } from './stream-work.ts';

/** What else an operator does in a round. `added`: a new table by syncnew; `added, full`: and a full extract while it is loaded. */
export const operations = [
  'nothing',
  'nothing',
  'full',
  'syncnew',
  'pause',
  'toggle',
  'structure',
  'structure',
  'validate',
  'repair',
  'added',
  'added, full',
] as const;
export type Operation = (typeof operations)[number];

/** Operations that put tables in place one by one, between which sums over them are not true. */
export const replacing: readonly Operation[] = ['full', 'syncnew', 'pause', 'added, full'];

/** How a comparison by the product ended. */
export type Validated = NonNullable<Run['check']>;
export type Outcome = { readonly validated: Validated | null; readonly problems: readonly string[] };
const NOTHING: Outcome = { validated: null, problems: [] };

/** How long a comparison may go on once nothing is written or killed any more. */
const VALIDATE_MS = 240_000;

/** Does it; what is returned waits for its outcome. */
export async function operate(
  stage: StreamStage,
  operation: Operation,
  round: number,
  random: Random,
): Promise<() => Promise<Outcome>> {
  const { api } = stage;
  const child = pathOf(stage, 'child');
  await delay(random.number(0, 1_000));
  switch (operation) {
    case 'full':
      await api.send('POST', '/ops/extract/full');
      break;
    case 'syncnew':
      await api.send('PATCH', `/config-tab/${child}`, { select: 'N' });
      await api.send('PATCH', `/config-tab/${child}`, { select: 'Y' });
      await api.send('POST', '/ops/extract/syncnew');
      break;
    case 'pause':
      await api.send('POST', `/tables/${child}/pause`);
      await delay(random.number(0, 1_500));
      await api.send('POST', `/tables/${child}/resume`);
      await api.send('POST', '/ops/extract/syncnew');
      break;
    case 'toggle':
      await api.send('POST', '/scheduler/off', { reason: 'chaos' });
      await delay(random.number(0, 1_500));
      await api.send('POST', '/scheduler/on');
      break;
    case 'validate':
      return validate(stage, 0);
    case 'repair':
      return validate(stage, await spoil(stage, random));
    case 'added':
    case 'added, full':
      await addTable(stage, round, random);
      await delay(random.number(0, 1_500));
      if (operation === 'added, full') await api.send('POST', '/ops/extract/full');
      break;
    default:
  }
  return async () => NOTHING;
}

function pathOf({ source }: StreamStage, table: string): string {
  return [...source.path, table].map(encodeURIComponent).join('/');
}

/** A new table, written to while it is loaded; the one of an earlier round leaves the pipeline and the source. */
async function addTable(stage: StreamStage, round: number, random: Random): Promise<void> {
  const { api, source, extra } = stage;
  const before = extra.table;
  const table = `fresh_${round}`;
  extra.table = null;
  if (before) await api.send('PATCH', `/config-tab/${pathOf(stage, before.name)}`, { select: 'N' });
  await insist(source.connect, [
    ...(before ? [`drop table if exists ${before.name}`] : []),
    `drop table if exists ${table}`,
    `create table ${table} (id int primary key, seq bigint not null, note varchar(60))`,
    `insert into ${table} select id, 0, b from big where id between 1 and 20000`,
  ]);
  const history = random.chance(50);
  extra.table = { name: table, history };
  await api.send('PATCH', `/config-tab/${pathOf(stage, table)}`, { select: 'Y', ...(history ? { history: 'Y' } : {}) });
  await api.send('POST', '/ops/extract/syncnew');
}

/** All statements, from the first one again when the server is killed meanwhile. */
async function insist(connect: () => Promise<SourceSession>, statements: readonly string[]): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await delay(200)) {
    let session: SourceSession | undefined;
    try {
      session = await connect();
      for (const sql of statements) await session.query(sql);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    } finally {
      await session?.close().catch(() => {});
    }
  }
}

/** Changes rows of the copy that nobody writes to; how many. Repeated, it changes nothing more. */
async function spoil({ fleet, db }: StreamStage, random: Random): Promise<number> {
  const ids = [random.number(1, 300), random.number(301, 600), random.number(601, STILL)];
  const sql = `update ${db}.still set v = concat('not ', id) where id = ${ids[0]}; update ${db}.still set b = null where id = ${ids[1]};
    delete from ${db}.still where id = ${ids[2]}; insert ignore into ${db}.still (id, v) values (${STILL + 1}, 'from nowhere')`;
  for (const deadline = Date.now() + 60_000; ; await delay(200)) {
    try {
      await atDestination(fleet, sql);
      return 4;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

/** A comparison by the product, which must find `different` rows and have them repaired. */
async function validate({ api, source }: StreamStage, different: number): Promise<() => Promise<Outcome>> {
  const tables = source.tables.filter((name) => !(name in versionTables)).map((name) => `${source.schema}.${name}`);
  const body = { repair: different > 0, tables };
  type Answer = { success: boolean; run?: Run; reason?: unknown };
  const { run, reason } = await api.send<Answer>('POST', '/ops/extract/validate', body);
  if (!run) throw new Error(`validate was refused: ${JSON.stringify(reason)}`);
  return async () => {
    for (const deadline = Date.now() + VALIDATE_MS; ; await delay(500)) {
      const { state, endedAt, error, check } = await api.get<Run>(`/runs/${run.id}`);
      if (endedAt === null && Date.now() < deadline) continue;
      const validated = check ?? null;
      const wanted = { tables: tables.length, different, repaired: different, failed: 0, skipped: 0 };
      const good =
        state === 'succeeded' && Object.entries(wanted).every(([name, n]) => check?.[name as keyof Validated] === n);
      const found = `${state} ${JSON.stringify(check)} ${error?.message ?? ''}`;
      return {
        validated,
        problems: good ? [] : [`validate run ${run.id} instead of ${JSON.stringify(wanted)}: ${found}`],
      };
    }
  };
}
