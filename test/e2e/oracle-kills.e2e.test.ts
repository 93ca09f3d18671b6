import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { queries, type RequestAnswer, type Run, updates } from '../../src/workflows/messages.ts';
import { servers } from '../fakes/oracle/client.ts';
import { type FakeHost, startHost } from '../fakes/oracle/host.ts';
import { type FakeOracle, startOracle } from '../fakes/oracle/server.ts';
import { until } from '../workflows/harness.ts';
import { type Destination, expectClean, expectGood, makeDestination, startPipeline } from './run.ts';
import type { SeededSource } from './sources.ts';
import { startWorkerProcess, type WorkerProcess } from './worker-process.ts';

/** Each blow is missed only after a heartbeat's time: with FLOW_MATRIX (`npm run test:matrix`), where minutes are to be had. */
const whereThereIsTime = process.env['FLOW_MATRIX'] ? it : it.skip;

const TABLES = ['orders', 'lines'];
const ROWS = 20_000;
const service = `K${randomUUID().slice(0, 8)}`;

let host: FakeHost;
let server: FakeOracle;
let target: Destination;
let worker: WorkerProcess | undefined;
const blows: string[] = [];

beforeAll(async () => {
  host = await startHost();
  server = startOracle();
  servers.set(service, server);
  target = await makeDestination('singlestore');
});
afterAll(async () => {
  await worker?.stop();
  await host?.close();
  await target?.drop();
  server?.close();
});

/** kill -9 when a worker asks for this; a new one takes its place. */
function strikeAt(pattern: RegExp): void {
  server.answer(pattern, () => {
    blows.push(pattern.source);
    void worker?.replace();
    return undefined;
  });
}

/** Runs an operation to its end. While there is no worker, questions are not answered. */
async function patient(handle: WorkflowHandle, operation: 'full' | 'delta'): Promise<Run> {
  const answer = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: [{ operation }] });
  if (!answer.accepted) throw new Error(`${answer.code}: ${answer.text}`);
  const own = (): Promise<Run | undefined> =>
    handle.query<readonly Run[]>(queries.runs).then(
      (runs) => runs.find((run) => run.id === answer.run.id),
      () => undefined,
    );
  return (await until(own, (run) => run?.endedAt != null, 240_000).catch((error: Error) => {
    throw new Error(`${error.message}; ${worker?.logTail()}`);
  })) as Run;
}

async function expectSame(): Promise<void> {
  for (const table of TABLES) {
    const there = await target.query<Record<string, string | null>>(
      `select cast(id as char) id, cast(a as char) a, b, body from \`${target.db}\`.\`${table}\``,
    );
    const here = server.sql(`select id, a, b, body from "${table}"`);
    const text = (rows: unknown[][]) => rows.map((row) => JSON.stringify(row)).sort();
    expect(text(there.map(({ id, a, b, body }) => [id, a, b, body]))).toEqual(
      text(here.map((row) => row.map((value) => (value === null ? null : String(value))))),
    );
  }
}

const row = (i: number) =>
  `(${i}, '${i}.25', ${i % 7 === 0 ? 'null' : `'row ${i} ''é🙂'' \\ \t${'p'.repeat(200)}'`}, ${i % 50 === 0 ? `'body ${i}'` : 'null'})`;

whereThereIsTime('full extracts and deltas are exact when their worker is killed', { timeout: 600_000 }, async () => {
  for (const table of TABLES) {
    server.sql(
      `create table "${table}" (id NUMBER(10) not null, a NUMBER(12,2), b VARCHAR2(300), body CLOB, primary key (id))`,
    );
    for (let i = 0; i < ROWS; i += 1000)
      server.sql(`insert into "${table}" values ${Array.from({ length: 1000 }, (_, j) => row(i + j)).join(', ')}`);
  }
  // Its `oracledb` is the fake in this process.
  worker = await startWorkerProcess('oracle-kills', {
    preload: new URL('../fakes/oracle/remote.ts', import.meta.url),
    env: { FAKE_ORACLE_PORT: String(host.port) },
  });
  const source = {
    params: { host: 'h', port: '1521', db: service, uid: 'flow', pwd: 'flow-secret', type: 'rds.oracle11lfm' },
    database: 'FREE',
    schema: 'main',
  } as unknown as SeededSource;
  const handle = await startPipeline(
    worker,
    source,
    target,
    TABLES.map((name) => ({ name })),
  );
  strikeAt(/^fetch 8000 of select "id".*from "main"\."orders"/);
  strikeAt(/^fetch 15000 of select "id".*from "main"\."(?:orders|lines)"/);
  await expectGood(handle, await patient(handle, 'full'));
  await expectSame();
  expect(blows).toHaveLength(2);

  for (let i = 0; i < 40; i++) {
    const from = i * 400;
    server.sql(
      `update "orders" set b = 'changed ${i}', body = case when id % 100 = 0 then 'new ${i}' else body end where id between ${from} and ${from + 399}`,
      `update "lines" set id = id + 100000 where id between ${from} and ${from + 20}`,
      `delete from "lines" where id between ${from + 100} and ${from + 140}`,
      `insert into "lines" values ${row(200_000 + i)}`,
    );
    if (i === 15) server.switchLog();
  }
  strikeAt(/^fetch 6000 of select to_char\(scn\)/);
  strikeAt(/^fetch 12000 of select to_char\(scn\)/);
  await expectGood(handle, await patient(handle, 'delta'));
  await expectSame();
  expect(blows).toHaveLength(4);
  await expectClean(target);
  expect(target.rejections()).toEqual([]);
});
