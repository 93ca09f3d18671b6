import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import { mentions } from '../../src/drivers/oracle/ddl.ts';
import { createTransactions, type Entry } from '../../src/drivers/oracle/transactions.ts';
import { applyTo, begin, follow, type Ground, isRow, oracleGround, snapshot, transaction } from './oracle-fixture.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

let opened: Ground | undefined;
let ground: Ground;
afterEach(async () => {
  await opened?.[Symbol.asyncDispose]();
  opened = undefined;
});

const EMPTY_ROW_ID = 'AAAAAAAAAAAAAAAAAA';
const structures = (events: readonly LogEvent[]) => events.flatMap((one) => (one.kind === 'structure' ? [one] : []));

describe('rows that are taken back', () => {
  test('a row of a LOB table has no ROWID where it is made, and one where it is taken back', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v varchar(20), body CLOB)');
    const table = await ground.table('t');
    const { position } = await begin(source);
    const one = transaction(server, '0A000001');
    one.start();
    for (const id of [1, 2]) {
      one.dml(
        't',
        1,
        `insert into "main"."t"("id","v","body") values ('${id}','v',${id === 1 ? 'EMPTY_CLOB()' : 'NULL'});`,
        EMPTY_ROW_ID,
      );
      one.dml('t', 9, `select "body" into loc_c from "main"."t" where "id" = '${id}' for update;`, EMPTY_ROW_ID);
      one.dml('t', 10, ` buf_c := 'select "no" into x'; dbms_lob.write(loc_c, 1, 1, buf_c);`, EMPTY_ROW_ID);
      one.dml('t', 3, `update "main"."t" set "v" = 'w${id}' where "id" = '${id}' and "v" = 'v';`, `R${id}`);
    }
    // ROLLBACK TO SAVEPOINT before the second row.
    one.dml('t', 3, `update "main"."t" set "v" = 'v' where ROWID = 'R2';`, 'R2', { rollback: 1 });
    one.dml('t', 10, '', EMPTY_ROW_ID, { rollback: 1 });
    one.dml('t', 2, `delete from "main"."t" where ROWID = 'R2';`, 'R2', { rollback: 1 });
    one.commit();
    server.query(`insert into "main"."t" values (1, 'w1', 'a body')`, []);
    const copy = new Map<string, string>();
    const { events } = await follow(source, position, [table]);
    await applyTo(copy, source, table, events);
    expect(copy).toEqual(await snapshot(source, table));
    expect([...copy.keys()]).toEqual(['1']);
    expect(structures(events)).toEqual([]);
  });

  test('taking back an update takes no mark of a LOB instead', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v varchar(20), body CLOB)', `insert into t values (1, 'v', 'b')`);
    const table = await ground.table('t');
    const { position } = await begin(source);
    const copy = await snapshot(source, table);
    const one = transaction(server, '0A000001');
    one.start();
    one.dml('t', 3, `update "main"."t" set "v" = 'wrong' where "id" = '1' and "v" = 'v';`, 'R1');
    one.dml('t', 9, `select "body" into loc_c from "main"."t" where "id" = '1' for update;`, 'R1');
    one.dml('t', 3, `update "main"."t" set "v" = 'v' where ROWID = 'R1';`, 'R1', { rollback: 1 });
    one.commit();
    await applyTo(copy, source, table, (await follow(source, position, [table])).events);
    expect(copy).toEqual(await snapshot(source, table));
  });

  test('what was not shown, or under another ROWID, puts the rows of the transaction in doubt: they are read again', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int, k varchar(9), v varchar(20), primary key (id, k))');
    server.sql(`insert into t values (1, 'é', 'right'), (2, 'b', 'right'), (5, 'e', 'right'), (7, 'g', 'right')`);
    const table = await ground.table('t');
    const { position } = await begin(source);
    const copy = await snapshot(source, table);
    const [one, other] = [transaction(server, '0A000001'), transaction(server, '0A000002')];
    one.start();
    other.start();
    // A migrated row: its own place, then that of its head.
    one.dml('t', 3, `update "main"."t" set "v" = 'wrong' where "id" = '1' and "k" = 'é' and "v" = 'right';`, 'HEAD');
    one.dml('t', 3, `update "main"."t" set "v" = 'right' where ROWID = 'TAIL';`, 'TAIL', { rollback: 1 });
    // A key that became another, and became what it was again.
    one.dml('t', 3, `update "main"."t" set "id" = '6' where "id" = '5' and "k" = 'e' and "v" = 'right';`, 'HEAD5');
    one.dml('t', 3, `update "main"."t" set "id" = '5' where ROWID = 'TAIL5';`, 'TAIL5', { rollback: 1 });
    // And one that stayed another.
    one.dml('t', 3, `update "main"."t" set "id" = '8' where "id" = '7' and "k" = 'g' and "v" = 'right';`, 'R7');
    one.dml('t', 2, `delete from "main"."t" where "id" = '2' and "k" = 'b' and "v" = 'right';`, 'R2');
    other.dml('t', 1, `insert into "main"."t"("id","k","v") values ('3','c','x');`, 'R3');
    one.commit();
    other.commit();
    server.query(`insert into "main"."t" values (3, 'c', 'x')`, []);
    server.query(`update "main"."t" set id = 8 where id = 7`, []);
    const { events } = await follow(source, position, [table]);
    await applyTo(copy, source, table, events);
    expect(copy).toEqual(await snapshot(source, table));
    expect(copy.size).toBe(5);
    // The other transaction's rows are in no doubt.
    expect(events.filter(isRow).filter((event) => event.key === '3\tc' && event.missing === null)).toHaveLength(1);
  });

  test('rows in files are taken back; files have no name that a killed process would leave', () => {
    const entry = (id: number): Entry => ({
      ...{ kind: 'insert', table: 0, rowId: `R${id}`, key: `${id}`, oldKey: null, missing: null },
      line: Buffer.alloc(1000),
    });
    const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith('flow-oracle-'));
    const before = left();
    const all = createTransactions(100_000);
    for (let i = 0; i < 1000; i++) all.add('A', 1n, entry(i));
    expect(all.size().files).toBeGreaterThan(800_000);
    expect(left()).toEqual(before);
    for (let i = 999; i >= 300; i--) all.undo('A', 0, `R${i}`);
    expect(all.doubted('A', 0)).toBe(false);
    expect([...all.entries('A')].flat().map(({ key }) => Number(key))).toEqual(
      Array.from({ length: 300 }, (_, i) => i),
    );
    all.undo('A', 0, 'nowhere');
    expect([all.doubted('A', 0), all.doubted('A', 1)]).toEqual([true, false]);
    expect([...all.entries('A')].flat()).toHaveLength(300);
    all.end('A');
    expect(all.size()).toEqual({ memory: 0, files: 0 });
    all.close();
  });
});

