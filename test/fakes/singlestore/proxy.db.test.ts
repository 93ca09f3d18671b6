import { EventEmitter, once } from 'node:events';
import { Readable } from 'node:stream';
import { type Connection as CallbackConnection, createConnection as createCallbackConnection } from 'mysql2';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { DOCUMENTED } from './documented-statements.ts';
import { type SingleStoreProxy, type SingleStoreProxyOptions, startSingleStoreProxy } from './proxy.ts';

const server = inject('destination');
const database = `s2mode_${process.pid}`;
let proxy: SingleStoreProxy;
let direct: Connection;
let open: Connection[] = [];

beforeAll(async () => {
  direct = await createConnection({ ...login(server), multipleStatements: true });
  await direct.query(`DROP DATABASE IF EXISTS ${database}; CREATE DATABASE ${database}; USE ${database}`);
  proxy = await startSingleStoreProxy({ backend: server });
});

afterAll(async () => {
  for (const connection of open) connection.destroy();
  await proxy.close();
  await direct.query(`DROP DATABASE IF EXISTS ${database}; DROP DATABASE IF EXISTS ${database}_b`);
  await direct.end();
});

function login(at: { host: string; port: number }) {
  return { host: at.host, port: at.port, user: server.user, password: server.password };
}

async function through(at: { host: string; port: number } = proxy, options: object = {}): Promise<Connection> {
  const connection = await createConnection({ ...login(at), database, dateStrings: true, ...options });
  connection.on('error', () => {});
  open = [...open, connection];
  return connection;
}

async function rows(connection: Connection, sql: string): Promise<RowDataPacket[]> {
  const [found] = await connection.query<RowDataPacket[]>(sql);
  return found;
}

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: { errno?: number; sqlState?: string; message: string }) => error,
  );

async function withProxy<T>(
  options: Partial<SingleStoreProxyOptions>,
  run: (proxy: SingleStoreProxy) => Promise<T>,
): Promise<T> {
  const own = await startSingleStoreProxy({ backend: server, ...options });
  try {
    return await run(own);
  } finally {
    await own.close();
  }
}

