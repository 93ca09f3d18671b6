import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { expect, it, type TestContext } from 'vitest';
import { pythonPackages } from '../../../scripts/servers/python.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { mssqlGround } from '../../drivers/mssql-fixture.ts';
import { drain, scopeOf } from '../../drivers/postgres-capture-fixture.ts';
import { describeOne, readAll } from '../../drivers/source-suite.ts';

/** The folder of Python packages; the test is skipped, and says so, where they can't be had. */
async function packages({ skip }: TestContext, name: string, list: readonly string[]): Promise<string> {
  const folder = await pythonPackages(name, list).catch((error: Error) => {
    console.log(`skipped: ${list.join(', ')} can't be had: ${error.message.slice(0, 200)}`);
  });
  if (folder === undefined) return skip();
  return folder;
}

it('the fake is a server to a client that others wrote (python-tds)', { timeout: 180_000 }, async (context) => {
  const path = await packages(context, 'python-tds-1.17.1', ['python-tds==1.17.1']);
  await using ground = await mssqlGround();
  ground.run(
    'create table foreign_one (id int primary key, big bigint, word nvarchar(20), amount decimal(20,4), day date, at datetime2(6), bytes varbinary(10), ratio float, flag bit, code varchar(10), body nvarchar(max))',
  );
  ground.run([
    "insert into foreign_one values (1, 9223372036854775807, N'a 😀', '-12345.6789', '2024-02-29', '2024-02-29 23:59:59.123456', 0x00FF, 0.1, 1, 'latin é', N'x')",
    `insert into foreign_one values (2, null, N'b', null, null, null, null, null, null, null, N'${'body '.repeat(20_000)}')`,
  ]);
  ground.run('create table many (id int primary key)');
  ground.run(`insert into many values ${Array.from({ length: 5000 }, (_, i) => `(${i})`).join(', ')}`);
  const { stdout } = await promisify(execFile)(
    'python3',
    [join(import.meta.dirname, 'foreign.py'), String(ground.fake.tds.port), ground.fake.user, ground.fake.password],
    { env: { ...process.env, PYTHONPATH: path, PYTHONUTF8: '1' } },
  );
  expect(JSON.parse(stdout)).toEqual({
    names: ['id', 'big', 'word', 'amount', 'day', 'at', 'bytes', 'ratio', 'flag', 'code'],
    rows: [
      [
        '1',
        '9223372036854775807',
        'a 😀',
        '-12345.6789',
        '2024-02-29',
        '2024-02-29 23:59:59.123456',
        '00ff',
        '0.1',
        'True',
        'latin é',
      ],
      ['2', ...Array(1).fill('None'), 'b', ...Array(7).fill('None')],
    ],
    body: 'body '.repeat(20_000),
    count: 3,
    error: [207, expect.stringMatching(/Invalid column name 'nowhere'/)],
    many: 12_497_500,
    login: expect.stringMatching(/Login failed/),
  });
});

