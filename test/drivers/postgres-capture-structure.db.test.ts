import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Table, TableOptions } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import {
  capture,
  changesOf,
  drain,
  lastPosition,
  type Scope,
  type Seen,
  scopeOf,
  seen,
} from './postgres-capture-fixture.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne } from './source-suite.ts';

type Structure = Extract<LogEvent, { kind: 'structure' }>;
const structures = (events: readonly Seen[]) =>
  events.filter((event): event is Structure => event.kind === 'structure');

describe.each(postgresServers())('structure in the log of %s', (server) => {
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

  async function followed(
    ddl: string,
    options: TableOptions = {},
  ): Promise<{ table: Table; scope: Scope; sql(text: string): Promise<unknown> }> {
    const name = `t${++turn}`;
    const sql = (text: string) => ground.sql(text.replaceAll('%t', name));
    await sql(ddl);
    const table = await describeOne(source, 'public', name, options);
    return { table, scope: await scopeOf(source, [table]), sql };
  }

  const PLAIN =
    'create table %t (id int primary key, a int, b varchar(10)); insert into %t values (-1, 1, null), (-2, 2, null)';

  /** DDL, and what is then known: `now`'s columns, or why only a reload helps. */
  test.each<[ddl: string, now: string[] | RegExp]>([
    ['alter table %t add c text', ['id', 'a', 'b', 'c']],
    ['alter table %t drop b', ['id', 'a']],
    ['alter table %t drop b; alter table %t add c int, add d date', ['id', 'a', 'c', 'd']],
    ['alter table %t alter b type varchar(20)', ['id', 'a', 'b']],
    ['alter table %t alter b type text', ['id', 'a', 'b']],
    ['alter table %t add c int default 5', /default/],
    ['alter table %t add c int default 5; vacuum full %t; alter table %t alter c drop default', /written anew/],
    ['alter table %t add c double precision default random(); alter table %t alter c drop default', /written anew/],
    ['alter table %t add c int generated always as identity', /default|written anew/],
    ['alter table %t alter a type bigint', /became bigint|bigint instead of integer/],
    ['alter table %t alter b type int using 7', /integer/],
    ['alter table %t rename b to c', /renamed/],
    ['alter table %t drop b; alter table %t add b varchar(10)', /dropped and added again/],
    ['alter table %t drop b; alter table %t add b varchar(10), add c int', /dropped and added again/],
    [
      'alter table %t drop b; alter table %t add b varchar(10); insert into %t (id, a) values (2, 20); alter table %t add d int; delete from %t where id = 2',
      /dropped and added again/,
    ],
    ['alter table %t add c int; alter table %t drop c; alter table %t add c int', ['id', 'a', 'b', 'c']],
    [
      'alter table %t rename to %t_renamed; create table %t (id int primary key, a int, b varchar(10))',
      /taken its name|renamed/,
    ],
    ['drop table %t; create table %t (id int primary key, a int, b varchar(10))', /taken its name/],
    ['alter table %t drop constraint %t_pkey; alter table %t replica identity full', /unique/],
    ['alter table %t drop constraint %t_pkey, add primary key (id, a)', /unique/],
    [
      'alter table %t alter a set not null; create unique index %t_a on %t (a); alter table %t replica identity using index %t_a',
      /does not carry its key/,
    ],
  ])('%s', async (ddl, now) => {
    const { scope, sql, table } = await followed(PLAIN);
    await sql("insert into %t values (1, 10, 'before')");
    for (const statement of ddl.split('; ')) await sql(statement);
    await sql('insert into %t (id, a) values (2, 20)');
    const events = await drain(source, scope.request());
    const found = structures(events);
    expect(found.length).toBe(1);
    // Before 11 a table that was written anew may have been truncated.
    const early = version < 110000 && /written anew/.test(found[0]?.reason ?? '');
    if (now instanceof RegExp && early) expect(found[0]).toMatchObject({ table: 0, now: null });
    else if (now instanceof RegExp)
      expect(found[0]).toMatchObject({ table: 0, now: null, reason: expect.stringMatching(now) });
    else {
      expect(found[0]?.now?.columns.map((column) => column.name)).toEqual(now);
      // With the new structure the log goes on where the event was.
      const tables = [{ table: found[0]?.now as Table, skip: [] }];
      const commits = events.filter((event) => event.kind === 'commit');
      const from = commits[0]?.position ?? scope.start.position;
      const rest = await drain(source, scope.request({ tables, from }));
      expect(structures(rest)).toEqual([]);
      expect(changesOf(rest).map((change) => change.row)).toEqual([['2', '20', ...now.slice(2).map(() => null)]]);
    }
    const keys = changesOf(events).map((change) => change.key);
    expect(keys).toEqual(changesOf(events).length === 0 ? [] : ['1']);
    expect(
      early ||
        keys.length === 1 ||
        /dropped and added|taken its name|renamed|unique|carry/.test(found[0]?.reason ?? ''),
    ).toBe(true);
    expect(table.columns.length).toBe(3);
  });

  test('a change of structure while the reader runs, in the middle of a transaction; other tables go on', async () => {
    const one = await followed(PLAIN, { mask: ['a'] });
    const other = await followed('create table %t (id int primary key)');
    const scope = await scopeOf(source, [one.table, other.table]);
    const tables = [{ table: one.table, skip: [], options: { mask: ['a'] } }, ...scope.tables.slice(1)];
    const events: Seen[] = [];
    await using reader = await capture(source, scope.request({ tables, until: 'forever' }));
    let step = 0;
    for await (const piece of reader.events()) {
      events.push(...piece.map(seen));
      if (!piece.some((event) => event.kind === 'progress')) continue;
      if (step++ === 0) {
        const [a, b] = [one.table.ref.name, other.table.ref.name];
        await ground.sql(
          `begin; insert into ${a} values (1, 1, 'x'); insert into ${b} values (1); alter table ${a} add c int; insert into ${a} values (2, 2, 'y', 3); insert into ${b} values (2); commit`,
        );
        await ground.sql(`insert into ${a} values (3, 3, 'z', 3); insert into ${b} values (3)`);
      } else if (changesOf(events).filter((change) => change.table === 1).length === 3) break;
    }
    expect(
      events
        .filter((event) => event.kind !== 'progress')
        .map((event) => ('key' in event ? `${event.table} ${event.key}` : event.kind)),
    ).toEqual(['0 1', '1 1', 'structure', '1 2', 'commit', '1 3', 'commit']);
    const now = structures(events)[0]?.now;
    expect(now?.columns.map((column) => [column.name, column.masked])).toEqual([
      ['id', false],
      ['a', true],
      ['b', false],
      ['c', false],
    ]);
    expect(changesOf(events)[0]?.row).toEqual(['1', null, 'x']);
  });

  test('a value that no rule may replace ends its table, by name and key; the others go on', async () => {
    const one = await followed('create table %t (id int primary key, n numeric)');
    const other = await followed('create table %t (id int primary key)');
    const scope = await scopeOf(source, [one.table, other.table]);
    await one.sql("insert into %t values (1, 1), (42, 'NaN'), (3, 3)");
    await other.sql('insert into %t values (1)');
    await using strict = await ground.open({ on_unrepresentable: 'error' });
    const events = await drain(strict, scope.request());
    expect(changesOf(events).map((change) => `${change.table} ${change.key}`)).toEqual(['0 1', '1 1']);
    expect(structures(events)).toMatchObject([{ table: 0, now: null, reason: expect.stringMatching(/NaN .*"n"/) }]);
  });

  test('a text that is not UTF-8 ends its table, not the stream', async () => {
    await using ascii = await playground(server, "template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'");
    await ascii.sql('create table latin (id int primary key, t text); create table other (id int primary key)');
    await using plain = await ascii.open();
    const scope = await scopeOf(plain, [
      await describeOne(plain, 'public', 'latin'),
      await describeOne(plain, 'public', 'other'),
    ]);
    await ascii.sql("set client_encoding = 'SQL_ASCII'");
    await ascii.sql("insert into latin values (1, 'pl\u00e4in'), (2, convert_from('\\xe9', 'SQL_ASCII')), (3, 'more')");
    await ascii.sql('insert into other values (7)');
    const events = await drain(plain, scope.request());
    expect(changesOf(events).map((change) => [change.key, change.row])).toEqual([
      ['1', ['1', 'pl\u00e4in']],
      ['7', ['7']],
    ]);
    expect(structures(events)).toMatchObject([
      { table: 0, now: null, reason: expect.stringMatching(/public\.latin \(id=2\).*UTF-8/) },
    ]);
  });

  test('tables that the publication leaves out, for now or meanwhile, are named', async () => {
    const one = await followed('create table %t (id int primary key)');
    const other = await followed('create table %t (id int primary key)');
    const scope = await scopeOf(source, [one.table, other.table]);
    await ground.sql(`alter publication ${scope.pipeline} drop table ${one.table.ref.name}`);
    await one.sql('insert into %t values (1)');
    await other.sql('insert into %t values (2)');
    const events = await drain(source, scope.request());
    expect(structures(events)).toMatchObject([
      { table: 0, now: null, reason: expect.stringMatching(/does not carry it/) },
    ]);
    expect(changesOf(events).map((change) => change.key)).toEqual(['2']);
    // Out and in again while a reader runs: seen when it comes to its end.
    const again = scope.request({ tables: scope.tables.slice(1), from: lastPosition(events) });
    await using reader = await capture(source, again);
    const iterated = reader.events();
    await other.sql('insert into %t select generate_series(10, 60000)');
    const first = await iterated.next();
    const name = other.table.ref.name;
    await ground.sql(
      `alter publication ${scope.pipeline} drop table ${name}; alter publication ${scope.pipeline} add table ${name}`,
    );
    const rest: Seen[] = (first.value ?? []).map(seen);
    for await (const piece of iterated) rest.push(...piece.map(seen));
    expect(changesOf(rest).length).toBe(59_991);
    expect(structures(rest)).toMatchObject([{ table: 0, now: null, reason: expect.stringMatching(/added again/) }]);
    if (version >= 150000) {
      await ground.sql(`alter publication ${scope.pipeline} set table ${name} where (id > 5)`);
      expect(structures(await drain(source, again))).toMatchObject([{ reason: expect.stringMatching(/condition/) }]);
      await ground.sql(`alter publication ${scope.pipeline} set table ${name}`);
    }
  });

  test('a column list that leaves a column out is a change of structure', async () => {
    if (version < 150000) return;
    const { scope, sql, table } = await followed(PLAIN);
    await ground.sql(`alter publication ${scope.pipeline} set table ${table.ref.name} (id, a)`);
    await sql('insert into %t values (1, 2)');
    expect(structures(await drain(source, scope.request()))).toMatchObject([
      { now: null, reason: expect.stringMatching(/"b".*publication/) },
    ]);
  });

  test.each<[change: string, reason: RegExp | 'now']>([
    ['truncate %t_1', /truncated/],
    // Reported by the log, but so that a partition truncated later in the same slice can't be told from it.
    ['truncate %t', /truncated/],
    ['drop table %t_1', /dropped or detached/],
    ['alter table %t detach partition %t_1', /dropped or detached/],
    [
      'create table %t_9 (id int, part int not null, primary key (id, part)); insert into %t_9 values (9, 9); alter table %t attach partition %t_9 for values in (9)',
      /attached/,
    ],
    ['create table %t_3 partition of %t for values in (3)', 'now'],
  ])('partitions: %s', async (change, reason) => {
    if (version < 110000) return;
    const { scope, sql } = await followed(
      'create table %t (id int, part int, primary key (id, part)) partition by list (part); create table %t_1 partition of %t for values in (1); create table %t_2 partition of %t for values in (2); insert into %t values (1, 1), (2, 2)',
    );
    for (const statement of change.split('; ')) await sql(statement);
    const found = structures(await drain(source, scope.request()));
    if (reason !== 'now') expect(found).toMatchObject([{ now: null, reason: expect.stringMatching(reason) }]);
    else if (version >= 130000) {
      expect(found).toMatchObject([{ reason: 'A partition was added.' }]);
      const tables = [{ table: found[0]?.now as Table, skip: [] }];
      expect(structures(await drain(source, scope.request({ tables })))).toEqual([]);
    }
  });

  test('a partition made, filled and dropped within one slice is noticed', async () => {
    if (version < 130000) return;
    const { scope, sql } = await followed(
      'create table %t (id int, part int, primary key (id, part)) partition by list (part)',
    );
    await sql('create table %t_5 partition of %t for values in (5)');
    await sql('insert into %t values (5, 5)');
    await sql('drop table %t_5');
    expect(structures(await drain(source, scope.request()))).toMatchObject([
      { now: null, reason: expect.stringMatching(/dropped/) },
    ]);
  });
});
