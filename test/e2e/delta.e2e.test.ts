import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { SliceAnswer } from '../../src/activities/capture.ts';
import {
  type PipelineEvent,
  type PipelineOverview,
  queries,
  queues,
  type RequestAnswer,
  type Run,
  type SetSchedule,
  updates,
} from '../../src/workflows/messages.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  choose,
  type Destination,
  expectClean,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  runOperation,
  sealed,
  selection,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';
import { startWorkload } from './workload.ts';

const cases: readonly (readonly [string, 'mariadb' | 'singlestore', () => Promise<SeededSource>])[] = [
  ['PostgreSQL 15', 'mariadb', () => seedPostgres(inject('postgres15'), 6_000)],
  ['PostgreSQL 18', 'singlestore', () => seedPostgres(inject('postgres18'), 6_000)],
  ['MySQL 9', 'singlestore', () => seedMysql(inject('mysql9'), 6_000)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 6_000)],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

const overview = (handle: WorkflowHandle): Promise<PipelineOverview> => handle.query(queries.overview);
const auto: SetSchedule = { schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } };

/** The tables that deltas follow: keyless ones are exact after a load only. */
const keyed = (source: SeededSource): string[] => source.tables.filter((name) => name !== 'keyless');

describe.each(cases)('changes of %s to %s', { timeout: 240_000 }, (_name, mode, seed) => {
  let source: SeededSource;
  let target: Destination;
  let handle: WorkflowHandle;
  beforeEach(async () => {
    [source, target] = await Promise.all([seed(), makeDestination(mode)]);
    handle = await startPipeline(
      harness,
      source,
      target,
      keyed(source).map((name) => ({ name })),
    );
  });
  afterEach(async () => {
    await handle?.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
    await source?.drop();
    await target?.drop();
  });

  it('bring the copy to its source by deltas, each from where the last one ended', async () => {
    const workload = await startWorkload(source, 1);
    await expectGood(handle, await runFull(handle));
    for (let round = 0; round < 3; round++) {
      await workload.run(60);
      const run = await runOperation(handle, 'delta');
      await expectGood(handle, run);
      expect(run.rows.inserted + run.rows.updated + run.rows.deleted).toBeGreaterThan(0);
      await expectSame(source, target, keyed(source));
      const states = (await selection(handle)).map(({ name, state }) => [name, state]);
      expect(states).toEqual(keyed(source).map((name) => [name, 'consistent']));
    }
    const idle = await runOperation(handle, 'delta');
    expect(idle.rows).toEqual({ loaded: 0, inserted: 0, updated: 0, deleted: 0, parked: 0 });
    expect(target.rejections()).toEqual([]);
    await workload.stop();
  });

  it('are followed as they come in auto, also while a full extract and a new table are loaded', async () => {
    const workload = await startWorkload(source, 2);
    const late = keyed(source).at(-1) as string;
    await choose(handle, source, { name: late }, false);
    const writing = workload.forever();
    await expectGood(handle, await runFull(handle));
    await handle.executeUpdate(updates.setSchedule, { args: [auto] });
    await until(
      () => overview(handle),
      ({ current }) => current.stream !== null,
    );
    await choose(handle, source, { name: late });
    await expectGood(handle, await runOperation(handle, 'syncnew'));
    await until(
      () => overview(handle),
      ({ current }) => current.stream !== null,
    );
    await workload.stop();
    await writing;
    await source.run('update big set a = 4711 where id % 50 = 0');
    await until(
      () =>
        expectSame(source, target, keyed(source)).then(
          () => true,
          () => false,
        ),
      (same) => same,
      30_000,
    ).catch(() => expectSame(source, target, keyed(source)));
    expect(await overview(handle)).toMatchObject({ consistent: true });
    await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
    await until(
      () => overview(handle),
      ({ current }) => current.stream === null,
    );
    await expectGood(handle, await runFull(handle));
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
  });

  it('of structure are brought to the copy, or have the table loaded again', async () => {
    await expectGood(handle, await runFull(handle));
    await source.run('alter table empty_table add column extra varchar(20)');
    await source.run("insert into empty_table (id, t, extra) values (1, 'a', 'new'), (2, null, '')");
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, ['empty_table']);
    await source.run('alter table empty_table drop column t');
    await source.run("insert into empty_table (id, extra) values (3, 'dropped')");
    await source.run('update empty_table set extra = null where id = 1');
    await runOperation(handle, 'delta');
    await until(
      () => overview(handle),
      ({ queue, current }) => queue.length === 0 && current.load === null,
    );
    await expectSame(source, target, ['empty_table']);
    await source.run(
      'alter table empty_table drop primary key, add primary key (id, extra)'.replace(
        'drop primary key, add primary key (id, extra)',
        source.kind === 'postgres'
          ? 'drop constraint empty_table_pkey'
          : 'add column k2 int not null default 5, drop primary key, add primary key (id, k2)',
      ),
    );
    if (source.kind === 'postgres')
      await source.run('alter table empty_table add column k2 int not null default 5, add primary key (id, k2)');
    await source.run("insert into empty_table (id, extra, k2) values (3, 'other key', 6)");
    await runOperation(handle, 'delta');
    await until(
      () => overview(handle),
      ({ queue, current }) => queue.length === 0 && current.load === null,
    );
    await expectSame(source, target, ['empty_table']);
    expect((await selection(handle)).map(({ state }) => state)).toEqual(keyed(source).map(() => 'consistent'));
    await source.run("update empty_table set extra = 'again'");
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, keyed(source));
    // A stream that goes on tells of it at once.
    await handle.executeUpdate(updates.setSchedule, { args: [auto] });
    await until(
      () => overview(handle),
      ({ current }) => current.stream !== null,
    );
    const wider = source.kind === 'postgres' ? 'alter column k2 type bigint' : 'modify k2 bigint not null';
    await source.run(`alter table empty_table ${wider}`);
    await source.run("insert into empty_table (id, extra, k2) values (4, 'wide key', 8589934592)");
    const same = () =>
      expectSame(source, target, ['empty_table']).then(
        () => true,
        () => false,
      );
    await until(same, (equal) => equal, 60_000);
    expect(target.rejections()).toEqual([]);
  });
});

