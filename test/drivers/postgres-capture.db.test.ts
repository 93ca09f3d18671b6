import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Position, Table } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import {
  capture,
  changesOf,
  drain,
  lastPosition,
  linesOf,
  rereadLines,
  type Scope,
  type Seen,
  scopeOf,
} from './postgres-capture-fixture.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne } from './source-suite.ts';

/** What a change is, without its bytes. */
const short = (events: readonly Seen[]) =>
  changesOf(events).map(({ kind, key, oldKey, row, missing }) => [kind, oldKey, key, row ?? null, missing]);
const kinds = (events: readonly Seen[]) => events.map((event) => event.kind);

describe.each(postgresServers())('changes of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let version: number;
  let turn = 0;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
    version = Number((await ground.sql('show server_version_num')).flat()[0]);
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  /** A table of its own (`%t`), followed from now on. */
  async function followed(
    ddl: string,
  ): Promise<{ name: string; table: Table; scope: Scope; sql(text: string): Promise<unknown> }> {
    const name = `t${++turn}`;
    const sql = (text: string) => ground.sql(text.replaceAll('%t', name));
    await sql(ddl);
    const table = await describeOne(source, 'public', name);
    return { name, table, scope: await scopeOf(source, [table]), sql };
  }

  test('inserts, updates and deletes in order, whole transactions, with commit positions and times', async () => {
    const { scope, sql } = await followed('create table %t (id int primary key, v text)');
    const before = Date.now();
    await sql(
      "begin; insert into %t values (1, 'a'), (2, 'b'); update %t set v = 'c' where id = 1; delete from %t where id = 2; commit",
    );
    await sql("insert into %t values (3, E'tab\\there')");
    const events = await drain(source, scope.request());
    expect(short(events)).toEqual([
      ['insert', null, '1', ['1', 'a'], null],
      ['insert', null, '2', ['2', 'b'], null],
      ['update', null, '1', ['1', 'c'], null],
      ['delete', null, '2', null, null],
      ['insert', null, '3', ['3', 'tab\there'], null],
    ]);
    expect(kinds(events)).toEqual(['insert', 'insert', 'update', 'delete', 'commit', 'insert', 'commit', 'progress']);
    const commits = events.filter((event) => event.kind === 'commit');
    for (const { at } of commits) expect(Math.abs(at - before)).toBeLessThan(60_000);
    expect(source.reached(commits[1]?.position as Position, commits[0]?.position as Position)).toBe(true);
    expect(source.reached(commits[0]?.position as Position, commits[1]?.position as Position)).toBe(false);
    expect(events.at(-1)).toMatchObject({ kind: 'progress', atEnd: true });
    expect(source.reached(lastPosition(events), commits[1]?.position as Position)).toBe(true);
  });

  test('key changes carry the old key; a swap keeps both; composite keys in the order of the key', async () => {
    const { scope, sql } = await followed('create table %t (b text, a int, v text, primary key (a, b))');
    await sql("insert into %t values (E'x\\ty', 1, 'one'), ('z', 2, 'two')");
    await sql(
      'begin; update %t set a = -1 where a = 1; update %t set a = 1 where a = 2; update %t set a = 2 where a = -1; commit',
    );
    await sql("update %t set v = 'same key', b = b");
    expect(short(await drain(source, scope.request()))).toEqual([
      ['insert', null, '1\tx\\ty', ['x\ty', '1', 'one'], null],
      ['insert', null, '2\tz', ['z', '2', 'two'], null],
      ['update', '1\tx\\ty', '-1\tx\\ty', ['x\ty', '-1', 'one'], null],
      ['update', '2\tz', '1\tz', ['z', '1', 'two'], null],
      ['update', '-1\tx\\ty', '2\tx\\ty', ['x\ty', '2', 'one'], null],
      ['update', null, '1\tz', ['z', '1', 'same key'], null],
      ['update', null, '2\tx\\ty', ['x\ty', '2', 'same key'], null],
    ]);
  });

  test('a long value that did not change is missing, also when the key changed; REPLICA IDENTITY FULL has it', async () => {
    const ddl = 'create table %t (id int primary key, big text, n int); alter table %t alter big set storage external';
    const { scope, sql } = await followed(ddl);
    await sql("insert into %t values (1, repeat('b', 10000), 1)");
    await sql('update %t set n = 2; update %t set id = 5; update %t set big = null; update %t set n = 3');
    const expected = [
      ['insert', null, '1', ['1', 'b'.repeat(10_000), '1'], null],
      ['update', null, '1', ['1', null, '2'], [1]],
      ['update', '1', '5', ['5', null, '2'], [1]],
      ['update', null, '5', ['5', null, '2'], null],
      ['update', null, '5', ['5', null, '3'], null],
    ];
    expect(short(await drain(source, scope.request()))).toEqual(expected);
    const full = await followed(`${ddl}; alter table %t replica identity full`);
    await full.sql("insert into %t values (1, repeat('b', 10000), 1)");
    await full.sql(
      'update %t set n = 2; update %t set id = 5; update %t set big = null; update %t set n = 3; delete from %t',
    );
    expect(short(await drain(source, full.scope.request()))).toEqual([
      expected[0],
      ['update', null, '1', ['1', 'b'.repeat(10_000), '2'], null],
      ['update', '1', '5', ['5', 'b'.repeat(10_000), '2'], null],
      expected[3],
      expected[4],
      ['delete', null, '5', null, null],
    ]);
  });

  test('a long value in the key is known when another column changes', async () => {
    const { scope, sql } = await followed(
      'create table %t (k text primary key, n int); alter table %t alter k set storage external',
    );
    await sql("insert into %t values (repeat('k', 2400), 1)");
    await sql('update %t set n = 2; delete from %t');
    const key = 'k'.repeat(2400);
    expect(short(await drain(source, scope.request()))).toEqual([
      ['insert', null, key, [key, '1'], null],
      ['update', null, key, [key, '2'], null],
      ['delete', null, key, null, null],
    ]);
  });

  test('what is rolled back never comes: transactions, savepoints; prepared transactions when they commit', async () => {
    const { scope, sql, name } = await followed('create table %t (id int primary key)');
    await sql(
      'begin; insert into %t values (1); savepoint a; insert into %t values (2); rollback to a; insert into %t values (3); commit',
    );
    await sql('begin; insert into %t values (4); rollback');
    const other = await ground.session();
    await other.query(`begin; insert into ${name} values (5); prepare transaction '${name}'`);
    await sql('insert into %t values (6)');
    const first = await drain(source, scope.request());
    expect(changesOf(first).map((change) => change.key)).toEqual(['1', '3', '6']);
    await ground.sql(`commit prepared '${name}'`);
    const rest = await drain(source, scope.request({ from: lastPosition(first) }));
    expect(changesOf(rest).map((change) => change.key)).toEqual(['5']);
  });

  test('truncates, alone and with other tables, in their order', async () => {
    if (version < 110000) return;
    const one = await followed('create table %t (id int primary key)');
    const other = await describeOne(source, 'public', 't1');
    const scope = await scopeOf(source, [one.table, other]);
    await one.sql('begin; insert into %t values (1); truncate %t, t1; insert into %t values (2); commit');
    const events = await drain(source, scope.request());
    expect(
      events.map((event) =>
        'key' in event ? event.key : 'table' in event ? `${event.kind} ${event.table}` : event.kind,
      ),
    ).toEqual(expect.arrayContaining(['1', 'truncate 0', 'truncate 1', '2', 'commit', 'progress']));
    expect(kinds(events)).toEqual(['insert', 'truncate', 'truncate', 'insert', 'commit', 'progress']);
  });

  test('a partitioned table is one table: rows that move between partitions are a delete and an insert', async () => {
    if (version < 110000) return;
    const { scope, sql } = await followed(
      'create table %t (id int, part int, v text, primary key (id, part)) partition by list (part); create table %t_1 partition of %t for values in (1); create table %t_2 partition of %t for values in (2)',
    );
    await sql(
      "insert into %t values (1, 1, 'a'); insert into %t_2 values (2, 2, 'b'); update %t set part = 2 where id = 1",
    );
    let { tables } = scope;
    if (version >= 130000) {
      await sql('create table %t_3 partition of %t for values in (3)');
      await sql("insert into %t values (3, 3, 'c')");
      // Known from now on, so that a later slice notices when it is gone.
      const [added] = await drain(source, scope.request());
      if (added?.kind !== 'structure' || added.now === null) throw new Error('the new partition was not noticed');
      tables = [{ table: added.now, skip: [] }];
      await sql("insert into %t values (4, 3, 'd')");
    }
    const events = await drain(source, scope.request({ tables }));
    expect(short(events)).toEqual([
      ['insert', null, '1\t1', ['1', '1', 'a'], null],
      ['insert', null, '2\t2', ['2', '2', 'b'], null],
      ['delete', null, '1\t1', null, null],
      ['insert', null, '1\t2', ['1', '2', 'a'], null],
      ...(version >= 130000
        ? [
            ['insert', null, '3\t3', ['3', '3', 'c'], null],
            ['insert', null, '4\t3', ['4', '3', 'd'], null],
          ]
        : []),
    ]);
  });

  test('changes of tables that nobody follows are dropped, and their transactions with them', async () => {
    const { scope, sql, name } = await followed('create table %t (id int primary key)');
    await ground.sql(
      `create table ${name}_other (id int primary key); alter publication ${scope.pipeline} add table ${name}_other`,
    );
    await sql('insert into %t_other select generate_series(1, 1000)');
    await sql('begin; insert into %t_other values (0); insert into %t values (1); commit');
    const events = await drain(source, scope.request());
    expect(kinds(events).filter((kind) => kind !== 'progress')).toEqual(['insert', 'commit']);
  });

  test('begun at any commit, what comes after it comes once; skip drops what a position contains', async () => {
    const { scope, sql } = await followed('create table %t (id int primary key)');
    for (let id = 1; id <= 12; id++) await sql(`insert into %t values (${id * 10}), (${id * 10 + 1})`);
    const all = await drain(source, scope.request());
    const commits = all.filter((event) => event.kind === 'commit').map((event) => event.position);
    expect(commits.length).toBe(12);
    const keys = changesOf(all).map((change) => change.key);
    for (const [index, from] of commits.entries()) {
      expect(changesOf(await drain(source, scope.request({ from }))).map((change) => change.key)).toEqual(
        keys.slice(2 * index + 2),
      );
      const tables = [{ table: (scope.tables[0] as Scope['tables'][0]).table, skip: [scope.start.position, from] }];
      const skipped = await drain(source, scope.request({ tables }));
      expect(changesOf(skipped).map((change) => change.key)).toEqual(keys.slice(2 * index + 2));
    }
  });

  test('a reader that is killed again and again loses nothing and gives nothing twice', {
    timeout: 120_000,
  }, async () => {
    const { scope, sql } = await followed('create table %t (id int primary key, v int)');
    let writing = true;
    let written = 0;
    const writer = (async () => {
      const client = await ground.session();
      while (writing) {
        const from = written;
        await client.query(
          `insert into ${scope.tables[0]?.table.ref.name} select i, ${from} from generate_series(${from}, ${from + 4}) i`,
        );
        written += 5;
        await delay(1);
      }
    })();
    const got: number[] = [];
    let position = scope.start.position;
    let kills = 0;
    while (kills < 8) {
      try {
        await using reader = await capture(source, scope.request({ from: position, until: 'forever' }));
        let open: number[] = [];
        let pieces = 0;
        for await (const piece of reader.events())
          for (const event of piece) {
            if ('key' in event) open.push(Number(event.key));
            if (event.kind === 'commit') {
              got.push(...open);
              open = [];
              position = event.position;
              await reader.acknowledge(position);
            }
            if (++pieces % 20 === 0)
              await ground.sql(
                'select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1',
                [scope.start.slot],
              );
          }
      } catch (error) {
        expect((error as Error).name).toBe('Error');
        kills++;
      }
    }
    writing = false;
    await writer;
    got.push(...changesOf(await drain(source, scope.request({ from: position }))).map((change) => Number(change.key)));
    expect(got).toEqual(Array.from({ length: written }, (_, index) => index));
    await sql('drop table %t');
  });

  test('acknowledging moves the slot, also when nothing concerns the scope; without it the slot stays', async () => {
    const { scope, name } = await followed('create table %t (id int primary key)');
    const confirmed = async () =>
      (
        await ground.sql('select confirmed_flush_lsn from pg_replication_slots where slot_name = $1', [
          scope.start.slot,
        ])
      )[0]?.[0] as Position;
    const before = await confirmed();
    await ground.sql(`create table ${name}_x as select generate_series(1, 10000)`);
    const events = await drain(source, scope.request());
    expect(kinds(events)).toEqual(['progress']);
    expect(await confirmed()).toBe(before);
    const end = lastPosition(events);
    await using reader = await capture(source, scope.request({ until: 'forever' }));
    await reader.acknowledge(end);
    await expect.poll(confirmed, { timeout: 10_000 }).toBe(end);
    const positions: Position[] = [];
    await ground.sql(`insert into ${name}_x select generate_series(1, 10000)`);
    const written = await source.written();
    for await (const piece of reader.events()) {
      for (const event of piece) if (event.kind === 'progress' && event.atEnd) positions.push(event.position);
      if (positions.some((position) => source.reached(position, written))) break;
    }
    expect(positions.length).toBeGreaterThan(0);
  });

  test('the slot of an earlier reader is taken from it', async () => {
    const { scope, sql } = await followed('create table %t (id int primary key)');
    await sql('insert into %t values (1)');
    const earlier = await capture(source, scope.request({ until: 'forever' }));
    expect(changesOf(await drain(source, scope.request())).map((change) => change.key)).toEqual(['1']);
    await expect(async () => {
      for await (const _ of earlier.events());
    }).rejects.toThrow();
    await earlier[Symbol.asyncDispose]();
  });

  test('the server keeps the reader while the consumer takes longer than wal_sender_timeout', {
    timeout: 60_000,
  }, async () => {
    const { scope, sql } = await followed('create table %t (id int primary key, v text)');
    await ground.sql('alter system set wal_sender_timeout = 1500');
    await ground.sql('select pg_reload_conf()');
    try {
      await using slow = await ground.open();
      await using reader = await capture(slow, scope.request({ until: 'forever' }));
      await sql("insert into %t select i, repeat('x', 1000) from generate_series(1, 20000) i");
      let rows = 0;
      for await (const piece of reader.events()) {
        if (rows === 0) await delay(5_000);
        rows += piece.filter((event) => 'key' in event).length;
        if (rows === 20_000) break;
      }
      expect(rows).toBe(20_000);
    } finally {
      await ground.sql('alter system reset wal_sender_timeout');
      await ground.sql('select pg_reload_conf()');
    }
  });

  test('messages in the log, of transactions and outside of them, are neither rows nor reasons to lose some', async () => {
    const { scope, sql } = await followed('create table %t (id int primary key)');
    const says = (text: string, transactional: boolean) =>
      `select pg_logical_emit_message(${transactional}, 'heartbeat', '${text}')`;
    await sql(says('alone', true));
    await sql(
      `begin; ${says('first', true)}; insert into %t values (1); ${says('outside', false)}; ${says('last', true)}; commit`,
    );
    await sql(says('before nothing', false));
    await sql('insert into %t values (2)');
    const events = await drain(source, scope.request());
    expect(changesOf(events).map((change) => change.line)).toEqual(['1\n', '2\n']);
    const [first] = events.flatMap((event) => (event.kind === 'commit' ? [event.position] : []));
    const rest = await drain(source, scope.request({ from: first as Position }));
    expect(changesOf(rest).map((change) => change.line)).toEqual(['2\n']);
  });

  test('aborting ends the events with its reason, and the slot is free; what was delivered can still be read again', async () => {
    const { scope, sql } = await followed('create table %t (id int primary key)');
    await sql('insert into %t values (1)');
    const stop = new AbortController();
    const reader = await capture(source, scope.request({ until: 'forever' }), stop.signal);
    setTimeout(() => stop.abort(new Error('enough')), 50);
    await expect(async () => {
      for await (const _ of reader.events());
    }).rejects.toThrow('enough');
    expect(await rereadLines(reader, 0, ['1'])).toEqual(['1\n']);
    await reader[Symbol.asyncDispose]();
    await expect(capture(source, scope.request({ until: 'forever' }), stop.signal)).rejects.toThrow('enough');
    const active = () => ground.sql('select active from pg_replication_slots where slot_name = $1', [scope.start.slot]);
    await expect.poll(active).toEqual([['f']]);
  });

  test('re-read: keys of any type, hostile texts, absent keys; 2,500 at once', async () => {
    const { scope, table, sql } = await followed(
      'create table %t (b bytea, t text, n numeric, d timestamptz, x bit(5), m money, primary key (b, t, n, d, x, m))',
    );
    await sql(
      `insert into %t select decode(lpad(to_hex(i), 4, '0'), 'hex'), E'\\t\\n\\\\''é' || i, i / 7.0, '2024-01-01'::timestamptz + i * interval '1 hour', (i % 32)::bit(5), i::numeric::money from generate_series(1, 2500) i`,
    );
    await using reader = await capture(source, scope.request());
    const keys: string[] = [];
    for await (const piece of reader.events()) for (const event of piece) if ('key' in event) keys.push(event.key);
    expect(keys.length).toBe(2500);
    await sql("delete from %t where t like '%1'");
    const lines = await rereadLines(reader, 0, [...keys, keys[1] as string]);
    expect(lines.sort()).toEqual((await linesOf(source, table)).sort());
    expect(lines.length).toBe(2250);
  });

  test('re-read waits until what was delivered can be seen', async () => {
    if (version < 110000) return;
    const { scope, sql, name } = await followed('create table %t (id int primary key)');
    // Synchronous replication to nobody: a commit is in the log at once, and can be seen only when the wait is cancelled.
    const writer = await ground.session();
    await ground.sql("alter system set synchronous_standby_names = 'nobody'");
    await ground.sql('select pg_reload_conf()');
    try {
      await delay(300);
      await writer.query('set synchronous_commit = on');
      const pid = (await writer.query('select pg_backend_pid() as pid')).rows[0].pid;
      const written = writer.query(`insert into ${name} values (1)`);
      await using reader = await capture(source, scope.request({ until: 'forever' }));
      let key = '';
      for await (const piece of reader.events()) {
        for (const event of piece) if ('key' in event) key = event.key;
        if (key !== '') break;
      }
      let answered = false;
      const lines = rereadLines(reader, 0, [key]).finally(() => {
        answered = true;
      });
      await delay(500);
      expect(answered).toBe(false);
      await ground.sql('select pg_cancel_backend($1)', [pid]);
      await written;
      expect(await lines).toEqual(['1\n']);
    } finally {
      await ground.sql('alter system reset synchronous_standby_names');
      await ground.sql('select pg_reload_conf()');
    }
    await sql('drop table %t');
  });
});
