import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import {
  type PipelineEvent,
  type PipelineOverview,
  queries,
  queues,
  type Run,
  type SetSchedule,
  type TableAction,
  type TableActionAnswer,
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

type Seed = () => Promise<SeededSource>;
const cases: readonly (readonly [string, 'mariadb' | 'singlestore', Seed])[] = [
  ['PostgreSQL 18', 'mariadb', () => seedPostgres(inject('postgres18'), 6_000)],
  ['MySQL 9', 'singlestore', () => seedMysql(inject('mysql9'), 6_000)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 6_000)],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

const overview = (handle: WorkflowHandle): Promise<PipelineOverview> => handle.query(queries.overview);
const runs = (handle: WorkflowHandle): Promise<readonly Run[]> => handle.query(queries.runs);
const auto: SetSchedule = { schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } };
const keyed = (source: SeededSource): string[] => source.tables.filter((name) => name !== 'keyless');

/** The source with its log kept for paused tables: so many hours, as the API would not take them. */
async function keeping(seed: Seed, hours = '24'): Promise<SeededSource> {
  const source = await seed();
  return { ...source, params: { ...source.params, pause_keeps_log: hours } };
}

function act(
  handle: WorkflowHandle,
  { schema }: SeededSource,
  name: string,
  action: TableAction['action'],
): Promise<TableActionAnswer> {
  return handle.executeUpdate(updates.tableAction, { args: [{ table: { schema, name }, action }] });
}

async function states(handle: WorkflowHandle, names: readonly string[]): Promise<string[]> {
  const tables = await selection(handle);
  return names.map((name) => tables.find((table) => table.name === name)?.state ?? '');
}

/** What the destination says of tables: where they are, and how often they were loaded. */
async function rowsOf(target: Destination, names: readonly string[]) {
  const rows = await target.query<{ name: string; state: string; load: string; kept: string | null }>(
    `select source_name as name, state, load_number as \`load\`, kept_position as kept from ${target.db}._flow_tables`,
  );
  return names.map((name) => rows.find((row) => row.name === name));
}

/** Nothing waits or runs in the load lane. */
function settled(handle: WorkflowHandle, forMs = 60_000): Promise<PipelineOverview> {
  return until(
    () => overview(handle),
    ({ queue, current }) => queue.length === 0 && current.load === null,
    forMs,
  );
}

async function slots(source: SeededSource): Promise<string[]> {
  if (source.kind === 'mysql') return [];
  const found = await source.run(
    'select slot_name from pg_replication_slots where database = current_database() order by 1',
  );
  return (found as { slot_name: string }[]).map((row) => row.slot_name);
}

async function events(handle: WorkflowHandle): Promise<readonly PipelineEvent[]> {
  return handle.query<readonly PipelineEvent[], [{ since: number }]>(queries.events, { since: 0 });
}