describe.each([
  ['MySQL 9', () => seedMysql(inject('mysql9'), 2_000)],
  ['MariaDB 10.11', () => seedMysql(inject('mariadb'), 2_000)],
  ['PostgreSQL 15 with a rollback window', () => withWindow(seedPostgres(inject('postgres15'), 2_000))],
] as const)('a rollback from %s', { timeout: 120_000 }, (_name, seed) => {
  it('replays from a recorded point, and heals what someone broke at the destination since', async () => {
    const [source, target] = await Promise.all([seed(), makeDestination('mariadb')]);
    const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'empty_table' }]);
    try {
      await expectGood(handle, await runFull(handle));
      const before = (await overview(handle)).position;
      await source.run("update big set b = 'first' where id <= 50; insert into empty_table values (1, 'x')");
      await expectGood(handle, await runOperation(handle, 'delta'));
      await source.run('delete from big where id between 100 and 120; update big set id = id + 100000 where id = 7');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await target.query(`update ${target.db}.big set b = 'broken' where id <= 50`);
      await target.query(`delete from ${target.db}.empty_table`);
      await target.query(
        `insert into ${target.db}.big select * from (select 110 as id, a, b, c, d, e, f, g from ${target.db}.big limit 1) x`,
      );
      const back = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, {
        args: [{ operation: 'rollback', to: { position: before } }],
      });
      expect(back).toMatchObject({ accepted: true });
      await until(
        () => overview(handle),
        ({ position, current }) => position === before && current.load === null,
      );
      expect(await overview(handle)).toMatchObject({ consistent: false, tables: { loaded: 2 } });
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectSame(source, target, ['big', 'empty_table']);
      expect(await overview(handle)).toMatchObject({ consistent: true });
      const ahead = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, {
        args: [{ operation: 'rollback', to: { point: 4711 } }],
      });
      expect(ahead).toMatchObject({ accepted: true });
      const failed = await until(
        () => handle.query<readonly Run[]>(queries.runs),
        ([last]) => last?.endedAt != null,
      );
      expect(failed[0]).toMatchObject({ state: 'failed', error: { message: 'There is no rollback point 4711.' } });
    } finally {
      await source.drop();
      await target.drop();
    }
  });
});

async function withWindow(seeded: Promise<SeededSource>): Promise<SeededSource> {
  const source = await seeded;
  return { ...source, params: { ...source.params, rollback_window: '1' } };
}

