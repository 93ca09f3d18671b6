import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { updates } from '../../src/workflows/messages.ts';
import type { Harness } from '../workflows/harness.ts';
import {
  choose,
  type Destination,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  runOperation,
  selection,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql } from './sources.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

describe('foreign keys of MariaDB that change rows', { timeout: 120_000 }, () => {
  let source: SeededSource;
  let target: Destination;
  beforeEach(async () => {
    [source, target] = await Promise.all([seedMysql(inject('mariadb'), 10), makeDestination('mariadb')]);
    await source.run(`
      create table p (id int primary key, v int);
      create table c (id int primary key, p int, foreign key (p) references p (id) on delete cascade on update cascade);
      create table g (id int primary key, c int, foreign key (c) references c (id) on delete set null);
      insert into p values (1, 1), (2, 2), (3, 3), (4, 4); insert into c select id, id from p; insert into g select id, id from c;`);
  });
  afterEach(async () => {
    await source?.drop();
    await target?.drop();
  });
  const names = ['p', 'c', 'g'];
  const start = (cascade: string) =>
    startPipeline(
      harness,
      { ...source, params: { ...source.params, cascade } },
      target,
      names.map((name) => ({ name })),
    );
  const states = async (handle: Awaited<ReturnType<typeof start>>) =>
    Object.fromEntries((await selection(handle)).map(({ name, state }) => [name, state]));

  it('are followed with `cascade` = reload; a child is loaded again with its parents only', async () => {
    const handle = await start('reload');
    await expectGood(handle, await runFull(handle));
    await source.run('delete from p where id = 1; update p set id = 9 where id = 2');
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, names);
    expect(await states(handle)).toEqual({ p: 'consistent', c: 'consistent', g: 'consistent' });

    await choose(handle, source, { name: 'c', options: { redoInitial: true } });
    await runOperation(handle, 'syncnew');
    expect((await selection(handle)).find(({ name }) => name === 'c')?.error?.message).toMatch(/together with .*\.p/);

    for (const name of names) await choose(handle, source, { name, options: { redoInitial: true } });
    await expectGood(handle, await runOperation(handle, 'syncnew'));
    await source.run('delete from p where id = 9; replace into p values (3, 33)');
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, names);

    // The parent alone: what it held when it came back is followed to its children all the same.
    for (const name of ['c', 'g']) await choose(handle, source, { name });
    await source.run('insert into p values (5, 5); insert into c values (5, 5); insert into g values (5, 5)');
    await expectGood(handle, await runOperation(handle, 'delta'));
    await source.run('delete from p where id = 5');
    await expectGood(handle, await runOperation(handle, 'syncnew'));
    await expectGood(handle, await runOperation(handle, 'delta'));
    await expectSame(source, target, names);
    await handle.executeUpdate(updates.remove, { args: [{}] });
  });

  it('are copied whole and not followed without', async () => {
    const handle = await start('refuse');
    await expectGood(handle, await runFull(handle));
    await expectSame(source, target, names);
    await source.run('delete from p where id = 1');
    await runOperation(handle, 'delta');
    expect(await states(handle)).toEqual({ p: 'consistent', c: 'reload', g: 'reload' });
    const [c] = (await selection(handle)).filter(({ name }) => name === 'c');
    expect(c?.error).toMatchObject({
      class: 'UnsupportedValue',
      action: expect.stringContaining('`cascade` = reload'),
    });
    // Loading them again would lose them again: nothing was begun by itself.
    await runOperation(handle, 'delta');
    expect(await states(handle)).toEqual({ p: 'consistent', c: 'reload', g: 'reload' });
    await handle.executeUpdate(updates.remove, { args: [{}] });
  });
});
