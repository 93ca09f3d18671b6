import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Table, TableOptions } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import {
  capture,
  changesOf,
  drain,
  lastPosition,
  linesOf,
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
    ['alter table %t add c int default 5; vacuum full %t; alter table %t alter c drop default', /written anew/],
    ['alter table %t add c double precision default random(); alter table %t alter c drop default', /written anew/],
    ['alter table %t add c int generated always as identity', /default|written anew/],
    ['alter table %t add c timestamptz default clock_timestamp()', /default|written anew/],
    ['alter table %t alter a type bigint', /became bigint|bigint instead of integer/],
    ['alter table %t alter b type int using 7', /integer/],
    [
      'alter table %t rename id to c; insert into %t values (7, 8); alter table %t rename c to id',
      /"id" was dropped or renamed/,
    ],
    ['alter table %t rename b to c; alter table %t alter c type text', /renamed/],
    ['alter table %t rename a to z; alter table %t add y int; alter table %t rename b to a', /dropped and added again/],
    ['alter table %t drop b; alter table %t add b varchar(10)', /dropped and added again/],
    ['alter table %t drop b; alter table %t add b varchar(10), add c int', /dropped and added again/],
    [
      'alter table %t drop b; alter table %t add b varchar(10); insert into %t (id, a) values (2, 20); alter table %t add d int; delete from %t where id = 2',
      /dropped and added again/,
    ],
    ['alter table %t add c int; alter table %t drop c; alter table %t add c int', /is not known was dropped/],
    [
      'alter table %t add c int; insert into %t values (2, 3, null, 4); alter table %t drop c; alter table %t add c int; delete from %t where id = 2',
      /is not known was dropped/,
    ],
    [
      'alter table %t rename to %t_renamed; create table %t (id int primary key, a int, b varchar(10))',
      /taken its name|renamed/,
    ],
    ['drop table %t; create table %t (id int primary key, a int, b varchar(10))', /taken its name/],
    ['alter table %t drop constraint %t_pkey; alter table %t replica identity full', /unique/],
    ['alter table %t drop constraint %t_pkey, add primary key (id, a)', /unique/],
    [
      "alter table %t rename b to c; insert into %t values (2, 20, 'x'); alter table %t drop c; alter table %t add c varchar(10); delete from %t where id = 2",
      /same type came and went/,
    ],
    ['alter table %t drop b; alter table %t add c varchar(20)', /same type came and went/],
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

  /** The rows from before, brought to the new structure as the event says, and then the changes: what a read gives. */
  test.each<[what: string, ddl: string, fills: Record<string, string | RegExp>, renames?: Record<string, string>]>([
    ['a number', 'alter table %t add c int default 5', { c: '5' }],
    ['not null', 'alter table %t add c int not null default -5', { c: '-5' }],
    ['changed since', 'alter table %t add c int default 5; alter table %t alter c set default 6', { c: '5' }],
    ['dropped since', 'alter table %t add c int default 5; alter table %t alter c drop default', { c: '5' }],
    ['set only later', 'alter table %t add c int; alter table %t alter c set default 6', {}],
    [
      'freed and bound again since',
      'alter table %t add c int; update %t set c = 1; alter table %t alter c set not null; alter table %t alter c set default 9',
      {},
    ],
    ['stable', 'alter table %t add c timestamptz default now()', { c: /^20/ }],
    ['text', "alter table %t add c text not null default E'a\\tb\\n\\\\ ü''\"{},'", { c: 'a\\tb\\n\\\\ Ã¼\'"{},' }],
    ['an empty text and NULL', "alter table %t add c text default '', add d text default null", { c: '' }],
    ['the text \\N', "alter table %t add c text default '\\N'", { c: '\\\\N' }],
    ['bytes', "alter table %t add c bytea default '\\x00ff5c'", { c: /^00ff5c$/i }],
    ['padded', "alter table %t add c char(5) default 'a'", { c: /^a *$/ }],
    ['a float', 'alter table %t add c float8 default 0.1, add d real default 1e-7', { c: '0.1', d: /^1e-0?7$/ }],
    ['NaN', "alter table %t add c numeric default 'NaN', add d numeric(8,2) default 1", { c: '\\N', d: '1.00' }],
    [
      'dates',
      "alter table %t add c date default 'infinity', add d date default '2020-02-29'",
      { c: /^9999/, d: '2020-02-29' },
    ],
    ['an array', "alter table %t add c int[] default '{1,2}', add d text[] default '{}'", { c: /1, ?2/, d: '[]' }],
    ['json', `alter table %t add c jsonb default '{"a": [1, "x"]}'`, { c: /^\{"a": ?\[1, ?"x"\]\}$/ }],
    ['bool and bits', "alter table %t add c bool default true, add d bit(3) default b'101'", { c: /^(1|t)/, d: '5' }],
    ['renamed', 'alter table %t rename b to c', {}, { c: 'b' }],
    ['twice', 'alter table %t rename b to x; alter table %t rename x to "C ""d"', {}, { 'C "d': 'b' }],
    [
      'all at once',
      'alter table %t rename b to c; alter table %t drop a; alter table %t add d bigint default 7',
      { d: '7' },
      { c: 'b' },
    ],
  ])('known values: %s', async (_, ddl, fills, renames = {}) => {
    if (version < 110000 && Object.keys(fills).length > 0) return;
    const { scope, sql, table } = await followed(PLAIN);
    await sql("insert into %t values (1, 10, 'before')");
    const before = await linesOf(source, table);
    for (const statement of ddl.split('; ')) await sql(statement);
    await sql('update %t set id = 3 where id = 1; insert into %t (id) values (2)');
    const events = await drain(source, scope.request());
    const [found] = structures(events);
    const now = found?.now as Table;
    expect(now, found?.reason).not.toBeNull();
    expect(Object.fromEntries(found?.carry?.renames ?? [])).toEqual(renames);
    const given = Object.fromEntries(found?.carry?.fills ?? []);
    expect(given).toEqual(
      Object.fromEntries(
        Object.entries(fills).map(([name, fill]) => [
          name,
          typeof fill === 'string' ? fill : expect.stringMatching(fill),
        ]),
      ),
    );
    const rows = new Map<string, string>();
    for (const line of before) {
      const cells = line.slice(0, -1).split('\t');
      const next = now.columns.map(({ name }) => {
        const place = table.columns.findIndex((column) => column.name === (renames[name] ?? name));
        return place < 0 ? (given[name] ?? '\\N') : cells[place];
      });
      rows.set(cells[0] as string, `${next.join('\t')}\n`);
    }
    const commit = events.find((event) => event.kind === 'commit');
    const from =
      commit?.kind === 'commit' && events.indexOf(commit) < events.indexOf(found as Seen)
        ? commit.position
        : scope.start.position;
    const rest = await drain(source, scope.request({ tables: [{ table: now, skip: [] }], from }));
    expect(structures(rest)).toEqual([]);
    for (const change of changesOf(rest)) {
      if (change.oldKey !== null) rows.delete(change.oldKey);
      rows.set(change.key, change.line);
    }
    expect([...rows.values()].sort()).toEqual((await linesOf(source, now)).sort());
  });

  test.each([
    ['and more since', ['alter table %t add d int'], [false, true]],
    ['', [], [true]],
  ])('a column that takes NULL from now on %s', async (_, more, whole) => {
    const { scope, sql } = await followed('create table %t (id int primary key, a int not null, b text not null)');
    await sql("insert into %t values (1, 1, 'x')");
    await sql('alter table %t alter a drop not null');
    await sql("insert into %t values (2, null, 'y')");
    for (const statement of more) await sql(statement);
    await sql("insert into %t values (3, null, 'z')");
    let request = scope.request();
    const keys: string[] = [];
    for (const last of whole) {
      const events = await drain(source, request);
      const [found] = structures(events);
      expect(found?.now?.columns.slice(1, 3).map(({ nullable }) => nullable)).toEqual([true, false]);
      expect(found?.now?.columns.length).toBe(last ? 3 + more.length : 3);
      keys.push(...changesOf(events).map(({ key }) => key));
      const tables = [{ table: found?.now as Table, skip: [] }];
      const before = events.slice(0, events.indexOf(found as Seen)).findLast((event) => event.kind === 'commit');
      request = scope.request({ tables, from: before?.kind === 'commit' ? before.position : request.from });
    }
    const rest = await drain(source, request);
    expect(structures(rest)).toEqual([]);
    keys.push(...changesOf(rest).map(({ key }) => key));
    expect(new Set(keys)).toEqual(new Set(['1', '2', '3']));
    expect(changesOf(rest).at(-1)?.row?.slice(0, 3)).toEqual(['3', null, 'z']);
  });

  test('partitions may hold other values in a new column each', async () => {
    if (version < 110000) return;
    const { scope, sql } = await followed(
      'create table %t (id int primary key) partition by range (id); create table %t_1 partition of %t for values from (0) to (10); insert into %t values (1)',
    );
    await sql('alter table %t add c int default 5; alter table %t alter c drop default; insert into %t values (2)');
    expect(structures(await drain(source, scope.request()))).toMatchObject([
      { now: null, reason: expect.stringMatching(/partition/) },
    ]);
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
