import { EventEmitter, once } from 'node:events';
import { Readable } from 'node:stream';
import { type Connection as CallbackConnection, createConnection as createCallbackConnection } from 'mysql2';
import { createConnection } from 'mysql2/promise';
import { describe, expect, inject, test } from 'vitest';
import { startSingleStoreProxy } from './proxy.ts';
import { errorOf, proxyFixture, rows } from './proxy-fixture.ts';

const server = inject('destination');
const { database, direct, login, through, withProxy } = proxyFixture('s2load');

/** Feeds a LOAD DATA as the driver does: no end packet of mysql2's own, chunks only as fast as the socket takes them. */
async function load(
  connection: CallbackConnection,
  sql: string,
  chunks: Iterable<Buffer>,
): Promise<{ affectedRows: number; info: string }> {
  return new Promise((resolve, reject) => {
    connection.query(
      { sql, infileStreamFactory: () => Readable.from(chunks, { objectMode: false }) },
      (error, result) => (error ? reject(error) : resolve(result as never)),
    );
    connection.on('error', reject);
  });
}

function* lines(first: number, count: number, width: number): Generator<Buffer> {
  for (let at = first; at < first + count; at += 2000) {
    let text = '';
    for (let id = at; id < Math.min(at + 2000, first + count); id++) text += `${id}\t${`é${id}`.padEnd(width, 'x')}\n`;
    yield Buffer.from(text);
  }
}