describe.each(cases)('tables of %s that are paused with their log (%s)', { timeout: 240_000 }, (_name, mode, seed) => {
  let source: SeededSource;
  let target: Destination;
  let handle: WorkflowHandle;
  beforeEach(async () => {
    [source, target] = await Promise.all([keeping(seed), makeDestination(mode)]);
    handle = await startPipeline(
      harness,
      source,
      target,
      keyed(source).map((name) => ({ name })),
    );
    await expectGood(handle, await runFull(handle));
  });
  afterEach(async () => {
    await handle?.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
    await source?.drop();
    await target?.drop();
  });

  it('go on where they were, while the others stream and everyone writes', async () => {
    const workload = await startWorkload(source, 11);
    const writing = workload.forever();
    const odd = keyed(source).find((name) => name.startsWith('Order')) as string;
    const paused = ['big', 'empty_table', odd];
    await handle.executeUpdate(updates.setSchedule, { args: [auto] });
    const answer = await act(handle, source, 'big', 'pause');
    expect(answer).toMatchObject({ done: true });
    expect(answer.text).toContain('Its log is kept for 24 hours');
    const is = (state: string, names: readonly string[]) =>
      until(
        () => rowsOf(target, names),
        (rows) => rows.every((row) => row?.state === state),
      );
    await is('paused', ['big']);
    await act(handle, source, 'empty_table', 'pause');
    await act(handle, source, odd, 'pause');
    await is('paused', paused);
    const copies = await target.query(`select count(*) as n, sum(a) as a, max(id) as id from ${target.db}.big`);
    // The others go on meanwhile.
    await source.run("insert into text_key values ('seen', 'seen', null)");
    await until(
      () => target.query(`select code from ${target.db}.text_key where code = 'seen'`),
      (found) => found.length > 0,
    );
    expect(await target.query(`select count(*) as n, sum(a) as a, max(id) as id from ${target.db}.big`)).toEqual(
      copies,
    );
    // One at a time, then two at once.
    expect(await act(handle, source, 'empty_table', 'resume')).toMatchObject({ done: true });
    await settled(handle);
    expect(await states(handle, paused)).toMatchObject(['paused', 'consistent', 'paused']);
    await act(handle, source, 'big', 'resume');
    await act(handle, source, odd, 'resume');
    await settled(handle);
    expect(await states(handle, paused)).toEqual(['consistent', 'consistent', 'consistent']);
    // Once more.
    await act(handle, source, 'big', 'pause');
    await is('paused', ['big']);
    await act(handle, source, 'big', 'resume');
    await settled(handle);
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
    const rows = await rowsOf(target, keyed(source));
    expect(rows.map((row) => [row?.name, Number(row?.load), row?.kept])).toEqual(
      keyed(source).map((name) => [name, 1, null]),
    );
    const loads = (await runs(handle)).filter(({ operation }) => operation === 'syncnew');
    expect(loads.map(({ state, resume, rows: { loaded } }) => [state, resume, loaded])).toEqual(
      loads.map(() => ['succeeded', true, 0]),
    );
    expect(loads.length).toBeGreaterThanOrEqual(3);
    await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
    await until(
      () => overview(handle),
      ({ current }) => current.stream === null,
    );
    await expectGood(handle, await runOperation(handle, 'delta'));
    expect((await slots(source)).length).toBe(source.kind === 'postgres' ? 1 : 0);
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
  });

  it('go on by deltas, with the option as by the action, and at once when no delta has run', async () => {
    const workload = await startWorkload(source, 12);
    expect(await act(handle, source, 'big', 'pause')).toMatchObject({ done: true });
    expect(await act(handle, source, 'big', 'resume')).toMatchObject({ done: true });
    expect(await states(handle, ['big'])).toEqual(['consistent']);
    await workload.run(20);
    await choose(handle, source, { name: 'big', options: { paused: true } });
    await act(handle, source, 'text_key', 'pause');
    await expectGood(handle, await runOperation(handle, 'delta'));
    for (let round = 0; round < 2; round++) {
      await workload.run(30);
      await expectGood(handle, await runOperation(handle, 'delta'));
    }
    expect(await states(handle, ['big', 'text_key'])).toEqual(['paused', 'paused']);
    const table = { database: source.database, schema: source.schema, name: 'big' };
    await handle.executeUpdate(updates.setTable, { args: [{ table, options: { paused: null } }] });
    await settled(handle);
    expect(await states(handle, ['big', 'text_key'])).toEqual(['consistent', 'paused']);
    await act(handle, source, 'text_key', 'resume');
    await settled(handle);
    await workload.run(20);
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, keyed(source));
    expect((await rowsOf(target, ['big', 'text_key'])).map((row) => Number(row?.load))).toEqual([1, 1]);
  });

  it('take structure changes of the time, or are loaded again', async () => {
    await act(handle, source, 'empty_table', 'pause');
    await act(handle, source, 'text_key', 'pause');
    await expectGood(handle, await runOperation(handle, 'delta'));
    await source.run("insert into empty_table values (1, 'before'), (2, 'other')");
    await source.run('alter table empty_table add column extra varchar(20)');
    await source.run("insert into empty_table (id, t, extra) values (3, 'a', 'new')");
    await source.run("update empty_table set extra = 'x' where id = 1; delete from empty_table where id = 2");
    await source.run("update text_key set v = null where code like 'k1%'");
    await source.run('alter table text_key add column k2 int not null default 5');
    await source.run(
      source.kind === 'postgres'
        ? 'alter table text_key drop constraint text_key_pkey, add primary key (country, code, k2)'
        : 'alter table text_key drop primary key, add primary key (country, code, k2)',
    );
    await source.run("update text_key set k2 = 6 where code like 'k2%'");
    await act(handle, source, 'empty_table', 'resume');
    await act(handle, source, 'text_key', 'resume');
    await settled(handle);
    await expectGood(handle, await runOperation(handle, 'delta'));
    await settled(handle);
    await expectSame(source, target, keyed(source));
    expect(await states(handle, ['empty_table', 'text_key'])).toEqual(['consistent', 'consistent']);
    const [, reloaded] = await rowsOf(target, ['empty_table', 'text_key']);
    expect(Number(reloaded?.load)).toBe(2);
  });

  it('are paused again where they have come to when the resumption is cancelled', async () => {
    await act(handle, source, 'big', 'pause');
    await expectGood(handle, await runOperation(handle, 'delta'));
    await source.run('update big set a = 1');
    await source.run('update big set id = id + 500000 where id % 3 = 0');
    await act(handle, source, 'big', 'resume');
    await until(
      () => overview(handle),
      ({ current }) => current.load !== null,
    );
    await handle.executeUpdate(updates.cancel, { args: [{ lane: 'load' }] });
    await settled(handle);
    const [state] = await states(handle, ['big']);
    // It may have been too late.
    expect(['paused', 'consistent']).toContain(state);
    await source.run("update big set b = 'later' where id % 2 = 0");
    if (state === 'paused') {
      await act(handle, source, 'big', 'resume');
      await settled(handle);
    }
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, ['big']);
    expect((await rowsOf(target, ['big'])).map((row) => Number(row?.load))).toEqual([1]);
  });
});

