import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { type PipelineEvent, type PipelineOverview, queries, updates } from '../../src/workflows/messages.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  runOperation,
  selection,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

const cases: readonly (readonly [string, 'mariadb' | 'singlestore', () => Promise<SeededSource>])[] = [
  ['PostgreSQL 15', 'mariadb', () => seedPostgres(inject('postgres15'), 10)],
  ['PostgreSQL 18', 'singlestore', () => seedPostgres(inject('postgres18'), 10)],
  ['MySQL 9', 'singlestore', () => seedMysql(inject('mysql9'), 10)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 10)],
];

/** DDL in the words of PostgreSQL and of MySQL, when they differ. */
type Change = string | readonly [postgres: string, mysql: string];

const BROUGHT: readonly Change[] = [
  "alter table s add column c1 int default 5, add column c2 varchar(20) not null default 'x ''y', add column c3 varchar(50) default 'tëxt 😀'",
  [
    "alter table s add column c4 decimal(10,2) not null default 1.5, add column c5 timestamptz default '2020-02-29 12:00:00+02', add column c6 bytea default '\\x00ff', add column c7 text not null default 'long'",
    "alter table s add column (c4 decimal(10,2) not null default 1.5, c5 datetime(6) default '2020-02-29 12:00:00'), add column c6 varbinary(10) default x'00ff', add column c7 int not null default 0",
  ],
  'alter table s add column c8 int',
  'alter table s rename column a to renamed',
  'alter table s drop column b',
  [
    'alter table s alter column n drop not null; insert into s (id, n) values (7000, null)',
    'alter table s modify n int null; insert into s (id, n) values (7000, null)',
  ],
  ['alter table s alter column v type varchar(100)', 'alter table s modify v varchar(100)'],
  [
    'delete from s where n is null; alter table s alter column n set not null',
    'delete from s where n is null; alter table s modify n int not null default 1',
  ],
];

const RELOADED: readonly Change[] = [
  [
    'alter table s add column r double precision default random()',
    'alter table s add column r datetime(6) default current_timestamp(6)',
  ],
  ['alter table s alter column c1 type text', 'alter table s modify c1 varchar(30)'],
  // As gh-ost and pt-online-schema-change do it.
  [
    'create table s_new (like s including all); alter table s_new add column g int not null default 3; insert into s_new select s.*, 3 from s; begin; alter table s rename to s_old; alter table s_new rename to s; commit',
    'create table s_new like s; alter table s_new add column g int not null default 3; insert into s_new select s.*, 3 from s; rename table s to s_old, s_new to s',
  ],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

describe.each(cases)('a changed structure of %s in %s mode', { timeout: 240_000 }, (_name, mode, seed) => {
  let source: SeededSource;
  let target: Destination;
  let handle: WorkflowHandle;
  beforeEach(async () => {
    [source, target] = await Promise.all([seed(), makeDestination(mode)]);
    await source.run(
      "create table s (id int primary key, a int, b varchar(10), v varchar(20), n int not null default 1); insert into s values (1, 1, 'b', 'v', 1), (2, null, null, null, 2), (3, 3, '', '', 3)",
    );
    await source.run(
      `insert into s (id, a, v) select id + 10, a, 'x' from s; insert into s (id, a, v) select id + 20, a, 'y' from s`,
    );
    handle = await startPipeline(harness, source, target, [{ name: 's' }]);
  });
  afterEach(async () => {
    await handle?.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
    await source?.drop();
    await target?.drop();
  });

  const overview = (): Promise<PipelineOverview> => handle.query(queries.overview);
  const reloads = async (): Promise<readonly PipelineEvent[]> =>
    (await handle.query<readonly PipelineEvent[], [{ since: number }]>(queries.events, { since: 0 })).filter(
      ({ code }) => code === 'StructureChanged',
    );
  const words = (change: Change): string =>
    typeof change === 'string' ? change : change[source.kind === 'postgres' ? 0 : 1];

  /** Rows come, change and go all the while; what is refused while the table changes is tried no more. */
  async function whileWriting(change: () => Promise<unknown>): Promise<void> {
    let stopped = false;
    let turn = 0;
    let refused = 0;
    const writing = (async () => {
      while (!stopped) {
        const id = 1000 + (turn++ % 40);
        await source
          .run(
            `insert into s (id, v, n) values (${id}, 'new', ${turn}); update s set v = 'u${turn}' where id % 5 = ${turn % 5}; delete from s where id = ${1000 + ((turn + 20) % 40)}; update s set id = id + 500 where id = ${id}; delete from s where id = ${id + 500} and n % 2 = 0`,
          )
          .catch(() => refused++);
      }
    })();
    await until(
      async () => turn,
      (done) => done > 5,
    );
    await change();
    const at = turn;
    await until(
      async () => turn,
      (done) => done > at + 5,
    );
    stopped = true;
    await writing;
    expect(refused).toBeLessThan(turn);
  }

  it('is brought to the copy where every row’s values are known, and is loaded again where they are not', async () => {
    await expectGood(handle, await runFull(handle));
    for (const change of BROUGHT) {
      await whileWriting(() => source.run(words(change)));
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectSame(source, target, ['s']);
      expect(await reloads(), words(change)).toEqual([]);
    }
    for (const [done, change] of RELOADED.entries()) {
      const quiet = words(change).startsWith('create');
      if (quiet) await source.run(words(change));
      else await whileWriting(() => source.run(words(change)));
      await runOperation(handle, 'delta');
      await until(overview, ({ queue, current }) => queue.length === 0 && current.load === null);
      await source.run("update s set v = 'after' where id <= 3");
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectSame(source, target, ['s']);
      expect(await reloads(), words(change)).toHaveLength(done + 1);
    }
    expect((await selection(handle)).map(({ state }) => state)).toEqual(['consistent']);
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
  });

  it('is followed by a stream that goes on all the while', async () => {
    await expectGood(handle, await runFull(handle));
    const schedule = { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } as const;
    await handle.executeUpdate(updates.setSchedule, { args: [{ schedule }] });
    await until(overview, ({ current }) => current.stream !== null);
    for (const change of [
      'alter table s add column c1 int not null default 5',
      'alter table s rename column a to "a b"',
      'alter table s add column c2 int default 7, drop column b',
    ].map((text) => (source.kind === 'mysql' ? text.replaceAll('"', '`') : text))) {
      await whileWriting(() => source.run(change));
      const same = () =>
        expectSame(source, target, ['s']).then(
          () => true,
          () => false,
        );
      await until(same, (equal) => equal, 30_000).catch(() => expectSame(source, target, ['s']));
    }
    expect(await reloads()).toEqual([]);
    expect(target.rejections()).toEqual([]);
  });
});
