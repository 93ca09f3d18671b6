import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Source } from '../../src/drivers/source.ts';
import { CASES } from './mysql/type-cases.ts';
import { describeOne, type Playground, playground, readRows } from './mysql-fixture.ts';

const DOUBLE_LIKE = /^(double|float)/;

describe.each(['mysql9', 'mariadb'] as const)('types on %s', (server) => {
  let ground: Playground;
  let source: Source;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  const cases = CASES.filter((one) => one.only === undefined || one.only === server).map((one, at) => ({ ...one, at }));
  test.each(cases)('$type', async ({ type, values, at }) => {
    const name = `t${at}`;
    await ground.sql(`create table ${name} (id int primary key, c ${type})`);
    for (const [i, [literal]] of values.entries()) await ground.sql(`insert into ${name} values (${i}, ${literal})`);
    const table = await describeOne(source, ground.database, name);
    expect(table.leftOut).toEqual([]);
    const { rows, read } = await readRows(source, table);
    expect(read.rules).toEqual([]);
    for (const [i, [, text]] of values.entries()) {
      const got = rows[i]?.[1];
      const wanted = text === null ? null : Buffer.from(text);
      // Doubles: any spelling will do that is the same number to the last bit.
      const same =
        !got || !wanted ? got === wanted : DOUBLE_LIKE.test(type) ? Number(got) === Number(wanted) : got.equals(wanted);
      expect(same, `${values[i]?.[0].slice(0, 100)} arrived as ${got?.toString('utf8', 0, 100)}`).toBe(true);
    }
  });

  test('random doubles come back bit for bit, random decimals digit for digit', async () => {
    await ground.sql('create table numbers (id int primary key, d double, f float, n decimal(40,20))');
    const wanted: [number, number, string][] = [];
    for (let i = 0; i < 2_000; i++) {
      const bits = Buffer.alloc(8);
      for (let b = 0; b < 8; b++) bits[b] = Math.floor(Math.random() * 256);
      const double = bits.readDoubleLE(0);
      const float = Math.fround(bits.readFloatLE(0));
      const decimal = `${bits.readBigInt64LE(0)}.${String(bits.readUInt32LE(0)).padStart(20, '0')}`;
      wanted.push([Number.isFinite(double) ? double : i, Number.isFinite(float) ? float : i, decimal]);
    }
    const literal = (number: number) => number.toExponential();
    for (let from = 0; from < wanted.length; from += 500)
      await ground.sql(
        `insert into numbers values ${wanted
          .slice(from, from + 500)
          .map(([d, f, n], i) => `(${from + i}, ${literal(d)}, ${literal(f)}, ${n})`)
          .join(',')}`,
      );
    const { rows } = await readRows(source, await describeOne(source, ground.database, 'numbers'));
    // A server may flush subnormal floats to zero when it stores them: what counts is what it stored, read by another way.
    const stored = await ground.sql('select cast(f as char), hex(f), d = 0, f = 0 from numbers order by id');
    for (const [i, [double, float, decimal]] of wanted.entries()) {
      const row = rows[i] ?? [];
      if (Number(stored[i]?.[2]) === 0) expect(Number(row[1])).toBe(double);
      if (Number(stored[i]?.[3]) === 0) expect(Math.fround(Number(row[2]))).toBe(float);
      expect(row[3]?.toString()).toBe(decimal);
    }
  });

  test('invalid dates follow the rules, are counted, and can be refused', async () => {
    await ground.sql(
      'create table dates (id int primary key, d date, t datetime(3), s timestamp(2) null, v varchar(20))',
    );
    await ground.sql(
      "insert into dates values (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', 'x'), (2, '2020-00-15', '2020-05-00 10:11:12.5', null, '0000-00-00'), (3, '2021-02-31', '0999-01-01', '2021-01-01 05:30:00', null)",
    );
    const table = await describeOne(source, ground.database, 'dates');
    const { rows, read } = await readRows(source, table);
    expect(rows.map((row) => row.map((field) => field?.toString() ?? null))).toEqual([
      ['1', '1000-01-01', '1000-01-01 00:00:00.000', '1000-01-01 00:00:00.00', 'x'],
      ['2', '2020-01-15', '2020-05-01 10:11:12.500', null, '0000-00-00'],
      ['3', '2021-02-28', '1999-01-01 00:00:00.000', '2021-01-01 00:00:00.00', null],
    ]);
    expect(read.rules.map(({ rule, column, count }) => [rule, column, count])).toEqual([
      ['date_repair', 'd', 3],
      ['date_repair', 't', 3],
      ['date_repair', 's', 1],
    ]);
    expect(read.rules[0]?.examples).toEqual(['d: 0000-00-00 (id=1)', 'd: 2020-00-15 (id=2)', 'd: 2021-02-31 (id=3)']);
    await using strict = await ground.open({ on_unrepresentable: 'error' });
    await expect(readRows(strict, table)).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('0000-00-00'),
    });
    await ground.sql('create table date_key (d date primary key); '.replace(';', ''));
    await ground.sql("insert into date_key values ('0000-00-00')");
    await expect(readRows(source, await describeOne(source, ground.database, 'date_key'))).rejects.toMatchObject({
      name: 'UnsupportedValue',
    });
  });

  test('control characters in every text type, one row each', async () => {
    await ground.sql(
      'create table controls (id int primary key, a char(3), b varchar(3), c text, d tinytext character set latin1)',
    );
    for (let code = 0; code < 128; code++)
      await ground.sql(
        `insert into controls values (${code}, concat('<', char(${code} using utf8mb4), '>'), concat(char(${code} using utf8mb4), 'x'), char(${code} using utf8mb4), concat(char(${code} using latin1), '|'))`,
      );
    const { rows } = await readRows(source, await describeOne(source, ground.database, 'controls'));
    for (const [code, row] of rows.entries()) {
      const char = String.fromCharCode(code);
      expect(row.slice(1).map(String)).toEqual([`<${char}>`, `${char}x`, char, `${char}|`]);
    }
    expect(rows).toHaveLength(128);
  });
});
