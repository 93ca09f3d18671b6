import mysql from 'mysql2/promise';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { LogEvent } from '../../../src/drivers/changes.ts';
import type { Table } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne, type Playground, playground } from '../mysql-fixture.ts';
import { changesSince, collect, isRow, lastPosition, openAt, readLines, rowText, startAt } from './capture-fixture.ts';

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
    'alter table t add column c int not null',
    'alter table t add column c int default 5',
    'alter table t add column c datetime default current_timestamp',
    'alter table t add column c int as (a * 2) stored',
    'alter table t change a b int',
    'alter table t rename column a to b',
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
    await ground.sql('create table _t_gho like t');
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (2, 2, 'two', 2)");
    for (const statement of statements.split('; ')) await ground.sql(statement);
    const events = await changesSince(source, [table], start);
    expect(keys(events)).toEqual(['2']);
    expect(structures(events).map(({ now, table: index }) => [now, index])).toEqual([[null, 0]]);
    expect(structures(events)[0]?.reason).toContain('.t:');
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
