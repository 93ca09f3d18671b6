import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Params } from '../../src/drivers/model.ts';
import { open } from '../../src/drivers/mysql/source.ts';
import type { Source } from '../../src/drivers/source.ts';
import { describeOne, type Playground, parseLoadText, playground, readRows } from './mysql-fixture.ts';

const forever = () => new AbortController().signal;

describe.each(['mysql9', 'mariadb'] as const)('reading from %s', (server) => {
  let ground: Playground;
  let source: Source;
  /** Statements that the driver runs on this playground now. */
  const statements = async () => (await ground.sessions()).filter((session) => session.statement !== null);
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
    await ground.sql('create table digits (i int)');
    await ground.sql('insert into digits values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)');
    // 100,000 rows of 1 KB.
    await ground.sql('create table wide (id int primary key, filler varchar(1000))');
    await ground.sql(
      "insert into wide select a.i + b.i*10 + c.i*100 + d.i*1000 + e.i*10000, repeat('w', 1000) from digits a, digits b, digits c, digits d, digits e",
    );
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test('a session gives up neither a slow statement nor a slow reader, and reads in UTC', async () => {
    const table = await describeOne(source, ground.database, 'digits');
    const longest = server === 'mariadb' ? '@@session.max_statement_time' : '@@session.max_execution_time';
    const settled = `${longest} = 0 and @@session.net_write_timeout >= 86400 and @@session.wait_timeout >= 86400 and @@session.time_zone = '+00:00'`;
    let rows = 0;
    for await (const batch of source.read(table, settled, '{}', forever())) rows += batch.rows;
    expect(rows).toBe(10);
  });

  test('an abort ends the loop and the statement at once, also while the server sends nothing', async () => {
    const table = await describeOne(source, ground.database, 'wide');
    const stop = new AbortController();
    const batches = source.read(table, 'sleep(0.5) = 1', '{}', stop.signal);
    const next = batches.next();
    await sleep(400);
    expect(await statements()).toHaveLength(1);
    const reason = new Error('enough');
    const started = performance.now();
    stop.abort(reason);
    await expect(next).rejects.toBe(reason);
    expect(performance.now() - started).toBeLessThan(1_000);
    for (let i = 0; i < 20 && (await statements()).length > 0; i++) await sleep(50);
    expect(await statements()).toEqual([]);
  });

  test('an abort before the first row, and leaving the loop early, leave nothing behind', async () => {
    const table = await describeOne(source, ground.database, 'wide');
    const stopped = AbortSignal.abort(new Error('never'));
    await expect(source.read(table, undefined, '{}', stopped).next()).rejects.toThrow('never');
    for await (const batch of source.read(table, undefined, '{}', forever())) {
      expect(batch.data.length).toBeGreaterThan(0);
      break;
    }
    for (let i = 0; i < 20 && (await statements()).length > 0; i++) await sleep(50);
    expect(await statements()).toEqual([]);
    expect((await readRows(source, table, '{}', 'id < 3')).rows).toHaveLength(3);
  });

  test('a consumer that stops is not overrun, and gets every row when it goes on', async () => {
    const table = await describeOne(source, ground.database, 'wide');
    const batches = source.read(table, undefined, '{}', forever());
    const first = await batches.next();
    expect(first.done).toBe(false);
    await sleep(300);
    const before = process.memoryUsage();
    await sleep(1_000);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(8_000_000);
    let rows = first.done ? 0 : first.value.rows;
    let largest = 0;
    for (;;) {
      const next = await batches.next();
      if (next.done) {
        expect(next.value.rows).toBe(100_000);
        break;
      }
      rows += next.value.rows;
      largest = Math.max(largest, next.value.data.length);
    }
    expect(rows).toBe(100_000);
    expect(largest).toBeLessThanOrEqual(262_144);
  });

  test('sessions are used again, and closing the source ends them all', async () => {
    const own = await ground.open();
    const ids = async () => (await ground.sessions()).length;
    const table = await describeOne(own, ground.database, 'wide');
    await readRows(own, table, '{}', 'id < 10');
    const before = await ids();
    for (let i = 0; i < 20; i++) await readRows(own, table, '{}', 'id < 10');
    expect(await ids()).toBe(before);
    await own[Symbol.asyncDispose]();
    await expect(own.schemas()).rejects.toThrow(/closed/);
    await sleep(200);
    expect(await ids()).toBeLessThan(before);
  });

  test('a killed session is a passing error, and the next read works', async () => {
    const table = await describeOne(source, ground.database, 'wide');
    const read = readRows(source, table, '{}', 'sleep(0.01) = 0');
    const failed = expect(read).rejects.toMatchObject({ name: 'Error' });
    await sleep(400);
    for (const { id } of await statements()) await ground.sql(`kill ${id}`);
    await failed;
    expect((await readRows(source, table, '{}', 'id = 5')).rows).toHaveLength(1);
  });

  test('a table that changed or went is StructureChanged, a bad condition Misconfigured', async () => {
    await ground.sql('create table going (id int primary key, b int)');
    const table = await describeOne(source, ground.database, 'going');
    await ground.sql('alter table going drop b');
    await expect(readRows(source, table)).rejects.toMatchObject({ name: 'StructureChanged' });
    await ground.sql('drop table going');
    await expect(readRows(source, table)).rejects.toMatchObject({ name: 'StructureChanged' });
    const wide = await describeOne(source, ground.database, 'wide');
    await expect(readRows(source, wide, '{}', 'id >')).rejects.toMatchObject({ name: 'Misconfigured' });
    await expect(readRows(source, wide, '{}', 'id = 1; drop table wide')).rejects.toMatchObject({
      name: 'Misconfigured',
    });
  });

  test('nothing can be written through the source', async () => {
    const wide = await describeOne(source, ground.database, 'wide');
    await ground.sql('create table victim (id int)');
    await ground.sql(
      'create function harm() returns int deterministic modifies sql data begin insert into victim values (1); return 1; end',
    );
    await expect(readRows(source, wide, '{}', `id = 1 and ${ground.database}.harm() = 1`)).rejects.toThrow(
      /READ ONLY/i,
    );
    expect(await ground.sql('select * from victim')).toEqual([]);
  });

  test('a 64 MB cell of text, and one of bytes, in a small part of their size', async () => {
    await ground.sql('create table huge (id int primary key, c longtext, b longblob)');
    await ground.sql(
      "insert into huge values (1, repeat('16 bytes + tab\\t\\n', 4194304), null), (2, 'small', repeat(x'00ff', 33554432))",
    );
    const table = await describeOne(source, ground.database, 'huge');
    globalThis.gc?.();
    const base = process.memoryUsage().rss;
    let peak = 0;
    let bytes = 0;
    let newlines = 0;
    for await (const batch of source.read(table, undefined, '{}', forever())) {
      bytes += batch.data.length;
      for (let at = batch.data.indexOf(10); at >= 0; at = batch.data.indexOf(10, at + 1)) newlines++;
      peak = Math.max(peak, process.memoryUsage().rss - base);
    }
    // Two of 16 bytes grow by one; \N; hex doubles; keys, tabs and newlines.
    expect(bytes).toBe(4_194_304 * 18 + 'X\t\t\\N\n'.length + 'X\tsmall\t\n'.length + 134_217_728);
    expect(newlines).toBe(2);
    console.log(`${server}: 64 MB cells, ${(peak / 1e6).toFixed(0)} MB more`);
    expect(peak).toBeLessThan(4 * 67_108_864);
    await ground.sql('drop table huge');
  });

  test('an own implementation of LOAD DATA and the server agree on the text', async () => {
    await ground.sql('create table told (id int primary key, c varchar(500))');
    const values = ['', '\\N', 'N', '\\', '\t', '\n\r\0\x1a\b', 'x\\ty', '\u2028', 'a'.repeat(400)];
    for (const [id, value] of values.entries()) await ground.sql('insert into told values (?, ?)', [id, value]);
    const parts: Buffer[] = [];
    for await (const batch of source.read(
      await describeOne(source, ground.database, 'told'),
      undefined,
      '{}',
      forever(),
    ))
      parts.push(Buffer.from(batch.data));
    const text = Buffer.concat(parts);
    expect(parseLoadText(text).map((row) => String(row[1]))).toEqual(values);
    const target = inject('destination');
    const admin = await mysql.createConnection({
      host: target.host,
      port: target.port,
      user: target.user,
      password: target.password,
    });
    try {
      await admin.query(`create database ${ground.database}`);
      await admin.query(
        `create table ${ground.database}.told (id int primary key, c varchar(500)) character set utf8mb4`,
      );
      const { Readable } = await import('node:stream');
      await admin.query({
        sql: `load data local infile 'x' into table ${ground.database}.told character set utf8mb4`,
        infileStreamFactory: () => Readable.from([text]),
      });
      const [rows] = await admin.query({ sql: `select c from ${ground.database}.told order by id`, rowsAsArray: true });
      expect((rows as string[][]).map((row) => row[0])).toEqual(values);
    } finally {
      await admin.query(`drop database if exists ${ground.database}`);
      await admin.end();
    }
  });
});