describe.each([
  ['PostgreSQL 18', 'postgres', () => seedPostgres(inject('postgres18'), 1_000)],
  ['MySQL 9', 'mysql', () => seedMysql(inject('mysql9'), 1_000)],
] as const)('the log of a table of %s that is paused', { timeout: 120_000 }, (_name, kind, seed) => {
  it('is let go when its time is over, and the table is loaded again', async () => {
    // Four seconds.
    const [source, target] = await Promise.all([keeping(seed, '0.0011'), makeDestination('mariadb')]);
    try {
      const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'empty_table' }]);
      await expectGood(handle, await runFull(handle));
      await act(handle, source, 'big', 'pause');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await source.run('update big set a = 3');
      await until(
        () => events(handle),
        (all) => all.some(({ code, level }) => code === 'log_let_go' && level === 'warning'),
      );
      await until(
        () => slots(source),
        (found) => found.length === (kind === 'postgres' ? 1 : 0),
      );
      const answer = await act(handle, source, 'big', 'resume');
      expect(answer.text).toContain('no longer kept');
      expect(await states(handle, ['big'])).toEqual(['reload']);
      await expectGood(handle, await runOperation(handle, 'syncnew'));
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectSame(source, target, ['big', 'empty_table']);
      expect((await rowsOf(target, ['big'])).map((row) => Number(row?.load))).toEqual([2]);
    } finally {
      await source.drop();
      await target.drop();
    }
  });

  it('is gone with the pipeline, which leaves nothing at the source', async () => {
    const [source, target] = await Promise.all([keeping(seed), makeDestination('mariadb')]);
    try {
      const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'empty_table' }]);
      await expectGood(handle, await runFull(handle));
      await act(handle, source, 'big', 'pause');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await act(handle, source, 'empty_table', 'pause');
      await expectGood(handle, await runOperation(handle, 'delta'));
      expect((await slots(source)).length).toBe(kind === 'postgres' ? 3 : 0);
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
      expect(await slots(source)).toEqual([]);
      expect(await target.query(`select * from ${target.db}._flow_tables`)).toEqual([]);
    } finally {
      await source.drop();
      await target.drop();
    }
  });
});

describe('a paused table of PostgreSQL', { timeout: 120_000 }, () => {
  it('is loaded again when its slot is gone, also when it is resumed together with one that can go on', async () => {
    const [source, target] = await Promise.all([
      keeping(() => seedPostgres(inject('postgres18'), 1_000)),
      makeDestination('mariadb'),
    ]);
    try {
      const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'text_key' }]);
      await expectGood(handle, await runFull(handle));
      await act(handle, source, 'big', 'pause');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await source.run("insert into text_key values ('x', 'y', null)");
      await act(handle, source, 'text_key', 'pause');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await source.run("update big set a = 3; update text_key set v = '{}' where country = 'x'");
      const [first] = (await slots(source)).filter((name) => /_k\d+_\d+$/.test(name));
      await source.run(`select pg_drop_replication_slot('${first}')`);
      await act(handle, source, 'big', 'resume');
      await act(handle, source, 'text_key', 'resume');
      await settled(handle);
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectSame(source, target, ['big', 'text_key']);
      expect((await rowsOf(target, ['big', 'text_key'])).map((row) => Number(row?.load))).toEqual([2, 1]);
      expect((await events(handle)).filter(({ code }) => code === 'log_not_kept')).toMatchObject([
        { level: 'warning', table: 'public.big' },
      ]);
      expect((await slots(source)).length).toBe(1);
    } finally {
      await source.drop();
      await target.drop();
    }
  });

  it('is loaded by a full extract, which needs its log no more', async () => {
    const [source, target] = await Promise.all([
      keeping(() => seedPostgres(inject('postgres18'), 1_000)),
      makeDestination('mariadb'),
    ]);
    try {
      const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'text_key' }]);
      await expectGood(handle, await runFull(handle));
      await act(handle, source, 'big', 'pause');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await source.run('update big set a = 3');
      await expectGood(handle, await runFull(handle));
      await expectSame(source, target, ['big', 'text_key']);
      await source.run('update big set a = 4 where id < 10');
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectSame(source, target, ['big', 'text_key']);
      expect((await slots(source)).length).toBe(1);
    } finally {
      await source.drop();
      await target.drop();
    }
  });
});
