import mysql from 'mysql2/promise';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { LogEvent } from '../../../src/drivers/changes.ts';
import type { Table } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne, type Playground, playground } from '../mysql-fixture.ts';
import {
  applied,
  changesSince,
  collect,
  isRow,
  lastPosition,
  openAt,
  readLines,
  rowText,
  startAt,
} from './capture-fixture.ts';

type Structure = Extract<LogEvent, { kind: 'structure' }>;

describe.each(['mysql9', 'mariadb'] as const)('statements in the log of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let table: Table;
  beforeEach(async () => {
    ground = await playground(server);
    source = await ground.open();
    await ground.sql('create table t (id int primary key, a int, v varchar(20), n decimal(8,2), key by_a (a))');
    await ground.sql("insert into t values (1, 1, 'one', 1)");
    table = await describeOne(source, ground.database, 't');
  });
  afterEach(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  /** Runs statements after a start; returns what came of the table. */
  async function eventsAfter(...statements: string[]): Promise<LogEvent[]> {
    const start = await startAt(source, [table]);
    for (const statement of statements) await ground.sql(statement);
    return changesSince(source, [table], start);
  }
  const structures = (events: readonly LogEvent[]) =>
    events.filter((event): event is Structure => event.kind === 'structure');
  const keys = (events: readonly LogEvent[]) => events.filter(isRow).map((change) => change.key);

  test.each([
    'create index by_v on t (v)',
    "alter table t add unique key u (a, v), comment = 'x, drop column a'",
    'alter table t drop key by_a',
    'drop index by_a on t',
    'alter table t engine = InnoDB, force',
    "alter table t modify v varchar(20) comment 'said'",
    'alter table t alter column a set default 5',
    'alter table t auto_increment = 100',
    'alter table t default character set latin1',
    'optimize table t',
    'analyze table t',
    'create table u like t',
    'create table if not exists t (other int)',
    'create view w as select * from t',
    "create trigger g after insert on t for each row set @x = 'alter table t drop column a'",
    'create temporary table tt (id int)',
    'drop table if exists nothing_of_this_name',
    'rename table if_not to if_so',
  ])('harmless: %s', async (statement) => {
    if (statement.startsWith('rename')) await ground.sql('create table if_not (id int)');
    const events = await eventsAfter(
      "insert into t values (2, 2, 'two', 2)",
      statement,
      "insert into t values (3, 3, 'three', 3)",
    );
    expect(structures(events)).toEqual([]);
    expect(keys(events)).toEqual(['2', '3']);
  });

  test.each([
    ['alter table t add column c int', (now: Table) => now.columns.some((column) => column.name === 'c')],
    [
      'alter table t add column c varchar(5) default null first, drop column a',
      (now: Table) => now.columns.map((column) => column.name).join() === 'c,id,v,n',
    ],
    ['alter table t drop column v', (now: Table) => !now.columns.some((column) => column.name === 'v')],
    ['alter table t modify v varchar(50)', (now: Table) => now.columns[2]?.sourceType === 'varchar(50)'],
    [
      'alter table t modify n decimal(12,2), modify a bigint',
      (now: Table) => now.columns[3]?.sourceType === 'decimal(12,2)',
    ],
    ['alter table t add column g int as (a + 1) virtual', (now: Table) => now.leftOut.length === 1],
  ] as const)('known from the catalog: %s', async (statement, holds) => {
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (2, 2, 'two', 2)");
    await ground.sql(statement);
    await ground.sql('insert into t (id) values (3)');
    const events = await changesSince(source, [table], start);
    expect(keys(events)).toEqual(['2']);
    const [event] = structures(events);
    expect(event?.now && holds(event.now)).toBe(true);
    expect(event?.now).toEqual(await describeOne(source, ground.database, 't'));
    // The reader goes on with the structure that it was told, from the commit of the statement on.
    const commit = events.slice(events.indexOf(event as LogEvent)).find((one) => one.kind === 'commit');
    if (commit?.kind !== 'commit') throw new Error('the statement has no commit');
    const rest = await changesSince(source, [event?.now as Table], { ...start, position: commit.position });
    expect(rest.filter(isRow).map(rowText)).toEqual(
      (await readLines(source, event?.now as Table)).filter(
        (line) => line.split('\t').includes('3') || line.split('\t').includes('3\n'),
      ),
    );
  });

  test.each([
    'alter table t add column c datetime default current_timestamp',
    'alter table t add column c datetime not null default now() on update now()',
    'alter table t add column c int default (1 + 1)',
    'alter table t add (c int default null, d int default (2))',
    'alter table t add column c date not null',
    'alter table t add column c timestamp not null',
    "alter table t add column c enum('x', 'y') not null",
    'alter table t add column c binary(3) not null',
    'alter table t add column c serial',
    'alter table t add column c int default 5; alter table t alter column c set default 6',
    'alter table t add column c int default 5; alter table t alter c drop default',
    'alter table t add column c int default 5; alter table t drop column c; alter table t add column c int default 6',
    'alter table t rename column id to k',
    'alter table t change id k int',
    'alter table t rename column a to a2, add column a int',
    'alter table t add column c int, rename column a to b, rename column c to d',
    'alter table t drop column v, rename column n to v',
    'alter table t change a b bigint',
    'alter table t change v w varchar(20) character set latin1',
    'alter table t change v w varchar(30)',
    'alter table t modify a int not null',
    'alter table t change a b int not null',
    'alter table t add column c int as (a * 2) stored',
    'alter table t modify v varchar(20) character set latin1',
    'alter table t convert to character set latin1',
    'alter table t modify n decimal(8,1)',
    'alter table t modify a varchar(10)',
    'alter table t drop primary key, add primary key (id, v)',
    'alter table t drop column a, add column a int',
    'rename table t to t2',
    'rename table t to _t_del, _t_gho to t',
    '/* tool */ RENAME -- x\n TABLE `t` TO `_t_old`, `_t_gho` TO `t`',
    'alter table t rename to t2',
    'alter table t rename as t2, add column z int',
    'drop table t',
    '/*!40000 DROP TABLE IF EXISTS `t` */',
    'create or replace table t (id int primary key)',
    'alter table t partition by hash (id) partitions 3; alter table t exchange partition p0 with table _t_gho',
  ])('only a reload helps: %s', async (statements) => {
    if (statements.startsWith('create or replace') && server === 'mysql9') return;
    // Refused by the servers themselves.
    if (/rename column c to d|add column c serial/.test(statements)) return;
    await ground.sql('create table _t_gho like t');
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (2, 2, 'two', 2)");
    for (const statement of statements.split('; ')) await ground.sql(statement);
    const events = await changesSince(source, [table], start);
    expect(keys(events)).toEqual(['2']);
    expect(structures(events).map(({ now, table: index }) => [now, index])).toEqual([[null, 0]]);
    expect(structures(events)[0]?.reason).toContain('.t:');
  });

  /** The rows from before, brought to the new structure as the event says, and then the changes: what a read gives. */
  test.each<[ddl: string, fills: Record<string, string>, renames?: Record<string, string>]>([
    ['add column c int default 5', { c: '5' }],
    ['add column c int not null default -5 first', { c: '-5' }],
    [
      'add column (c int null default null, d bigint unsigned not null default 18446744073709551615)',
      { d: '18446744073709551615' },
    ],
    [
      'add c int not null, add d varchar(5) not null, add e decimal(8,2) not null, add f double not null, add g text not null',
      { c: '0', d: '', e: '0.00', f: '0', g: '' },
    ],
    ["add c varchar(40) character set latin1 default 'a\\tb\\n\\\\ ü'' 5 + 1'", { c: "a\\tb\\n\\\\ Ã¼' 5 + 1" }],
    [
      "add c varchar(3) default '', add d char(5) default 'x ', add e varchar(9) default '\\\\N'",
      { c: '', d: 'x', e: '\\\\N' },
    ],
    [
      "add c varbinary(4) default x'00ff', add d binary(3) default 'a', add e bit(9) default b'101'",
      { c: '00FF', d: '610000', e: '5' },
    ],
    [
      'add c float default 0.1, add d double default 1e-7, add e decimal(20,4) default .5',
      { c: '0.10000000149011612', d: '0.0000001', e: '0.5000' },
    ],
    [
      "add c timestamp null default '2020-02-29 12:00:00', add d datetime(3) default '2020-02-29 01:02:03.004', add e time default '-01:00:00'",
      { c: '2020-02-29 06:30:00', d: '2020-02-29 01:02:03.004', e: '-01:00:00' },
    ],
    ["add c date not null default '2020-00-00', add d date default '2020-02-29'", { c: '2020-01-01', d: '2020-02-29' }],
    [
      "add c enum('x', 'y') default 'y', add d set('x', 'y') default 'x,y', add e year default 1999, add f bool default true",
      { c: 'y', d: 'x,y', e: '1999', f: '1' },
    ],
    ['add c int unsigned zerofill default 7', { c: '7' }],
    ['add c int default 5, add index by_c (c), modify n decimal(12,2), drop column v', { c: '5' }],
    ['rename column a to b', {}, { b: 'a' }],
    ['change `a` `b ``c` int', {}, { 'b `c': 'a' }],
    ['change column v w varchar(20) comment "said", add column c int default 1, drop column n', { c: '1' }, { w: 'v' }],
    ['change a a int default 3, change column v W varchar(20) first', {}, { W: 'v' }],
  ])('known values: alter table t %s', async (ddl, fills, renames = {}) => {
    for (const empty of [false, true]) {
      await ground.sql("replace into t values (1, 1, 'one', 1), (2, null, null, null)");
      if (empty) await ground.sql('delete from t');
      const start = await startAt(source, [table]);
      const before = await readLines(source, table);
      await ground.sql(`alter table t ${ddl}`);
      await ground.sql('update t set id = 3 where id = 1');
      await ground.sql('insert into t (id) values (4)').catch(() => {});
      const events = await changesSince(source, [table], start);
      const [found] = structures(events);
      const now = found?.now as Table;
      expect(now, found?.reason).not.toBeNull();
      expect(Object.fromEntries(found?.carry?.renames ?? [])).toEqual(renames);
      const given = Object.fromEntries(found?.carry?.fills ?? []);
      expect(given).toEqual(fills);
      const rows = new Map<string, string>();
      for (const line of before) {
        const cells = line.slice(0, -1).split('\t');
        const next = now.columns.map(({ name }) => {
          const place = table.columns.findIndex((column) => column.name === (renames[name] ?? name));
          return place < 0 ? (given[name] ?? '\\N') : cells[place];
        });
        rows.set(cells[0] as string, `${next.join('\t')}\n`);
      }
      const commit = events.slice(events.indexOf(found as LogEvent)).find((one) => one.kind === 'commit');
      if (commit?.kind !== 'commit') throw new Error('the statement has no commit');
      const rest = await changesSince(source, [now], { ...start, position: commit.position });
      expect(structures(rest)).toEqual([]);
      for (const [key, line] of applied(rest, 0, rows)) rows.set(key, line);
      const gone = rest.filter(isRow).flatMap(({ oldKey }) => oldKey ?? []);
      for (const key of gone) rows.delete(key);
      expect([...rows.values()].sort()).toEqual((await readLines(source, now)).sort());
      await ground.sql('drop table t');
      await ground.sql('create table t (id int primary key, a int, v varchar(20), n decimal(8,2), key by_a (a))');
      table = await describeOne(source, ground.database, 't');
    }
  });

  test('of a table that is empty by now, what a column that takes no NULL would have held is not known', async () => {
    const events = await eventsAfter('delete from t', 'alter table t add column c int not null default 5');
    expect(structures(events)).toMatchObject([{ now: null, reason: expect.stringMatching(/does not tell/) }]);
  });

  test('a session that refuses values that do not fit has no NULL in a column that takes none', async () => {
    await ground.sql('delete from t where a is null');
    const start = await startAt(source, [table]);
    await ground.sql("set sql_mode = 'STRICT_ALL_TABLES'");
    await ground.sql('alter table t modify a int not null');
    await ground.sql('alter table t modify a int null');
    const first = structures(await changesSince(source, [table], start));
    expect(first).toMatchObject([{ now: null, reason: expect.stringMatching(/changed again/) }]);
    await ground.sql('alter table t modify a int not null');
    const bound = await describeOne(source, ground.database, 't');
    const next = await startAt(source, [table]);
    expect(bound.columns[1]?.nullable).toBe(false);
    await ground.sql('alter table t modify v varchar(20) not null');
    const found = structures(await changesSince(source, [bound], next));
    expect(found[0]?.now?.columns[2]?.nullable, found[0]?.reason).toBe(false);
    if (server === 'mariadb') {
      const last = await startAt(source, [bound]);
      await ground.sql('alter ignore table t modify n decimal(8,2) not null');
      const ignored = structures(await changesSince(source, [found[0]?.now as Table], last));
      expect(ignored).toMatchObject([{ now: null, reason: expect.stringMatching(/NULL in n/) }]);
    }
  });

  test('a second change of the same table since makes the catalog useless for the first', async () => {
    const events = await eventsAfter(
      'alter table t add column c int',
      'insert into t (id) values (5)',
      'alter table t add column d int',
      'insert into t (id) values (6)',
    );
    expect(structures(events).map((event) => event.now)).toEqual([null]);
    expect(structures(events)[0]?.reason).toContain('changed again since');
    expect(keys(events)).toEqual([]);
  });

  test('a reader that begins before a change that the catalog has already: rows before it are read by the names in the log', async () => {
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (2, 2, 'two', 2)");
    const before = await readLines(source, table);
    await ground.sql('alter table t add column c int first');
    await ground.sql('insert into t (c, id) values (9, 3)');
    const events = await changesSince(source, [table], start);
    const named = (await ground.sql('select @@global.binlog_row_metadata'))[0]?.[0] === 'FULL';
    expect(named).toBe(true);
    expect(events.filter(isRow).map(rowText)).toEqual(before.slice(1));
    expect(structures(events).length).toBe(1);
    expect(structures(events)[0]?.now?.columns[0]?.name).toBe('c');
  });

  test('TRUNCATE, and in its place', async () => {
    const events = await eventsAfter(
      "insert into t values (2, 2, 'two', 2)",
      'truncate table t',
      "insert into t values (4, 4, 'four', 4)",
      `truncate \`${ground.database}\`.\`t\``,
    );
    expect(events.filter((event) => event.kind !== 'progress').map((event) => event.kind)).toEqual([
      'insert',
      'commit',
      'truncate',
      'commit',
      'insert',
      'commit',
      'truncate',
      'commit',
    ]);
  });

  test.each([
    "update t set v = 'stated'",
    "insert into `t` values (9, 9, 'stated', 9)",
    "replace into t values (1, 9, 'stated', 9)",
    'delete from t where id = 1',
    "update other, t set t.v = 'stated' where t.id = other.id",
    'insert into "t" values (9, 9, \'ansi\', 9)',
    "insert into unnamed.t values (9, 9, 'other schema', 9)",
  ])('a statement that changes rows as text: %s', async (statement) => {
    await ground.sql('create table other (id int primary key)');
    await ground.sql('insert into other values (1)');
    const start = await startAt(source, [table]);
    const info = inject(server);
    const other = await mysql.createConnection({
      host: info.host,
      port: info.port,
      user: info.user,
      password: info.password,
      ...(statement.includes('unnamed') ? {} : { database: ground.database }),
    });
    await other.query("set session binlog_format = 'STATEMENT'");
    if (statement.includes('"')) await other.query("set session sql_mode = 'ANSI_QUOTES'");
    await other.query(statement.replace('unnamed', `\`${ground.database}\``));
    await other.end();
    const events = await changesSince(source, [table], start);
    expect(keys(events)).toEqual([]);
    expect(structures(events).map((event) => event.now)).toEqual([null]);
    expect(structures(events)[0]?.reason).toContain('binlog_format');
  });

  test('names beyond ASCII, from a client of another charset', async () => {
    await ground.sql('create table `größe` (id int primary key)');
    const odd = await describeOne(source, ground.database, 'größe');
    const start = await startAt(source, [table, odd]);
    const info = inject(server);
    const other = await mysql.createConnection({
      host: info.host,
      port: info.port,
      user: info.user,
      password: info.password,
      database: ground.database,
      charset: 'latin1',
    });
    await ground.sql('insert into `größe` values (1)');
    await other.query('truncate table `größe`');
    await ground.sql('insert into `größe` values (2)');
    await ground.sql('alter table `größe` add column x int not null');
    await other.end();
    const events = await changesSince(source, [table, odd], start);
    expect(events.flatMap((event) => ('table' in event ? [[event.table, event.kind]] : []))).toEqual([
      [1, 'insert'],
      [1, 'truncate'],
      [1, 'insert'],
      [1, 'structure'],
    ]);
  });

  test('statements on other tables, and of tables of the same name elsewhere', async () => {
    const aside = `${ground.database}_aside`;
    await ground.sql(`create database ${aside}`);
    try {
      const events = await eventsAfter(
        `create table ${aside}.t (id int primary key)`,
        `alter table ${aside}.t add column x int`,
        `truncate table ${aside}.t`,
        `drop database ${aside}`,
        "insert into t values (2, 2, 'two', 2)",
      );
      expect(structures(events)).toEqual([]);
      expect(keys(events)).toEqual(['2']);
    } finally {
      await ground.sql(`drop database if exists ${aside}`);
    }
  });

  test('one table that changes leaves the others as they are', async () => {
    await ground.sql('create table s (id int primary key)');
    const second = await describeOne(source, ground.database, 's');
    const start = await startAt(source, [table, second]);
    await ground.sql('insert into s values (1)');
    await ground.sql('alter table t add column c int not null');
    await ground.sql('begin');
    await ground.sql('insert into s values (2)');
    await ground.sql('insert into t (id, c) values (2, 2)');
    await ground.sql('commit');
    const events = await changesSince(source, [table, second], start);
    expect(events.filter(isRow).map((change) => [change.table, change.key])).toEqual([
      [1, '1'],
      [1, '2'],
    ]);
    expect(structures(events).map((event) => event.table)).toEqual([0]);
  });

  test('a value in a key that only a rule could carry takes the table out, with the reason', async () => {
    await ground.sql('create table d (day date primary key)');
    const dates = await describeOne(source, ground.database, 'd');
    const start = await startAt(source, [dates]);
    await ground.sql("insert into d values ('2020-01-01'), ('0000-00-00'), ('2021-01-01')");
    const events = await changesSince(source, [dates], start);
    expect(keys(events)).toEqual(['2020-01-01']);
    expect(structures(events)[0]?.reason).toMatch(/0000-00-00.*key columns are never repaired/);
  });

  test('an XA transaction that was prepared before the start can not be followed', async () => {
    const info = inject(server);
    const other = await mysql.createConnection({
      host: info.host,
      port: info.port,
      user: info.user,
      password: info.password,
      database: ground.database,
    });
    for (const statement of [
      "xa start 'early'",
      "insert into t values (7, 7, 'xa', 7)",
      "xa end 'early'",
      "xa prepare 'early'",
    ])
      await other.query(statement);
    // Where the log is a moment later, without waiting for it as a start does.
    const position = await source.written();
    const start = { position, identity: '' };
    await other.query("xa commit 'early'");
    await other.end();
    await using capture = await openAt(source, [table], start);
    const events = await collect(capture);
    expect(structures(events).map((event) => event.now)).toEqual([null]);
    expect(lastPosition(events)).toBeTruthy();
  });
});
