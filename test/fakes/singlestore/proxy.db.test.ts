import { Readable } from 'node:stream';
import { createConnection as createCallbackConnection } from 'mysql2';
import type { RowDataPacket } from 'mysql2/promise';
import { describe, expect, test } from 'vitest';
import { DOCUMENTED } from './documented-statements.ts';
import { errorOf, proxyFixture, rows } from './proxy-fixture.ts';

const { database, direct, login, proxy, through, withProxy } = proxyFixture('s2mode');

describe('queries', () => {
  test('MariaDB has no memsql_version, the proxy has', async () => {
    expect(await errorOf(direct().query('select @@memsql_version'))).toMatchObject({ errno: 1193 });
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
      direct(),
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

  test('a session reads committed rows only, is strict and keeps zero dates', async () => {
    const connection = await through();
    await connection.query('CREATE TABLE strict (id INT PRIMARY KEY, v TINYINT, d DATETIME)');
    for (let round = 0; round < 2; round++) {
      await connection.query('BEGIN');
      const before = await rows(connection, 'SELECT count(*) n FROM strict');
      await direct().query(`INSERT INTO ${database}.strict VALUES (${round}, 1, NULL)`);
      const after = await rows(connection, 'SELECT count(*) n FROM strict');
      expect(after[0]?.['n'] - before[0]?.['n']).toBe(1);
      await connection.query('COMMIT');
      await connection.changeUser({ database });
    }
    expect(await errorOf(connection.query('INSERT INTO strict VALUES (5, 500, NULL)'))).toMatchObject({ errno: 1264 });
    await connection.query("INSERT INTO strict VALUES (6, 5, '0000-00-00 00:00:00')");
    expect(await rows(connection, 'SELECT @@sql_mode m')).toEqual([{ m: 'STRICT_ALL_TABLES' }]);
    await withProxy({ variables: { data_conversion_compatibility_level: '6.0' } }, async (own) => {
      const lax = await through(own);
      await lax.query("INSERT INTO strict VALUES (7, 500, '0044-03-15')");
    });
  });

  test('SHOW CREATE TABLE has the shard and the sort key', async () => {
    const connection = await through();
    await connection.query(
      "CREATE TABLE shown (id BIGINT, `it's` INT, PRIMARY KEY (id), SHARD KEY (id), SORT KEY (`it's` DESC))",
    );
    const [row] = await rows(connection, 'SHOW CREATE TABLE shown');
    expect(row?.['Table']).toBe('shown');
    expect(row?.['Create Table']).toMatch(
      /SHARD KEY `__SHARDKEY` \(`id`\),\n {2}SORT KEY \(`it's` DESC\)\n\) AUTOSTATS/,
    );
    expect(await errorOf(connection.query('SHOW CREATE TABLE nothing'))).toMatchObject({ errno: 1146 });
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
    const connection = await through(undefined, { charset: 'LATIN1_SWEDISH_CI' });
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
    const connection = createCallbackConnection({ ...login(), database });
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
    const connection = await through(undefined, { multipleStatements: true });
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
    expect(await rows(direct(), `SELECT id, length(v) n FROM ${database}.large ORDER BY id`)).toEqual([
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
    expect(proxy().rejections()).toContainEqual({ sql: 'RENAME TABLE refusals TO other', rule: 'rename-table' });
    expect(proxy().statements()).toContain('RENAME TABLE refusals TO other');
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
    await direct().query(`CREATE TABLE ${database}.elsewhere (a INT, b INT, d DATE, t TEXT, PRIMARY KEY (a, b))`);
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
    await direct().query(
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
    await direct().query(
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
