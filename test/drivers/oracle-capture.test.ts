import { afterEach, describe, expect, test, vi } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Position } from '../../src/drivers/model.ts';
import { buffer } from '../../src/drivers/oracle/transactions.ts';
import { applyTo, begin, follow, type Ground, isRow, oracleGround, snapshot, transaction } from './oracle-fixture.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

let ground: Ground;
afterEach(() => ground[Symbol.asyncDispose]());

const TYPES = `create table "T" (id NUMBER(10) not null, n NUMBER, d NUMBER(12,2), f BINARY_DOUBLE, v VARCHAR2(50), w NVARCHAR2(50), c CHAR(5), r RAW(20),
  day DATE, ts TIMESTAMP(6), fine TIMESTAMP(9), z TIMESTAMP(6) WITH TIME ZONE, ym INTERVAL YEAR(2) TO MONTH, ds INTERVAL DAY(2) TO SECOND(6), body CLOB, primary key (id))`;
const rowsOfTypes = [
  `(1, '12345678901234567890.123456789', '-0.5', 1.5, 'it''s || a, b) "x"', 'Ünï\\c🙂''', 'ab   ', x'00ff0a5c', ' 2020-02-29 23:59:59', ' 2020-01-01 00:00:00.123456000', ' 2020-01-01 00:00:00.123456789', ' 2024-02-14 00:58:02.202590000 +01:00', '+02-03', '+05 04:03:02.500000', 'a long text')`,
  `(2, null, null, null, null, null, null, null, null, null, null, null, null, null, null)`,
  `(3, '0.000000001', '0', -1e-300, 'tab	new
line', 'x', '     ', x'', '-0044-03-15 00:00:00', '-0001-12-31 00:00:00.000000000', ' 0400-02-29 12:00:00.000000000', ' 0999-12-31 23:30:00.000000000 -02:00', '-99-11', '-00 00:00:00.000001', '')`,
];

async function typed(): Promise<Ground> {
  const made = await oracleGround();
  made.server.sql(TYPES);
  return made;
}