describe('values that the log does not spell out', () => {
  test('numbers that may be rounded, XML, LONG and local times are read again', async () => {
    opened = ground = await oracleGround({ dbTimeZone: '+02:00' });
    const { server, source } = ground;
    server.sql(
      'create table "T" (id NUMBER(9) not null, n NUMBER, x XMLTYPE, z TIMESTAMP(6) WITH LOCAL TIME ZONE, primary key (id))',
    );
    const table = await ground.table('T', { types: { n: 'VARCHAR(170)' } });
    const { position } = await begin(source);
    const one = transaction(server, '0A000001');
    one.start();
    const exact = `0.${'1234567890'.repeat(4)}`;
    const zone = ' 2024-01-01 00:00:00.000000000';
    one.dml(
      'T',
      1,
      `insert into "main"."T"("id","n","x","z") values ('1','${exact.slice(1, -1)}','','');`.replaceAll("''", 'NULL'),
      'R1',
    );
    one.dml('T', 1, `insert into "main"."T"("id","n","x","z") values ('2','7',NULL,NULL);`, 'R2');
    one.dml('T', 68, `XML DOC BEGIN:  select "x" from "main"."T" where "id" = '2'`, EMPTY_ROW_ID, { status: 2 });
    one.dml('T', 70, `XML_REDO := '<a>select "x" from</a>'`, EMPTY_ROW_ID, { status: 2 });
    one.dml('T', 1, `insert into "main"."T"("id","n","x","z") values ('3','8',NULL,NULL);`, 'R3');
    one.dml('T', 68, `update "main"."T" a set a."x" = XMLType(:1)  where a."id" = '3';`, EMPTY_ROW_ID, { status: 2 });
    one.dml('T', 1, `insert into "main"."T"("id","n","x","z") values ('4','9',NULL,TO_TIMESTAMP('${zone}'));`, 'R4');
    one.dml(
      'T',
      1,
      `insert into "main"."T"("id","n","x","z") values ('5','9',NULL,TO_TIMESTAMP_TZ('${zone} +01:00'));`,
      'R5',
    );
    one.commit();
    for (const row of [
      `1, '${exact}', null, null`,
      `2, '7', '<a/>', null`,
      `3, '8', '<b/>', null`,
      `4, '9', null, ' 2023-12-31 22:00:00.000000000'`,
      `5, '9', null, ' 2023-12-31 23:00:00.000000000'`,
    ])
      server.query(`insert into "main"."T" values (${row})`, []);
    const { events } = await follow(source, position, [table]);
    const copy = new Map<string, string>();
    await applyTo(copy, source, table, events);
    expect(copy).toEqual(await snapshot(source, table));
    expect(copy.size).toBe(5);
    expect(structures(events)).toEqual([]);
    // A zone that is said needs no second look.
    expect(events.filter(isRow).filter((event) => event.missing === null && event.kind === 'insert')).toHaveLength(3);
  });

  test('a value that the destination can not hold stops its own table', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table "A" (id NUMBER(9) not null, n NUMBER, primary key (id))');
    server.sql('create table b (id int primary key)');
    const tables = [await ground.table('A'), await ground.table('b')];
    const { position } = await begin(source);
    server.sql(`insert into "A" values (1, '0.${'1'.repeat(31)}')`, 'insert into b values (1)');
    server.sql(`insert into "A" values (2, '1')`, 'insert into b values (2)');
    const { events } = await follow(source, position, tables);
    expect(structures(events)).toMatchObject([{ table: 0, now: null, reason: expect.stringContaining('"n"') }]);
    expect(events.filter(isRow).map((event) => [event.table, event.key])).toEqual([
      [1, '1'],
      [1, '2'],
    ]);
  });

  test('a statement over several rows is of the first one; the others may say nothing but their text', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v varchar(20))');
    const table = await ground.table('t');
    const { position } = await begin(source);
    const one = transaction(server, '0A000001');
    one.start();
    const scn = server.nextScn();
    one.dml('t', 1, `insert into "main"."t"("id","v") `, 'R1', { scn, csf: 1 });
    one.dml('t', 1, `values ('1','x');`, '', { scn, xid: '0000000000000000', time: '' });
    one.commit();
    const { events } = await follow(source, position, [table]);
    expect(events.filter(isRow).map((event) => event.key)).toEqual(['1']);
  });
});

