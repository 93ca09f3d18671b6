import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scratch } from '../../../src/drivers/jdbc/scratch.ts';
import { describeOne, readAll, readRange, testSource } from '../source-suite.ts';
import { type Client, drivers, openJdbc, type Place, paramsOf, startClient, startH2 } from './fixture.ts';
import { derbyTypes, h2Types, hsqldbTypes, sqliteTypes, type TypeCase } from './type-cases.ts';
import { expectTypes, statements } from './typed.ts';

/** Databases that are Java programs or files: H2 as a server, the others opened by one JVM after the other. */

if (drivers)
  testSource(
    'H2 by JDBC',
    async () => {
      const [{ place, stop }, client] = await Promise.all([startH2(), startClient(['h2'])]);
      await client.open(place);
      await client.sql('create schema s');
      await client.sql('set schema s');
      return {
        open: (more) => openJdbc(place, more),
        schema: 's',
        password: place.pwd,
        sql: client.sql,
        quote: (word) => `"${word.replaceAll('"', '""')}"`,
        literal: (text) => `'${text.replaceAll("'", "''")}'`,
        longText: 'varchar(100000000)',
        sessions: async () =>
          Number((await client.sql('select count(*) - 1 from INFORMATION_SCHEMA.SESSIONS'))[0]?.[0]),
        stop: async () => {
          await client.close();
          await stop();
        },
      };
    },
    { captures: false, scale: 0.25 },
  );