describe('a table that an attempt has taken out of the stream before it died', () => {
  it('is known of by the next attempt, and loaded again', { timeout: 120_000 }, async () => {
    const [source, target] = await Promise.all([seedPostgres(inject('postgres15'), 1_000), makeDestination('mariadb')]);
    try {
      const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'empty_table' }]);
      await expectGood(handle, await runFull(handle));
      // What the attempt has written, and nobody has heard of.
      await target.query(
        `update ${target.db}._flow_tables set state = 'reload', error_class = 'StructureChanged', error_message = 'It changed.', error_action = 'Load it.' where source_name = 'empty_table'`,
      );
      await source.run("insert into empty_table values (1, 'a'); update big set a = 1 where id = 1");
      await expect(runOperation(handle, 'delta')).resolves.toMatchObject({ state: 'succeeded' });
      await until(
        () => overview(handle),
        ({ queue, current, consistent }) => consistent && queue.length === 0 && current.load === null,
      );
      await expectSame(source, target, ['big', 'empty_table']);
      const events = await handle.query<readonly PipelineEvent[], [{ since: number }]>(queries.events, { since: 0 });
      expect(events.filter(({ code }) => code === 'StructureChanged')).toMatchObject([{ table: 'public.empty_table' }]);
    } finally {
      await source.drop();
      await target.drop();
    }
  });
});

describe('a side stream that has not come as far as the main stream', () => {
  it('follows once more before it hands its tables over', { timeout: 120_000 }, async () => {
    const [source, target] = await Promise.all([seedMysql(inject('mariadb'), 1_000), makeDestination('mariadb')]);
    const slices: SliceAnswer[] = [];
    // The first slice ends, and more is written that the main stream applies; the second one does nothing.
    const own = await startWorker(({ captureSlice }) => ({
      captureSlice: async (input) => {
        if (input.scope === 1) return captureSlice(input);
        const answer = slices.length === 1 ? (slices[0] as SliceAnswer) : await captureSlice(input);
        if (slices.push(answer) === 1) {
          await source.run("insert into empty_table values (1, 'late'); update big set a = 4711 where id = 1");
          await until(
            () => target.query<{ a: number }>(`select a from ${target.db}.big where id = 1`),
            ([row]) => Number(row?.a) === 4711,
            30_000,
          );
        }
        return answer;
      },
    }));
    try {
      const handle = await startPipeline(own, source, target, [{ name: 'big' }]);
      await expectGood(handle, await runFull(handle));
      await handle.executeUpdate(updates.setSchedule, { args: [auto] });
      await choose(handle, source, { name: 'empty_table' });
      await expectGood(handle, await runOperation(handle, 'syncnew'));
      expect(slices).toHaveLength(3);
      await expectSame(source, target, ['big', 'empty_table']);
      await handle.executeUpdate(updates.remove, { args: [{}] });
    } finally {
      await own.stop();
      await source.drop();
      await target.drop();
    }
  });
});

describe('a pipeline that is deleted while it streams', () => {
  it('ends, and leaves nothing at the source and no control row', { timeout: 120_000 }, async () => {
    const [source, target] = await Promise.all([seedPostgres(inject('postgres15'), 1_000), makeDestination('mariadb')]);
    try {
      const handle = await startPipeline(harness, source, target, [{ name: 'big' }]);
      await expectGood(handle, await runFull(handle));
      await handle.executeUpdate(updates.setSchedule, { args: [auto] });
      const slots = () =>
        source.run('select slot_name, active from pg_replication_slots where database = current_database()');
      await until(slots, (found) => (found as { active: boolean }[]).some(({ active }) => active));
      await handle.executeUpdate(updates.remove, { args: [{}] });
      await handle.result();
      await harness.client.workflow.execute('removal', {
        taskQueue: queues.ingest,
        workflowId: `${handle.workflowId}/removal/1`,
        args: [
          {
            pipeline: handle.workflowId.slice('pipeline/'.length),
            source: sealed(source.params),
            destination: sealed(target.params),
            databases: [target.db],
          },
        ],
      });
      expect(await slots()).toEqual([]);
      expect(await source.run('select pubname from pg_publication')).toEqual([]);
      for (const table of ['_flow_checkpoints', '_flow_tables', '_flow_points'])
        expect(await target.query(`select * from ${target.db}.${table}`)).toEqual([]);
      await expectClean(target);
      await expectSame(source, target, ['big']);
    } finally {
      await source.drop();
      await target.drop();
    }
  });
});