describe('LOAD DATA LOCAL', () => {
  const connected = async (at?: { host: string; port: number }) => {
    const connection = createCallbackConnection({ ...login(at), database });
    await once(connection, 'connect');
    return connection;
  };

  test('50 MB in two parallel loads', async () => {
    const setup = await through();
    await setup.query(
      'CREATE TABLE loads (id BIGINT NOT NULL, v TEXT CHARACTER SET utf8mb4, PRIMARY KEY (id), SHARD KEY (id))',
    );
    const connections = [await connected(), await connected()];
    const results = await Promise.all(
      connections.map((connection, i) =>
        load(
          connection,
          "LOAD DATA LOCAL INFILE 'rows.tsv' REPLACE INTO TABLE loads CHARACTER SET utf8mb4 (id, v)",
          lines(i * 125_000, 125_000, 200),
        ),
      ),
    );
    expect(results.map((result) => result.affectedRows)).toEqual([125_000, 125_000]);
    expect(results[0]?.info).toContain('Records: 125000');
    const [sums] = await rows(direct(), `SELECT count(*) n, sum(id) s, sum(length(v)) l FROM ${database}.loads`);
    expect(sums).toMatchObject({ n: 250_000, s: String((249_999 * 250_000) / 2) });
    expect(Number(sums?.['l'])).toBe(250_000 * 201);
    for (const connection of connections) {
      expect(
        await new Promise((resolve, reject) =>
          connection.query('SELECT 1 a', (error, found) => (error ? reject(error) : resolve(found))),
        ),
      ).toEqual([{ a: 1 }]);
      connection.destroy();
    }
  });

  test('a packet above 16 MB inside a load and the rewritten clauses', async () => {
    const setup = await through();
    await setup.query('CREATE TABLE wide_load (id INT PRIMARY KEY, v LONGTEXT)');
    const connection = await connected();
    const data = [Buffer.from(`1\t${'w'.repeat(35_000_000)}\n2\tnil\n`)];
    await load(
      connection,
      "LOAD DATA LOCAL INFILE 'rows.tsv' SKIP DUPLICATE KEY ERRORS INTO TABLE wide_load NULL DEFINED BY 'nil' (id, v)",
      data,
    );
    expect(await rows(setup, 'SELECT id, length(v) n FROM wide_load ORDER BY id')).toEqual([
      { id: 1, n: 35_000_000 },
      { id: 2, n: null },
    ]);
    connection.destroy();
  });

  test('an error of the load comes after its data and the connection goes on', async () => {
    const setup = await through();
    await setup.query('CREATE TABLE failing (id INT PRIMARY KEY, v INT NOT NULL)');
    const connection = await connected();
    const failed = load(connection, "LOAD DATA LOCAL INFILE 'rows.tsv' REPLACE INTO TABLE failing (id, v)", [
      Buffer.from('1\tnot a number\n'),
    ]);
    const error = await errorOf(failed);
    expect(error).toMatchObject({ errno: 1366 });
    const again = await new Promise((resolve, reject) =>
      connection.query('SELECT 1 a', (problem, found) => (problem ? reject(problem) : resolve(found))),
    );
    expect(again).toEqual([{ a: 1 }]);
    connection.destroy();
  });

  test.each(['client', 'proxy'] as const)(
    'a %s that is killed in the middle of a load leaves no row',
    async (killed) => {
      const table = `cut_by_${killed}`;
      await direct().query(`CREATE TABLE ${database}.${table} (id BIGINT PRIMARY KEY, v TEXT)`);
      await withProxy({}, async (own) => {
        const connection = createCallbackConnection({ ...login(own), database });
        await once(connection, 'connect');
        connection.on('error', () => {});
        const source = new EventEmitter() as EventEmitter & { pause(): void; resume(): void };
        source.pause = () => {};
        source.resume = () => {};
        connection.query(
          {
            sql: `LOAD DATA LOCAL INFILE 'x.tsv' INTO TABLE ${table}`,
            infileStreamFactory: () => source as unknown as Readable,
          },
          () => {},
        );
        while (source.listenerCount('data') === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        for (const chunk of lines(0, 20_000, 100)) source.emit('data', chunk);
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect(
          await rows(direct(), `SELECT 1 FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%${table}%'`),
        ).toHaveLength(1);
        if (killed === 'client') connection.destroy();
        else own.kill();
        for (let i = 0; i < 100; i++) {
          const running = await rows(
            direct(),
            `SELECT 1 FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%${table}%'`,
          );
          if (running.length === 0) break;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        connection.destroy();
      });
      expect(await rows(direct(), `SELECT count(*) n FROM ${database}.${table}`)).toEqual([{ n: 0 }]);
    },
  );

  test('years below 1000 in the data are refused when asked for, and no row stays', async () => {
    await withProxy({ checkLoadDates: true }, async (own) => {
      const setup = await through(own);
      await setup.query('CREATE TABLE dated (id INT PRIMARY KEY, note TEXT, d DATETIME(6))');
      const load3 = async (text: string) => {
        const connection = await connected(own);
        const error = await errorOf(
          load(connection, "LOAD DATA LOCAL INFILE 'x.tsv' REPLACE INTO TABLE dated (id, note, d)", [
            Buffer.from(text.slice(0, 20)),
            Buffer.from(text.slice(20)),
          ]),
        );
        connection.destroy();
        return error;
      };
      expect(await load3('1\t0001-01-01\t2020-01-01 00:00:00\n2\t\\N\t\\N\n')).toBeUndefined();
      expect(await load3('3\tx\t2020-01-01\n4\tx\t0044-03-15 12:00:00\n5\tx\t2020-01-01\n')).toMatchObject({
        errno: 1292,
      });
      expect(await rows(direct(), `SELECT id FROM ${database}.dated ORDER BY id`)).toEqual([{ id: 1 }, { id: 2 }]);
      expect(own.rejections().map(({ rule }) => rule)).toEqual(['year-before-1000']);
    });
  });

  test('a refused LOAD never asks for the file', async () => {
    const connection = await connected();
    let asked = false;
    const failed = new Promise((resolve) =>
      connection.query(
        {
          sql: "LOAD DATA LOCAL INFILE 'x.gz' INTO TABLE loads",
          infileStreamFactory: () => {
            asked = true;
            return Readable.from([]);
          },
        },
        (error) => resolve(error?.errno),
      ),
    );
    expect(await failed).toBe(1105);
    expect(asked).toBe(false);
    connection.destroy();
  });
});

describe('connections', () => {
  test('a killed connection of the backend ends the client', async () => {
    const connection = await through();
    const [row] = await rows(connection, 'SELECT connection_id() id');
    await direct().query(`KILL ${row?.['id']}`);
    expect(await errorOf(connection.query('SELECT 1'))).toBeDefined();
  });

  test('a wrong password is the answer of the backend', async () => {
    const failed = await errorOf(createConnection({ ...login(), password: 'not this one' }));
    expect(failed).toMatchObject({ errno: 1045 });
  });

  test('a backend that is not there ends the client', async () => {
    await withProxy({ backend: { host: '127.0.0.1', port: 1 } }, async (own) => {
      expect(await errorOf(createConnection({ ...login(own) }))).toBeDefined();
    });
  });

  test('close ends clients and frees the port', async () => {
    const own = await startSingleStoreProxy({ backend: server });
    const connection = await through(own);
    await own.close();
    expect(await errorOf(connection.query('SELECT 1'))).toBeDefined();
    const again = await startSingleStoreProxy({ backend: server, listenPort: own.port });
    expect(await rows(await through(again), 'SELECT 1 a')).toEqual([{ a: 1 }]);
    await again.close();
  });

  test('onStatement hears each text before it runs', async () => {
    const heard: string[] = [];
    await withProxy({ onStatement: (sql) => heard.push(sql) }, async (own) => {
      await rows(await through(own), 'SELECT 1 a');
    });
    expect(heard).toContain('SELECT 1 a');
  });
});
