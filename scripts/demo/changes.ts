import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ApiClient } from './api-client.ts';
import { type DemoPipeline, grouped } from './pipeline.ts';
import { largeTable, sampleDatabase } from './sample-load.ts';

type Counts = { inserted: number; updated: number; deleted: number };
type Run = { id: number; operation: string; state: string; rows: Counts; error: { message: string } | null };
type Status = { lag: { seconds: number | null }; current: { stream: (Run & { rows: Counts }) | null } };

/** Changes the source and brings the copy there: once by a delta on request, once by a stream that stays open. */
export async function followChanges(
  api: ApiClient,
  pipeline: DemoPipeline,
  say: (line: string) => void,
): Promise<void> {
  say('Changing the source: updates, deletes, inserts, other keys, in transactions over several tables ...');
  await changeSource(pipeline, 1);
  const started = Date.now();
  const answer = await api.post('/ops/extract/delta');
  if (answer['success'] !== true) throw new Error(`the delta was refused: ${JSON.stringify(answer['reason'])}`);
  const run = await ended(api);
  if (run.state !== 'succeeded') throw new Error(`the delta ${run.state}: ${run.error?.message ?? ''}`);
  say(`  ${((Date.now() - started) / 1000).toFixed(1)} s  ${counted(run.rows)}`);

  say('From now on every change as it comes ...');
  await api.patch('/config-sched', { type: 'auto' });
  await until(api, (status) => status.current.stream !== null);
  await changeSource(pipeline, 2);
  const written = Date.now();
  // The copy is complete as of a moment after the last write.
  const status = await until(api, ({ lag }) => lag.seconds !== null && Date.now() - lag.seconds * 1000 > written + 200);
  say(
    `  ${((Date.now() - written) / 1000).toFixed(1)} s after the last commit: ${counted(status.current.stream?.rows)}`,
  );
}

async function changeSource({ kind, source }: DemoPipeline, round: 1 | 2): Promise<void> {
  const { host, port, user, password } = source;
  const quote = (name: string): string => (kind === 'postgres' ? `"${name}"` : `\`${name}\``);
  const statements = [
    `update orders set status = 'Shipped 🚚' where ${quote('orderNumber')} % 7 = ${round}`,
    `update customers set city = 'Lyon', ${quote('postalCode')} = null where ${quote('customerNumber')} % 20 = ${round}`,
    `delete from payments where ${quote('customerNumber')} = ${round + 4}`,
    'commit; begin',
    `update ${largeTable} set comment = 'corrected', total = total + 1 where id % 100 = ${round}`,
    `delete from ${largeTable} where id % 1000 = ${10 + round}`,
    `insert into ${largeTable} (id, sensor, measured_at, total, status) select id + ${round} * 10000000, sensor, measured_at, total, 'new ✓' from ${largeTable} where id <= 5000`,
    'commit; begin',
    `update ${largeTable} set id = id + 90000000 where id between ${round} * 6000 and ${round} * 6000 + 100`,
  ];
  const text = `begin; ${statements.join('; ')}; commit`;
  if (kind === 'postgres') {
    const client = new pg.Client({ host, port, user, password, database: sampleDatabase });
    await client.connect();
    await client.query(text);
    await client.end();
    return;
  }
  const options = {
    host,
    port,
    user,
    password,
    database: sampleDatabase,
    charset: 'utf8mb4',
    multipleStatements: true,
  };
  const client = await mysql.createConnection(options);
  await client.query(text);
  await client.end();
}

async function ended(api: ApiClient): Promise<Run> {
  for (; ; await delay(200)) {
    const { runs } = (await api.get('/runs', 'quiet')) as { runs: Run[] };
    const run = runs.find(({ operation }) => operation === 'delta');
    if (run && !['queued', 'running'].includes(run.state)) return run;
  }
}

async function until(api: ApiClient, good: (status: Status) => boolean): Promise<Status> {
  for (const deadline = Date.now() + 120_000; Date.now() < deadline; await delay(200)) {
    const status = (await api.get('/status', 'quiet')) as Status;
    if (good(status)) return status;
  }
  throw new Error('The stream did not catch up within two minutes.');
}

function counted(rows: Counts | undefined): string {
  const { inserted = 0, updated = 0, deleted = 0 } = rows ?? {};
  return `${grouped(inserted)} inserted, ${grouped(updated)} updated, ${grouped(deleted)} deleted`;
}
