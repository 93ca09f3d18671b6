import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
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

const cases: readonly (readonly [string, 'mariadb' | 'singlestore', () => Promise<SeededSource>])[] = [
  ['PostgreSQL 15', 'mariadb', () => seedPostgres(inject('postgres15'), 40_000)],
  ['PostgreSQL 18', 'singlestore', () => seedPostgres(inject('postgres18'), 40_000)],
  ['MySQL 9', 'singlestore', () => seedMysql(inject('mysql9'), 40_000)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 40_000)],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

describe.each(cases)('a full extract from %s to %s', (_name, mode, seed) => {
  let source: SeededSource;
  let target: Destination;
  beforeAll(async () => {
    [source, target] = await Promise.all([seed(), makeDestination(mode)]);
  });
  afterAll(async () => {
    await source?.drop();
    await target?.drop();
  });

  it('copies every table exactly, twice, with changes in between', async () => {
    const handle = await startPipeline(
      harness,
      source,
      target,
      source.tables.map((name) => ({ name })),
    );
    const first = await runFull(handle);
    await expectGood(handle, first);
    expect(first.rows.loaded).toBeGreaterThan(40_000);
    await expectSame(source, target, source.tables);
    await source.run(
      "delete from big where id % 3 = 0; update text_key set v = null; insert into empty_table values (1, null), (2, '')",
    );
    await expectGood(handle, await runFull(handle));
    await expectSame(source, target, source.tables);
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
  });
});