describe('the log of Oracle', () => {
  test('a change has the same bytes as a read, for each type', async () => {
    ground = await typed();
    const { server, source } = ground;
    const table = await ground.table('T');
    const { position, identity } = await begin(source);
    for (const row of rowsOfTypes) server.sql(`insert into "T" values ${row}`);
    const copy = new Map<string, string>();
    const first = await follow(source, position, [table], { identity });
    await applyTo(copy, source, table, first.events);
    expect(copy).toEqual(await snapshot(source, table));
    expect(copy.get('1')).toContain('\t2024-02-13 23:58:02.20259\t');
    expect(copy.get('3')).toContain('\t1000-01-01 00:00:00\t');

    server.sql(`update "T" set v = 'new', n = '7', z = ' 2030-06-01 00:00:00.000000000 +00:00' where id = 1`);
    server.sql(`update "T" set id = 9 where id = 3`, `delete from "T" where id = 2`);
    const second = await follow(source, first.position, [table]);
    await applyTo(copy, source, table, second.events);
    expect(copy).toEqual(await snapshot(source, table));
    // Unchanged LOBs stay what they were.
    const update = second.events.find((event) => event.kind === 'update');
    expect(update && isRow(update) && update.missing).toEqual([table.columns.length - 1]);
    expect(source.reached(second.position, await source.written())).toBe(false);
  });

  test('a statement over many rows of the log is one statement; changed LOBs are read again', async () => {
    ground = await typed();
    const { server, source } = ground;
    server.sql('create table "Wide" (id int primary key, a varchar(4000), b varchar(4000), body CLOB)');
    const table = await ground.table('Wide');
    const { position } = await begin(source);
    server.sql(`insert into "Wide" values (1, '${"x'' ".repeat(900)}', '${'y'.repeat(4000)}', 'first')`);
    expect(server.log.filter((row) => row.csf === 1).length).toBeGreaterThan(1);
    const copy = new Map<string, string>();
    const first = await follow(source, position, [table]);
    await applyTo(copy, source, table, first.events);
    server.sql(`update "Wide" set body = 'second' where id = 1`);
    const second = await follow(source, first.position, [table]);
    await applyTo(copy, source, table, second.events);
    expect(copy).toEqual(await snapshot(source, table));
    expect(copy.get('1')).toContain('second');
  });

  test('rolled back statements and transactions leave nothing; commits decide the order', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v varchar(20))');
    const table = await ground.table('t');
    const { position } = await begin(source);
    const [a, b, c] = [
      transaction(server, '0A000001'),
      transaction(server, '0A000002'),
      transaction(server, '0A000003'),
    ];
    const insert = (id: number, v: string) => `insert into "main"."t"("id","v") values ('${id}','${v}');`;
    a.start();
    a.dml('t', 1, insert(1, 'one'), 'R1');
    b.start();
    c.start();
    b.dml('t', 1, insert(2, 'two'), 'R2');
    c.dml('t', 1, insert(3, 'three'), 'R3');
    // ROLLBACK TO SAVEPOINT: the latest change of the row goes, an earlier one stays.
    a.dml('t', 3, `update "main"."t" set "v" = 'wrong' where "id" = '1' and "v" = 'one';`, 'R1');
    a.dml('t', 3, `update "main"."t" set "v" = 'one' where ROWID = 'R1';`, 'R1', { rollback: 1 });
    c.rollback();
    b.commit();
    a.dml('t', 1, insert(4, 'four'), 'R4');
    a.dml('t', 2, `delete from "main"."t" where ROWID = 'R4';`, 'R4', { rollback: 1 });
    a.commit();
    const { events } = await follow(source, position, [table]);
    expect(events.filter(isRow).map((event) => [event.kind, event.key])).toEqual([
      ['insert', '2'],
      ['insert', '1'],
    ]);
    expect(events.filter((event) => event.kind === 'commit')).toHaveLength(2);
  });

  test('from every commit a new reader goes on with the next, none twice and none lost, also at equal SCNs', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v int)');
    const table = await ground.table('t');
    const { position } = await begin(source);
    server.openThread(2);
    const open = Array.from({ length: 6 }, (_, i) => transaction(server, `0B00000${i}`, { thread: 1 + (i % 2) }));
    for (const [i, one] of open.entries()) {
      one.start();
      one.dml('t', 1, `insert into "main"."t"("id","v") values ('${i}','0');`, `R${i}`);
    }
    const scn = server.nextScn();
    for (const [i, one] of [...open.entries()].reverse()) {
      if (i === 3) server.switchLog(2);
      if (i < 3) server.redo({ scn, operation: 7, xid: `0B00000${i}`.padEnd(16, '0'), thread: 1 + (i % 2) });
      else one.commit();
    }
    // Threads are merged by SCN, and here three commits have one: the log shows them first.
    const all = await follow(source, position, [table]);
    const keys = all.events.filter(isRow).map((event) => event.key);
    expect([...keys].sort()).toEqual(['0', '1', '2', '3', '4', '5']);
    const positions = all.events.filter((event) => event.kind === 'commit').map((event) => event.position);
    for (const [i, one] of positions.entries()) {
      const rest = await follow(source, one, [table]);
      expect(rest.events.filter(isRow).map((event) => event.key)).toEqual(keys.slice(i + 1));
      for (const [j, other] of positions.entries()) expect(source.reached(one, other)).toBe(i >= j);
    }
    const skipped = await follow(source, position, [table], { skip: [positions[3] as Position] });
    expect(skipped.events.filter(isRow).map((event) => event.key)).toEqual(keys.slice(4));
  });

  test('a transaction that was open when the scope began is whole', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    const old = transaction(server, '0A00000F');
    const start = old.start().scn;
    old.dml('t', 1, `insert into "main"."t"("id") values ('1');`, 'R1');
    server.query(`insert into cat.gv$transaction values (${start}, 10, 15, 1)`, []);
    const { position } = await begin(source);
    old.dml('t', 1, `insert into "main"."t"("id") values ('2');`, 'R2');
    old.commit();
    const { events } = await follow(source, position, [table]);
    expect(events.filter(isRow).map((event) => event.key)).toEqual(['1', '2']);
  });

  test('large transactions go through files, rolled back rows in them too', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, v varchar(4000))');
    const table = await ground.table('t');
    const { position } = await begin(source);
    const [big, other] = [transaction(server, '0C000001'), transaction(server, '0C000002')];
    big.start();
    other.start();
    const pad = 'p'.repeat(3900);
    const memory = buffer.bytes;
    buffer.bytes = 2_000_000;
    for (let i = 0; i < 2_000; i++) {
      big.dml('t', 1, `insert into "main"."t"("id","v") values ('${i}','${i}${pad}');`, `R${i}`);
      if (i % 100 === 0) other.dml('t', 1, `insert into "main"."t"("id","v") values ('${100_000 + i}','x');`, `S${i}`);
    }
    for (let i = 1_999; i >= 1_800; i--) big.dml('t', 2, 'delete', `R${i}`, { rollback: 1 });
    big.commit();
    other.commit();
    let sum = 0;
    let count = 0;
    let largest = 0;
    const capture = await source.capture?.(
      {
        pipeline: 'p',
        name: 'p',
        slot: '',
        identity: '',
        from: position,
        tables: [{ table, skip: [] }],
        until: 'written',
      },
      new AbortController().signal,
    );
    for await (const piece of capture?.events() ?? []) {
      let bytes = 0;
      for (const event of piece)
        if (isRow(event)) {
          count++;
          sum += Number(event.key);
          bytes += event.to - event.from;
        }
      largest = Math.max(largest, bytes);
    }
    await capture?.[Symbol.asyncDispose]();
    buffer.bytes = memory;
    expect(count).toBe(1_800 + 20);
    expect(sum).toBe((1_799 * 1_800) / 2 + 20 * 100_000 + 100 * 190);
    expect(largest).toBeLessThan(1_400_000);
  });

  test('what the log can not show stops its table and says so; the others go on', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.sql(`create table ${name} (id int primary key, v int)`);
    const tables = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => ground.table(name)));
    const objects = server.query("select object_id from all_objects where object_name = 'c'", []);
    const { position } = await begin(source);
    const one = transaction(server, '0D000001');
    one.start();
    one.dml('a', 255, 'Unsupported', 'R1', { info: 'Unsupported data type' });
    one.dml('b', 3, `update "main"."b" set "v" = '1' where "v" = '2';`, 'R1');
    server.redo({
      operation: 1,
      xid: '0D00000100000000',
      owner: 'UNKNOWN',
      table: `OBJ# ${objects[0]?.[0]}`,
      object: String(objects[0]?.[0]),
      sql: 'insert into "UNKNOWN"."OBJ# 1"("COL 1") values (HEXTORAW(\'c102\'));',
    });
    server.redo({
      operation: 1,
      xid: '0D00000100000000',
      owner: 'UNKNOWN',
      table: 'OBJ# 1',
      object: '1',
      sql: 'insert into "UNKNOWN"."OBJ# 1"("COL 1") values (NULL);',
    });
    one.dml('d', 1, `insert into "main"."d"("id","v") values ('1','it's');`, 'R1');
    one.dml('e', 1, `insert into "main"."e"("id","v") values ('1',NULL);`, 'R1');
    one.dml('a', 1, `insert into "main"."a"("id","v") values ('1',NULL);`, 'R2');
    one.commit();
    const { events } = await follow(source, position, tables);
    const said = events.filter((event) => event.kind === 'structure');
    expect(said.map((event) => [event.table, event.now])).toEqual([
      [0, null],
      [1, null],
      [2, null],
      [3, null],
    ]);
    expect(said.map((event) => event.reason)).toEqual([
      expect.stringContaining('Unsupported data type'),
      expect.stringContaining('ADD SUPPLEMENTAL LOG DATA (ALL) COLUMNS'),
      expect.stringContaining('dictionary'),
      expect.stringContaining("can't be read at character"),
    ]);
    expect(events.filter(isRow).map((event) => [event.table, event.key])).toEqual([[4, '1']]);
  });

  test('DDL: truncate empties, added columns are the new structure, what keeps rows and columns is nothing, the rest reloads', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    for (const name of ['a', 'b', 'c', 'd']) server.sql(`create table ${name} (id int primary key, v int)`);
    const tables = await Promise.all(['a', 'b', 'c', 'd'].map((name) => ground.table(name)));
    const { position } = await begin(source);
    server.sql('insert into a values (1, 1)');
    server.sql('create index i on a (v)');
    server.sql('truncate table a');
    server.sql('insert into a values (2, 2)');
    server.sql('alter table b add w int');
    server.sql('alter table c drop column v');
    server.sql('drop table d');
    const { events } = await follow(source, position, tables);
    const shown = events.flatMap((event: LogEvent): unknown[] =>
      event.kind === 'truncate'
        ? [['truncate', event.table]]
        : event.kind === 'structure'
          ? [['structure', event.table, event.now?.columns.map((column) => column.name) ?? null]]
          : isRow(event)
            ? [[event.kind, event.table, event.key]]
            : [],
    );
    expect(shown).toEqual([
      ['insert', 0, '1'],
      ['truncate', 0],
      ['insert', 0, '2'],
      ['structure', 1, ['id', 'v', 'w']],
      ['structure', 2, null],
      ['structure', 3, null],
    ]);
  });

  test('archived logs only: changes come when their file is archived, of all threads', async () => {
    ground = await oracleGround({}, { type: 'rds.oracle11lmrac' });
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    server.openThread(2);
    const table = await ground.table('t');
    const { position } = await begin(source);
    server.sql('insert into t values (1)');
    const early = await follow(source, position, [table]);
    expect(early.events.filter(isRow)).toEqual([]);
    expect(source.reached(early.position, position)).toBe(true);
    server.switchLog(1);
    expect((await follow(source, early.position, [table])).events.filter(isRow)).toEqual([]);
    server.switchLog(2);
    const late = await follow(source, early.position, [table]);
    expect(late.events.filter(isRow).map((event) => event.key)).toEqual(['1']);
    expect((await follow(source, late.position, [table])).events.filter(isRow)).toEqual([]);
  });

  test.each([true, false])('a log file that is gone (listed: %s) is PositionLost with what to do', async (listed) => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    const { position } = await begin(source);
    server.sql('insert into t values (1)');
    server.switchLog();
    server.sql('insert into t values (2)');
    server.switchLog();
    server.loseLog(1, listed);
    await expect(follow(source, position, [table])).rejects.toMatchObject({
      name: 'PositionLost',
      message: expect.stringMatching(listed ? /1_1\.arc/ : /sequence 1 of thread 1/),
      action: expect.stringContaining('RESTORE ARCHIVELOG'),
    });
    if (!listed) expect((await source.logState('', position)).lost).toContain('sequence 1');
  });

  test('another incarnation is PositionLost; of a container database only the own part is read', async () => {
    ground = await oracleGround({ container: 'CDB$ROOT', containerId: 1 }, { type: 'rds.oracle11lmp', pdb: 'SHOP' });
    const { server, source } = ground;
    expect(source.database).toBe('SHOP');
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    const { position, identity } = await begin(source);
    for (const [index, container] of ['OTHER', 'SHOP'].entries()) {
      const one = transaction(server, `0E00000${index}`, { container });
      one.start();
      one.dml('t', 1, `insert into "main"."t"("id") values ('${index}');`, 'R1');
      one.commit();
    }
    const { events } = await follow(source, position, [table], { identity });
    expect(events.filter(isRow).map((event) => event.key)).toEqual(['1']);
    server.settings.resetlogs = 2;
    await expect(follow(source, position, [table], { identity })).rejects.toMatchObject({ name: 'PositionLost' });
  });

  test('logs with the key and changed columns only give partial rows', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id int primary key, a int, b int)');
    const table = await ground.table('t');
    const { position } = await begin(source);
    const one = transaction(server, '0F000001');
    one.start();
    one.dml('t', 3, `update "main"."t" a set a."b" = NULL where a."id" = '1' and a."b" = '4';`, 'R1');
    one.commit();
    const { events } = await follow(source, position, [table]);
    const [update] = events.filter(isRow);
    expect(update && Buffer.from(update.data).toString()).toBe('1\t\\N\t\\N\n');
    expect(update?.missing).toEqual([1]);
  });
});
