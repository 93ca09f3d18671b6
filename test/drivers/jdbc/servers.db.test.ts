import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jdbcOptions } from '../../../src/drivers/jdbc/options.ts';
import { connect } from '../../../src/drivers/jdbc/session.ts';
import { open } from '../../../src/drivers/jdbc/source.ts';
import type { Params } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { childrenOf } from '../../chaos/process.ts';
import { playground as mysqlPlayground } from '../mysql-fixture.ts';
import { type Playground, playground } from '../postgres-fixture.ts';
import { describeOne, readAll, readRange, testSource } from '../source-suite.ts';
import { drivers, jarsOf } from './fixture.ts';
import { mariadbTypes, postgresTypes } from './type-cases.ts';
import { expectTypes, statements } from './typed.ts';

const never = new AbortController().signal;

// Of the two conformance runs, H2's is part of every run (files.db.test.ts).
if (drivers && process.env['FLOW_MATRIX'])
  testSource(
    'PostgreSQL by JDBC',
    async () => {
      const ground = await playground('postgres15');
      const { host = '', port = '', ...params } = ground.params();
      const url = `jdbc:postgresql://${host}:${port}/${ground.database}`;
      const place = { ...params, drv: 'org.postgresql.Driver', url, jdbc_drivers: jarsOf('postgres') };
      return {
        ...ground,
        open: (more) => open({ ...place, ...more }, new AbortController().signal),
        schema: 'public',
        quote: (word) => `"${word.replaceAll('"', '""')}"`,
        literal: (text) => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`,
        longText: 'text',
        stop: async () => ground[Symbol.asyncDispose](),
      };
    },
    { captures: false, scale: 0.25 },
  );

describe.skipIf(!drivers)('a JDBC source on PostgreSQL', () => {
  let ground: Playground;
  let source: Source;
  const params = (more: Params = {}): Params => {
    const { host, port, db: _db, ...rest } = ground.params();
    const url = `jdbc:postgresql://${host}:${port}/${ground.database}`;
    return { ...rest, drv: 'org.postgresql.Driver', url, jdbc_drivers: jarsOf('postgres'), ...more };
  };
  const refusal = (more: Params): Promise<Error> =>
    open(params(more), never).then(
      () => expect.unreachable(),
      (error: Error) => error,
    );

  beforeAll(async () => {
    ground = await playground('postgres15');
    source = await open(params(), never);
  });
  afterAll(async () => {
    await source?.[Symbol.asyncDispose]();
    await ground?.[Symbol.asyncDispose]();
  });

  test('what is wrong with driver, URL, login, database and host is said, each in its own words', async () => {
    expect(await refusal({ drv: 'org.postgresql.NoDriver' })).toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('holds the class org.postgresql.NoDriver'),
    });
    expect(await refusal({ drv: 'org.postgresql.PGProperty' })).toMatchObject({ name: 'Misconfigured' });
    expect(await refusal({ url: 'jdbc:mysql://127.0.0.1/d' })).toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('does not take this URL'),
    });
    expect(await refusal({ uid: 'nobody_of_this_name' })).toMatchObject({
      name: 'AccessDenied',
      message: expect.stringContaining('refused the login of nobody_of_this_name'),
    });
    expect(await refusal({ url: `${params()['url']}_gone` })).toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('does not exist'),
    });
    expect(await refusal({ url: 'jdbc:postgresql://127.0.0.1:1/d' })).toMatchObject({
      name: 'Error',
      message: expect.stringContaining("Can't reach the database"),
    });
    expect(await refusal({ db: 'another' })).toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining(`leads to the database ${ground.database}`),
    });
    const inUrl = await refusal({ url: `${params()['url']}?user=nobody_of_this_name&password=swordfish` });
    expect(JSON.stringify([inUrl.message, (inUrl as Error & { action: string }).action])).not.toContain('swordfish');
  });

  test('rights that are missing are found by the preflight, and fail that table only', async () => {
    await ground.sql('create table open_one (id int primary key); create table closed_one (id int primary key)');
    await ground.sql(`create role reader_${ground.database} login password 'reads'`);
    try {
      await ground.sql(`grant select on open_one to reader_${ground.database}`);
      await using reader = await open(params({ uid: `reader_${ground.database}`, pwd: 'reads' }), never);
      const tables = ['open_one', 'closed_one', 'none'].map((name) => ({ schema: 'public', name }));
      const findings = await reader.preflight(tables);
      expect(findings.map(({ severity, code, table }) => [severity, code, table?.name])).toEqual([
        ['error', 'grant', 'closed_one'],
        ['error', 'table', 'none'],
      ]);
      expect(findings[0]?.message).toMatch(/Grant reader_/);
    } finally {
      await ground.sql(`drop owned by reader_${ground.database}; drop role reader_${ground.database}`);
    }
  });

  test('a view is found by its name, read whole, and takes a key', async () => {
    await ground.sql('create table seen (id int primary key, v numeric)');
    await ground.sql('insert into seen select n, n / 4.0 from generate_series(1, 5000) n');
    await ground.sql('create view seen_view as select id * 2 as id, v from seen');
    expect((await source.tables('public'))?.map((table) => table.name)).not.toContain('seen_view');
    const view = await describeOne(source, 'public', 'seen_view', { key: ['id'] });
    expect(view).toMatchObject({ kind: 'view', key: ['id'], leftOut: [] });
    expect((await source.split(view, undefined, 100)).ranges).toEqual(['{}']);
    expect(await readAll(source, view, { where: "v = 2.5 and 'a?b' <> '' and '{\"a\":1}'::jsonb ? 'a'" })).toEqual([
      ['20', '2.5000000000000000'],
    ]);
  });

  test('a condition that the database refuses is the table’s error, with its words', async () => {
    await ground.sql('create table conditional (id int primary key)');
    for (const where of ['no_such_column = 1', 'id = ', "id = 'x'"]) {
      const [answer] = await source.describe([{ ref: { schema: 'public', name: 'conditional' }, options: { where } }]);
      expect(answer).toMatchObject({
        error: { class: 'Misconfigured', message: expect.stringContaining('refuses the condition') },
      });
    }
  });

  test('rules are counted with examples; with on_unrepresentable = error they are errors that name the row', async () => {
    await ground.sql('create table odd (id int primary key, n double precision, d date)');
    await ground.sql(
      "insert into odd values (1, 'NaN', '0400-02-29'), (2, 'Infinity', '0044-03-15 BC'), (3, 1, '2024-01-01')",
    );
    const table = await describeOne(source, 'public', 'odd');
    const { rows, read } = await readRange(source, table, '{}');
    expect(rows).toEqual([
      ['1', null, '1400-02-28'],
      ['2', null, '1000-01-01'],
      ['3', '1', '2024-01-01'],
    ]);
    expect(read.rules).toEqual([
      { rule: 'not_a_number', column: 'n', count: 2, examples: ['NaN (id=1)', 'Infinity (id=2)'] },
      { rule: 'date_repair', column: 'd', count: 1, examples: ['0400-02-29 (id=1)'] },
      { rule: 'date_range', column: 'd', count: 1, examples: ['-0043-03-15 (id=2)'] },
    ]);
    await using strict = await open(params({ on_unrepresentable: 'error' }), never);
    await expect(readAll(strict, table)).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringMatching(/NaN in column "n" \(id=1\)/),
    });
    const asText = await describeOne(source, 'public', 'odd', { types: { n: 'VARCHAR(30)', d: 'VARCHAR(30)' } });
    expect(await readAll(source, asText)).toEqual([
      ['1', 'NaN', '0400-02-29'],
      ['2', 'Infinity', '-0043-03-15'],
      ['3', '1', '2024-01-01'],
    ]);
  });

  test('digits that the destination would round away are refused', async () => {
    await ground.sql('create table fine (id int primary key, n numeric)');
    await ground.sql('insert into fine values (7, 0.1234567890123456789012345678901)');
    const rounded = describeOne(source, 'public', 'fine').then((table) => readAll(source, table));
    await expect(rounded).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('(id=7)'),
    });
    const kept = await describeOne(source, 'public', 'fine', { types: { n: 'LONGTEXT' } });
    expect(await readAll(source, kept)).toEqual([['7', '0.1234567890123456789012345678901']]);
  });

  test('a cell of 32 MB arrives; one that the JVM has no room for says which setting to raise', async () => {
    await ground.sql("create view huge as select 1 as id, repeat('é', 16777216) as v");
    const table = await describeOne(source, 'public', 'huge');
    const { rows } = await readRange(source, table, '{}');
    expect(rows[0]?.[1] === 'é'.repeat(16_777_216)).toBe(true);
    await using narrow = await open(params({ jdbc_heap_mb: '64' }), never);
    await expect(readRange(narrow, table, '{}')).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('raise jdbc_heap_mb'),
    });
  });

  test('every type arrives as the manual says', async () => {
    for (const statement of statements('typed', postgresTypes)) await ground.sql(statement);
    await expectTypes(params(), 'public', 'typed', postgresTypes);
  });

  test('what looks like a Java object’s handle is a text where it is one; a number in a text must be whole', async () => {
    await ground.sql('create domain address as text');
    await ground.sql('create table mails (id int primary key, a address, n text)');
    await ground.sql("insert into mails values (1, 'joe@feed', '12'), (2, 'a.b@1f', '1.5')");
    expect(await readAll(source, await describeOne(source, 'public', 'mails'))).toEqual([
      ['1', 'joe@feed', '12'],
      ['2', 'a.b@1f', '1.5'],
    ]);
    const asInt = await describeOne(source, 'public', 'mails', { types: { n: 'INT' } });
    await expect(readAll(source, asInt)).rejects.toThrow('1.5 in column "n" (id=2)');
  });

  test('rows that a policy hides are an error, not a loss', async () => {
    await ground.sql('create table hidden (id int primary key, owner text)');
    await ground.sql("insert into hidden values (1, 'mine'), (2, 'yours')");
    await ground.sql("alter table hidden enable row level security; create policy p on hidden using (owner = 'mine')");
    const role = `policed_${ground.database}`;
    await ground.sql(`create role ${role} login password 'reads'; grant select on hidden to ${role}`);
    try {
      await using reader = await open(params({ uid: role, pwd: 'reads' }), never);
      const table = await describeOne(reader, 'public', 'hidden');
      await expect(readAll(reader, table)).rejects.toMatchObject({
        name: 'AccessDenied',
        message: expect.stringContaining('row-level security'),
      });
    } finally {
      await ground.sql(`drop owned by ${role}; drop role ${role}`);
    }
  });

  test('a schema whose name is no pattern', async () => {
    await ground.sql('create schema "we\\ird_%"; create table "we\\ird_%"."t\\_" (id int primary key)');
    expect((await source.tables('we\\ird_%'))?.map(({ name }) => name)).toEqual(['t\\_']);
    expect((await describeOne(source, 'we\\ird_%', 't\\_')).key).toEqual(['id']);
  });

  test('the password is in no argument and no variable of the JVM', async () => {
    const options = jdbcOptions(params({ pwd: ground.params()['pwd'] || 'unused-secret' }));
    const { jvm } = await connect(options);
    try {
      const shown = childrenOf(process.pid).map((pid) =>
        ['cmdline', 'environ'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'latin1')).join(' '),
      );
      expect(shown.filter((text) => text.includes('FlowJdbc')).length).toBeGreaterThan(0);
      expect(shown.join(' ')).not.toContain(options.password);
      expect(shown.join(' ')).not.toContain(options.url);
    } finally {
      await jvm.stop();
    }
  });

  test('a server that takes the connection and says nothing is given up, and its JVM goes', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    try {
      await new Promise((resolve) => silent.once('listening', resolve));
      const { port } = silent.address() as AddressInfo;
      const url = `jdbc:postgresql://127.0.0.1:${port}/d`;
      const before = childrenOf(process.pid).length;
      await expect(connect(jdbcOptions(params({ url })), never, 1_000)).rejects.toThrow(
        'did not answer the login by JDBC within 1 s',
      );
      expect(childrenOf(process.pid).length).toBeLessThanOrEqual(before);
    } finally {
      silent.close();
    }
  });

  test('sparse keys are cut at keys that exist; a key that is no bound ends the part that is used', async () => {
    await ground.sql('create table sparse (a int, b text, c timestamp, primary key (a, b, c))');
    await ground.sql(
      "insert into sparse select n % 3, 'k' || n, timestamp '2024-01-01' + n * interval '1 s' from generate_series(1, 3000) n",
    );
    const table = await describeOne(source, 'public', 'sparse');
    const { ranges } = await source.split(table, undefined, 20_000);
    expect(ranges.length).toBeGreaterThan(3);
    for (const range of ranges.slice(1)) expect(JSON.parse(range).from).toHaveLength(2);
    expect(await readAll(source, table, { chunkBytes: 20_000 })).toHaveLength(3000);
  });

  test('a statement that gives no row yet is cancelled at the database by an abort', async () => {
    await ground.sql('create view slow as select 1 as id from pg_sleep(600)');
    const table = await describeOne(source, 'public', 'slow');
    const stopping = new AbortController();
    const reading = source.read(table, undefined, '{}', stopping.signal).next();
    await expect.poll(asleep, { timeout: 20_000 }).toBe(1);
    stopping.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await expect.poll(asleep, { timeout: 10_000 }).toBe(0);
  });

  test('a worker that is killed leaves no JVM and no statement behind', async () => {
    await ground.sql('create or replace view slow as select 1 as id from pg_sleep(600)');
    const module = new URL('../../../src/drivers/jdbc/source.ts', import.meta.url).href;
    const program = `const { open } = await import(${JSON.stringify(module)});
      const signal = new AbortController().signal;
      const source = await open(${JSON.stringify(params())}, signal);
      const [{ table }] = await source.describe([{ ref: { schema: 'public', name: 'slow' }, options: {} }]);
      await source.read(table, undefined, '{}', signal).next();`;
    const worker = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    try {
      await expect.poll(asleep, { timeout: 40_000 }).toBe(1);
    } finally {
      worker.kill('SIGKILL');
    }
    await expect.poll(asleep, { timeout: 10_000 }).toBe(0);
  });

  async function asleep(): Promise<number> {
    const [row] = await ground.sql(
      "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and query like '%\"slow\"%' and application_name = 'flow-ingest'",
    );
    return Number(row?.[0]);
  }
});