describe('queries', () => {
  test('MariaDB has no memsql_version, the proxy has', async () => {
    expect(await errorOf(direct.query('select @@memsql_version'))).toMatchObject({ errno: 1193 });
    const connection = await through();
    expect(await rows(connection, 'select @@memsql_version')).toEqual([{ '@@memsql_version': '9.0.23' }]);
    expect(await rows(connection, "show variables like 'data_conversion_compatibility_level'")).toEqual([
      { Variable_name: 'data_conversion_compatibility_level', Value: '8.0' },
    ]);
    const set = await withProxy({ variables: { data_conversion_compatibility_level: '6.0' } }, async (own) =>
      rows(await through(own), 'select @@data_conversion_compatibility_level l'),
    );
    expect(set).toEqual([{ l: '6.0' }]);
  });

  test('SingleStore DDL makes a table, names stay as written', async () => {
    const connection = await through();
    await connection.query(
      'CREATE TABLE `odd ``name``` (`k` VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, `ü` LONGTEXT, `d` DATETIME(6), PRIMARY KEY (`k`), SHARD KEY (`k`), SORT KEY (`k`))',
    );
    await connection.query('ALTER TABLE `odd ``name``` CHANGE `ü` `ö`');
    const columns = await rows(
      direct,
      `SELECT column_name c FROM information_schema.columns WHERE table_schema='${database}' AND table_name='odd \`name\`' ORDER BY ordinal_position`,
    );
    expect(columns.map((row) => row['c'])).toEqual(['k', 'ö', 'd']);
    await connection.query(
      'CREATE TABLE made (id BIGINT PRIMARY KEY, a INT, b AS a * 2 PERSISTED BIGINT, SHARD KEY (id))',
    );
    await connection.query('INSERT INTO made (id, a) VALUES (1, 4)');
    expect(await rows(connection, 'SELECT b, a :> CHAR(3) t FROM made OPTION (interpreter_mode=compile)')).toEqual([
      { b: 8, t: '4' },
    ]);
  });

  test('text of all planes and bytes that are no text arrive as they are', async () => {
    const connection = await through();
    await connection.query('CREATE TABLE texts (id INT PRIMARY KEY, t LONGTEXT CHARACTER SET utf8mb4, b LONGBLOB)');
    const text = 'ä€𝛼🦀\u0000\n\t\\\'"`;--/*';
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await connection.query('INSERT INTO texts VALUES (1, ?, ?)', [text, bytes]);
    await connection.query("INSERT INTO texts VALUES (2, @@memsql_version, '🦀 @@memsql_version')");
    const [first, second] = await rows(connection, 'SELECT * FROM texts ORDER BY id');
    expect(first?.['t']).toBe(text);
    expect(bytes.equals(first?.['b'])).toBe(true);
    expect(second?.['t']).toBe('9.0.23');
    expect(second?.['b'].toString()).toBe('🦀 @@memsql_version');
  });

  test('a statement that is not UTF-8 keeps its bytes', async () => {
    const connection = await through(proxy, { charset: 'LATIN1_SWEDISH_CI' });
    expect(await rows(connection, "SELECT hex('é') h, @@memsql_version v")).toEqual([{ h: 'E9', v: '9.0.23' }]);
  });

  test('MariaDB takes what the documentation shows, after rewriting', async () => {
    const connection = await through();
    for (const { sql } of DOCUMENTED) {
      // A KILL would hit whoever has the number; MariaDB has no other format than text and no server-wide settings of SingleStore.
      if (/^KILL|FORMAT JSON/.test(sql)) continue;
      const error = await errorOf(
        connection.query({ sql: sql.replaceAll('?', '1'), infileStreamFactory: () => Readable.from([]) }),
      );
      expect([1064, 4161, 1193], `${sql}: ${error?.message}`).not.toContain(error?.errno);
      await connection.query('ROLLBACK');
      await connection.query('SET autocommit = 1');
    }
  });

  test('big results stream with back-pressure, in order', async () => {
    const connection = createCallbackConnection({ ...login(proxy), database });
    const stream = connection
      .query("SELECT seq, repeat('x', 100) t FROM seq_1_to_300000")
      .stream({ highWaterMark: 10 });
    let expected = 0;
    for await (const row of stream as Readable) {
      if (row.seq !== ++expected || row.t.length !== 100) throw new Error(`row ${expected} is ${JSON.stringify(row)}`);
      if (expected % 100_000 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(expected).toBe(300_000);
    connection.destroy();
  });

  test('rows above 16 MB and many result sets', async () => {
    const connection = await through(proxy, { multipleStatements: true });
    const [row] = await rows(connection, "SELECT repeat('y', 40000000) t");
    expect(row?.['t'].length).toBe(40_000_000);
    const [results] = await connection.query<RowDataPacket[][]>(
      'SELECT 1 a; SELECT 2 b UNION SELECT 3; SELECT @@memsql_version v',
    );
    expect(results).toEqual([[{ a: 1 }], [{ b: 2 }, { b: 3 }], [{ v: '9.0.23' }]]);
    expect(await rows(connection, 'SELECT 5 c')).toEqual([{ c: 5 }]);
  });

  // mysql2 3.24.5 itself sends a stray empty packet after one of 16,777,212 to 16,777,214 bytes.
  test.each([16_777_211, 16_777_215, 20_000_000, 33_554_430])(
    'a packet of %i bytes, rewritten across the frame limit',
    async (length) => {
      const connection = await through();
      const shell = "SELECT @@memsql_version v, @@version_comment c, length('') n";
      const filler = 'z'.repeat(length - shell.length - 1);
      const sql = shell.replace("''", `'${filler}'`);
      expect(await rows(connection, sql)).toMatchObject([{ v: '9.0.23', n: filler.length }]);
      expect(await rows(connection, 'SELECT 1 a')).toEqual([{ a: 1 }]);
    },
  );

  test('a statement of 20 MB that writes', async () => {
    const connection = await through();
    await connection.query('CREATE TABLE large (id INT PRIMARY KEY, v LONGTEXT)');
    await connection.query('INSERT INTO large VALUES (1, ?), (2, ?)', ['a'.repeat(10_000_000), 'é'.repeat(5_000_000)]);
    expect(await rows(direct, `SELECT id, length(v) n FROM ${database}.large ORDER BY id`)).toEqual([
      { id: 1, n: 10_000_000 },
      { id: 2, n: 10_000_000 },
    ]);
  });
});

describe('refusals', () => {
  test('a refused statement has no effect and the connection goes on', async () => {
    const connection = await through();
    await connection.query('CREATE TABLE refusals (id BIGINT PRIMARY KEY, v INT)');
    expect(await errorOf(connection.query('RENAME TABLE refusals TO other'))).toMatchObject({
      errno: 1064,
      sqlState: '42000',
    });
    expect(await errorOf(connection.query('UPDATE refusals SET id = 2'))).toMatchObject({ errno: 1749 });
    expect(await rows(connection, 'SELECT 1 a')).toEqual([{ a: 1 }]);
    expect(proxy.rejections()).toContainEqual({ sql: 'RENAME TABLE refusals TO other', rule: 'rename-table' });
    expect(proxy.statements()).toContain('RENAME TABLE refusals TO other');
  });

  test('errors of the backend pass through', async () => {
    const connection = await through();
    expect(await errorOf(connection.query('SELECT * FROM nowhere'))).toMatchObject({ errno: 1146 });
    expect(await errorOf(connection.query('SELEC 1'))).toMatchObject({ errno: 1064 });
    expect(await rows(connection, 'SELECT 1 a')).toEqual([{ a: 1 }]);
  });

  test('server-side prepared statements are refused', async () => {
    const connection = await through();
    expect(await errorOf(connection.execute('SELECT ?', [1]))).toMatchObject({ errno: 1295 });
    expect(await rows(connection, 'SELECT 1 a')).toEqual([{ a: 1 }]);
  });

  test('tables that were made elsewhere are looked up', async () => {
    await direct.query(`CREATE TABLE ${database}.elsewhere (a INT, b INT, d DATE, t TEXT, PRIMARY KEY (a, b))`);
    const connection = await through();
    expect(await errorOf(connection.query('UPDATE elsewhere SET b = 1'))).toMatchObject({ errno: 1749 });
    expect(await errorOf(connection.query("INSERT INTO elsewhere VALUES (1, 1, '0001-01-01', '')"))).toMatchObject({
      errno: 1292,
    });
    expect(await errorOf(connection.query('ALTER TABLE elsewhere MODIFY t LONGTEXT'))).toMatchObject({ errno: 1706 });
    await connection.query("INSERT INTO elsewhere VALUES (1, 1, NULL, '0001-01-01')");
    await connection.query("ALTER TABLE elsewhere MODIFY t TEXT COMMENT 'x'");
  });

  test('COM_INIT_DB, COM_CHANGE_USER and the handshake say which database is written', async () => {
    await direct.query(
      `CREATE DATABASE ${database}_b; CREATE TABLE ${database}_b.w (id INT PRIMARY KEY); CREATE TABLE ${database}.w (id INT PRIMARY KEY)`,
    );
    const connection = await through();
    await connection.query('BEGIN');
    await connection.query('INSERT INTO w VALUES (1)');
    expect(await errorOf(connection.query(`INSERT INTO ${database}_b.w VALUES (1)`))).toMatchObject({ errno: 1749 });
    await connection.query('COMMIT');
    await connection.changeUser({ database: `${database}_b` });
    await connection.query('BEGIN');
    await connection.query('INSERT INTO w VALUES (1)');
    await connection.query(`INSERT INTO ${database}_b.w VALUES (2)`);
    expect(await errorOf(connection.query(`INSERT INTO ${database}.w VALUES (2)`))).toMatchObject({ errno: 1749 });
    await connection.query('ROLLBACK');
  });

  test('a transaction that the server ended by an error is over', async () => {
    await direct.query(
      `CREATE TABLE ${database}.locked (id INT PRIMARY KEY, v INT); INSERT INTO ${database}.locked VALUES (1, 0), (2, 0)`,
    );
    const [a, b] = [await through(), await through()];
    await a.query('BEGIN');
    await b.query('BEGIN');
    await a.query('UPDATE locked SET v = 1 WHERE id = 1');
    await b.query('UPDATE locked SET v = 2 WHERE id = 2');
    const waiting = errorOf(a.query('UPDATE locked SET v = 1 WHERE id = 2'));
    const other = await errorOf(b.query('UPDATE locked SET v = 2 WHERE id = 1'));
    const first = await waiting;
    const victim = other ? b : a;
    expect(other ?? first).toMatchObject({ errno: 1213 });
    // The deadlock rolled everything back, which the next status shows: DDL is no longer inside a transaction.
    await victim.query('SELECT 1');
    await victim.query('ROLLBACK');
    await victim.query('CREATE TABLE after_deadlock (id INT PRIMARY KEY)');
    await (other ? a : b).query('ROLLBACK');
  });
});

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
  const connected = async (at: { host: string; port: number } = proxy) => {
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
    const [sums] = await rows(direct, `SELECT count(*) n, sum(id) s, sum(length(v)) l FROM ${database}.loads`);
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
      await direct.query(`CREATE TABLE ${database}.${table} (id BIGINT PRIMARY KEY, v TEXT)`);
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
          await rows(direct, `SELECT 1 FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%${table}%'`),
        ).toHaveLength(1);
        if (killed === 'client') connection.destroy();
        else own.kill();
        for (let i = 0; i < 100; i++) {
          const running = await rows(
            direct,
            `SELECT 1 FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%${table}%'`,
          );
          if (running.length === 0) break;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        connection.destroy();
      });
      expect(await rows(direct, `SELECT count(*) n FROM ${database}.${table}`)).toEqual([{ n: 0 }]);
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
      expect(await rows(direct, `SELECT id FROM ${database}.dated ORDER BY id`)).toEqual([{ id: 1 }, { id: 2 }]);
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
    await direct.query(`KILL ${row?.['id']}`);
    expect(await errorOf(connection.query('SELECT 1'))).toBeDefined();
  });

  test('a wrong password is the answer of the backend', async () => {
    const failed = await errorOf(createConnection({ ...login(proxy), password: 'not this one' }));
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
