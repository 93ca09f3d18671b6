import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { updates } from '../../src/workflows/messages.ts';
import { type MssqlGround, mssqlGround } from '../drivers/mssql-fixture.ts';
import { retry } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  makeDestination,
  runFull,
  runOperation,
  startPipeline,
} from './run.ts';
import type { SeededSource } from './sources.ts';
import { startWorkerProcess, type WorkerProcess } from './worker-process.ts';

/**
 * A worker of its own, killed with kill -9 in the middle of a full extract and of a delta; the fake SQL Server lives on in this process.
 * Temporal misses a killed worker after half a minute each time, so this runs by `npm run test:matrix` only.
 */
const matrix = Boolean(process.env['FLOW_MATRIX']);
const ROWS = 12_000;
const TABLES = ['big', 'worded'];

describe.runIf(matrix).each([
  ['change tracking', 'rds.msadbctm', 'mariadb', /INNER JOIN \[dbo\]\.\[big\] AS t .*<> N'I'/, 1],
  ['CDC', 'rds.mscdcm', 'singlestore', /FROM cdc\.change_tables AS ct$/, 3],
] as const)('SQL Server under kill -9, %s', { timeout: 400_000 }, (_name, type, mode, inDelta, turn) => {
  let ground: MssqlGround;
  let target: Destination;
  let worker: WorkerProcess;

  beforeAll(async () => {
    worker = await startWorkerProcess('mssql-kills');
    ground = await mssqlGround(type);
    target = await makeDestination(mode);
  });
  afterAll(async () => {
    await worker?.stop();
    await target?.drop();
    await ground?.[Symbol.asyncDispose]();
  });

  /** Kills the worker a moment after its nth statement of a kind, and has it started again. */
  function killAt(statement: RegExp, nth: number): Promise<void> {
    const { engine } = ground.fake;
    let seen = 0;
    return new Promise((resolve, reject) => {
      engine.before = (sql) => {
        if (!statement.test(sql) || ++seen !== nth) return;
        engine.before = undefined;
        setImmediate(() => worker.replace().then(resolve, reject));
      };
    });
  }

  it('a full extract and a delta end with the rows of the source', async () => {
    ground.run('create table big (id bigint primary key, a int, b nvarchar(60), f nvarchar(max))');
    ground.run('create table worded (country varchar(10), code nvarchar(20), v money, primary key (country, code))');
    for (const table of TABLES)
      if (type === 'rds.msadbctm') ground.fake.engine.track('dbo', table);
      else ground.fake.engine.enableCdc('dbo', table);
    const rows = (count: number, row: (n: number) => string) =>
      Array.from({ length: count }, (_, n) => `(${row(n + 1)})`).join(', ');
    ground.run(
      `insert into big values ${rows(ROWS, (n) => `${n}, ${n % 7 === 0 ? 'null' : n}, N'row ${n}\t\\ 😀', N'${'x'.repeat(600)}'`)}`,
    );
    ground.run(`insert into worded values ${rows(500, (n) => `'c${n % 10}', N'k${n}', '${n}.1234'`)}`);
    const source = { params: ground.params(), database: 'shop', schema: 'dbo' } as unknown as SeededSource;
    const handle = await retry(() =>
      startPipeline(
        worker,
        source,
        target,
        TABLES.map((name) => ({ name })),
      ),
    );

    const first = killAt(/^SELECT .* FROM \[dbo\]\.\[big\] WHERE/, 1);
    const loaded = await runFull(handle, 180_000).catch((error: Error) => {
      throw new Error(`${error.message}\n${worker.logTail()}`);
    });
    await first;
    await expectGood(handle, loaded);
    await expectSame();

    for (let i = 0; i < 150; i++)
      ground.run([
        `update big set a = a + 1, b = N'changed ${i}' where id between ${i * 40} and ${i * 40 + 30}`,
        `delete from big where id = ${i * 40 + 35}`,
        `update big set id = id + 100000, f = N'moved' where id = ${i * 40 + 36}`,
        `update worded set v = v + 1 where country = 'c${i % 10}'`,
      ]);
    const second = killAt(inDelta, turn);
    const followed = await runOperation(handle, 'delta', 180_000);
    await second;
    await expectGood(handle, followed);
    await expectSame();
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
    await handle.executeUpdate(updates.remove, { args: [{}] });
  });

  /** Both sides as text, by statements that share nothing with the product. */
  async function expectSame(): Promise<void> {
    for (const [table, columns] of [
      ['big', ['id', 'a', 'b', 'f']],
      ['worded', ['country', 'code', 'v']],
    ] as const) {
      const there = ground.run(`select ${columns.join(', ')} from ${table}`);
      const list = columns.map((name) => `cast(\`${name}\` as char) as \`${name}\``).join(', ');
      const rows = await target.query<Record<string, string | null>>(
        `select ${list} from \`${target.db}\`.\`${table}\``,
      );
      const sorted = (all: readonly (readonly (string | null)[])[]) => all.map((row) => JSON.stringify(row)).sort();
      const [here, wanted] = [sorted(rows.map((row) => columns.map((name) => row[name] ?? null))), sorted(there)];
      expect(here.filter((row, i) => row !== wanted[i]).slice(0, 3)).toEqual([]);
      expect(here).toHaveLength(wanted.length);
    }
  }
});