describe('what tells that the log is not whole', () => {
  test('a place for transactions that is taken while its last one has no end; a gap, whichever container it is told in', async () => {
    opened = ground = await oracleGround({ container: 'SHOP', containerId: 3 });
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    const { position } = await begin(source);
    const one = transaction(server, '0A000001');
    one.start();
    one.dml('t', 1, `insert into "main"."t"("id") values ('1');`, 'R1');
    const { position: between } = await begin(source);
    one.dml('t', 1, `insert into "main"."t"("id") values ('2');`, 'R2');
    server.redo({ operation: 6, xid: '0A00000100000002' });
    await expect(follow(source, position, [table])).rejects.toMatchObject({
      name: 'PositionLost',
      message: expect.stringContaining('0A00000100000000'),
    });
    // The same for a reader that has not seen how it began.
    await expect(follow(source, between, [table])).rejects.toMatchObject({
      name: 'PositionLost',
      message: expect.stringContaining('no end of the transaction 0A000001'),
    });
    const { position: later } = await begin(source);
    server.redo({ operation: 34, container: 'CDB$ROOT' });
    await expect(follow(source, later, [table])).rejects.toMatchObject({ name: 'PositionLost' });
  });

  test('rows of a partition that came while the reader was open are known by its number', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    const { position } = await begin(source);
    for (const object of ['99001', '99002']) {
      const one = transaction(server, `0A0000${object.slice(-2)}`);
      one.start();
      server.redo({
        ...{ operation: 1, xid: `0A0000${object.slice(-2)}`.padEnd(16, '0'), owner: 'UNKNOWN', object, status: 2 },
        ...{ table: `OBJ# ${object}`, sql: `insert into "UNKNOWN"."OBJ# ${object}"("COL 1") values (NULL);` },
      });
      one.commit();
    }
    server.answer(/from v\$logmnr_contents where scn/, () => {
      server.query(`insert into cat.all_objects values ('main', 't', 'TABLE PARTITION', 99002, 99002, null)`, []);
      return undefined;
    });
    expect(structures((await follow(source, position, [table])).events)).toMatchObject([
      { table: 0, now: null, reason: expect.stringContaining('dictionary') },
    ]);
  });

  test('rows are read again by a session that has heard of their commit', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v varchar(9))');
    const table = await ground.table('t');
    const { position } = await begin(source);
    server.sql(`insert into t values (1, 'x')`);
    const { capture } = await follow(source, position, [table]);
    await capture[Symbol.asyncDispose]();
    const reader = await source.capture?.(
      {
        ...{ pipeline: 'p', name: 'p', slot: '', identity: '', from: position },
        ...{ tables: [{ table, skip: [] }], until: 'written' as const },
      },
      new AbortController().signal,
    );
    for await (const _ of reader?.events() ?? []);
    server.answer(/select to_char\(current_scn\)/, () => [['5']]);
    server.statements.length = 0;
    const rows: string[] = [];
    for await (const { data } of reader?.reread(0, ['1']) ?? []) rows.push(Buffer.from(data).toString());
    await reader?.[Symbol.asyncDispose]();
    expect(rows).toEqual(['1\tx\n']);
    expect(server.statements.filter((sql) => /select to_char\(current_scn\)/.test(sql))).toHaveLength(2);
  });
});

