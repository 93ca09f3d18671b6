import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatColumnType } from '../../src/drivers/column-types.ts';
import { createRowWriter } from '../../src/drivers/mssql/row-text.ts';
import type { Source } from '../../src/drivers/source.ts';
import { variant } from '../fakes/mssql/convert.ts';
import { type MssqlGround, mssqlGround } from './mssql-fixture.ts';
import { describeOne, readAll, readRange } from './source-suite.ts';

let ground: MssqlGround;
let source: Source;
beforeAll(async () => {
  ground = await mssqlGround('rds.msadbctm');
  ground.fake.engine.settings.tracking = true;
  source = await ground.open();
});
afterAll(async () => {
  await source?.[Symbol.asyncDispose]();
  await ground?.[Symbol.asyncDispose]();
});

const json = (value: string): string => `N'${value.replaceAll("'", "''")}'`;

/** Type, destination type, and values as literals with what must arrive. */
const cases: readonly (readonly [string, string, readonly (readonly [string, string])[]])[] = [
  [
    'bit',
    'TINYINT',
    [
      ['0', '0'],
      ['1', '1'],
    ],
  ],
  ['tinyint', 'TINYINT UNSIGNED', [['255', '255']]],
  ['smallint', 'SMALLINT', [['-32768', '-32768']]],
  ['int', 'INT', [['-2147483648', '-2147483648']]],
  [
    'bigint',
    'BIGINT',
    [
      ['9223372036854775807', '9223372036854775807'],
      ['-9223372036854775808', '-9223372036854775808'],
      ['9007199254740993', '9007199254740993'],
    ],
  ],
  [
    'decimal(38,10)',
    'DECIMAL(38,10)',
    [
      ["'1234567890123456789012345678.0123456789'", '1234567890123456789012345678.0123456789'],
      ["'-0.0000000001'", '-0.0000000001'],
    ],
  ],
  ['numeric(5)', 'DECIMAL(5,0)', [["'12345'", '12345']]],
  [
    'decimal(38,38)',
    'VARCHAR(41)',
    [["'0.12345678901234567890123456789012345678'", '0.12345678901234567890123456789012345678']],
  ],
  [
    'money',
    'DECIMAL(19,4)',
    [
      ["'922337203685477.5807'", '922337203685477.5807'],
      ["'-0.0001'", '-0.0001'],
    ],
  ],
  ['smallmoney', 'DECIMAL(10,4)', [["'214748.3647'", '214748.3647']]],
  [
    'float',
    'DOUBLE',
    [
      ['0.1', '0.1'],
      ['1.7976931348623157e308', '1.7976931348623157e+308'],
      ['5e-324', '5e-324'],
    ],
  ],
  ['real', 'FLOAT', [['0.1', '0.10000000149011612']]],
  [
    'date',
    'DATE',
    [
      ["'2024-02-29'", '2024-02-29'],
      ["'9999-12-31'", '9999-12-31'],
    ],
  ],
  ['time(0)', 'TIME', [["'23:59:59'", '23:59:59']]],
  ['time(7)', 'TIME(6)', [["'23:59:59.1234560'", '23:59:59.123456']]],
  ['datetime', 'DATETIME(6)', [["'2024-02-29 23:59:59.997'", '2024-02-29 23:59:59.997']]],
  ['smalldatetime', 'DATETIME', [["'2024-02-29 23:59:00'", '2024-02-29 23:59:00']]],
  ['datetime2(0)', 'DATETIME', [["'2024-02-29 23:59:59'", '2024-02-29 23:59:59']]],
  ['datetime2(3)', 'DATETIME(6)', [["'2024-02-29 23:59:59.123'", '2024-02-29 23:59:59.123']]],
  ['datetime2', 'DATETIME(6)', [["'2024-02-29 23:59:59.1234560'", '2024-02-29 23:59:59.123456']]],
  [
    'datetimeoffset(7)',
    'VARCHAR(34)',
    [["'2024-02-29 23:59:59.1234567 +05:30'", '2024-02-29 23:59:59.1234567 +05:30']],
  ],
  ['char(5)', 'CHAR(5)', [["'ab'", 'ab   ']]],
  ['nchar(3)', 'CHAR(3)', [["N'ü'", 'ü  ']]],
  ['char(300)', 'VARCHAR(300)', [["'x'", 'x'.padEnd(300)]]],
  [
    'varchar(40)',
    'VARCHAR(40)',
    [
      ["''", ''],
      ["'€ Ж 表'", '€ Ж 表'],
    ],
  ],
  [
    'nvarchar(4000)',
    'VARCHAR(4000)',
    [
      ["N'😀\t\\'", '😀\t\\'],
      ["N'trailing  '", 'trailing  '],
    ],
  ],
  ['varchar(max)', 'LONGTEXT', [[`N'${'long '.repeat(3000)}'`, 'long '.repeat(3000)]]],
  ['nvarchar(max)', 'LONGTEXT', [["N''", '']]],
  ['text', 'LONGTEXT', [["'old'", 'old']]],
  ['ntext', 'LONGTEXT', [["N'alt'", 'alt']]],
  ['binary(4)', 'VARBINARY(4)', [['0x00FF1000', '00FF1000']]],
  [
    'varbinary(8000)',
    'VARBINARY(8000)',
    [
      ['0x', ''],
      ['0x0A09', '0A09'],
    ],
  ],
  ['varbinary(max)', 'LONGBLOB', [['0x5C00', '5C00']]],
  ['image', 'LONGBLOB', [['0xFF', 'FF']]],
  [
    'uniqueidentifier',
    'VARCHAR(36)',
    [["'6F9619FF-8B86-D011-B42D-00C04FC964FF'", '6F9619FF-8B86-D011-B42D-00C04FC964FF']],
  ],
  ['xml', 'LONGTEXT', [['N\'<a b="1">ü</a>\'', '<a b="1">ü</a>']]],
  ['hierarchyid', 'VARCHAR(4000)', [["'/1/2.5/'", '/1/2.5/']]],
  ['geometry', 'LONGTEXT', [["'SRID=0;POINT (1 2 3)'", 'SRID=0;POINT (1 2 3)']]],
  ['geography', 'LONGTEXT', [["'SRID=4326;POINT (13.4 52.5)'", 'SRID=4326;POINT (13.4 52.5)']]],
  [
    'sql_variant',
    'TEXT',
    [
      [json(variant('float', 0.1)), '0.1'],
      [json(variant('real', Math.fround(0.1))), '0.10000000149011612'],
      [json(variant('datetime', '2024-02-29 23:59:59.997')), '2024-02-29 23:59:59.997'],
      [json(variant('money', '1.2345')), '1.2345'],
      [json(variant('nvarchar', 'tx\\')), 'tx\\'],
      [json(variant('int', 7)), '7'],
    ],
  ],
];

