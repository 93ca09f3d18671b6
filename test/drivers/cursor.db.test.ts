import { randomBytes } from 'node:crypto';
import mysql from 'mysql2/promise';
import { afterEach, describe, expect, inject, test } from 'vitest';
import type { Params, Position, Table, TableOptions } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { playground as mysqlGround } from './mysql-fixture.ts';
import { capture, changesOf, drain, lastPosition, linesOf, rereadLines, scopeOf } from './postgres-capture-fixture.ts';
import { playground as postgresGround } from './postgres-fixture.ts';

/** Rows as LOAD TEXT by key: what a copy holds that began as a snapshot and took in every change. */
type Copy = Map<string, string>;
/** A session of a writer, in some time zone. */
type Writer = { sql(statement: string): Promise<unknown>; end(): Promise<void> };
type Ground = {
  readonly schema: string;
  /** Types of a moment and of a time without a zone; the first is set by each update. */
  readonly table: (name: string) => string;
  readonly write: (column: string) => string;
  /** The time so many seconds ago. */
  readonly ago: (seconds: number) => string;
  open(more?: Params): Promise<Source>;
  sql(statement: string): Promise<unknown>;
  writer(zone: string): Promise<Writer>;
  /** A user who may read one table, and nothing else. */
  reader(table: string): Promise<Params>;
};

const cursor: Params = { capture: 'cursor', cursor_overlap: '60' };
const grounds: AsyncDisposable[] = [];
const sources: Source[] = [];
afterEach(async () => {
  for (const source of sources.splice(0)) await source[Symbol.asyncDispose]();
  for (const ground of grounds.splice(0)) await ground[Symbol.asyncDispose]();
});

async function postgres(): Promise<Ground> {
  const ground = await postgresGround('postgres18');
  grounds.push(ground);
  return {
    schema: 'public',
    table: (name) =>
      `create table ${name} (id int primary key, v text, at timestamptz not null default clock_timestamp(), wall timestamp default clock_timestamp())`,
    write: (column) => `${column} = clock_timestamp()`,
    ago: (seconds) => `clock_timestamp() - interval '${seconds} s'`,
    open: async (more = {}) => kept(await ground.open({ ...cursor, ...more })),
    sql: (statement) => ground.sql(statement),
    async writer(zone) {
      const client = await ground.session();
      await client.query(`set timezone = '${zone === '-11:00' ? 'Pacific/Pago_Pago' : 'UTC'}'`);
      return { sql: (statement) => client.query(statement), end: async () => {} };
    },
    async reader(table) {
      const name = `reader_${randomBytes(4).toString('hex')}`;
      await ground.sql(`create role ${name} login password 'p'`);
      await ground.sql(`grant select on ${table} to ${name}`);
      grounds.unshift({
        [Symbol.asyncDispose]: async () => {
          await ground.sql(`drop owned by ${name}`);
          await ground.sql(`drop role ${name}`);
        },
      });
      return { uid: name, pwd: 'p' };
    },
  };
}

async function mariadb(): Promise<Ground> {
  const ground = await mysqlGround('mariadb');
  grounds.push(ground);
  return {
    schema: ground.database,
    table: (name) =>
      `create table ${name} (id int primary key, v longtext, at timestamp(6) not null default current_timestamp(6) on update current_timestamp(6), wall datetime null default current_timestamp, index (at))`,
    write: (column) => `${column} = current_timestamp`,
    ago: (seconds) => `current_timestamp - interval ${seconds} second`,
    open: async (more = {}) => kept(await ground.open({ ...cursor, ...more })),
    sql: (statement) => ground.sql(statement),
    async writer(zone) {
      const { host, port, user, password } = inject('mariadb');
      const client = await mysql.createConnection({ host, port, user, password, database: ground.database });
      await client.query(`set time_zone = '${zone}'`);
      return { sql: (statement) => client.query(statement), end: async () => client.destroy() };
    },
    async reader(table) {
      const name = `reader_${randomBytes(4).toString('hex')}`;
      await ground.sql(`create user ${name} identified by 'p'`);
      await ground.sql(`grant select on ${ground.database}.${table} to ${name}`);
      grounds.unshift({ [Symbol.asyncDispose]: async () => void (await ground.sql(`drop user ${name}`)) });
      return { uid: name, pwd: 'p' };
    },
  };
}

function kept(source: Source): Source {
  sources.push(source);
  return source;
}

const keyOf = (line: string): string => line.slice(0, line.indexOf('\t'));

async function describeOne(source: Source, schema: string, name: string, options: TableOptions): Promise<Table> {
  const [one] = await source.describe([{ ref: { schema, name }, options }]);
  if (!one || 'error' in one) throw new Error(one ? `${one.error.message} ${one.error.action}` : 'nothing');
  return one.table;
}

async function snapshot(source: Source, table: Table): Promise<Copy> {
  const lines = (await linesOf(source, table)).filter((line) => line !== '');
  return new Map(lines.map((line) => [keyOf(line), line]));
}

