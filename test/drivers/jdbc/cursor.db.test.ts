import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { open } from '../../../src/drivers/jdbc/source.ts';
import type { Params, Table, TableOptions } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { playground as mysqlGround } from '../mysql-fixture.ts';
import { capture, changesOf, drain, lastPosition, linesOf, rereadLines, scopeOf } from '../postgres-capture-fixture.ts';
import { playground as postgresGround } from '../postgres-fixture.ts';
import { type Client, drivers, jarsOf, openJdbc, type Place, paramsOf, startClient, startH2 } from './fixture.ts';

type Ground = {
  readonly schema: string;
  /** As the catalog shows it. */
  readonly name: (word: string) => string;
  open(): Promise<Source>;
  sql(...statements: string[]): Promise<unknown>;
  /** An expression of the database's own time now. */
  readonly now: string;
  /** The type of a time; those with a zone first. */
  readonly types: readonly string[];
};

const cursor: Params = { capture: 'cursor', cursor_overlap: '30' };
const closers: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const kept = async (source: Promise<Source>): Promise<Source> => {
  const one = await source;
  closers.push(() => one[Symbol.asyncDispose]());
  return one;
};

async function openClient(place: Place): Promise<Client> {
  const client = await startClient([place.jars]);
  await client.open(place);
  return client;
}

async function runAll(place: Place, statements: readonly string[]): Promise<void> {
  const client = await openClient(place);
  try {
    for (const statement of statements) await client.sql(statement);
  } finally {
    await client.close();
  }
}

async function postgres(): Promise<Ground> {
  const ground = await postgresGround('postgres15');
  closers.push(() => ground[Symbol.asyncDispose]());
  const { host, port, db: _db, ...rest } = ground.params();
  const url = `jdbc:postgresql://${host}:${port}/${ground.database}`;
  const params = { ...rest, drv: 'org.postgresql.Driver', url, jdbc_drivers: jarsOf('postgres'), ...cursor };
  return {
    schema: 'public',
    name: (word) => word,
    open: () => kept(open(params, new AbortController().signal)),
    sql: async (...statements) => {
      for (const one of statements) await ground.sql(one);
    },
    now: 'clock_timestamp()',
    types: ['timestamptz', 'timestamp'],
  };
}

async function mariadb(): Promise<Ground> {
  const ground = await mysqlGround('mariadb');
  closers.push(() => ground[Symbol.asyncDispose]());
  const { host, port, user, password } = inject('mariadb');
  const url = `jdbc:mariadb://${host}:${port}/`;
  const place: Place = { jars: 'mariadb', drv: 'org.mariadb.jdbc.Driver', url, uid: user, pwd: password };
  return {
    schema: ground.database,
    name: (word) => word,
    open: () => kept(openJdbc(place, cursor)),
    sql: async (...statements) => {
      for (const one of statements) await ground.sql(one);
    },
    now: 'current_timestamp(6)',
    types: ['timestamp(6)', 'datetime(6)'],
  };
}

async function h2(): Promise<Ground> {
  const { place, stop } = await startH2();
  closers.push(stop);
  const client = await openClient(place);
  closers.push(client.close);
  return {
    schema: 'PUBLIC',
    name: (word) => word,
    open: () => kept(openJdbc(place, cursor)),
    sql: async (...statements) => {
      for (const one of statements) await client.sql(one);
    },
    now: 'current_timestamp',
    types: ['timestamp with time zone', 'timestamp'],
  };
}

/** A file that one process at a time may open. */
function inFile(jars: Place['jars'], drv: string, url: (folder: string) => string, schema: string, zoned: string[]) {
  return async (): Promise<Ground> => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-cursor-'));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const place: Place = { jars, drv, url: url(folder), uid: 'sa', pwd: '' };
    let source: Source | undefined;
    return {
      schema,
      name: (word) => word.toUpperCase(),
      open: async () => {
        source = await open(paramsOf(place, cursor), new AbortController().signal);
        closers.push(() => source?.[Symbol.asyncDispose]());
        return source;
      },
      async sql(...statements) {
        await runAll(place, statements);
      },
      now: 'current_timestamp',
      types: [...zoned, 'timestamp'],
    };
  };
}

async function sqlite(): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), 'flow-cursor-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'shop.db');
  const db = new DatabaseSync(file);
  db.exec('pragma journal_mode = wal');
  closers.push(() => db.close());
  const place: Place = { jars: 'sqlite', drv: 'org.sqlite.JDBC', url: `jdbc:sqlite:${file}`, uid: '', pwd: '' };
  return {
    schema: 'default',
    name: (word) => word,
    open: () => kept(openJdbc(place, cursor)),
    sql: async (...statements) => {
      for (const one of statements) db.exec(one);
    },
    now: "strftime('%Y-%m-%dT%H:%M:%S', 'now')",
    types: ['timestamp', 'datetime'],
  };
}

async function describeOne(source: Source, ground: Ground, name: string, options: TableOptions): Promise<Table> {
  const [one] = await source.describe([{ ref: { schema: ground.schema, name: ground.name(name) }, options }]);
  if (!one || 'error' in one) throw new Error(one ? `${one.error.message} ${one.error.action}` : 'nothing');
  return one.table;
}

