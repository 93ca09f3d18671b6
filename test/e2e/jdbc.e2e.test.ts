import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type RequestAnswer, updates } from '../../src/workflows/messages.ts';
import { drivers, jarsOf } from '../drivers/jdbc/fixture.ts';
import type { Harness } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

async function postgresByJdbc(): Promise<SeededSource> {
  const server = inject('postgres15');
  const source = await seedPostgres(server, 10_000);
  const url = `jdbc:postgresql://${server.host}:${server.port}/${source.database}`;
  return { ...source, params: byJdbc(source, 'org.postgresql.Driver', url, jarsOf('postgres')) };
}

async function mariadbByJdbc(): Promise<SeededSource> {
  const server = inject('mariadb');
  const source = await seedMysql(server, 10_000);
  const url = `jdbc:mariadb://${server.host}:${server.port}/`;
  return { ...source, params: byJdbc(source, 'org.mariadb.jdbc.Driver', url, jarsOf('mariadb')) };
}

function byJdbc({ params }: SeededSource, drv: string, url: string, folder: string): Record<string, string> {
  const { db: _db, ...rest } = params;
  return { ...rest, type: 'rds.jdbcfe', drv, url, jdbc_drivers: folder };
}

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

describe.skipIf(!drivers).each([
  ['PostgreSQL', postgresByJdbc],
  ['MariaDB', mariadbByJdbc],
] as const)('a full extract by JDBC from %s', (_name, seed) => {
  let source: SeededSource;
  let target: Destination;
  beforeAll(async () => {
    [source, target] = await Promise.all([seed(), makeDestination('singlestore')]);
  });
  afterAll(async () => {
    await source?.drop();
    await target?.drop();
  });

  it('copies every table exactly, twice; a delta is refused for what it is', { timeout: 300_000 }, async () => {
    const tables = source.tables.map((name) => ({ name }));
    const handle = await startPipeline(harness, source, target, tables);
    const first = await runFull(handle, 280_000);
    await expectGood(handle, first);
    expect(first.rows.loaded).toBeGreaterThan(10_000);
    await expectSame(source, target, source.tables);
    const asked = [{ operation: 'delta' }] as [unknown];
    const delta = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: asked });
    expect(delta).toMatchObject({
      accepted: false,
      code: 'full_only',
      text: expect.stringContaining('full extracts only'),
    });
    await source.run("delete from big where id % 3 = 0; insert into empty_table values (1, null), (2, '')");
    await expectGood(handle, await runFull(handle, 280_000));
    await expectSame(source, target, source.tables);
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
  });
});
