import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatColumnType } from '../../src/drivers/column-types.ts';
import type { Source } from '../../src/drivers/source.ts';
import { CASES, SETUP, SINCE } from './postgres-cases.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne, readRange } from './source-suite.ts';

/** Before 12 floats print with more digits than the shortest text needs; the number is the same. */
const shortest = (text: string | null, single: boolean): string | null =>
  text === null
    ? null
    : text.replace(/\d\.?\d*(e[+-]?\d+)?/g, (number) => String(single ? Math.fround(Number(number)) : Number(number)));

describe.each(postgresServers())('types of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let version: number;
  beforeAll(async () => {
    ground = await playground(server);
    await ground.sql(SETUP);
    source = await ground.open();
    version = Number((await ground.sql('show server_version_num')).flat()[0]);
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test.each(CASES)('%s arrives as %s', async (sourceType, destination, values) => {
    if (version < (SINCE[sourceType] ?? 0)) return;
    const isFloat = /real|double|float|point/.test(sourceType) && version < 120000;
    await ground.sql('drop table if exists typed');
    await ground.sql(`create table typed (id int primary key, v ${sourceType})`);
    await ground.sql('insert into typed values (-1, null)');
    for (const [index, [literal]] of values.entries())
      await ground.sql(`insert into typed values (${index}, ${literal})`);
    const table = await describeOne(source, 'public', 'typed');
    expect(table.leftOut).toEqual([]);
    expect(formatColumnType(table.columns[1]?.type as never)).toBe(destination);
    const { rows } = await readWhole(source, 'typed');
    const expected: (string | null)[][] = [['-1', null], ...values.map(([, text], index) => [String(index), text])];
    const numbers = (all: readonly (readonly (string | null)[])[]) =>
      all.map((row) => row.map((text) => shortest(text, sourceType === 'real')));
    if (isFloat) expect(numbers(rows)).toEqual(numbers(expected));
    else expect(rows).toEqual(expected);
  });

  test('each use of a rule is counted, with examples; nothing else is', async () => {
    await ground.sql('create table ruled (id int primary key, n numeric, f float8, d date, ts timestamp, t text)');
    await ground.sql(
      `insert into ruled select i, (case when i % 10 = 0 then 'NaN' else '1.5' end)::numeric, (case when i % 25 = 0 then 'Infinity' else '0.5' end)::float8,
         (case when i = 7 then '0007-01-01' when i = 8 then 'infinity' else '2020-01-01' end)::date, '2020-01-01', 'NaN Infinity \x02' from generate_series(1, 100) i`,
    );
    const { read } = await readWhole(source, 'ruled');
    expect(read.rules).toEqual([
      { rule: 'date_repair', column: 'd', count: 1, examples: ['0007-01-01 (id=7)'] },
      { rule: 'date_range', column: 'd', count: 1, examples: ['infinity (id=8)'] },
      { rule: 'not_a_number', column: 'n', count: 10, examples: ['NaN (id=10)', 'NaN (id=20)', 'NaN (id=30)'] },
      {
        rule: 'not_a_number',
        column: 'f',
        count: 4,
        examples: ['Infinity (id=25)', 'Infinity (id=50)', 'Infinity (id=75)'],
      },
    ]);
  });

  test('on_unrepresentable = error names table, key and column', async () => {
    await using strict = await ground.open({ on_unrepresentable: 'error' });
    await ground.sql(
      "create table strict_one (id int primary key, n numeric); insert into strict_one values (1, 1), (42, 'NaN')",
    );
    await expect(readWhole(strict, 'strict_one')).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringMatching(/public\.strict_one .*NaN .*"n" \(id=42\)/),
    });
  });

  test('a rule never touches a key: it is an error', async () => {
    await ground.sql(
      "create table dated (d date, n int, primary key (d, n)); insert into dated values ('infinity', 3)",
    );
    await expect(readWhole(source, 'dated')).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('n=3'),
    });
  });

  test('types turns columns into text as PostgreSQL prints them, and no rule applies', async () => {
    await ground.sql('create table retyped (id int primary key, d date, n numeric, a int[], b bool)');
    await ground.sql("insert into retyped values (1, '0044-03-15 BC', 'NaN', '{1}', true)");
    const types = { d: 'VARCHAR(40)', n: 'longtext', a: 'TEXT', b: 'VARCHAR(5)' };
    const { rows, read } = await readWhole(source, 'retyped', { types });
    expect(rows).toEqual([['1', '0044-03-15 BC', 'NaN', '[1]', '1']]);
    expect(read.rules).toEqual([]);
  });

  test('a range is read in UTC whatever the role, the database and the session say', async () => {
    await ground.sql(`alter database ${ground.database} set timezone = 'Asia/Tokyo'`);
    await ground.sql(`alter database ${ground.database} set datestyle = 'German'`);
    await ground.sql(`alter database ${ground.database} set extra_float_digits = 0`);
    await ground.sql(`alter database ${ground.database} set bytea_output = 'escape'`);
    await ground.sql(`alter database ${ground.database} set statement_timeout = '250ms'`);
    await ground.sql('create table localised (id int primary key, ts timestamptz, d date, f float8, r tstzrange)');
    await ground.sql(
      "insert into localised values (1, '2024-06-01 00:00:00+09', '2024-12-31', 0.1::float8, '[2024-06-01 00:00:00+09,)')",
    );
    await using other = await ground.open();
    expect((await readWhole(other, 'localised', { where: 'pg_sleep(0.5) is not null' })).rows).toEqual([
      [
        '1',
        '2024-05-31 15:00:00',
        '2024-12-31',
        version < 120000 ? '0.100000000000000006' : '0.1',
        '"[\\"2024-05-31 15:00:00+00\\",)"',
      ],
    ]);
  });

  test('a text that is not UTF-8 is a named error', async () => {
    await using ascii = await playground(server, "template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'");
    await ascii.sql('create table latin (id int primary key, t text)');
    await ascii.sql("set client_encoding = 'SQL_ASCII'");
    await ascii.sql("insert into latin values (1, 'plain'), (2, convert_from('\\xe9', 'SQL_ASCII'))");
    await using bad = await ascii.open();
    await expect(readWhole(bad, 'latin')).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringMatching(/public\.latin.*UTF-?8/),
    });
    expect((await readWhole(bad, 'latin', { where: 'id = 1' })).rows).toEqual([['1', 'plain']]);
  });

  test('a database in Latin-1 arrives in UTF-8', async () => {
    await using latin = await playground(server, "template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'");
    await latin.sql('create table "dé" (id int primary key, "é" text)');
    await latin.sql('insert into "dé" values (1, \'é\')');
    await using opened = await latin.open();
    expect((await readWhole(opened, 'dé')).rows).toEqual([['1', 'é']]);
  });
});

async function readWhole(
  source: Source,
  name: string,
  options: { types?: Record<string, string>; where?: string } = {},
) {
  const table = await describeOne(source, 'public', name, options);
  const { ranges } = await source.split(table, options.where, 1e12);
  return readRange(source, table, ranges[0] as string, options.where);
}