const grounds: [string, () => Promise<Ground>][] = [
  ['PostgreSQL', postgres],
  ['MariaDB', mariadb],
  ['H2', h2],
  ['SQLite', sqlite],
];
const derby = inFile(
  'derby',
  'org.apache.derby.iapi.jdbc.AutoloadedDriver',
  (folder) => `jdbc:derby:${folder}/db;create=true`,
  'SA',
  [],
);
const hsqldb = inFile(
  'hsqldb',
  'org.hsqldb.jdbc.JDBCDriver',
  (folder) => `jdbc:hsqldb:file:${folder}/db;shutdown=true`,
  'PUBLIC',
  ['timestamp with time zone'],
);
// Each statement of the tests' own client is a JVM there.
if (process.env['FLOW_MATRIX']) grounds.push(['Derby', derby], ['HSQLDB', hsqldb]);

describe.skipIf(!drivers).each(grounds)('%s by JDBC, followed by cursors', (product, make) => {
  test('gives what was written since, by times of each kind; reads rows again by their keys', async () => {
    const ground = await make();
    const [first = '', second = first] = ground.types;
    await ground.sql(
      `create table t (id int not null, k varchar(20) not null, v varchar(200), a ${first}, b ${second}, primary key (id, k))`,
      'create index t_a on t (a)',
      `insert into t values (1, 'one', 'x', ${ground.now}, null)`,
      `insert into t values (2, 'two', 'x', null, ${ground.now})`,
    );
    let source = await ground.open();
    const options = { cursor: [ground.name('a'), ground.name('b')] };
    await expect(describeOne(source, ground, 't', {})).rejects.toThrow(/These could be: [aA], [bB]\./);
    await expect(describeOne(source, ground, 't', { cursor: [ground.name('v')] })).rejects.toThrow(/neither a date/);
    let table = await describeOne(source, ground, 't', options);
    expect(table.warnings.join()).toMatch(/Deleted rows.*No index begins with [bB]:/);
    const scope = await scopeOf(source, [table]);
    const copy = new Map((await linesOf(source, table)).map((line) => [line.split('\t', 2).join('\t'), line]));
    expect(copy.size).toBe(2);
    // A file is the tests' own client's to open only while no JVM of the driver's has it.
    const embedded = product === 'Derby' || product === 'HSQLDB';
    if (embedded)
      await new Promise((resolve) => void source[Symbol.asyncDispose]().then(() => setTimeout(resolve, 3000)));
    await ground.sql(
      `insert into t values (3, 'it''s', 'tab\there', ${ground.now}, null)`,
      `insert into t values (4, 'four', null, null, ${ground.now})`,
      `update t set v = 'new', a = ${ground.now} where id = 2`,
      "insert into t values (5, 'old', 'never seen', null, null)",
      'delete from t where id = 1',
    );
    if (embedded) {
      source = await ground.open();
      table = await describeOne(source, ground, 't', options);
    }
    const request = (more = {}) => scope.request({ tables: [{ table, skip: [], options }], ...more });
    const events = await drain(source, request());
    for (const event of events) if ('line' in event) copy.set(event.key, event.line);
    const there = new Map((await linesOf(source, table)).map((line) => [line.split('\t', 2).join('\t'), line]));
    const keys = changesOf(events).map((event) => ('key' in event ? event.key : ''));
    expect(keys).toEqual(expect.arrayContaining(["3\tit's", '4\tfour', '2\ttwo']));
    expect(keys).not.toContain('5\told');
    expect([...there.keys()].filter((key) => key !== '5\told' && copy.get(key) !== there.get(key))).toEqual([]);
    const position = lastPosition(events);
    expect(source.reached(position, scope.start.position)).toBe(true);
    expect(source.reached(scope.start.position, await source.written())).toBe(false);
    // The time is the database's own.
    expect(Math.abs(((await source.clock?.()) ?? 0) - Date.now())).toBeLessThan(600_000);
    await using reader = await capture(source, request({ from: position }));
    const again = await rereadLines(reader, 0, ["3\tit's", '1\tone', '5\told']);
    expect(again).toEqual([there.get("3\tit's"), there.get('5\told')]);
  });
});

test.skipIf(!drivers)('a key whose text the database may not take is found by reading the table', async () => {
  const ground = await postgres();
  await ground.sql(
    "create type colour as enum ('red', 'blue')",
    'create table u (id uuid primary key, c colour, at timestamptz default now())',
    "insert into u select gen_random_uuid(), 'red' from generate_series(1, 500)",
  );
  const source = await ground.open();
  const table = await describeOne(source, ground, 'u', { cursor: ['at'] });
  const lines = await linesOf(source, table);
  const wanted = lines.slice(0, 250);
  const scope = await scopeOf(source, [table]);
  await using reader = await capture(source, scope.request());
  const found = await rereadLines(
    reader,
    0,
    wanted.map((line) => line.split('\t')[0] ?? ''),
  );
  expect(found.sort()).toEqual(wanted.sort());
});

test('the option has words of its own', async () => {
  const place = { drv: 'org.sqlite.JDBC', url: 'jdbc:sqlite::memory:', capture: 'binlog' };
  await expect(open(place, new AbortController().signal)).rejects.toMatchObject({ name: 'Misconfigured' });
});