describe.skipIf(!drivers)('values by JDBC', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flow-jdbc-'));
  let client: Client;
  beforeAll(async () => {
    client = await startClient(['h2', 'hsqldb', 'derby', 'sqlite']);
  });
  afterAll(async () => {
    await client?.close();
    await rm(folder, { recursive: true });
  });

  const file = (jars: 'hsqldb' | 'derby' | 'sqlite', drv: string, url: string, uid: string): Place => ({
    jars,
    drv,
    url,
    uid,
    pwd: jars === 'derby' ? 'x' : '',
  });
  const hsqldb = file('hsqldb', 'org.hsqldb.jdbc.JDBCDriver', `jdbc:hsqldb:file:${folder}/hsqldb;shutdown=true`, 'SA');
  const derby = file(
    'derby',
    'org.apache.derby.iapi.jdbc.AutoloadedDriver',
    `jdbc:derby:${folder}/derby;create=true`,
    'flow',
  );
  const sqlite = (name: string): Place => file('sqlite', 'org.sqlite.JDBC', `jdbc:sqlite:${folder}/${name}`, 'x');

  /** Runs statements in the client and lets go of the file. */
  async function prepare(place: Place, all: readonly string[]): Promise<void> {
    await client.open(place);
    for (const statement of all) await client.sql(statement);
    if (place.jars === 'derby')
      await client.open({ ...place, url: `jdbc:derby:${folder}/derby;shutdown=true` }).catch(() => {});
    await client.open({ ...place, drv: 'org.h2.Driver', url: 'jdbc:h2:mem:' });
  }

  const embedded: readonly (readonly [string, Place, string, string, readonly TypeCase[]])[] = [
    ['HSQLDB', hsqldb, 'PUBLIC', 'TYPED', hsqldbTypes],
    ['Derby', derby, 'FLOW', 'TYPED', derbyTypes],
    ['SQLite', sqlite('types.db'), 'default', 'typed', sqliteTypes],
  ];
  test.each(embedded)('%s: every type arrives as the vendor’s manual says', async (_, place, schema, table, cases) => {
    await prepare(place, statements('typed', cases));
    await expectTypes(paramsOf(place), schema, table, cases);
  });

  test('H2: every type, and large objects that are longer than the JVM’s memory', async () => {
    const { place, stop } = await startH2();
    try {
      await client.open(place);
      for (const statement of statements('typed', h2Types)) await client.sql(statement);
      await expectTypes(paramsOf(place), 'PUBLIC', 'typed', h2Types);
      // The pair of 😀 lies across the pieces in which a CLOB is read.
      await client.sql('create table large (id int primary key, t clob, b blob, p clob, e clob)');
      await client.sql(
        "insert into large values (1, repeat('é', 16000000), cast(repeat('az', 8000000) as blob), repeat('x', 8191) || '😀', '')",
      );
      await client.sql('create table halved (id int primary key, t varchar(10))');
      await client.sql("insert into halved values (1, 'a' || char(55357))");
      await using source = await openJdbc(place, { jdbc_heap_mb: '64' });
      const table = await describeOne(source, 'PUBLIC', 'large');
      const [row] = (await readRange(source, table, '{}')).rows;
      expect(row?.[1] === 'é'.repeat(16_000_000)).toBe(true);
      expect(row?.[2] === '617A'.repeat(8_000_000)).toBe(true);
      expect(row?.slice(3)).toEqual([`${'x'.repeat(8191)}😀`, '']);
      const halved = await describeOne(source, 'PUBLIC', 'halved');
      await expect(readAll(source, halved)).rejects.toThrow('half of a surrogate pair');
    } finally {
      await stop();
    }
  });

  describe('SQLite, which keeps any value in any column', () => {
    const place = sqlite('any.db');
    const refused = [
      [1, '\'12 monkeys\' in column "n" (id=1)'],
      [2, '\'\' in column "n" (id=2)'],
      [3, '\'x\' in column "f" (id=3)'],
      [4, '2024-03-10 10:00:00 in column "d" (id=4)'],
      [5, '1710037800001 in column "d" (id=5)'],
      [6, '1.5 in column "n" (id=6)'],
      [7, 'a text that is not UTF-8'],
      [8, '(bytes) in column "s" (id=8)'],
    ] as const;
    beforeAll(() =>
      prepare(place, [
        'create table texts (id integer primary key not null, n integer, f real, d date, s text)',
        "insert into texts values (1, '12 monkeys', 1, null, 'a'), (2, '', 1, null, 'a'), (3, 1, 'x', null, 'a')",
        "insert into texts values (4, 1, 1, '2024-03-10 10:00:00', 'a'), (5, 1, 1, 1710037800001, 'a')",
        "insert into texts values (6, 1.5, 1, null, 'a'), (7, 1, 1, null, cast(x'61ff62' as text)), (8, 1, 1, null, x'00')",
        "insert into texts values (9, 7, 0.5, '2024-03-10', cast(x'61006200efbfbd' as text)), (10, null, null, null, '')",
        'create table stamps (id integer primary key not null, at datetime)',
        'insert into stamps values (1, 1710037800), (2, 2460379.5)',
        'create table loose (id integer primary key not null, any, b blob)',
        "insert into loose values (1, 'text', x''), (2, 5, null)",
      ]),
    );

    test('what the destination would change without a word is refused by name', async () => {
      await using source = await openJdbc(place);
      const table = await describeOne(source, 'default', 'texts');
      // Each costs a JVM: the reading that fails ends its own.
      for (const [id, message] of refused.filter(([id]) => process.env['FLOW_MATRIX'] || [1, 4, 6, 7].includes(id)))
        await expect(readAll(source, table, { where: `id = ${id}` })).rejects.toMatchObject({
          name: 'UnsupportedValue',
          message: expect.stringContaining(message),
        });
    });

    test('a text type takes each as it is; what is whole passes', async () => {
      await using source = await openJdbc(place);
      const table = await describeOne(source, 'default', 'texts');
      expect(await readAll(source, table, { where: 'id > 8' })).toEqual([
        ['9', '7', '0.5', '2024-03-10', 'a\0b\0\ufffd'],
        ['10', null, null, null, ''],
      ]);
      const types = { n: 'VARCHAR(64)', f: 'VARCHAR(64)', d: 'VARCHAR(64)' };
      const open = await describeOne(source, 'default', 'texts', { types });
      expect((await readAll(source, open, { where: 'id < 5' })).map((row) => row.slice(1, 4))).toEqual([
        ['12 monkeys', '1.0', null],
        ['', '1.0', null],
        ['1', 'x', null],
        ['1', '1.0', '2024-03-10 10:00:00'],
      ]);
      expect(await readAll(source, await describeOne(source, 'default', 'loose'))).toEqual([
        ['1', Buffer.from('text').toString('hex').toUpperCase(), ''],
        ['2', '35', null],
      ]);
    });

    test('numbers are times as the driver is told, and a warning says so', async () => {
      await using source = await openJdbc(place, { jdbc_options: '?date_precision=seconds' });
      const table = await describeOne(source, 'default', 'stamps');
      expect(table.warnings).toEqual([expect.stringContaining('date_precision=seconds')]);
      expect(await readAll(source, table)).toEqual([
        ['1', '2024-03-10 02:30:00'],
        ['2', '2024-03-10 00:00:00'],
      ]);
    });

    test('a file that is not there is an error and is not made; the library that the driver unpacks goes', async () => {
      const unpacked = async (): Promise<string[]> =>
        readdirSync(await scratch(), { recursive: true, encoding: 'utf8' }).filter((name) => /sqlite.*\.so/.test(name));
      {
        await using source = await openJdbc(place);
        await source.tables('default');
        expect((await unpacked()).length).toBeGreaterThan(0);
      }
      await expect(openJdbc(sqlite('none.db'))).rejects.toThrow();
      expect(existsSync(join(folder, 'none.db'))).toBe(false);
      await expect.poll(unpacked, { timeout: 10_000 }).toEqual([]);
    });
  });

  test.each([
    ['HSQLDB', { ...hsqldb, url: `jdbc:hsqldb:file:${folder}/nothing` } as Place],
    ['H2', { ...hsqldb, jars: 'h2', drv: 'org.h2.Driver', url: `jdbc:h2:file:${folder}/nothing` } as Place],
  ])('%s makes no database where there is none', async (_name, place) => {
    await expect(openJdbc(place)).rejects.toThrow();
    expect(readdirSync(folder).filter((name) => name.startsWith('nothing'))).toEqual([]);
  });
});
