import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { LogEvent, RowChange } from '../../../src/drivers/changes.ts';
import type { Position, Table } from '../../../src/drivers/model.ts';
import { decodePosition, encodePosition } from '../../../src/drivers/mysql/position.ts';
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
  rereadLines,
  rowText,
  startAt,
} from './capture-fixture.ts';

describe.each(['mysql9', 'mariadb'] as const)('the stream of %s', (server) => {
  let ground: Playground;
  let source: Source;
  beforeEach(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterEach(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  async function tableOf(columns: string, name = 't'): Promise<Table> {
    await ground.sql(`create table ${name} (${columns})`);
    return describeOne(source, ground.database, name);
  }

  /** Commits of small transactions over two tables, with the state of both after each. */
  async function history(tables: readonly Table[]): Promise<Map<string, string>[][]> {
    const states: Map<string, string>[][] = [];
    const keep = async () => {
      states.push(
        await Promise.all(
          tables.map(
            async (table) =>
              new Map((await readLines(source, table)).map((line) => [line.split('\t')[0] as string, line])),
          ),
        ),
      );
    };
    const commit = async (...statements: string[]) => {
      await ground.sql('begin');
      for (const statement of statements) await ground.sql(statement);
      await ground.sql('commit');
      await keep();
    };
    await commit("insert into a values (1, 'x'), (2, 'y'), (3, null)", "insert into b values (1, 'p')");
    await commit("update a set v = 'z' where id = 1", 'update a set id = 9 where id = 2');
    await ground.sql('flush binary logs');
    await commit(
      'update a set id = -1 where id = 1',
      'update a set id = 1 where id = 3',
      'update a set id = 3 where id = -1',
    );
    await commit('delete from a where id = 9', "insert into a values (9, 'again')", 'delete from b');
    await commit(
      "replace into a values (9, 'replaced'), (10, 'new')",
      "insert into a values (10, 'q') on duplicate key update v = 'odku'",
    );
    await ground.sql('flush binary logs');
    await ground.sql('truncate table b');
    await keep();
    await commit(
      "insert into b values (5, 'after')",
      'savepoint s',
      "insert into b values (6, 'no')",
      'rollback to s',
      "insert into b values (7, 'yes')",
    );
    return states;
  }

  function commits(events: readonly LogEvent[]): { events: LogEvent[]; position: Position; at: number }[] {
    const list: { events: LogEvent[]; position: Position; at: number }[] = [];
    let open: LogEvent[] = [];
    for (const event of events)
      if (event.kind === 'commit') {
        list.push({ events: open, position: event.position, at: event.at });
        open = [];
      } else if (event.kind !== 'progress') open.push(event);
    expect(open).toEqual([]);
    return list;
  }

  test('whole transactions in order, and from each of their positions on, by either way of saying it', async () => {
    const tables = [
      await tableOf('id int primary key, v varchar(20)', 'a'),
      await tableOf('id int primary key, v varchar(20)', 'b'),
    ];
    const start = await startAt(source, tables);
    const states = await history(tables);
    const all = commits(await changesSince(source, tables, start));
    expect(all.length).toBe(states.length);
    const after = (list: readonly LogEvent[], from: readonly Map<string, string>[]) =>
      tables.map((_, i) => applied(list, i, from[i]));
    let state: Map<string, string>[] = [new Map(), new Map()];
    for (const [i, { events, at }] of all.entries()) {
      state = after(events, state);
      expect(state).toEqual(states[i]);
      expect(Math.abs(at - Date.now())).toBeLessThan(120_000);
    }
    for (const [i, { position }] of all.entries()) {
      const {
        gtid,
        file,
        offset,
        server: uuid,
      } = decodePosition(position) as { gtid: string; file: string; offset: number; server?: string };
      const ways = [position, encodePosition({ gtid })];
      // A MySQL that has GTIDs is asked by place only when the position has no ids, as one of a server without them.
      ways.push(encodePosition({ file, offset, ...(uuid === undefined ? {} : { server: uuid }) }));
      // From another server of the topology, whose places mean nothing here.
      if (uuid !== undefined)
        ways.push(
          encodePosition({ gtid, file: 'binlog.999999', offset: 4, server: uuid.replace(/^.{8}/, '00000000') }),
        );
      for (const from of ways) {
        const rest = commits(await changesSince(source, tables, { ...start, position: from }));
        expect(rest.map((one) => one.events.map(shown))).toEqual(all.slice(i + 1).map((one) => one.events.map(shown)));
        if (from === position)
          expect(rest.map((one) => one.position)).toEqual(all.slice(i + 1).map((one) => one.position));
      }
    }
    for (const [i, one] of all.entries())
      for (const [j, other] of all.entries()) expect(source.reached(one.position, other.position)).toBe(i >= j);
  });

  const shown = (event: LogEvent) =>
    isRow(event) ? [event.kind, event.table, event.key, event.oldKey, rowText(event)] : [event.kind];

  test('a table is not given what lies within its own start', async () => {
    const tables = [
      await tableOf('id int primary key, v varchar(20)', 'a'),
      await tableOf('id int primary key, v varchar(20)', 'b'),
    ] as const;
    const start = await startAt(source, tables);
    await ground.sql("insert into a values (1, 'x')");
    await ground.sql("insert into b values (1, 'x')");
    await ground.sql('truncate table b');
    const late = await startAt(source, tables);
    const placed = lastPosition(await changesSince(source, tables, start));
    await ground.sql("insert into a values (2, 'y')");
    await ground.sql("insert into b values (2, 'y')");
    for (const position of [late.position, placed]) {
      const events = await changesSince(
        source,
        [
          { table: tables[0], skip: [] },
          { table: tables[1], skip: [position] },
        ],
        start,
      );
      expect(events.filter(isRow).map(({ table, key }) => [table, key])).toEqual([
        [0, '1'],
        [0, '2'],
        [1, '2'],
      ]);
      expect(events.some((event) => event.kind === 'truncate')).toBe(false);
    }
  });

  test('a reader whose connection is killed ends with an error, and the next one goes on', async () => {
    const table = await tableOf('id int primary key, v varchar(20)');
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (1, 'x')");
    const seen: RowChange[] = [];
    let position = start.position;
    const run = async () => {
      await using capture = await openAt(source, [table], { ...start, position }, { until: 'forever' });
      for await (const piece of capture.events())
        for (const event of piece) {
          if (isRow(event)) seen.push(event);
          if (event.kind === 'commit' || event.kind === 'progress') position = event.position;
        }
    };
    for (let round = 0; round < 4; round++) {
      const ended = expect(run()).rejects.toThrow(/lost|shutdown|kill|closed|ended/i);
      await sleep(200);
      await ground.sql(`insert into t values (${round + 10}, 'during')`);
      for (let waited = 0; waited < 100 && seen.length < round * 2 + 2; waited++) await sleep(50);
      const dumps = (await ground.sql('show full processlist')).filter(
        (row) => /Binlog Dump/.test(String(row[4])) && row[3] === ground.database,
      );
      expect(dumps.length).toBe(1);
      await ground.sql(`kill ${dumps[0]?.[0]}`);
      await ended;
      await ground.sql(`insert into t values (${round + 100}, 'between')`);
    }
    const rest = await changesSince(source, [table], { ...start, position });
    expect([...seen, ...rest.filter(isRow)].map((change) => change.key)).toEqual([
      '1',
      '10',
      '100',
      '11',
      '101',
      '12',
      '102',
      '13',
      '103',
    ]);
  });

  test.each(['kill', 'kill query'])(
    'a reader up to the end that is ended before by %s has not come to the end',
    async (kill) => {
      const table = await tableOf('id int primary key, v varchar(1000)');
      const start = await startAt(source, [table]);
      const rows = (from: number) =>
        Array.from({ length: 500 }, (_, i) => `(${from + i}, '${'v'.repeat(1000)}')`).join(',');
      for (let from = 0; from < 20_000; from += 500) await ground.sql(`insert into t values ${rows(from)}`);
      const keys = new Set<string>();
      let position = start.position;
      for (let killed = false; ; killed = true) {
        await using capture = await openAt(source, [table], { ...start, position });
        const end = await (async () => {
          for await (const piece of capture.events()) {
            for (const event of piece) {
              if (isRow(event)) keys.add(event.key);
              if (event.kind === 'commit' || event.kind === 'progress') position = event.position;
            }
            if (killed || keys.size === 20_000) continue;
            const dumps = (await ground.sql('show full processlist')).filter(
              (row) => /Binlog Dump/.test(String(row[4])) && row[3] === ground.database,
            );
            expect(dumps.length).toBe(1);
            await ground.sql(`${kill} ${dumps[0]?.[0]}`);
            killed = true;
          }
        })().then(
          () => 'end',
          (error: Error) => `${error.name}: ${error.message}`,
        );
        if (end === 'end') break;
        expect(end).toMatch(/^Error: /);
      }
      expect(keys.size).toBe(20_000);
    },
  );

  test('an endless reader says when it is at the end, sees a commit at once, and ends with the signal', async () => {
    const table = await tableOf('id int primary key, v varchar(20)');
    const start = await startAt(source, [table]);
    const stop = new AbortController();
    const capture = await openAt(source, [table], start, { until: 'forever' }, stop.signal);
    const events: LogEvent[] = [];
    const reading = (async () => {
      for await (const piece of capture.events()) events.push(...piece);
    })();
    const ended = expect(reading).rejects.toThrow('enough');
    const wait = async (wanted: () => boolean) => {
      for (let waited = 0; waited < 200 && !wanted(); waited++) await sleep(25);
      expect(wanted()).toBe(true);
    };
    await wait(() => events.some((event) => event.kind === 'progress' && event.atEnd));
    await ground.sql("insert into t values (1, 'x')");
    await wait(() => events.some(isRow));
    const goal = await source.written();
    await wait(() =>
      events.some((event) => event.kind === 'progress' && event.atEnd && source.reached(event.position, goal)),
    );
    // A log that never rests: the end is told all the same.
    await ground.sql('create table other (id int primary key auto_increment)');
    const before = events.length;
    for (let i = 0; i < 60; i++) {
      await ground.sql('insert into other values ()');
      await sleep(50);
    }
    expect(events.slice(before).some((event) => event.kind === 'progress' && event.atEnd)).toBe(true);
    const since = events.length;
    for (let i = 0; i < 60; i++) {
      await ground.sql(`insert into t values (${i + 2}, 'x')`);
      await sleep(50);
    }
    expect(events.slice(since).some((event) => event.kind === 'progress' && event.atEnd)).toBe(true);
    stop.abort(new Error('enough'));
    await ended;
    // What was delivered can still be written.
    expect(await rereadLines(capture, 0, ['1', '2'])).toHaveLength(2);
    await capture[Symbol.asyncDispose]();
    await wait2();
    await expect(openAt(source, [table], start, { until: 'forever' }, stop.signal)).rejects.toThrow('enough');
    const late = new AbortController();
    await using unread = await openAt(source, [table], start, { until: 'forever' }, late.signal);
    late.abort(new Error('before it began'));
    await expect(collect(unread)).rejects.toThrow('before it began');
    async function wait2() {
      for (let waited = 0; waited < 100; waited++) {
        const dumps = (await ground.sql('show full processlist')).filter(
          (row) => /Binlog Dump/.test(String(row[4])) && row[3] === ground.database,
        );
        if (dumps.length === 0) return;
        await sleep(50);
      }
      throw new Error('the dump goes on at the server');
    }
  });

  test('keys are read again, bytewise, with what the transactions so far have made of them', async () => {
    const table = await tableOf('k varchar(30), n int, v longtext, primary key (k, n)');
    const start = await startAt(source, [table]);
    const keys: string[] = [];
    for (let i = 0; i < 2_500; i++) keys.push(`K\t${i}`.replace('\t', '\\t'));
    for (let from = 0; from < 2_500; from += 500)
      await ground.sql(
        `insert into t values ${Array.from({ length: 500 }, (_, i) => `('k\\t${from + i}', ${i}, repeat('v', ${i}))`).join(',')}`,
      );
    await ground.sql("insert into t values ('Ä', 1, null), ('tail ', 1, ''), ('back\\\\', 1, 'x')");
    const stop = new AbortController();
    const capture = await openAt(source, [table], start, {}, stop.signal);
    const changes = (await collect(capture)).filter(isRow);
    expect(changes.length).toBe(2_503);
    const all = await rereadLines(
      capture,
      0,
      changes.map((change) => change.key),
    );
    expect(all.sort()).toEqual((await readLines(source, table)).sort());
    // In other case, without the blank, and absent ones: no row of theirs.
    expect(
      await rereadLines(
        capture,
        0,
        ['ä\t1', 'TAIL \t1', 'tail\t1', 'nothing\t1'].map((key) => Buffer.from(key).toString('latin1')),
      ),
    ).toEqual([]);
    expect(
      (await rereadLines(capture, 0, [Buffer.from('Ä\t1').toString('latin1'), 'back\\\\\t1', 'tail \t1'])).length,
    ).toBe(3);
    expect(await rereadLines(capture, 0, [])).toEqual([]);
    await capture[Symbol.asyncDispose]();
  });

  test('a place that is not in the log any more, or never was, is lost, with what to do', async () => {
    const table = await tableOf('id int primary key');
    const start = await startAt(source, [table]);
    const position = lastPosition(await changesSince(source, [table], start));
    const known = decodePosition(position) as { gtid: string; file: string; offset: number };
    const open = (from: Position, identity = start.identity) => openAt(source, [table], { position: from, identity });
    const lost = { name: 'PositionLost', action: expect.stringContaining('again') };
    const far = server === 'mysql9' ? known.gtid.replace(/\d+$/, '999999999') : known.gtid;
    if (server === 'mariadb') {
      await expect(open(encodePosition({ ...known, file: 'binlog.999999' }))).rejects.toMatchObject(lost);
      await expect(open(encodePosition({ ...known, offset: known.offset + 1_000_000_000 }))).rejects.toMatchObject(
        lost,
      );
      await expect(open(encodePosition({ ...known, gtid: '0-77-1' }))).rejects.toMatchObject(lost);
      await expect(open(position, 'mariadb:99')).rejects.toMatchObject(lost);
      await using capture = await open(encodePosition({ gtid: '0-77-999999999' }));
      await expect(collect(capture)).rejects.toMatchObject(lost);
    } else {
      await expect(open(encodePosition({ file: 'binlog.999999', offset: 4 }))).rejects.toMatchObject(lost);
      await expect(open(encodePosition({ gtid: '' }))).resolves.toBeTruthy();
      const state = await source.logState('', position);
      expect(state.lost).toBe(null);
      expect((await source.logState('', encodePosition({ gtid: far }))).lost).toMatch(/does not know/);
    }
    expect((await source.logState('', position)).bytes).toBeGreaterThanOrEqual(0);
    expect((await source.logState('', encodePosition({ file: 'binlog.999999', offset: 4 }))).lost).toMatch(/no longer/);
    const before = (await source.logState('', position)).bytes ?? 0;
    await ground.sql('insert into t values (1)');
    expect((await source.logState('', position)).bytes).toBeGreaterThan(before);
  }, 60_000);

  test('XA: rows count with XA COMMIT, from whichever place the reader begins', async () => {
    const table = await tableOf('id int primary key, v varchar(20)');
    const start = await startAt(source, [table]);
    const info = inject(server);
    const other = await mysql.createConnection({
      host: info.host,
      port: info.port,
      user: info.user,
      password: info.password,
      database: ground.database,
    });
    await other.query("xa start 'one\\'s', 'b'");
    await other.query("insert into t values (1, 'xa')");
    await other.query("xa end 'one\\'s', 'b'");
    await other.query("xa prepare 'one\\'s', 'b'");
    await ground.sql("insert into t values (2, 'between')");
    await ground.sql('flush binary logs');
    const first = await changesSince(source, [table], start);
    expect(first.filter(isRow).map((change) => change.key)).toEqual(['2']);
    await other.query("xa commit 'one\\'s', 'b'");
    await other.query("xa start 'gone'");
    await other.query("insert into t values (3, 'gone')");
    await other.query("xa end 'gone'");
    await other.query("xa prepare 'gone'");
    await other.query("xa rollback 'gone'");
    await other.query("xa start 'quick'");
    await other.query("insert into t values (4, 'quick')");
    await other.query("xa end 'quick'");
    await other.query("xa commit 'quick' one phase");
    const rest = await changesSince(source, [table], { ...start, position: lastPosition(first) });
    expect(rest.filter((event) => event.kind === 'structure')).toEqual([]);
    expect(rest.filter(isRow).map((change) => change.key)).toEqual(['1', '4']);
    const whole = await changesSince(source, [table], start);
    expect(whole.filter(isRow).map((change) => change.key)).toEqual(['2', '1', '4']);
    for (const event of whole)
      if (event.kind === 'commit') {
        const tail = await changesSince(source, [table], { ...start, position: event.position });
        const at = whole.indexOf(event);
        expect(tail.filter(isRow).map((change) => change.key)).toEqual(
          whole
            .slice(at)
            .filter(isRow)
            .map((change) => change.key),
        );
      }
    await other.end();
  });

  if (server === 'mysql9')
    test('GTIDs with tags', async () => {
      const table = await tableOf('id int primary key');
      const start = await startAt(source, [table]);
      await ground.sql("set gtid_next = 'automatic:some_tag'");
      await ground.sql('insert into t values (1)');
      await ground.sql('insert into t values (2)');
      await ground.sql("set gtid_next = 'automatic'");
      await ground.sql('insert into t values (3)');
      const events = await changesSince(source, [table], start);
      for (const [i, event] of events.entries())
        if (event.kind === 'commit') {
          expect(event.position).toContain(':some_tag:');
          const rest = await changesSince(source, [table], { ...start, position: event.position });
          expect(rest.filter(isRow).map((change) => change.key)).toEqual(
            events
              .slice(i)
              .filter(isRow)
              .map((change) => change.key),
          );
        }
      expect(events.filter(isRow).length).toBe(3);
    });

  test('a start waits for prepared XA transactions, and says so', async () => {
    const table = await tableOf('id int primary key, v varchar(20)');
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
      "insert into t values (7, 'xa')",
      "xa end 'early'",
      "xa prepare 'early'",
    ])
      await other.query(statement);
    const told: string[] = [];
    const start = source.begin('p', 's', [table.ref], (why) => told.push(why), new AbortController().signal);
    await sleep(800);
    await other.query("xa commit 'early'");
    await other.end();
    const events = await changesSince(source, [table], await start);
    expect(told[0]).toMatch(/XA RECOVER.*early/);
    expect(events.filter((event) => event.kind !== 'progress')).toEqual([]);
  });

  test('columns that the server hides from everyone', async () => {
    const hidden =
      server === 'mysql9'
        ? 'id int primary key, a int, key f ((a + 1))'
        : 'id int primary key, a text, unique key u (a)';
    const table = await tableOf(hidden);
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (1, '10'), (2, '20')");
    await ground.sql("update t set a = '30' where id = 2");
    const events = await changesSince(source, [table], start);
    expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
    expect([...applied(events, 0).values()]).toEqual(await readLines(source, table));
  });

  test('tables without transactions', async () => {
    await ground.sql('create table t (id int primary key, v varchar(20)) engine=MyISAM');
    const table = await describeOne(source, ground.database, 't');
    const start = await startAt(source, [table]);
    await ground.sql("insert into t values (1, 'x'), (2, 'y')");
    await ground.sql('begin');
    await ground.sql("update t set v = 'stays' where id = 1");
    await ground.sql('rollback');
    await ground.sql('delete from t where id = 2');
    const events = await changesSince(source, [table], start);
    expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
    expect([...applied(events, 0).values()]).toEqual(await readLines(source, table));
  });

  test.each(['minimal', 'noblob'])('partial images: %s', async (image) => {
    const table = await tableOf(
      "id int primary key, a int, b text, c varchar(5) not null default 'dflt', d int default 7",
    );
    const start = await startAt(source, [table]);
    await ground.sql(`set session binlog_row_image = ${image}`);
    await ground.sql("insert into t (id, a, b) values (1, 5, 'long')");
    await ground.sql('update t set a = 6 where id = 1');
    await ground.sql("update t set id = 3, b = 'new' where id = 1");
    await ground.sql('delete from t where id = 3');
    const events = await changesSince(source, [table], start);
    expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
    const changes = events.filter(isRow);
    expect(changes.map(({ kind, key, oldKey }) => [kind, key, oldKey])).toEqual([
      ['insert', '1', null],
      ['update', '1', null],
      ['update', '3', '1'],
      ['delete', '3', null],
    ]);
    const cells = changes.map((change) => rowText(change).trimEnd().split('\t'));
    for (const [i, whole] of [
      ['1', '5', 'long', 'dflt', '7'],
      ['1', '6', 'long', 'dflt', '7'],
      ['3', '6', 'new', 'dflt', '7'],
    ].entries()) {
      const missing = changes[i]?.missing ?? [];
      expect(cells[i]).toEqual(whole.map((cell, at) => (missing.includes(at) ? '\\N' : cell)));
      expect(missing).not.toContain(0);
    }
    expect(changes[1]?.missing).toEqual(image === 'minimal' ? [2, 3, 4] : [2]);
    expect(changes[2]?.missing).toEqual(image === 'minimal' ? [1, 3, 4] : null);
  });
});
