import { once } from 'node:events';
import { connect as connectSocket, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { mssqlOptions } from '../../src/drivers/mssql/options.ts';
import { openSession, type Session } from '../../src/drivers/mssql/session.ts';
import { startTds } from '../fakes/mssql/server.ts';
import { wireType } from '../fakes/mssql/wire-types.ts';
import { type MssqlGround, mssqlGround } from './mssql-fixture.ts';
import { describeOne, readAll } from './source-suite.ts';

let ground: MssqlGround;
afterEach(async () => {
  await ground?.[Symbol.asyncDispose]();
});

const session = async (): Promise<Session> =>
  (await openSession(mssqlOptions(ground.params()), false, 'SELECT 1 AS one')).session;

/** A way to the server whose connections are cut after so many bytes of answers; undefined: never. */
async function proxy(port: number, cutAfter: (connection: number) => number | undefined) {
  let count = 0;
  const server = createServer((near) => {
    let left = cutAfter(count++);
    const far = connectSocket(port, '127.0.0.1');
    for (const one of [near, far]) one.on('error', () => {});
    near.on('data', (data) => far.write(data));
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    far.on('data', (data) => {
      if (left === undefined) return void near.write(data);
      near.write(data.subarray(0, left));
      left -= data.length;
      if (left <= 0) {
        near.destroy();
        far.destroy();
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    port: String(typeof address === 'object' && address ? address.port : 0),
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

describe('a session', () => {
  it('keeps what it has set from one statement to the next, on one login', async () => {
    ground = await mssqlGround();
    ground.run('create table t (id int primary key)');
    const one = await session();
    expect(ground.fake.tds.sessions()).toBe(1);
    await one.query('BEGIN TRANSACTION');
    expect(await one.query('SELECT id FROM dbo.t')).toEqual([]);
    ground.run('insert into t values (1)');
    expect(await one.query('SELECT id FROM dbo.t WHERE id = @id', { id: 1n })).toEqual([]);
    await one.query('COMMIT TRANSACTION');
    expect(await one.query('SELECT id FROM dbo.t')).toEqual([[1]]);
    one.destroy();
  });

  it('that was cut is never replaced by another one without its transaction', async () => {
    ground = await mssqlGround();
    ground.run('create table t (id int primary key)');
    for (const wait of [0, 1, 20]) {
      const one = await session();
      await one.query('BEGIN TRANSACTION');
      const { statements } = ground.fake.engine;
      const before = statements.length;
      ground.fake.tds.cut();
      await new Promise((resolve) => setTimeout(resolve, wait));
      for (let i = 0; i < 3; i++) await expect(one.query('SELECT id FROM dbo.t')).rejects.toThrow();
      expect(one.broken()).toBe(true);
      expect([statements.length, ground.fake.tds.sessions()]).toEqual([before, 0]);
      one.destroy();
    }
  });

  it('gives rows as they came: names twice, of prototypes, of FOR JSON; text that looks like any of these', async () => {
    ground = await mssqlGround();
    const lone = 'JSON_F52E2B61-18A1-11d1-B105-00805F49916B';
    ground.run(`create table one ([${lone}] int)`);
    ground.run('insert into one values (1), (2), (null)');
    ground.run('create table odd (__proto__ int primary key, [constructor] nvarchar(20), ___return___ int)');
    ground.run("insert into odd values (1, N'{}', 7)");
    await using source = await ground.open();
    expect((await readAll(source, await describeOne(source, 'dbo', 'one'))).map(([cell]) => cell).sort()).toEqual([
      '1',
      '2',
      null,
    ]);
    expect(await readAll(source, await describeOne(source, 'dbo', 'odd'))).toEqual([['1', '{}', '7']]);
    const one = await session();
    expect(await one.query('SELECT [__proto__], [__proto__], ___return___ FROM dbo.odd')).toEqual([[1, 1, 7]]);
    one.destroy();
  });

  it('fails when the server tells of more rows than it sent', async () => {
    ground = await mssqlGround();
    const columns = [{ name: 'n', type: wireType('int') }];
    const tds = await startTds({
      logIn: () => ({
        execute: ({ sql }) =>
          sql === 'few' || sql === 'all' ? { columns, rows: [[1], [2]], told: sql === 'few' ? 3 : 2 } : { count: 0 },
        close() {},
      }),
    });
    const options = mssqlOptions({ ...ground.params(), port: String(tds.port) });
    const { session: one, rows } = await openSession(options, false, 'all');
    expect(rows).toEqual([[1], [2]]);
    await expect(one.query('few')).rejects.toThrow('The server sent 3 rows, of which 2 arrived.');
    one.destroy();
    await tds.close();
  });

  it('tells the error of a statement by its number, in the middle of its rows as well, and goes on', async () => {
    ground = await mssqlGround();
    ground.run('create table t (id int primary key)');
    const one = await session();
    await expect(one.query('SELECT id FROM dbo.gone')).rejects.toMatchObject({ name: 'StructureChanged', number: 208 });
    await expect(one.query('SELECT nowhere FROM dbo.t WHERE id = @id', { id: 1n })).rejects.toMatchObject({
      name: 'StructureChanged',
      number: 207,
    });
    expect(await one.query('SELECT id FROM dbo.t')).toEqual([]);
    one.destroy();
  });

  it('ends with its signal, whatever it is doing, and leaves nothing at the server', async () => {
    ground = await mssqlGround();
    for (let ticks = 0; ticks < 12; ticks++) {
      const stop = new AbortController();
      const reason = new Error('stopped');
      const opening = openSession(mssqlOptions(ground.params()), false, 'SELECT 1 AS one', stop.signal);
      for (let i = 0; i < ticks; i++) await new Promise((resolve) => setImmediate(resolve));
      stop.abort(reason);
      await opening.then(
        ({ session: one }) => one.destroy(),
        (error: unknown) => expect(error).toBe(reason),
      );
    }
    while (ground.fake.tds.sessions() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});

describe('a connection that is cut', () => {
  it('at any byte of any answer is an error that passes, or nothing at all', async () => {
    ground = await mssqlGround();
    ground.run('create table t (id int primary key, b nvarchar(100))');
    ground.run(
      `insert into t values ${Array.from({ length: 60 }, (_, i) => `(${i}, N'${'text '.repeat(i % 9)}')`).join(', ')}`,
    );
    const outcomes = new Set<string>();
    // The first login is a trial, the second one the session's: both are cut, at bytes that lie closer at their beginnings.
    for (const connection of [0, 1])
      for (let bytes = 0; bytes < 9_000; bytes += connection === 0 ? 97 : 11 + (bytes >> 2)) {
        if (connection === 0 && bytes > 600) break;
        await using way = await proxy(ground.fake.tds.port, (n) => (n === connection ? bytes : undefined));
        const read = async (): Promise<number> => {
          await using source = await ground.open({ port: way.port, ssl_mode: 'disable' });
          const table = await describeOne(source, 'dbo', 't');
          return (await readAll(source, table)).length;
        };
        const outcome = await read().catch((error: Error) => error);
        // A session that is cut between two statements is replaced by a new one by our own pool.
        if (typeof outcome === 'number') expect(outcome).toBe(60);
        else expect(outcome).toMatchObject({ name: 'Error' });
        outcomes.add(typeof outcome);
      }
    expect([...outcomes].sort()).toEqual(['number', 'object']);
  });

  it('in the middle of rows that are held back ends the read with an error', async () => {
    ground = await mssqlGround();
    ground.run('create table wide (id int primary key, b nvarchar(max))');
    ground.run(
      Array.from({ length: 40 }, (_, i) => `insert into wide values (${i}, N'${'0123456789'.repeat(10_000)}')`),
    );
    await using source = await ground.open();
    const reading = source.read(
      await describeOne(source, 'dbo', 'wide'),
      undefined,
      '{}',
      new AbortController().signal,
    );
    await reading.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    ground.fake.tds.cut();
    const rest = (async () => {
      while (!(await reading.next()).done);
    })();
    await expect(rest).rejects.toMatchObject({ name: 'Error' });
  });
});
