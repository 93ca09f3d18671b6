import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { queries, type RequestAnswer, type Run, updates } from '../../src/workflows/messages.ts';
import { childrenOf } from '../chaos/process.ts';
import { drivers, jarsOf } from '../drivers/jdbc/fixture.ts';
import { type Harness, until } from '../workflows/harness.ts';
import { expectClean, expectGood, expectSame, makeDestination, runFull, startPipeline, startWorker } from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';
import { startWorkerProcess } from './worker-process.ts';

async function postgresByJdbc(): Promise<SeededSource> {
  const server = inject('postgres15');
  const source = await seedPostgres(server, 2_000);
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

/** Selects every row, and takes a second for it. */
const slowly = 'id % 200 <> 0 or pg_sleep(0.1) is not null';

/** The tables of a source; `big` is read slowly. */
function choices(source: SeededSource) {
  return source.tables.map((name) => ({ name, ...(name === 'big' && { options: { where: slowly } }) }));
}

/** JVMs of JDBC sources among the children of a process. */
function jvmsOf(pid: number): number[] {
  return childrenOf(pid).filter((child) => {
    try {
      return readFileSync(`/proc/${child}/cmdline`, 'latin1').includes('FlowJdbc');
    } catch {
      return false;
    }
  });
}

/** Waits until the slow table is under way at the source. */
async function reading(source: SeededSource): Promise<void> {
  const count = `select count(*)::int as n from pg_stat_activity where datname = '${source.database}' and application_name = 'flow-ingest'
    and query like '%pg_sleep%' and query not like '%1 = 0%' and (state = 'active' or state = 'idle in transaction')`;
  await until(
    async () => ((await source.run(count)) as { n: number }[])[0]?.n ?? 0,
    (n) => n > 0,
    60_000,
  );
}

describe.skipIf(!drivers)('a full extract by JDBC', () => {
  let harness: Harness;
  beforeAll(async () => {
    harness = await startWorker();
  });
  afterAll(() => harness?.stop());

  it('from PostgreSQL is exact though its JVMs are killed, and again; a delta is refused for what it is', async () => {
    const [source, target] = await Promise.all([postgresByJdbc(), makeDestination('singlestore')]);
    try {
      const handle = await startPipeline(harness, source, target, choices(source));
      const full = runFull(handle, 100_000);
      await reading(source);
      const killed = jvmsOf(process.pid);
      expect(killed.length).toBeGreaterThan(0);
      for (const pid of killed) process.kill(pid, 'SIGKILL');
      await expectGood(handle, await full);
      await expectSame(source, target, source.tables);
      const asked = [{ operation: 'delta' }] as [unknown];
      const delta = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: asked });
      expect(delta).toMatchObject({
        accepted: false,
        code: 'full_only',
        text: expect.stringContaining('full extracts only'),
      });
      await source.run("delete from big where id % 3 = 0; insert into empty_table values (1, null), (2, '')");
      await expectGood(handle, await runFull(handle, 100_000));
      await expectSame(source, target, source.tables);
      await expectClean(target);
      expect(target.rejections()).toEqual([]);
    } finally {
      await source.drop();
      await target.drop();
    }
  }, 240_000);

  it.runIf(process.env['FLOW_MATRIX'])(
    'from MariaDB is exact',
    async () => {
      const [source, target] = await Promise.all([mariadbByJdbc(), makeDestination('singlestore')]);
      try {
        const tables = source.tables.map((name) => ({ name }));
        const handle = await startPipeline(harness, source, target, tables);
        const run = await runFull(handle, 280_000);
        await expectGood(handle, run);
        expect(run.rows.loaded).toBeGreaterThan(10_000);
        await expectSame(source, target, source.tables);
        await expectClean(target);
        expect(target.rejections()).toEqual([]);
      } finally {
        await source.drop();
        await target.drop();
      }
    },
    300_000,
  );
});

/** Waits for a heartbeat to be missed. */
describe.runIf(drivers && process.env['FLOW_MATRIX'])('a worker that is killed', () => {
  it('takes its JVMs with it, and the next one makes the copy exact', async () => {
    const [source, target] = await Promise.all([postgresByJdbc(), makeDestination('mariadb')]);
    const worker = await startWorkerProcess('jdbc-kills');
    try {
      const handle = await startPipeline(worker, source, target, choices(source));
      const asked = [{ operation: 'full' }] as [unknown];
      const answer = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: asked });
      expect(answer).toMatchObject({ accepted: true });
      await reading(source);
      const jvms = jvmsOf(worker.pid());
      expect(jvms.length).toBeGreaterThan(0);
      await worker.kill9();
      await until(
        async () => jvms.filter((pid) => isAlive(pid)).length,
        (alive) => alive === 0,
        10_000,
      );
      await worker.restart();
      const last = async (): Promise<Run | undefined> =>
        (await handle.query<readonly Run[]>(queries.runs)).find((run) => run.endedAt !== null);
      const run = (await until(last, (one) => one !== undefined, 200_000)) as Run;
      expect(run, worker.logTail()).toMatchObject({ state: 'succeeded', error: null });
      await expectSame(source, target, source.tables);
      await expectClean(target);
    } finally {
      await worker.stop();
      await source.drop();
      await target.drop();
    }
  }, 300_000);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
