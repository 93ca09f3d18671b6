import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { queries } from '../../src/workflows/messages.ts';
import type { Progress } from '../../src/workflows/progress.ts';
import type { Harness } from '../workflows/harness.ts';
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

/** The sizes that are promised take minutes: `npm run test:matrix`. */
const whole = process.env['FLOW_MATRIX'] !== undefined;
const cases: readonly (readonly [string, number, () => Promise<SeededSource>])[] = [
  ['PostgreSQL 18', whole ? 10_000 : 300, () => seedPostgres(inject('postgres18'), 10)],
  ['MariaDB 10.11', whole ? 1000 : 50, () => seedMysql(inject('mariadb'), 10)],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

describe.each(cases)('%s at size', (_name, many, seed) => {
  let source: SeededSource;
  let target: Destination;
  beforeAll(async () => {
    [source, target] = await Promise.all([seed(), makeDestination('mariadb')]);
  });
  afterAll(async () => {
    await source?.drop();
    await target?.drop();
  });

  it(`copies ${many} tables, one of them broken, in one run with few activities, and follows one commit in all of them`, async () => {
    const names = Array.from({ length: many }, (_, n) => `many_${n}`);
    for (let at = 0; at < many; at += 200) {
      await source.run(
        names
          .slice(at, at + 200)
          .map(
            (name, n) =>
              `create table ${name} (id int primary key, v varchar(20)); insert into ${name} values (${at + n}, 'x'), (-1, null);`,
          )
          .join('\n'),
      );
    }
    const handle = await startPipeline(
      harness,
      source,
      target,
      [...names, 'not_there'].map((name) => ({ name })),
    );
    const run = await runFull(handle, 400_000);
    expect(run).toMatchObject({ state: 'succeeded', rows: { loaded: 2 * many } });
    expect(
      (await selection(handle)).filter((table) => table.state !== 'consistent').map((table) => table.name),
    ).toEqual(['not_there']);
    await expectSame(source, target, [names[0] as string, names[many / 2] as string, names[many - 1] as string]);
    const [count] = await target.query<{ n: number }>(
      `select count(*) as n from information_schema.tables where table_schema = '${target.db}' and table_name like 'many\\_%'`,
    );
    expect(Number(count?.n)).toBe(many);
    await expectClean(target);
    const child = harness.client.workflow.getHandle(`${handle.workflowId}/full/1`);
    expect((await child.query<Progress>(queries.progress)).tablesFailed).toBe(1);
    expect((await child.fetchHistory()).events?.length).toBeLessThan(1000);
    // More tables than a transaction of the destination may write.
    await source.run(
      `begin;\n${names.map((name) => `update ${name} set v = 'all' where id = -1;`).join('\n')}\ncommit;`,
    );
    expect(await runOperation(handle, 'delta', 400_000)).toMatchObject({
      state: 'succeeded',
      rows: { inserted: 0, updated: many, deleted: 0 },
    });
    await expectSame(source, target, names);
  }, 900_000);

  it(`carries a cell of ${whole ? 64 : 16} MB, byte for byte`, async () => {
    const make =
      source.kind === 'postgres'
        ? 'create table huge (id int primary key, t text, b bytea)'
        : 'create table huge (id int primary key, t longtext, b longblob)';
    await source.run(make);
    // Each piece of text has 10 bytes, each of binary 5.
    const pieces = whole ? 6_710_886 : 1_677_721;
    const fill =
      source.kind === 'postgres'
        ? `insert into huge values (1, repeat(E'a\\tb\\\\c😀\\n', ${pieces}), null), (2, null, decode(repeat('00ff0a5c09', ${pieces}), 'hex'))`
        : `insert into huge values (1, repeat('a\\tb\\\\c😀\\n', ${pieces}), null), (2, null, repeat(x'00ff0a5c09', ${pieces}))`;
    await source.run(fill);
    const handle = await startPipeline(harness, source, target, [{ name: 'huge' }]);
    await expectGood(handle, await runFull(handle));
    await expectSame(source, target, ['huge']);
  }, 180_000);
});