describe.each(['mysql9', 'mariadb'] as const)('connecting to %s', (name) => {
  const base = (): Params => {
    const server = inject(name);
    return { host: server.host, port: String(server.port), uid: server.user, pwd: server.password };
  };
  const attempt = (more: Params) => open({ ...base(), ...more }, forever());

  test('wrong logins and addresses say who must do what, and never the password', async () => {
    const wrong = await attempt({ pwd: 'not-the-password' }).catch((error: Error) => error);
    expect(wrong).toMatchObject({ name: 'AccessDenied', action: expect.stringContaining('uid and pwd') });
    expect(JSON.stringify([(wrong as Error).message, (wrong as Error).stack, wrong])).not.toContain('not-the-password');
    await expect(attempt({ db: 'no_such_database_here' })).rejects.toMatchObject({ name: 'Misconfigured' });
    await expect(attempt({ port: '1' })).rejects.toMatchObject({
      name: 'Error',
      message: expect.stringContaining("can't be reached"),
    });
  });

  test('TLS: required, verified, refused', async () => {
    const offersTls = name === 'mysql9';
    for (const ssl_mode of ['disable', 'prefer']) await (await attempt({ ssl_mode }))[Symbol.asyncDispose]();
    if (offersTls) {
      await using encrypted = await attempt({ ssl_mode: 'require' });
      expect((await encrypted.schemas()).length).toBeGreaterThanOrEqual(0);
      await expect(attempt({ ssl_mode: 'verify-ca' })).rejects.toMatchObject({ name: 'Misconfigured' });
      const { readFile } = await import('node:fs/promises');
      const { join } = await import('node:path');
      const ca = await readFile(join(inject(name).dataDir ?? '', 'ca.pem'), 'utf8');
      await (await attempt({ ssl_mode: 'verify-ca', ssl_ca: ca }))[Symbol.asyncDispose]();
      await (await attempt({ ssl_mode: 'verify-ca', ssl_ca: join(inject(name).dataDir ?? '', 'ca.pem') }))[
        Symbol.asyncDispose
      ]();
      // The server's own certificate names no host.
      await expect(attempt({ ssl_mode: 'verify-full', ssl_ca: ca })).rejects.toMatchObject({ name: 'Misconfigured' });
    } else
      await expect(attempt({ ssl_mode: 'require' })).rejects.toMatchObject({
        name: 'Misconfigured',
        action: expect.stringContaining('ssl_mode'),
      });
  });

  test('an abort while connecting', async () => {
    await expect(open(base(), AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
  });

  test('a password-less and an odd user log in', async () => {
    await using ground = await playground(name);
    const user = `u'${ground.database}`.slice(0, 20);
    const password = 'pä ss"\'\\wörd';
    await ground.sql(`create user ? identified by '${password.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`, [
      user,
    ]);
    try {
      for (const ssl_mode of ['disable', 'prefer'])
        await (await attempt({ uid: user, pwd: password, ssl_mode }))[Symbol.asyncDispose]();
      await ground.sql("alter user ? identified by ''", [user]);
      await (await attempt({ uid: user, pwd: '' }))[Symbol.asyncDispose]();
    } finally {
      await ground.sql('drop user ?', [user]);
    }
  });
});