describe('types of SQL Server', () => {
  it.each(cases)('%s is %s, and its values arrive', async (type, expected, values) => {
    const name = `typed_${type.replace(/\W/g, '_')}`;
    ground.run(`create table ${name} (id int primary key, v ${type} null)`);
    ground.run([
      ...values.map(([literal], i) => `insert into ${name} values (${i}, ${literal})`),
      `insert into ${name} values (99, null)`,
    ]);
    const table = await describeOne(source, 'dbo', name);
    expect(table.columns[1] && formatColumnType(table.columns[1].type)).toBe(expected);
    expect(await readAll(source, table)).toEqual([...values.map(([, value], i) => [String(i), value]), ['99', null]]);
  });

  it('rowversion is VARBINARY(8), never NULL', async () => {
    ground.run('create table versioned (id int primary key, rv rowversion)');
    ground.run('insert into versioned (id) values (1)');
    const table = await describeOne(source, 'dbo', 'versioned');
    expect(table.columns[1]).toMatchObject({ type: { kind: 'binary', length: 8 }, nullable: false });
    expect((await readAll(source, table))[0]?.[1]).toMatch(/^0{12}[0-9A-F]{4}$/);
  });

  it('counts what the destination can not hold, by rule; refuses it in keys and on request', async () => {
    ground.run('create table ruled (id int primary key, d date, t datetime2(7), n nvarchar(20))');
    ground.run(
      "insert into ruled values (1, '0004-02-29', '2024-01-01 00:00:00.1234567', N'fine'), (2, null, '0999-01-01 00:00:00.0000000', null)",
    );
    const table = await describeOne(source, 'dbo', 'ruled');
    const { rows, read } = await readRange(source, table, '{}');
    expect(rows).toEqual([
      ['1', '1004-02-29', '2024-01-01 00:00:00.123456', 'fine'],
      ['2', null, '1999-01-01 00:00:00.000000', null],
    ]);
    expect(read.rules).toEqual([
      { rule: 'date_repair', column: 'd', count: 1, examples: ['d: 0004-02-29 (id=1)'] },
      { rule: 'fraction', column: 't', count: 1, examples: ['t: 2024-01-01 00:00:00.1234567 (id=1)'] },
      { rule: 'date_repair', column: 't', count: 1, examples: ['t: 0999-01-01 00:00:00.000000 (id=2)'] },
    ]);
    await using strict = await ground.open({ on_unrepresentable: 'error' });
    await expect(readRange(strict, table, '{}')).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('id=1'),
    });
    const whole = await describeOne(source, 'dbo', 'ruled', { types: { t: 'VARCHAR(27)' } });
    expect((await readAll(source, whole, { where: 'id = 1' }))[0]?.[2]).toBe('2024-01-01 00:00:00.1234567');
  });

  it('keys keep all digits, and are found again', async () => {
    ground.run(
      'create table keyed (at datetime2(7), o datetimeoffset(7), b varbinary(4), w varchar(20), primary key (at, o, b, w))',
    );
    ground.run(
      "insert into keyed values ('2024-01-01 00:00:00.1234567', '2024-01-01 02:00:00.0000001 +02:00', 0x00FF, 'tab\té'), ('2024-01-01 00:00:00.1234568', '2024-01-01 02:00:00.0000001 +02:00', 0x00FF, 'tab\té')",
    );
    const table = await describeOne(source, 'dbo', 'keyed');
    expect(table.columns.map(({ type }) => formatColumnType(type))).toEqual([
      'VARCHAR(27)',
      'VARCHAR(27)',
      'VARBINARY(4)',
      'VARCHAR(20)',
    ]);
    const rows = await readAll(source, table);
    expect(rows[0]).toEqual(['2024-01-01 00:00:00.1234567', '2024-01-01 00:00:00.0000001', '00FF', 'tab\té']);
    const sql = ground.fake.engine.statements;
    const key = Buffer.from('2024-01-01 00:00:00.1234567\t2024-01-01 00:00:00.0000001\t00FF\ttab\\té').toString(
      'latin1',
    );
    for await (const _ of source.reread(table, [key], new AbortController().signal));
    expect(sql.at(-1)).toContain(
      "([at] = CONVERT(datetime2(7), N'2024-01-01 00:00:00.1234567', 121) AND [o] = CONVERT(datetimeoffset(7), N'2024-01-01 00:00:00.0000001 +00:00', 121) AND [b] = 0x00FF AND [w] = N'tab\té')",
    );
  });

  it('a datetimeoffset goes to UTC where it is asked to be a date and time', async () => {
    ground.run('create table zoned (id int primary key, o datetimeoffset(3))');
    ground.run("insert into zoned values (1, '2024-03-01 01:30:00.500 +05:30')");
    const table = await describeOne(source, 'dbo', 'zoned', { types: { o: 'DATETIME(6)' } });
    expect(await readAll(source, table)).toEqual([['1', '2024-02-29 20:00:00.500000']]);
  });

  it('leaves out what it does not know, and says so', async () => {
    ground.run('create table strange (id int primary key, r rocket)');
    expect((await describeOne(source, 'dbo', 'strange')).leftOut).toEqual([
      { name: 'r', sourceType: 'rocket', reason: 'The type rocket is not known.' },
    ]);
  });

  it.each([
    ['text', 0],
    ['text whose pieces would cut a character', 1],
    ['binary', 0],
  ])('a cell of several megabytes arrives whole: %s', (kind, shift) => {
    const binary = kind === 'binary';
    const fields = [
      { name: 'id', encoding: 'plain' as const, key: true },
      { name: 'v', encoding: binary ? ('hex' as const) : ('text' as const), key: false },
    ];
    const value = binary ? Buffer.alloc(3_000_001, 'x\n') : 'y'.repeat(shift) + '😀\té\\'.repeat(500_000);
    const writer = createRowWriter('dbo.t', fields, false);
    writer.add([1, binary ? Buffer.from('small') : 'small']);
    writer.add([2, value]);
    writer.add([3, null]);
    const { data, rows } = writer.take();
    const cell = binary
      ? (value as Buffer).toString('hex').toUpperCase()
      : (value as string).replaceAll('\\', '\\\\').replaceAll('\t', '\\t');
    const small = binary ? '736D616C6C' : 'small';
    expect(rows).toBe(3);
    expect(data.equals(Buffer.from(`1\t${small}\n2\t${cell}\n3\t\\N\n`))).toBe(true);
    expect(writer.pending).toBe(0);
  });

  it('cuts a table by what can be bounded of its key, once for each value of it', async () => {
    ground.run('create table partly (a nvarchar(10), h hierarchyid, pad nvarchar(200), primary key (a, h))');
    const row = (n: number) => `(N'${n < 250 ? 1 : n}', '/${n}/', N'${'p'.repeat(150)}')`;
    ground.run(`insert into partly values ${Array.from({ length: 300 }, (_, n) => row(n)).join(', ')}`);
    const table = await describeOne(source, 'dbo', 'partly');
    const { statements } = ground.fake.engine;
    const before = statements.length;
    const { ranges } = await source.split(table, undefined, 3_000);
    expect(statements.slice(before).filter((sql) => sql.includes('OFFSET')).length).toBeLessThan(40);
    expect(new Set(ranges).size).toBe(ranges.length);
    expect(await readAll(source, table, { chunkBytes: 3_000 })).toHaveLength(300);
  });
});
