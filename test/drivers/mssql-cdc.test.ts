import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Position, Table } from '../../src/drivers/model.ts';
import type { Instance } from '../../src/drivers/mssql/cdc-instances.ts';
import { createCdcRows } from '../../src/drivers/mssql/cdc-row.ts';
import type { Source } from '../../src/drivers/source.ts';
import { ServerError } from '../fakes/mssql/server.ts';
import { type MssqlGround, mssqlGround } from './mssql-fixture.ts';
import { changesOf, drain, lastPosition, scopeOf } from './postgres-capture-fixture.ts';
import { describeOne } from './source-suite.ts';

let ground: MssqlGround;
let source: Source;
afterEach(async () => {
  await source?.[Symbol.asyncDispose]();
  await ground?.[Symbol.asyncDispose]();
});

describe('CDC', () => {
  beforeEach(async () => {
    ground = await mssqlGround('rds.mscdcm');
    ground.run('create table plain (id int primary key, a int, body nvarchar(max))');
    ground.fake.engine.enableCdc('dbo', 'plain');
    source = await ground.open({ cdc_wait: '1' });
  });
  const plain = () => describeOne(source, 'dbo', 'plain');

  it('tells transactions in their order, each with its own commit, across tables', async () => {
    ground.run('create table other (id int primary key, a int)');
    ground.fake.engine.enableCdc('dbo', 'other');
    const scope = await scopeOf(source, [await plain(), await describeOne(source, 'dbo', 'other')]);
    for (let i = 0; i < 30; i++)
      ground.run([`insert into plain values (${i}, ${i}, null)`, `insert into other values (${i}, 0)`]);
    const events = await drain(source, scope.request());
    const shown = events.map((event) => ('key' in event ? `${event.table}/${event.key}` : event.kind));
    expect(shown).toEqual([...Array.from({ length: 30 }, (_, i) => [`0/${i}`, `1/${i}`, 'commit']).flat(), 'progress']);
  });

  it('leaves large values out that a statement did not set', async () => {
    ground.run("insert into plain values (1, 1, N'body')");
    const scope = await scopeOf(source, [await plain()]);
    ground.run('update plain set a = 2');
    ground.run('update plain set body = null');
    expect(changesOf(await drain(source, scope.request()))).toMatchObject([
      { kind: 'update', key: '1', missing: [2], row: ['1', '2', null] },
      { kind: 'update', key: '1', missing: null, row: ['1', '2', null] },
    ]);
  });

  it('delivers nothing while the capture job stands still, and loses nothing by it', async () => {
    const scope = await scopeOf(source, [await plain()]);
    ground.run('insert into plain values (1, 1, null)');
    await source.written();
    ground.fake.engine.settings.agent = false;
    ground.run('insert into plain values (2, 2, null)');
    const before = await drain(source, scope.request());
    expect(changesOf(before)).toHaveLength(1);
    expect(await source.preflight([])).toEqual([]);
    ground.run("update cdc.mapping set tran_end_time = '2020-01-01 00:00:00.000'");
    expect(await source.preflight([])).toMatchObject([
      { severity: 'error', code: 'agent', message: expect.stringMatching(/SQL Server Agent/) },
    ]);
    ground.fake.engine.settings.agent = true;
    expect(changesOf(await drain(source, scope.request({ from: lastPosition(before) })))).toHaveLength(1);
  });

  it('goes over to a second instance where it begins, with the columns that it holds', async () => {
    const table = await plain();
    const scope = await scopeOf(source, [table]);
    ground.run('insert into plain values (1, 1, null)');
    ground.run('alter table plain add c int null');
    ground.run('insert into plain values (2, 2, null, 22)');
    ground.fake.engine.enableCdc('dbo', 'plain', 'dbo_plain_2');
    ground.run('insert into plain values (3, 3, null, 33)');
    const seenFirst = await drain(source, scope.request());
    // The column is not captured by the first instance, which is said first.
    expect(seenFirst[0]).toMatchObject({
      kind: 'structure',
      now: { columns: [{ name: 'id' }, { name: 'a' }, { name: 'body' }] },
    });
    const kept = (seenFirst[0]?.kind === 'structure' && seenFirst[0].now) as Table;
    const old = await drain(source, scope.request({ tables: [{ table: kept, skip: [] }] }));
    expect(old.map((event) => ('key' in event ? event.key : event.kind))).toEqual([
      '1',
      'commit',
      '2',
      'commit',
      'progress',
      'structure',
      'progress',
    ]);
    const now = old.find((event) => event.kind === 'structure');
    const switched = (now?.kind === 'structure' && now.now) as Table;
    expect(switched.columns.map(({ name }) => name)).toEqual(['id', 'a', 'body', 'c']);
    const from = (old[4] as { position: Position }).position;
    const last = await drain(source, scope.request({ from, tables: [{ table: switched, skip: [] }] }));
    expect(changesOf(last)).toMatchObject([{ key: '3', row: ['3', '3', null, '33'] }]);
  });

  it('may be cleaned up behind its reader without a word, and not before it', async () => {
    const table = await plain();
    const scope = await scopeOf(source, [table]);
    ground.run('insert into plain values (1, 1, null)');
    const events = await drain(source, scope.request());
    ground.fake.engine.cleanUp();
    // The clean-up has moved where the instance begins: it is the same instance all the same.
    expect((await plain()).storage).toBe(table.storage);
    ground.run('insert into plain values (2, 2, null)');
    const next = await drain(source, scope.request({ from: lastPosition(events) }));
    expect(next.map((event) => ('key' in event ? event.key : event.kind))).toEqual(['2', 'commit', 'progress']);
    expect((await drain(source, scope.request()))[0]).toMatchObject({ kind: 'structure', now: null });
  });

  it('tells nothing that a clean-up may have taken a part of while it was read', async () => {
    const scope = await scopeOf(source, [await plain()]);
    for (let i = 0; i < 5; i++) ground.run(`insert into plain values (${i}, ${i}, null)`);
    const { engine } = ground.fake;
    engine.before = (sql) => {
      if (!/ORDER BY c\.\[__\$start_lsn\]/.test(sql)) return;
      engine.before = undefined;
      engine.cleanUp();
    };
    await expect(drain(source, scope.request())).rejects.toMatchObject({
      name: 'Error',
      message: expect.stringMatching(/cleaned up while/),
    });
    expect(await drain(source, scope.request())).toMatchObject([
      { kind: 'structure', now: null },
      { kind: 'progress' },
    ]);
  });

  it('waits with its start until the capture job has come to the instance', async () => {
    ground.run('create table late (id int primary key, a int)');
    const { engine } = ground.fake;
    engine.settings.agent = false;
    engine.enableCdc('dbo', 'late');
    const table = await describeOne(source, 'dbo', 'late');
    const reasons: string[] = [];
    const start = source.begin(
      'p',
      'p_1',
      [table.ref],
      (why) => {
        if (reasons.push(why) > 1) return;
        engine.settings.agent = true;
        ground.run('insert into late values (1, 1)');
      },
      new AbortController().signal,
    );
    const { position } = await start;
    expect(reasons).toEqual([expect.stringMatching(/dbo_late yet: SQL Server Agent must run/)]);
    expect(JSON.parse(position)).toEqual({ lsn: expect.stringMatching(/^[0-9A-F]{20}$/) });
    const scope = await scopeOf(source, [table]);
    ground.run('insert into late values (2, 2)');
    expect(changesOf(await drain(source, scope.request()))).toMatchObject([{ key: '2' }]);
  });

  it('leaves a column out that was dropped and made again: the instance holds the one before', async () => {
    const scope = await scopeOf(source, [await plain()]);
    ground.run('alter table plain drop column a');
    ground.run('alter table plain add a int null');
    ground.run("insert into plain (id, a, body) values (1, 5, N'x')");
    expect((await drain(source, scope.request()))[0]).toMatchObject({ kind: 'structure' });
    expect(await plain()).toMatchObject({
      columns: [{ name: 'id' }, { name: 'body' }],
      leftOut: [{ name: 'a', reason: expect.stringMatching(/dbo_plain does not hold it: make a second one/) }],
    });
  });

  it('reads a large value again that a row with a new key does not bring along', async () => {
    ground.run("insert into plain values (1, 1, N'body'), (2, 2, null)");
    const scope = await scopeOf(source, [await plain()]);
    ground.run('update plain set id = 10 where id = 1');
    ground.run("insert into plain values (3, 3, null), (4, 4, N'fresh')");
    expect(changesOf(await drain(source, scope.request()))).toMatchObject([
      { kind: 'delete', key: '1' },
      { kind: 'update', key: '10', oldKey: null, missing: [2] },
      { kind: 'insert', key: '3', missing: null, row: ['3', '3', null] },
      { kind: 'insert', key: '4', missing: null, row: ['4', '4', 'fresh'] },
    ]);
  });

  it('tells changes of a transaction too that the mapping of times does not name', async () => {
    const scope = await scopeOf(source, [await plain()]);
    ground.run('insert into plain values (1, 1, null)');
    ground.run('insert into plain values (2, 2, null)');
    const to = await source.written();
    ground.run('delete from cdc.mapping where start_lsn = (select max(start_lsn) from cdc.mapping)');
    const events = await drain(source, scope.request());
    expect(changesOf(events)).toMatchObject([{ key: '1' }, { key: '2' }]);
    expect(source.reached(lastPosition(events), to)).toBe(true);
  });

  it('counts as captured only what was there when a scan was seen to have ended', async () => {
    const scope = await scopeOf(source, [await plain()]);
    const { engine } = ground.fake;
    await source.written();
    engine.settings.agent = false;
    ground.run('insert into plain values (1, 1, null)');
    let scans = 0;
    engine.before = (sql) => {
      // The job comes to the change between two questions of the driver.
      if (sql.includes('dm_cdc_log_scan_sessions') && ++scans === 2) engine.settings.agent = true;
    };
    const to = await source.written();
    expect(changesOf(await drain(source, scope.request()))).toHaveLength(1);
    expect(source.reached(to, lastPosition(await drain(source, scope.request())))).toBe(true);
  });

  it('has only that table loaded again which is dropped while it is read', async () => {
    const scope = await scopeOf(source, [await plain()]);
    ground.run('insert into plain values (1, 1, null)');
    const { engine } = ground.fake;
    engine.before = (sql) => {
      if (!/ORDER BY c\.\[__\$start_lsn\]/.test(sql)) return;
      engine.before = undefined;
      throw new ServerError(208, "Invalid object name 'cdc.dbo_plain_CT'.");
    };
    await expect(drain(source, scope.request())).rejects.toMatchObject({ name: 'Error' });
    expect(changesOf(await drain(source, scope.request()))).toHaveLength(1);
  });

  it('has a table loaded again whose instance is gone', async () => {
    const scope = await scopeOf(source, [await plain()]);
    ground.run('insert into plain values (1, 1, null)');
    ground.fake.engine.disableCdc('dbo_plain');
    expect(await drain(source, scope.request())).toMatchObject([
      { kind: 'structure', now: null, reason: expect.stringMatching(/sp_cdc_enable_table/) },
      { kind: 'progress' },
    ]);
  });

  it('reads many tables in smaller windows, and one transaction over all of them', async () => {
    const all: Table[] = [];
    for (let i = 0; i < 15; i++) {
      ground.run(`create table t${i} (id int primary key, a int)`);
      ground.fake.engine.enableCdc('dbo', `t${i}`);
      all.push(await describeOne(source, 'dbo', `t${i}`));
    }
    const scope = await scopeOf(source, all);
    ground.run(all.map((_, i) => `insert into t${i} values (1, ${i})`));
    for (let i = 0; i < 15; i++) ground.run(`update t${i} set a = a + 100`);
    const events = await drain(source, scope.request());
    const shown = events.map((event) => ('key' in event ? event.kind : event.kind));
    expect(shown.slice(0, 16)).toEqual([...Array(15).fill('insert'), 'commit']);
    expect(shown.slice(16)).toEqual([...Array.from({ length: 15 }, () => ['update', 'commit']).flat(), 'progress']);
  });

  it('pairs states before and after of several rows that share their place in the log', () => {
    const table = {
      ref: { schema: 'dbo', name: 't' },
      key: ['id'],
      columns: [{ name: 'id', type: { kind: 'int', bytes: 4, unsigned: false }, sourceType: 'int', masked: false }],
    } as unknown as Table;
    const instance = { columns: [{ name: 'id', id: 1 }] } as unknown as Instance;
    const told = (...rows: readonly (readonly [string, number, number])[]) => {
      const parser = createCdcRows(0, table, instance, false);
      for (const [lsn, operation, id] of rows) parser.add([lsn, operation, Buffer.from([1]), id]);
      return parser.take().map(({ change }) => `${change.oldKey ?? ''}>${change.key}`);
    };
    expect(told(['A', 3, 1], ['A', 4, 2], ['A', 3, 2], ['A', 4, 2])).toEqual(['1>2', '>2']);
    expect(told(['A', 3, 1], ['A', 3, 2], ['A', 4, 1], ['A', 4, 2])).toEqual(['>1', '>2']);
    expect(told(['A', 3, 1], ['B', 3, 5], ['B', 4, 6])).toEqual(['5>6']);
    expect(() => told(['A', 3, 1], ['A', 3, 2], ['A', 4, 3], ['A', 4, 4])).toThrow(/in no order/);
  });
});
