import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { servers } from '../fakes/oracle/client.ts';
import { type FakeOracle, startOracle } from '../fakes/oracle/server.ts';
import type { Harness } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  makeDestination,
  runFull,
  runOperation,
  startPipeline,
  startWorker,
} from './run.ts';
import type { SeededSource } from './sources.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

let harness: Harness;
let server: FakeOracle;
let target: Destination;
const service = `E${randomUUID().slice(0, 8)}`;
beforeAll(async () => {
  server = startOracle();
  servers.set(service, server);
  [harness, target] = await Promise.all([startWorker(), makeDestination('singlestore')]);
});
afterAll(async () => {
  await harness?.stop();
  await target?.drop();
  server.close();
});

const COLUMNS = 'id, a, b, body, day';

/** Both ends as texts. The fake keeps dates as `SYYYY`. */
async function expectSameRows(table: string): Promise<void> {
  const there = await target.query<Record<string, string | null>>(
    `select ${COLUMNS.split(', ')
      .map((name) => `cast(${name} as char) as ${name}`)
      .join(', ')} from \`${target.db}\`.\`${table}\``,
  );
  const here = server.sql(`select ${COLUMNS} from "${table}"`);
  const text = (rows: (string | null)[][]) => rows.map((row) => JSON.stringify(row)).sort();
  expect(text(there.map((row) => COLUMNS.split(', ').map((name) => row[name] ?? null)))).toEqual(
    text(here.map((row) => row.map((value) => (value === null ? null : String(value).replace(/^ (?=\d{4}-)/, ''))))),
  );
}

it('a full extract and deltas from the Oracle fake arrive exactly, changed LOBs, changed keys and a truncate too', async () => {
  for (const table of ['orders', 'Odd Näme'])
    server.sql(
      `create table "${table}" (id NUMBER(10) not null, a NUMBER(12,2), b VARCHAR2(60), body CLOB, day DATE, primary key (id))`,
    );
  server.sql(`create table keyless (id NUMBER(10), a NUMBER(12,2), b VARCHAR2(60), body CLOB, day DATE)`);
  const row = (i: number) =>
    `(${i}, '${i}.25', ${i % 7 === 0 ? 'null' : `'row ${i} ''é🙂'' \\ \t'`}, ${i % 5 === 0 ? 'null' : `'body ${i}'`}, ' 2020-01-02 03:04:${String(i % 60).padStart(2, '0')}')`;
  for (const table of ['orders', 'Odd Näme', 'keyless'])
    server.sql(`insert into "${table}" values ${Array.from({ length: 500 }, (_, i) => row(i)).join(', ')}`);
  const source = {
    params: {
      host: 'oracle.test',
      port: '1521',
      db: service,
      uid: 'flow',
      pwd: 'flow-secret',
      type: 'rds.oracle11lfm',
    },
    database: 'FREE',
    schema: 'main',
    tables: ['orders', 'Odd Näme', 'keyless'],
  } as unknown as SeededSource;
  const handle = await startPipeline(
    harness,
    source,
    target,
    source.tables.map((name) => ({ name })),
  );
  await expectGood(handle, await runFull(handle));
  for (const table of source.tables) await expectSameRows(table);

  server.sql(
    `insert into "orders" values ${row(1000)}, ${row(1001)}`,
    `update "orders" set b = 'changed', body = 'another' where id % 10 = 3`,
    `update "orders" set id = id + 5000 where id % 50 = 7`,
    `delete from "orders" where id % 11 = 2`,
  );
  server.sql(`update "Odd Näme" set a = '-0.75', day = ' 1999-12-31 23:59:59' where id < 40`);
  await expectGood(handle, await runOperation(handle, 'delta'));
  await expectSameRows('orders');
  await expectSameRows('Odd Näme');

  server.sql('truncate table "Odd Näme"');
  server.sql(`insert into "Odd Näme" values ${row(7)}, ${row(8)}`);
  server.switchLog();
  await expectGood(handle, await runOperation(handle, 'delta'));
  await expectSameRows('orders');
  await expectSameRows('Odd Näme');
  await expectClean(target);
  expect(target.rejections()).toEqual([]);
});
