import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MysqlSettings, startMysql } from '../../../scripts/servers/mysql.ts';
import type { Server } from '../../../scripts/servers/server.ts';
import type { Table } from '../../../src/drivers/model.ts';
import { decodePosition, encodePosition } from '../../../src/drivers/mysql/position.ts';
import { open } from '../../../src/drivers/mysql/source.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne } from '../mysql-fixture.ts';
import {
  applied,
  changesSince,
  collect,
  isRow,
  lastPosition,
  never,
  openAt,
  readLines,
  rereadLines,
  rowText,
  startAt,
} from './capture-fixture.ts';

/** Servers whose settings no other test wants. */
const SERVERS: readonly { name: string; flavour: 'mysql9' | 'mariadb10.11'; settings: MysqlSettings }[] = [
  {
    name: 'MySQL without GTIDs, names and checksums',
    flavour: 'mysql9',
    settings: {
      'gtid-mode': 'OFF',
      'enforce-gtid-consistency': 'OFF',
      'binlog-row-metadata': 'MINIMAL',
      'binlog-checksum': 'NONE',
    },
  },
  {
    name: 'MySQL with compressed transactions',
    flavour: 'mysql9',
    settings: { 'binlog-transaction-compression': 'ON' },
  },
  {
    name: 'MariaDB with compressed events, without names, with the temporal types of old',
    flavour: 'mariadb10.11',
    settings: {
      'log-bin-compress': 'ON',
      'log-bin-compress-min-len': 10,
      'binlog-row-metadata': 'NO_LOG',
      'mysql56-temporal-format': 'OFF',
    },
  },
];

