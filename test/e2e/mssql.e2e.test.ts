import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TableOptions } from '../../src/drivers/model.ts';
import { type PipelineOverview, queries, type Run, updates } from '../../src/workflows/messages.ts';
import { type MssqlGround, mssqlGround } from '../drivers/mssql-fixture.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  makeDestination,
  runFull,
  runOperation,
  startPipeline,
  startWorker,
} from './run.ts';
import type { SeededSource } from './sources.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

let ground: MssqlGround;
let target: Destination;
afterEach(async () => {
  await target?.drop();
  await ground?.[Symbol.asyncDispose]();
});

const odd = 'Order "x" [y] é.t-表';
const tables = ['big', 'text_key', odd];

/** Tables of several shapes, 1,500 rows in the largest. */
async function seed(type: string): Promise<SeededSource> {
  ground = await mssqlGround(type);
  const version = type === 'rds.msts' ? ', rv rowversion' : '';
  const name = `[${odd.replaceAll(']', ']]')}]`;
  const rows = (count: number, row: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => `(${row(n + 1)})`).join(', ');
  ground.run(
    `create table big (id bigint primary key, a int, b nvarchar(60), c decimal(12,2), d datetime2(6), f nvarchar(max), g bit${version})`,
  );
  ground.run(
    `create table text_key (country varchar(20), code nvarchar(50), v money${version}, primary key (country, code))`,
  );
  ground.run(`create table ${name} ([select] int primary key, [a "b] nvarchar(max), bytes varbinary(40)${version})`);
  for (const table of tables)
    if (type === 'rds.msadbctm') ground.fake.engine.track('dbo', table);
    else if (type === 'rds.mscdcm') ground.fake.engine.enableCdc('dbo', table);
  ground.run(
    `insert into big (id, a, b, c, d, f, g) values ${rows(1500, (n) => `${n}, ${n % 7 === 0 ? 'null' : n}, N'row ${n}\t\\ 😀', '${n}.25', '2024-02-29 12:00:00.${String(n).padStart(6, '0')}', ${n % 11 === 0 ? "''" : `'${'x'.repeat(n % 50)}'`}, ${n % 2}`)}`,
  );
  ground.run(
    `insert into text_key (country, code, v) values ${rows(300, (n) => `'c${n % 10}', N'k${n}', '${n}.1234'`)}`,
  );
  ground.run(
    `insert into ${name} ([select], [a "b], bytes) values ${rows(50, (n) => `${n}, N'v${n}', 0x00FF${String(n).padStart(2, '0')}`)}`,
  );
  return { params: ground.params(), database: 'shop', schema: 'dbo', tables, kind: 'mysql' } as unknown as SeededSource;
}

/** Both sides as text, by statements that share nothing with the product. */
async function expectEqual(): Promise<void> {
  const columns: Record<string, string[]> = {
    big: ['id', 'a', 'b', 'c', 'd', 'f', 'g'],
    text_key: ['country', 'code', 'v'],
    [odd]: ['select', 'a "b', 'bytes'],
  };
  for (const table of tables) {
    const names = [...(columns[table] as string[]), ...(ground.params()['type'] === 'rds.msts' ? ['rv'] : [])];
    const there = ground.run(
      `select ${names.map((one) => `[${one}]`).join(', ')} from [${table.replaceAll(']', ']]')}]`,
    );
    const list = names.map((one) => (/^(rv|bytes)$/.test(one) ? `hex(\`${one}\`)` : `cast(\`${one}\` as char)`));
    const here = await target.query<Record<string, string | null>>(
      `select ${list.map((one, i) => `${one} as c${i}`).join(', ')} from \`${target.db}\`.\`${table}\``,
    );
    const sorted = (rows: readonly (readonly (string | null)[])[]) => rows.map((row) => JSON.stringify(row)).sort();
    expect(sorted(here.map((row) => names.map((_, i) => row[`c${i}`] ?? null)))).toEqual(sorted(there));
  }
}

