import { setTimeout as delay } from 'node:timers/promises';
import { openSource } from './changes.ts';
import { type Bench, sourceNames, sourceOf } from './load.ts';
import { openMysql } from './orders.ts';
import type { PipeSource } from './pipe.ts';
import { baseOf, makePipeline, runFull } from './product.ts';
import type { Figure } from './report.ts';
import { readCpu, usedBetween } from './sample.ts';

/** What pipelines cost that have nothing to do. */

const MANUAL = 100;
const STREAMS = 5;
const SETTLE_SECONDS = 20;
const SECONDS = 60;
const GOAL_PERCENT = 5;
const TABLE = 'bench_idle';
const kinds: readonly PipeSource[] = ['pg', 'mysql'];

/** CPU of API and worker with pipelines of manual schedules and streams of an idle source. */
export async function measureIdle(bench: Bench): Promise<Figure[]> {
  const { product, servers, say } = bench;
  say(`Making ${MANUAL} pipelines, and ${STREAMS} streams of each source ...`);
  for (let n = 0; n < MANUAL; n++) {
    const base = baseOf(`manual-${n}`);
    await product.call('POST', '/pipelines', { name: `manual-${n}` });
    await product.call('PATCH', `${base}/config-sched`, { type: 'manual' });
  }
  const streams: { readonly name: string; readonly db: string }[] = [];
  for (const kind of kinds) {
    await write(bench, kind, `create table ${TABLE} (id int primary key, v varchar(20))`);
    await write(bench, kind, `insert into ${TABLE} values (1, 'first')`);
    const source = sourceOf(servers, kind);
    for (let n = 0; n < STREAMS; n++) {
      const [name, db] = [`idle-${kind}-${n}`, `copy_idle_${kind}_${n}`];
      const about = { name, db, source: source.params, destination: servers.destination, path: source.path };
      await makePipeline(product, { ...about, tables: [TABLE] });
      await runFull(product, name);
      await product.call('PATCH', `${baseOf(name)}/config-sched`, { type: 'auto' });
      streams.push({ name, db });
    }
  }
  await delay(SETTLE_SECONDS * 1_000);
  const pids = {
    tool: product.worker,
    api: product.api,
    temporal: servers.temporal.pid,
    source: servers.postgres.pid,
    destination: servers.destination.pid,
  };
  const before = readCpu(pids);
  await delay(SECONDS * 1_000);
  const used = usedBetween(before, readCpu(pids));
  await expectAlive(bench, streams);
  const percent = (seconds: number) => (100 * seconds) / SECONDS;
  const ours = percent(used.tool + used.api);
  const beside = `worker ${percent(used.tool).toFixed(1)} %, API ${percent(used.api).toFixed(1)} %; beside them Temporal ${percent(used.temporal).toFixed(1)} %, ${sourceNames.pg} ${percent(used.source).toFixed(1)} %, destination ${percent(used.destination).toFixed(1)} %`;
  return [
    {
      name: `idle: ${MANUAL} pipelines with manual schedules, ${STREAMS * kinds.length} in auto, over ${SECONDS} s`,
      value: `${ours.toFixed(1)} % of a core (${beside})`,
      goal: `< ${GOAL_PERCENT} %`,
      reached: ours < GOAL_PERCENT,
    },
  ];
}

/** A change still reaches every copy: nothing was idle because it was dead. */
async function expectAlive(bench: Bench, streams: readonly { readonly name: string; readonly db: string }[]) {
  for (const kind of kinds) await write(bench, kind, `insert into ${TABLE} values (2, 'last')`);
  const client = await openMysql(bench.servers.destination);
  try {
    const until = Date.now() + 30_000;
    for (const { name, db } of streams)
      for (;;) {
        const [rows] = await client.query(`select v from ${db}.${TABLE} where id = 2`);
        if ((rows as { v: string }[])[0]?.v === 'last') break;
        if (Date.now() > until) throw new Error(`${name} does not follow its source any more`);
        await delay(100);
      }
  } finally {
    await client.end();
  }
}

async function write({ servers }: Bench, kind: PipeSource, sql: string): Promise<void> {
  const session = await openSource(servers, kind);
  await session.query(sql);
  await session.end();
}