describe.each(SERVERS)('$name', ({ flavour, settings }) => {
  let server: Server;
  let admin: mysql.Connection;
  let source: Source;
  const sql = (statement: string) => admin.query(statement);
  beforeAll(async () => {
    server = await startMysql({
      flavour,
      settings: { 'innodb-buffer-pool-size': '64M', 'binlog-expire-logs-seconds': 7200, ...settings },
    });
    admin = await mysql.createConnection({
      host: server.host,
      port: server.port,
      user: server.user,
      password: server.password,
      multipleStatements: false,
    });
    await sql('create database shop');
    await sql('use shop');
    await sql("set sql_mode = 'ALLOW_INVALID_DATES'");
    source = await open(
      { host: server.host, port: String(server.port), uid: server.user, pwd: server.password },
      never(),
    );
  }, 180_000);
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await admin.end();
    await server.stop();
  });

  test('values, and each position to go on from', async () => {
    await sql(
      "create table v (id int primary key, l varchar(40) character set latin1, s varchar(40) character set sjis, u bigint unsigned, e enum('x','é','z,') character set latin1, st set('p','q'), d date, t time, t3 time(3), dt datetime, dt6 datetime(6), ts timestamp null, ts2 timestamp(2) null, dt1 datetime(1), b blob, big longtext)",
    );
    const table = await describeOne(source, 'shop', 'v');
    const start = await startAt(source, [table]);
    for (let i = 1; i <= 6; i++)
      await sql(
        `insert into v values (${i}, 'é€${i}', '表示${i}', 18446744073709551615, ${(i % 3) + 1}, ${i % 4}, '2020-01-0${i}', '-${i}00:11:12', '-12:34:56.${i}89', '2021-01-01 10:11:1${i}', '2021-01-01 10:11:12.00012${i}', '2021-01-01 00:00:0${i}', '2021-01-01 00:00:01.${i}5', '0000-00-00 00:00:00', x'00ff0${i}', repeat('abc${i}', 1000))`,
      );
    await sql(
      "insert into v (id, t3, dt6, dt1, ts2, d) values (7, '838:59:59', '9999-12-31 23:59:59.999999', '1000-01-01 00:00:00.9', '2038-01-19 03:14:07.99', '2020-00-00')",
    );
    await sql("update v set l = 'ÿ', big = null where id < 4");
    await sql('update v set id = id + 100 where id > 5');
    await sql('delete from v where id = 2');
    const events = await changesSince(source, [table], start);
    expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
    const rows = applied(events, 0);
    expect([...rows.values()].sort()).toEqual((await readLines(source, table)).sort());
    const changes = events.filter(isRow).map((change) => [change.kind, change.key, rowText(change)]);
    for (const event of events)
      if (event.kind === 'commit') {
        const rest = await changesSince(source, [table], { ...start, position: event.position });
        const after = events.slice(events.indexOf(event)).filter(isRow).length;
        expect(rest.filter(isRow).map((change) => [change.kind, change.key, rowText(change)])).toEqual(
          after === 0 ? [] : changes.slice(-after),
        );
      }
    await using capture = await openAt(source, [table], start);
    await collect(capture);
    expect((await rereadLines(capture, 0, [...rows.keys(), '999'])).sort()).toEqual([...rows.values()].sort());
  });

  test('columns that the server hides from everyone', async () => {
    await sql(
      `create table hidden (id int primary key, a text${flavour === 'mysql9' ? ', key f ((id + 1))' : ', unique key u (a)'})`,
    );
    const table = await describeOne(source, 'shop', 'hidden');
    const start = await startAt(source, [table]);
    await sql("insert into hidden values (1, 'x'), (2, 'y')");
    await sql("update hidden set a = 'z' where id = 2");
    const events = await changesSince(source, [table], start);
    expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
    expect([...applied(events, 0).values()]).toEqual(await readLines(source, table));
  });

  test('a transaction of 200,000 rows in pieces, with little memory', async () => {
    await sql('create table many (id int primary key, a int, b varchar(100))');
    const table = await describeOne(source, 'shop', 'many');
    const start = await startAt(source, [table]);
    await sql('set session cte_max_recursion_depth = 1000000').catch(() =>
      sql('set session max_recursive_iterations = 1000000'),
    );
    await sql(
      "insert into many with recursive n (i) as (select 1 union all select i + 1 from n where i < 200000) select i, i * 7, concat(repeat('x', i % 90), i) from n",
    );
    let rows = 0;
    let largest = 0;
    let commits = 0;
    const before = process.memoryUsage.rss();
    let most = 0;
    await using capture = await openAt(source, [table], start);
    for await (const piece of capture.events()) {
      let bytes = 0;
      for (const event of piece) {
        if (isRow(event)) {
          rows++;
          bytes += event.to - event.from;
          expect(commits).toBe(0);
        }
        if (event.kind === 'commit') commits++;
      }
      largest = Math.max(largest, bytes);
      most = Math.max(most, process.memoryUsage.rss());
    }
    expect([rows, commits]).toEqual([200_000, 1]);
    expect(largest).toBeLessThan(2_000_000);
    expect(most - before).toBeLessThan(150_000_000);
  }, 120_000);

  test('a cell of 20 MB', async () => {
    await sql('create table wide (id int primary key, t longtext, b longblob)');
    const table = await describeOne(source, 'shop', 'wide');
    const start = await startAt(source, [table]);
    await sql(
      "insert into wide values (1, repeat('text\\n', 4000000), x'00ff'), (2, 'small', repeat(x'80', 17000000))",
    );
    await sql("update wide set t = concat(t, 'x') where id = 1");
    const events = await changesSince(source, [table], start);
    const wanted = (await readLines(source, table)).sort();
    const got = [...applied(events, 0).values()].sort();
    expect(got.map((line) => line.length)).toEqual(wanted.map((line) => line.length));
    expect(got.every((line, i) => line === wanted[i])).toBe(true);
  }, 120_000);

  test('how long the log is kept, and that it is gone', async () => {
    await sql('create table gone (id int primary key)');
    const table = await describeOne(source, 'shop', 'gone');
    const start = await startAt(source, [table]);
    await sql('insert into gone values (1)');
    const position = lastPosition(await changesSince(source, [table], start));
    const first = await source.logState('', position);
    expect(first.hoursLeft).toBeCloseTo(2, 1);
    await sql('flush binary logs');
    await sql('insert into gone values (2)');
    await sleep(4_000);
    const second = await source.logState('', position);
    expect(second.hoursLeft).toBeLessThan(first.hoursLeft as number);
    expect(second.hoursLeft).toBeGreaterThan(1.9);
    expect(second.bytes).toBeGreaterThan(first.bytes as number);
    expect(second.lost).toBe(null);
    await sql('flush binary logs');
    const [status] = (await admin.query(
      flavour === 'mysql9' ? 'show binary log status' : 'show master status',
    )) as unknown as [{ File: string }[]];
    await sql(`purge binary logs to '${status[0]?.File}'`);
    const third = await source.logState('', position);
    expect(third.lost).toMatch(/deleted log|no longer has/);
    expect(third.hoursLeft).toBe(0);
    await expect(openAt(source, [table], { ...start, position })).rejects.toMatchObject({ name: 'PositionLost' });
    if (flavour === 'mariadb10.11') {
      const { gtid = '' } = decodePosition(position) ?? {};
      await using capture = await openAt(source, [table], { ...start, position: encodePosition({ gtid }) });
      await expect(collect(capture)).rejects.toMatchObject({ name: 'PositionLost' });
    }
  }, 60_000);

  test('a structure that changed since, without names in the log', async () => {
    if (settings['binlog-row-metadata'] === undefined) return;
    const described: Table[] = [];
    for (const [name, columns] of [
      ['ints', 'id int primary key, a int'],
      ['texts', 'id int primary key, a varchar(5) character set latin1'],
    ] as const) {
      await sql(`create table ${name} (${columns})`);
      described.push(await describeOne(source, 'shop', name));
    }
    const start = await startAt(source, described);
    await sql('insert into ints values (1, 2)');
    await sql("insert into texts values (1, 'é')");
    await sql('alter table ints add column late int first');
    await sql('alter table texts add column late int');
    const events = await changesSince(source, described, start);
    // Integers need nothing but their places; a charset stands in the log of MySQL, not in that of MariaDB.
    expect(events.filter(isRow).map((change) => rowText(change))).toEqual(
      flavour === 'mysql9' ? ['1\t2\n', `1\t${Buffer.from('é').toString('latin1')}\n`] : ['1\t2\n'],
    );
    expect(
      events
        .filter((event) => event.kind === 'structure')
        .map((event) => event.table)
        .sort(),
    ).toEqual([0, 1]);
  });
});
