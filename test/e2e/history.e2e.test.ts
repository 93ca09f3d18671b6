import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Harness } from '../workflows/harness.ts';
import { expectGood, makeDestination, runFull, runOperation, startPipeline, startWorker } from './run.ts';
import { seedMysql, seedPostgres } from './sources.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

type Version = { id: number; t: string | null; current: number; closed: number };

describe.each([
  ['PostgreSQL 15', 'singlestore', () => seedPostgres(inject('postgres15'), 100)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 100)],
] as const)('history of a table from %s (%s)', (_name, mode, seed) => {
  it('keeps every version that a delta brings, and closes those that are over', { timeout: 120_000 }, async () => {
    const [source, target] = await Promise.all([seed(), makeDestination(mode)]);
    try {
      await source.run("insert into empty_table values (1, 'a'), (2, 'b'), (3, 'c')");
      const handle = await startPipeline(harness, source, target, [
        { name: 'empty_table', options: { history: true } },
        { name: 'big' },
      ]);
      const versions = () =>
        target.query<Version>(
          `select id, t, _is_current as current, _valid_to is not null as closed from ${target.db}.empty_table order by id, _ordinal`,
        );
      await expectGood(handle, await runFull(handle));
      expect((await versions()).map(({ id, t, current }) => [id, t, Number(current)])).toEqual([
        [1, 'a', 1],
        [2, 'b', 1],
        [3, 'c', 1],
      ]);
      await source.run("update empty_table set t = 'a2' where id = 1; delete from empty_table where id = 2");
      await source.run("update empty_table set t = null where id = 1; insert into empty_table values (2, 'again')");
      await expectGood(handle, await runOperation(handle, 'delta'));
      expect((await versions()).map(({ id, t, current, closed }) => [id, t, Number(current), Number(closed)])).toEqual([
        [1, 'a', 0, 1],
        [1, 'a2', 0, 1],
        [1, null, 1, 0],
        [2, 'b', 0, 1],
        [2, 'again', 1, 0],
        [3, 'c', 1, 0],
      ]);
      expect(target.rejections()).toEqual([]);
    } finally {
      await source.drop();
      await target.drop();
    }
  });
});
