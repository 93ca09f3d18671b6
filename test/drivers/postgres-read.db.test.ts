import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Source } from '../../src/drivers/source.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne, readAll } from './source-suite.ts';

const run = promisify(execFile);
const MEGABYTE = 1024 * 1024;

/** Reads a table in a process of its own; prints rows, bytes and the peak memory in bytes. */
const READER = `
  const [url, params, name] = process.argv.slice(1);
  const { open } = await import(url);
  const signal = new AbortController().signal;
  const source = await open(JSON.parse(params), signal);
  const [{ table, error }] = await source.describe([{ ref: { schema: 'public', name }, options: {} }]);
  if (error) throw new Error(error.message);
  let rows = 0;
  let bytes = 0;
  for (const range of (await source.split(table, undefined, 1e12)).ranges)
    for await (const batch of source.read(table, undefined, range, signal)) {
      rows += batch.rows;
      bytes += batch.data.length;
    }
  await source[Symbol.asyncDispose]();
  console.log(JSON.stringify({ rows, bytes, peak: process.resourceUsage().maxRSS * 1024 }));
`;

describe.each(postgresServers())('reading from %s', (server) => {
  let ground: Playground;
  let source: Source;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  async function readApart(name: string): Promise<{ rows: number; bytes: number; peak: number }> {
    const url = new URL('../../src/drivers/postgres/source.ts', import.meta.url).href;
    const { stdout } = await run(process.execPath, [
      '--input-type=module',
      '-e',
      READER,
      url,
      JSON.stringify(ground.params()),
      name,
    ]);
    return JSON.parse(stdout) as { rows: number; bytes: number; peak: number };
  }

  test('a cell of 64 MB costs at most four times its size', async () => {
    await ground.sql('create table small (id int primary key, body text); insert into small values (1, $$x$$)');
    await ground.sql('create table large (id int primary key, body text, price numeric, at timestamptz)');
    await ground.sql(
      "insert into large select 1, repeat(E'0123456789\\t\\\\abcd', 4 * 1024 * 1024), 'NaN', 'infinity'",
    );
    await ground.sql('create table binary_large (id int primary key, body bytea)');
    await ground.sql("insert into binary_large select 1, decode(repeat('00ff5c0a', 16 * 1024 * 1024), 'hex')");
    const { peak: idle } = await readApart('small');
    const text = await readApart('large');
    expect(text).toMatchObject({
      rows: 1,
      bytes: 64 * MEGABYTE + 2 * 4 * MEGABYTE + 2 + '\\N'.length + '9999-12-31 23:59:59.999999'.length + 3,
    });
    expect(text.peak - idle).toBeLessThan(4 * 64 * MEGABYTE);
    const bytes = await readApart('binary_large');
    expect(bytes).toMatchObject({ rows: 1, bytes: 128 * MEGABYTE + 3 });
    expect(bytes.peak - idle).toBeLessThan(4 * 64 * MEGABYTE);
  });

  test('memory does not grow with the table', async () => {
    await ground.sql('create table tiny (id int primary key, body text); insert into tiny values (1, $$x$$)');
    await ground.sql(
      'create table many_rows as select i as id, repeat(md5(i::text), 12) as body from generate_series(1, 300000) i',
    );
    const { peak: idle } = await readApart('tiny');
    const many = await readApart('many_rows');
    expect(many.rows).toBe(300_000);
    expect(many.bytes).toBeGreaterThan(110 * MEGABYTE);
    expect(many.peak - idle).toBeLessThan(100 * MEGABYTE);
  });

  test('a connection is reused after a range was read to its end', async () => {
    await ground.sql('create table again (id int primary key); insert into again select generate_series(1, 10)');
    const table = await describeOne(source, 'public', 'again');
    for (let time = 0; time < 20; time++) expect(await readAll(source, table)).toHaveLength(10);
    expect(await ground.sessions()).toBeLessThan(4);
  });

  test('an error of the server in the middle of the rows is thrown, and the source goes on', async () => {
    await ground.sql(
      'create table failing (id int primary key, v text); insert into failing select i, repeat(md5(i::text), 9) from generate_series(1, 20000) i',
    );
    const where = '1 / (15000 - id) is not null';
    const table = await describeOne(source, 'public', 'failing', { where });
    const [range] = (await source.split(table, where, 1e12)).ranges as [string];
    let rows = 0;
    await expect(
      (async () => {
        for await (const batch of source.read(table, where, range, new AbortController().signal)) rows += batch.rows;
      })(),
    ).rejects.toThrow(/failing.*division by zero/);
    expect(rows).toBeLessThan(15_000);
    expect(await readAll(source, table, { where: 'id < 10' })).toHaveLength(9);
  });

  test('an abort ends a query that has not sent a row yet', async () => {
    await ground.sql('create table sleepy (id int primary key); insert into sleepy values (1)');
    const where = 'pg_sleep(60) is not null';
    const table = await describeOne(source, 'public', 'sleepy');
    const [range] = (await source.split(table, where, 1e12)).ranges as [string];
    const stop = new AbortController();
    const reading = source.read(table, where, range, stop.signal).next();
    const sleeping = async () =>
      (
        await ground.sql(
          "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and query like 'copy%' and state = 'active'",
        )
      ).flat()[0];
    await expect.poll(sleeping, { timeout: 10_000 }).toBe('1');
    stop.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await expect.poll(sleeping, { timeout: 5000 }).toBe('0');
  });

  test('a backend that is killed in the middle is an error, not an end of the rows', async () => {
    await ground.sql(
      'create table killed (id int primary key, v text); insert into killed select i, repeat(md5(i::text), 30) from generate_series(1, 60000) i',
    );
    const table = await describeOne(source, 'public', 'killed');
    const [range] = (await source.split(table, undefined, 1e12)).ranges as [string];
    const batches = source.read(table, undefined, range, new AbortController().signal);
    expect((await batches.next()).done).toBe(false);
    await ground.sql(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy%killed%' and application_name = 'flow-ingest'",
    );
    await expect(
      (async () => {
        for await (const _ of batches);
      })(),
    ).rejects.toThrow();
    expect(await readAll(source, table, { where: 'id = 1' })).toHaveLength(1);
  });

  test('closing a source in use ends its sessions', async () => {
    const other = await ground.open();
    await ground.sql(
      'create table closing (id int primary key, v text); insert into closing select i, repeat(md5(i::text), 30) from generate_series(1, 60000) i',
    );
    const table = await describeOne(other, 'public', 'closing');
    const [range] = (await other.split(table, undefined, 1e12)).ranges as [string];
    const batches = other.read(table, undefined, range, new AbortController().signal);
    await batches.next();
    const before = await ground.sessions();
    await other[Symbol.asyncDispose]();
    await expect.poll(() => ground.sessions()).toBeLessThan(before);
    await expect(
      (async () => {
        for await (const _ of batches);
      })(),
    ).rejects.toThrow();
  });
});