/** A copy that follows: takes in what is new, and says which keys were. */
async function follower(source: Source, table: Table, options: TableOptions) {
  const scope = await scopeOf(source, [table]);
  const copy = await snapshot(source, table);
  let from: Position = scope.start.position;
  const request = (more = {}) => scope.request({ from, tables: [{ table, skip: [], options }], ...more });
  return {
    copy,
    request,
    async delta(): Promise<string[]> {
      const events = await drain(source, request());
      for (const event of events) if ('line' in event) copy.set(event.key, event.line);
      from = lastPosition(events);
      return changesOf(events).map((event) => ('key' in event ? event.key : ''));
    },
  };
}

describe.each([
  ['PostgreSQL', postgres],
  ['MariaDB', mariadb],
] as const)('a %s that is followed by cursors', (_name, make) => {
  test('gives every row that was written since, or within the overlap, whatever it holds; deletes leave no trace', async () => {
    const ground = await make();
    const source = await ground.open();
    await ground.sql(ground.table('t'));
    await ground.sql("insert into t (id, v) values (1, 'one'), (2, 'two'), (3, 'three')");
    const options = { cursor: ['at'] };
    const table = await describeOne(source, ground.schema, 't', options);
    expect(table.warnings.join()).toContain('`validate` finds them');
    expect((await source.preflight([table.ref])).filter(({ severity }) => severity === 'error')).toEqual([]);
    const follow = await follower(source, table, options);
    const hostile = "a''\t\n\r\\\\N 😀";
    await ground.sql(`update t set v = '${hostile}', ${ground.write('at')} where id = 2`);
    await ground.sql(`insert into t (id, v) values (4, repeat('x\n', 400000)), (5, null), (6, '')`);
    // As if their transactions had been long in committing: within the overlap, and beyond it.
    await ground.sql(
      `insert into t (id, v, at) values (7, 'late', ${ground.ago(30)}), (8, 'too late', ${ground.ago(90)})`,
    );
    await ground.sql('delete from t where id = 1');
    expect(new Set(await follow.delta())).toEqual(new Set(['2', '3', '4', '5', '6', '7']));
    const there = await snapshot(source, table);
    expect(follow.copy.get('4')?.length).toBeGreaterThan(1_000_000);
    expect([...there.keys()].filter((key) => there.get(key) !== follow.copy.get(key))).toEqual(['8']);
    // What is left is what no cursor sees.
    expect([...follow.copy.keys()].filter((key) => !there.has(key))).toEqual(['1']);
    expect(
      source.reached(
        (await source.begin('p', 'n', [], () => {}, new AbortController().signal)).position,
        follow.request().from,
      ),
    ).toBe(true);
    await using reader = await capture(source, follow.request());
    expect(await rereadLines(reader, 0, ['2', '1', '6'])).toEqual([there.get('2'), there.get('6')]);
  });

  test('sees transactions that commit late, in the order of their commits, while others write', async () => {
    const ground = await make();
    const source = await ground.open();
    await ground.sql(ground.table('late'));
    const options = { cursor: ['at'] };
    const table = await describeOne(source, ground.schema, 'late', options);
    const follow = await follower(source, table, options);
    const writers = await Promise.all(['+00:00', '-11:00', '+00:00'].map(ground.writer));
    // Each writes in transactions of its own that overlap those of the others, and looks fall between write and commit.
    for (let round = 0; round < 3; round++) {
      for (const [i, writer] of writers.entries()) {
        await writer.sql('begin');
        await writer.sql(`insert into late (id, v) values (${round * 10 + i}, 'round ${round}')`);
      }
      await follow.delta();
      await writers[2]?.sql('commit');
      expect(await follow.delta()).toContain(String(round * 10 + 2));
      await writers[0]?.sql(`update late set v = 'again', ${ground.write('at')} where id = ${round * 10}`);
      await follow.delta();
      await writers[1]?.sql('commit');
      await writers[0]?.sql(round === 1 ? 'rollback' : 'commit');
    }
    await follow.delta();
    expect(follow.copy).toEqual(await snapshot(source, table));
    expect(follow.copy.size).toBe(8);
    for (const writer of writers) await writer.end();
  });

  test('takes no more than the right to read the table', async () => {
    const ground = await make();
    await ground.sql(ground.table('readable'));
    const source = await ground.open(await ground.reader('readable'));
    const options = { cursor: ['at'] };
    const table = await describeOne(source, ground.schema, 'readable', options);
    expect(await source.preflight([table.ref])).toEqual([]);
    const follow = await follower(source, table, options);
    await ground.sql("insert into readable (id, v) values (1, 'one')");
    expect(await follow.delta()).toEqual(['1']);
    expect(await source.logState('', follow.request().from)).toEqual({ bytes: null, hoursLeft: null, lost: null });
  });

  test('sees a transaction that took longer than the overlap, where the user may see that it is open', async () => {
    const ground = await make();
    const source = await ground.open({ cursor_overlap: '0' });
    await ground.sql(ground.table('long_one'));
    const options = { cursor: ['at'] };
    const table = await describeOne(source, ground.schema, 'long_one', options);
    const follow = await follower(source, table, options);
    const writer = await ground.writer('+00:00');
    await writer.sql('begin');
    await writer.sql(`insert into long_one (id, v) values (1, 'slow')`);
    // Whole seconds are what a look begins with.
    await new Promise((resolve) => setTimeout(resolve, 2100));
    expect(await follow.delta()).toEqual([]);
    await writer.sql('commit');
    expect(await follow.delta()).toEqual(['1']);
    await ground.sql(`insert into long_one (id, v, at) values (2, 'as if it had not been seen', ${ground.ago(7200)})`);
    expect(await follow.delta()).not.toContain('2');
    await writer.end();
  });

  test('sees times without a zone of writers in any zone; with `cursor_zone` those of that zone', async () => {
    const ground = await make();
    await ground.sql(ground.table('w'));
    const options = { cursor: ['wall'] };
    const writer = await ground.writer('-11:00');
    for (const [zone, expected] of [
      [undefined, true],
      ['Pacific/Pago_Pago', true],
      ['UTC', false],
    ] as const) {
      const source = await ground.open(zone ? { cursor_zone: zone } : {});
      const table = await describeOne(source, ground.schema, 'w', options);
      expect(table.warnings.join().includes('cursor_zone')).toBe(zone === undefined);
      const follow = await follower(source, table, options);
      await writer.sql('delete from w');
      await writer.sql("insert into w (id, v) values (1, 'far west')");
      expect((await follow.delta()).includes('1')).toBe(expected);
    }
    await writer.end();
  });

  test('needs cursors that tell the time: the error names the table and what could be one', async () => {
    const ground = await make();
    const source = await ground.open();
    await ground.sql(ground.table('asked'));
    await ground.sql('create table nothing (id int primary key, d date)');
    await ground.sql('create table keyless (a int)');
    const ask = (name: string, options: TableOptions) => ({ ref: { schema: ground.schema, name }, options });
    const answers = await source.describe([
      ask('asked', {}),
      ask('asked', { cursor: ['id'] }),
      ask('nothing', { cursor: ['d'] }),
      ask('keyless', {}),
      ask('asked', { cursor: ['at', 'wall'] }),
    ]);
    expect(answers.map((one) => ('error' in one ? one.error.message : one.table.cursor))).toEqual([
      expect.stringMatching(/\.asked has no column.*These could be: at, wall\./),
      expect.stringMatching(/The cursor column id of .*\.asked.*These could be: at, wall\./),
      expect.stringMatching(/The cursor column d of .*\.nothing.*No column of it could be one/),
      undefined,
      ['at', 'wall'],
    ]);
    const indexed = answers[4] && 'table' in answers[4] ? answers[4].table.warnings.join() : '';
    expect(indexed).toContain(ground.schema === 'public' ? 'begins with at, nor with wall' : 'begins with wall:');
  });

  test('says when the table is another one, and when the position or the server is', async () => {
    const ground = await make();
    const source = await ground.open();
    await ground.sql(ground.table('s'));
    const options = { cursor: ['at'] };
    const table = await describeOne(source, ground.schema, 's', options);
    const follow = await follower(source, table, options);
    for (const more of [{ from: '0/16B3748' as Position }, { identity: 'mysql:another' }])
      await expect(capture(source, follow.request(more))).rejects.toMatchObject({ name: 'PositionLost' });
    const log = await ground.open({ capture: 'log' });
    await expect(capture(log, follow.request())).rejects.toMatchObject({ name: 'PositionLost' });
    await ground.sql('alter table s add extra int default 7');
    expect(await drain(source, follow.request())).toEqual([
      { kind: 'structure', table: 0, now: null, reason: expect.stringContaining('changed') },
      expect.objectContaining({ kind: 'progress', atEnd: true }),
    ]);
    await ground.sql('drop table s');
    expect(await drain(source, follow.request())).toMatchObject([
      { kind: 'structure', now: null },
      { kind: 'progress' },
    ]);
  });
});

test('partitioned tables of PostgreSQL are followed as one, and domains are their types', async () => {
  const ground = await postgres();
  const source = await ground.open();
  await ground.sql('create domain moment as timestamptz(3)');
  await ground.sql('create table p (id int, at moment default now(), primary key (id)) partition by range (id)');
  await ground.sql('create table p1 partition of p for values from (0) to (10)');
  await ground.sql('create table p2 partition of p for values from (10) to (20)');
  const options = { cursor: ['at'] };
  const table = await describeOne(source, 'public', 'p', options);
  expect(table.warnings.join()).not.toContain('cursor_zone');
  const follow = await follower(source, table, options);
  await ground.sql('insert into p (id) values (1), (11)');
  expect((await follow.delta()).sort()).toEqual(['1', '11']);
});
