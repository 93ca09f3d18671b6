import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { queries, type Run } from '../../src/workflows/messages.ts';
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
  selection,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

const cases: readonly (readonly [string, 'mariadb' | 'singlestore', () => Promise<SeededSource>])[] = [
  ['PostgreSQL 15', 'singlestore', () => seedPostgres(inject('postgres15'), 2000)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 2000)],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

describe.each(cases)('table settings, %s to %s', (_name, mode, seed) => {
  let source: SeededSource;
  let target: Destination;
  beforeAll(async () => {
    source = await seed();
  });
  afterAll(() => source?.drop());
  beforeEach(async () => {
    target = await makeDestination(mode);
    return () => target.drop();
  });
  const rows = async (table: string): Promise<Record<string, string>[]> =>
    target.query(`select * from \`${target.db}\`.\`${table}\``);

  it('where limits the load', async () => {
    const handle = await startPipeline(harness, source, target, [
      { name: 'big', options: { where: 'id <= 10 or b is null' } },
    ]);
    await expectGood(handle, await runFull(handle));
    expect((await rows('big')).map((row) => Number(row['id'])).sort((a, b) => a - b)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
  });

  it('a where that the source refuses fails this table with its message, and the others go on', async () => {
    const handle = await startPipeline(harness, source, target, [
      { name: 'big', options: { where: 'no_such_column = 1' } },
      { name: 'keyless' },
    ]);
    const run = await runFull(handle);
    expect(run.state).toBe('succeeded');
    const [big, keyless] = await selection(handle);
    expect(big).toMatchObject({ state: 'reload' });
    expect(big?.error?.message).toContain('no_such_column');
    expect(keyless).toMatchObject({ state: 'loaded' });
    await expectSame(source, target, ['keyless']);
    await expectClean(target);
  });

  it('masked values never leave the source; the column is varchar(1)', async () => {
    const handle = await startPipeline(harness, source, target, [{ name: 'big', options: { mask: ['b', 'c'] } }]);
    await expectGood(handle, await runFull(handle));
    const copied = await rows('big');
    expect(copied).toHaveLength(2000);
    expect(JSON.stringify(copied)).not.toContain('row 1');
    const columns = await target.query<{ t: string }>(
      `select column_type as t from information_schema.columns where table_schema = '${target.db}' and table_name = 'big' and column_name in ('b', 'c')`,
    );
    expect(columns.map((column) => column.t)).toEqual(['varchar(1)', 'varchar(1)']);
    await expectSame(source, target, [
      {
        source: { schema: source.schema, name: 'big' },
        destination: { schema: target.db, name: 'big' },
        except: ['b', 'c'],
      },
    ]);
  });

  it('masking a key column is refused by name', async () => {
    const handle = await startPipeline(harness, source, target, [
      { name: 'big', options: { mask: ['id'] } },
      { name: 'keyless' },
    ]);
    await runFull(handle);
    const [big] = await selection(handle);
    expect(big?.error).toMatchObject({ class: 'UnsupportedValue' });
    expect(big?.error?.message).toContain('id');
  });

  it('types change a column at the destination', async () => {
    const good = await startPipeline(harness, source, target, [
      { name: 'big', options: { types: { a: 'BIGINT', c: 'VARCHAR(40)' } } },
    ]);
    await expectGood(good, await runFull(good));
    const types = await target.query<{ n: string; t: string }>(
      `select column_name as n, data_type as t from information_schema.columns where table_schema = '${target.db}' and table_name = 'big' and column_name in ('a', 'c') order by 1`,
    );
    expect(types.map((column) => column.t)).toEqual(['bigint', 'varchar']);
    const [row] = await target.query<Record<string, string>>(`select c from \`${target.db}\`.big where id = 5`);
    expect(row).toEqual({ c: '0.05' });
  });

  it('a value that does not fit fails the table by key and column, and the others go on', async () => {
    const bad = await startPipeline(harness, source, target, [
      { name: 'big', options: { types: { a: 'TINYINT' } } },
      { name: 'keyless' },
    ]);
    await runFull(bad);
    const [big] = await selection(bad);
    expect(big).toMatchObject({ state: 'reload' });
    expect(big?.error?.message).toMatch(/\ba\b/);
  });

  it('keyless_delta = reload loads a table without a key and a view again behind each delta', async () => {
    const reloading = { ...source, params: { ...source.params, keyless_delta: 'reload' } };
    await source.run('create view few as select id, b from big where id < 50');
    const chosen = [{ name: 'big' }, { name: 'few' }, { name: 'keyless' }];
    const handle = await startPipeline(harness, reloading, target, chosen);
    await expectGood(handle, await runFull(handle));
    await source.run('insert into keyless select * from (select * from keyless limit 3) as few_rows');
    await source.run('delete from keyless where a = 4');
    await source.run('update big set b = null where id = 7');
    expect(await runOperation(handle, 'delta')).toMatchObject({ state: 'succeeded', rows: { updated: 1 } });
    const latest = async () => (await handle.query<readonly Run[]>(queries.runs))[0];
    await until(latest, (run) => run?.operation === 'syncnew' && run.endedAt !== null, 60_000);
    await expectGood(handle, (await latest()) as Run);
    await expectSame(source, target, ['big', 'few', 'keyless']);
    expect((await selection(handle)).map((table) => table.state)).toEqual(['consistent', 'loaded', 'loaded']);
  });

  it('skipInitial makes the table without rows, and a repeated full leaves what others loaded into it', async () => {
    const handle = await startPipeline(harness, source, target, [
      { name: 'big', options: { skipInitial: true } },
      { name: 'keyless' },
    ]);
    await expectGood(handle, await runFull(handle));
    expect(await rows('big')).toEqual([]);
    await target.query(`insert into \`${target.db}\`.big (id) values (77)`);
    await expectGood(handle, await runFull(handle));
    expect((await rows('big')).map((row) => Number(row['id']))).toEqual([77]);
    await expectSame(source, target, ['keyless']);
  });

  it('a deselected table keeps its copy and is not loaded again', async () => {
    const handle = await startPipeline(harness, source, target, [{ name: 'keyless' }, { name: 'text_key' }]);
    await expectGood(handle, await runFull(handle));
    await choose(handle, source, { name: 'text_key' }, false);
    await target.query(`delete from \`${target.db}\`.text_key where country = 'c1'`);
    const before = await rows('text_key');
    await expectGood(handle, await runFull(handle));
    expect(await rows('text_key')).toEqual(before);
    await expectSame(source, target, ['keyless']);
  });

  it('a table that is not ours is refused, and taken over with adopt', async () => {
    await target.query(`create database \`${target.db}\``);
    await target.query(`create table \`${target.db}\`.keyless (mine int primary key)`);
    await target.query(`insert into \`${target.db}\`.keyless values (42)`);
    const handle = await startPipeline(harness, source, target, [{ name: 'keyless' }, { name: 'text_key' }]);
    await runFull(handle);
    expect((await selection(handle))[0]).toMatchObject({
      name: 'keyless',
      state: 'reload',
      error: { class: 'DestinationRejected' },
    });
    expect(await rows('keyless')).toEqual([{ mine: 42 }]);
    await choose(handle, source, { name: 'keyless', options: { adopt: true } });
    await expectGood(handle, await runFull(handle));
    await expectSame(source, target, ['keyless', 'text_key']);
    await expectClean(target);
  });

  it('a key chosen by the user becomes the key at the destination', async () => {
    await source.run(
      source.kind === 'postgres'
        ? 'create table if not exists chosen (a int not null, b varchar(10) not null, c int); create unique index if not exists chosen_ab on chosen (a, b); alter table chosen replica identity using index chosen_ab'
        : 'create table if not exists chosen (a int not null, b varchar(10) not null, c int, unique key (a, b))',
    );
    await source.run("insert into chosen values (1, 'x', 1), (1, 'y', 2), (2, 'x', 3)");
    const handle = await startPipeline(harness, source, target, [{ name: 'chosen', options: { key: ['a', 'b'] } }]);
    await expectGood(handle, await runFull(handle));
    await expectSame(source, target, [
      {
        source: { schema: source.schema, name: 'chosen' },
        destination: { schema: target.db, name: 'chosen' },
        key: ['a', 'b'],
      },
    ]);
    const key = await target.query<{ c: string }>(
      `select column_name as c from information_schema.key_column_usage where table_schema = '${target.db}' and table_name = 'chosen' and constraint_name = 'PRIMARY' order by ordinal_position`,
    );
    expect(key.map((row) => row.c)).toEqual(['a', 'b']);
    await source.run('drop table chosen');
  });

  it('a view is copied by name', async () => {
    await source.run('create view some_rows as select id, b from big where id < 50');
    const handle = await startPipeline(harness, source, target, [{ name: 'some_rows' }]);
    await expectGood(handle, await runFull(handle));
    expect(await rows('some_rows')).toHaveLength(49);
    await source.run('drop view some_rows');
  });

  it('a table that is missing fails alone', async () => {
    const handle = await startPipeline(harness, source, target, [{ name: 'not_there' }, { name: 'keyless' }]);
    expect((await runFull(handle)).state).toBe('succeeded');
    expect((await selection(handle)).map((table) => table.state)).toEqual(['reload', 'loaded']);
  });
});