describe('DDL', () => {
  test.each([
    ['truncate table orders', 'SHOP', true],
    ['truncate table orders', 'OTHER', false],
    ['truncate table orders', '', true],
    ['alter table other.orders exchange partition p with table shop.orders', 'OTHER', true],
    ['alter table SHOP.A exchange partition p with table ORDERS', 'SHOP', true],
    ['alter table "Shop".orders add x int', 'OTHER', false],
    ['alter table shop . "ORDERS" add x int', 'OTHER', true],
    ['alter table shop."orders" add x int', 'SHOP', false],
    ['drop table orders_old', 'SHOP', false],
    ['drop table "OLD ORDERS"', 'SHOP', false],
  ])('%s (of %s) names SHOP.ORDERS: %s', (sql, owner, expected) =>
    expect(mentions(sql, 'SHOP', 'ORDERS', owner)).toBe(expected),
  );

  test('a table of the same name elsewhere is another; a schema may go as a whole; a move may leave rows behind', async () => {
    opened = ground = await oracleGround();
    const { server, source } = ground;
    for (const name of ['a', 'b', 'c']) server.sql(`create table ${name} (id int primary key)`);
    const tables = await Promise.all(['a', 'b'].map((name) => ground.table(name)));
    const { position } = await begin(source);
    const ddl = (xid: string, sql: string, owner: string, table: string | null) =>
      server.redo({ operation: 5, xid, info: 'USER DDL', sql, owner, table });
    const one = transaction(server, '0A000001');
    one.start();
    ddl('0A00000100000000', 'truncate table a', 'other', 'a');
    one.commit();
    // No transaction is shown around these: they count at once.
    ddl('0000000000000000', 'truncate table a', 'main', 'a');
    ddl('0000000000000000', 'alter table a move partition p including rows where id > 5', 'main', 'a');
    const before = await follow(source, position, tables);
    expect(before.events.flatMap((event) => (isRow(event) ? [] : [event.kind]))).toEqual([
      'truncate',
      'commit',
      'structure',
      'commit',
      'progress',
    ]);
    expect(structures(before.events)).toMatchObject([{ table: 0, now: null }]);
    ddl('0000000000000000', 'drop user "main" cascade', '', null);
    expect(structures((await follow(source, before.position, tables)).events).map(({ table }) => table)).toEqual([
      0, 1,
    ]);
  });
});