it('every statement of the driver is T-SQL to sqlfluff', { timeout: 240_000 }, async (context) => {
  const path = await packages(context, 'sqlfluff-4.5.0', ['sqlfluff==4.5.0']);
  const statements = new Map<string, string>();
  for (const type of ['rds.msadbctm', 'rds.mscdcm', 'rds.msts'] as const) {
    await using ground = await mssqlGround(type);
    ground.fake.engine.settings.cdc = true;
    await using source = await ground.open();
    await exercise(source, ground);
    // One of each shape: the parser takes a second for some. It does not know `]]`, which the conformance suite covers.
    for (const statement of ground.fake.engine.statements)
      statements.set(statement.replace(/N?'[^']*'|\d+/g, '?'), statement);
  }
  expect(statements.size).toBeGreaterThan(30);
  const child = spawn('python3', [join(import.meta.dirname, 'lint.py')], {
    env: { ...process.env, PYTHONPATH: path, PYTHONUTF8: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const wrong = 'SELECT FROM [t] WHERE ORDER';
  child.stdin.end(JSON.stringify([...statements.values(), wrong]));
  const bad = JSON.parse(await text(child.stdout)) as string[][];
  expect(bad.map(([statement]) => statement)).toEqual([wrong]);
});

/** Makes the driver say everything that it can say. */
async function exercise(source: Source, ground: Awaited<ReturnType<typeof mssqlGround>>): Promise<void> {
  const { engine } = ground.fake;
  const type = ground.params()['type'];
  if (type === 'rds.msadbctm') {
    // Parsing is slow: every type once.
    const every = TYPES.map((one, i) => `[c ${i}] ${one}`).join(', ');
    ground.run(`create table typed (id int primary key, ${every})`);
    await readAll(source, await describeOne(source, 'dbo', 'typed'));
  }
  ground.run('create table [every "type] (id int primary key, [c 0] rowversion)');
  ground.run(
    'create table keyed (a varchar(20) COLLATE Cyrillic_General_CI_AS, b datetime2(3), c decimal(9,2), d varbinary(8), e uniqueidentifier, f datetimeoffset, changed datetime, primary key (a, b, c, d, e, f))',
  );
  const names = ['every "type', 'keyed'];
  for (const name of names) {
    if (type === 'rds.msadbctm') engine.track('dbo', name);
    if (type === 'rds.mscdcm') engine.enableCdc('dbo', name);
  }
  const keyed = (n: number) =>
    `('it''s ${n}', '2024-01-0${1 + (n % 9)} 00:00:00', ${n}.25, 0x0${n % 9}, '6F9619FF-8B86-D011-B42D-00C04FC964${String(n % 90).padStart(2, '0')}', '2024-01-01 00:00:00 +02:00', '2030-01-01')`;
  ground.run(`insert into keyed values ${Array.from({ length: 400 }, (_, n) => keyed(n)).join(', ')}`);
  const refs = names.map((name) => ({ schema: 'dbo', name }));
  await source.preflight(refs);
  await source.schemas();
  await source.tables('dbo');
  const options = type === 'rds.msts' ? { cursor: ['changed'] } : {};
  const every = await describeOne(source, 'dbo', 'every "type', { where: '[id] = 1 and [id] in (2, 3) -- why' });
  const other = await describeOne(source, 'dbo', 'keyed', options);
  await readAll(source, every, { where: '[id] = 1' });
  await readAll(source, other, { chunkBytes: 2000 });
  const key = Buffer.from(
    other.key
      .map((name, i) =>
        name === 'a'
          ? "it's 1"
          : [
              '',
              '2024-01-02 00:00:00.000',
              '1.25',
              '01',
              '6F9619FF-8B86-D011-B42D-00C04FC96401',
              '2023-12-31 22:00:00.0000000',
            ][i],
      )
      .join('\t'),
  ).toString('latin1');
  for await (const _ of source.reread(other, [key, key.replace('1', '2')], new AbortController().signal));
  for await (const _ of source.reread(every, ['1', '2'], new AbortController().signal));
  const scope = await scopeOf(source, [every, other]);
  await source.logState('', scope.start.position);
  ground.run([
    'insert into [every "type] (id) values (7)',
    "update keyed set changed = '2031-01-01'",
    "delete from keyed where a = 'it''s 3'",
  ]);
  const tables = scope.tables.map((one, i) => ({ ...one, options: i === 1 ? options : {} }));
  await drain(source, scope.request({ tables }));
  await source.logState('', await source.written());
  await source.clock?.();
}

const TYPES = [
  ...['bit', 'bigint', 'decimal(38,10)', 'money', 'float', 'real', 'date', 'time(7)', 'datetime', 'smalldatetime'],
  ...[
    'datetime2(7)',
    'datetimeoffset(7)',
    'char(5)',
    'nvarchar(20)',
    'varchar(max)',
    'ntext',
    'varbinary(20)',
    'image',
  ],
  ...['uniqueidentifier', 'xml', 'hierarchyid', 'geometry', 'sql_variant', 'rowversion'],
];