function change(round: number): void {
  ground.run([
    `insert into big (id, a, b) values (${5000 + round}, 1, N'new')`,
    `update big set a = ${round}, f = 'changed' where id % 100 = ${round}`,
    `update text_key set v = '7.7' where country = 'c${round}'`,
  ]);
  ground.run(`update [${odd.replaceAll(']', ']]')}] set [a "b] = null where [select] = ${round}`);
}

const overview = (handle: WorkflowHandle): Promise<PipelineOverview> => handle.query(queries.overview);

describe.each([
  ['change tracking', 'rds.msadbctm', 'mariadb', {}],
  ['CDC', 'rds.mscdcm', 'singlestore', {}],
  ['row versions', 'rds.msts', 'mariadb', { cursor: ['rv'] }],
] as const)('a fake SQL Server, %s, to %s', { timeout: 120_000 }, (_name, type, mode, options) => {
  it('is copied exactly, and its copy follows it by deltas and in auto', async () => {
    const source = await seed(type);
    target = await makeDestination(mode);
    const handle = await startPipeline(
      harness,
      source,
      target,
      tables.map((name) => ({ name, options: options as TableOptions })),
    );
    await expectGood(handle, await runFull(handle));
    await expectEqual();
    // Two for one of them: the second begins where the first has ended.
    for (let round = 1; round <= (type === 'rds.mscdcm' ? 2 : 1); round++) {
      change(round);
      // A cursor sees no deletes, and a key that changes is a delete too.
      if (type !== 'rds.msts')
        ground.run(['delete from big where id % 50 = 3', `update big set id = id + 100000 where id = ${500 + round}`]);
      const run = await runOperation(handle, 'delta');
      await expectGood(handle, run);
      expect(run.rows.inserted + run.rows.updated).toBeGreaterThan(30);
      await expectEqual();
    }
    expect(await overview(handle)).toMatchObject({ consistent: true });
    if (type === 'rds.msts') {
      // What no cursor sees, `validate` finds.
      ground.run('delete from big where id in (10, 11)');
      await expectGood(handle, await runOperation(handle, 'delta'));
      const validate = { repair: true, tables: null };
      await handle.executeUpdate(updates.request, { args: [{ operation: 'validate', validate }] });
      const checked = await until(
        async () =>
          (await handle.query<readonly Run[]>(queries.runs)).find(({ operation }) => operation === 'validate'),
        (run) => run?.endedAt != null,
        30_000,
      );
      expect(checked).toMatchObject({ state: 'succeeded', check: { different: 2, repaired: 2 } });
      await runOperation(handle, 'delta');
      await expectEqual();
    } else {
      await handle.executeUpdate(updates.setSchedule, {
        args: [{ schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } }],
      });
      change(3);
      await until(
        () =>
          expectEqual().then(
            () => true,
            () => false,
          ),
        (same) => same,
        30_000,
      ).catch(expectEqual);
      ground.run('alter table big add extra int null');
      ground.run('update big set extra = 5, a = 0 where id < 20');
      await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
      await until(
        () => overview(handle),
        ({ current }) => current.stream === null,
      );
      await expectGood(handle, await runOperation(handle, 'delta'));
      await expectEqual();
    }
    if (type === 'rds.mscdcm') {
      await expectGood(handle, await runFull(handle));
      await expectEqual();
    }
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
    await handle.executeUpdate(updates.remove, { args: [{}] });
  });
});

it('a full-only source says so when a delta is asked for', async () => {
  const source = await seed('rds.msfull');
  target = await makeDestination('mariadb');
  const handle = await startPipeline(harness, source, target, [{ name: 'big' }]);
  await expectGood(handle, await runFull(handle));
  const run = await runOperation(handle, 'delta').catch((error: Error) => ({ error: { message: error.message } }));
  expect(run.error?.message).toMatch(/captures no changes|full extracts? only|no change/i);
});
