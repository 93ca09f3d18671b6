import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { decodePosition } from '../../src/drivers/mysql/position.ts';
import { open } from '../../src/drivers/mysql/source.ts';
import type { Source } from '../../src/drivers/source.ts';
import { describeOne, readRows } from './mysql-fixture.ts';

/** Further versions, started by `npm run test:matrix` only. */
const servers = inject('matrix').filter((server) => server.kind !== 'postgres');

test.skipIf(servers.length > 0)('no further versions were asked for', () => {
  expect(process.env['FLOW_MATRIX'] ?? '').not.toMatch(/mysql|mariadb/);
});

describe.each(servers)('$name', (server) => {
  const old = server.name === 'mysql5.5';
  const database = `matrix_${Date.now().toString(36)}`;
  let admin: mysql.Connection;
  let source: Source;
  beforeAll(async () => {
    const { host, port, user, password } = server;
    admin = await mysql.createConnection({ host, port, user, password });
    await admin.query("set sql_mode = ''");
    await admin.query(`create database ${database}`);
    await admin.query(`use ${database}`);
    source = await open({ host, port: String(port), uid: user, pwd: password }, new AbortController().signal);
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await admin.query(`drop database ${database}`);
    await admin.end();
  });

  test('values', async () => {
    const geometry = old ? 'geomfromtext' : 'st_geomfromtext';
    await admin.query(
      `create table t (id int primary key, y ${old ? 'year(2)' : 'year'}, f float, d double, b bit(64), t datetime, z timestamp null, s varchar(20) character set utf8mb4, x varbinary(4), g geometry)`,
    );
    await admin.query(
      `insert into t values (1, 70, 16777215, 0.1, 18446744073709551615, '0000-00-00', '1970-01-02', '😀\\n', x'00ff', ${geometry}('point(1 2)')), (2, 5, 0.1, 1e300, 0, '2020-00-01 10:11:12', null, null, null, null)`,
    );
    const { rows, read } = await readRows(source, await describeOne(source, database, 't'));
    expect(rows.map((row) => row.map((field) => field?.toString() ?? null))).toEqual([
      [
        '1',
        '1970',
        '16777215',
        '0.1',
        '18446744073709551615',
        '1000-01-01 00:00:00',
        '1970-01-02 00:00:00',
        '😀\n',
        '00FF',
        'POINT(1 2)',
      ],
      ['2', '2005', '0.10000000149011612', '1e300', '0', '2020-01-01 10:11:12', null, null, null, null],
    ]);
    expect(read.rules).toMatchObject([{ rule: 'date_repair', column: 't', count: 2 }]);
  });

  test.each([
    ['composite text key', 'a varchar(20), b int, primary key (a, b)', (i: number) => `('k${i % 7}', ${i})`],
    ['sparse integers', 'a bigint primary key, b int', (i: number) => `(${i * i * 1_000}, ${i})`],
  ])('chunks: %s', async (_, columns, row) => {
    await admin.query('drop table if exists cut');
    await admin.query(`create table cut (${columns})`);
    await admin.query(`insert into cut values ${Array.from({ length: 5_000 }, (_, i) => row(i)).join(', ')}`);
    const table = await describeOne(source, database, 'cut');
    const { ranges } = await source.split(table, undefined, 20_000);
    expect(ranges.length).toBeGreaterThan(4);
    const seen: string[] = [];
    for (const range of ranges)
      seen.push(...(await readRows(source, table, range)).rows.map((fields) => fields.map(String).join()));
    expect(seen).toHaveLength(5_000);
    expect(new Set(seen).size).toBe(5_000);
  });

  test('catalog, preflight and positions', async () => {
    expect(await source.schemas()).toContain(database);
    expect((await source.schemas()).filter((name) => name.startsWith('#'))).toEqual([]);
    await admin.query('create table followed (id int primary key)');
    const refs = [{ schema: database, name: 'followed' }];
    const findings = await source.preflight(refs);
    expect(findings.filter((finding) => finding.severity === 'error')).toEqual([]);
    if (old) expect(findings.map((finding) => finding.code)).toEqual(['version', 'binlog_row_metadata', 'gtid_mode']);
    const start = await source.begin('p', 's', refs, () => {}, new AbortController().signal);
    await admin.query('insert into followed values (1)');
    const end = decodePosition(await source.written());
    const from = decodePosition(start.position);
    expect(from?.file).toBe(end?.file);
    expect(end?.offset).toBeGreaterThan(from?.offset ?? Number.POSITIVE_INFINITY);
    if (!old) expect(from?.gtid).toMatch(/^\d+-\d+-\d+/);
  });
});