describe.skipIf(!drivers)('JDBC sources on MariaDB', () => {
  test.each([
    ['its own driver', 'org.mariadb.jdbc.Driver', 'mariadb', 'mariadb'],
    ['MySQL’s driver', 'com.mysql.cj.jdbc.Driver', 'mysql', 'mysql'],
  ] as const)('every type arrives as the manual says, by %s', async (_name, drv, jars, scheme) => {
    await using ground = await mysqlPlayground('mariadb');
    await ground.sql("set sql_mode = 'ALLOW_INVALID_DATES'");
    // MySQL's driver does not know this type of MariaDB, and takes it for a text of any length.
    const cases = mariadbTypes.filter(([declared]) => jars === 'mariadb' || declared !== 'uuid');
    for (const statement of statements('typed', cases)) await ground.sql(statement);
    await ground.sql('create table moments (id int primary key, at timestamp(6) null)');
    await ground.sql("set time_zone = '+00:00'");
    await ground.sql("insert into moments values (1, '2024-03-10 02:30:00.000001'), (2, null)");
    const { host, port, db: _db, ...rest } = ground.params();
    const params = { ...rest, drv, url: `jdbc:${scheme}://${host}:${port}/`, jdbc_drivers: jarsOf(jars) };
    await expectTypes(params, ground.database, 'typed', cases);
    // What the URL sets for the session does not cut a reading, or move its times.
    const jdbc_options = "?sessionVariables=sql_select_limit=1,time_zone='-05:00',sql_mode=PAD_CHAR_TO_FULL_LENGTH";
    await using source = await open({ ...params, jdbc_options }, never);
    expect(await readAll(source, await describeOne(source, ground.database, 'moments'))).toEqual([
      ['1', '2024-03-10 02:30:00.000001'],
      ['2', null],
    ]);
    await expect(open({ ...params, db: 'no_such_database' }, never)).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('no_such_database'),
    });
  });
});
