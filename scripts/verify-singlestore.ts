/**
 * Settles on a real SingleStore server what no stand-in can show (docs/verification.md):
 *   SINGLESTORE_PASSWORD=… node scripts/verify-singlestore.ts HOST PORT USER
 * Works in databases of its own, which it drops. Each line says what the product relies on, what the server did, and whether they agree.
 */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import mysql from 'mysql2/promise';

const [host = '127.0.0.1', port = '3306', user = 'root'] = process.argv.slice(2);
const password = process.env['SINGLESTORE_PASSWORD'] ?? '';
const address = {
  host,
  port: Number(port),
  user,
  password,
  multipleStatements: false,
  supportBigNumbers: true,
  bigNumberStrings: true,
};
const one = `flow_verify_${randomUUID().slice(0, 8)}`;
const two = `${one}_2`;

type Row = Record<string, string | number | null>;
type Session = { query(sql: string, file?: string | Readable): Promise<Row[]>; close(): Promise<void>; cut(): void };
type Found = { readonly agrees: boolean; readonly found: string };
type Check = { readonly point: string; readonly relied: string; run(): Promise<Found> };

async function open(database?: string): Promise<Session> {
  const connection = await mysql.createConnection({ ...address, ...(database ? { database } : {}) });
  connection.on('error', () => {});
  return {
    query: async (sql, file) => {
      const options =
        file === undefined
          ? { sql }
          : { sql, infileStreamFactory: () => (typeof file === 'string' ? Readable.from([Buffer.from(file)]) : file) };
      const [rows] = await connection.query(options as never);
      return Array.isArray(rows) ? (rows as Row[]) : [rows as unknown as Row];
    },
    close: () => connection.end(),
    cut: () => connection.destroy(),
  };
}

/** What a statement comes to, in words. */
async function outcome(session: Session, sql: string, file?: string): Promise<string> {
  try {
    const [row] = await session.query(sql, file);
    const warnings = Number(row?.['warningStatus'] ?? 0);
    return warnings > 0 ? `accepted with ${warnings} warnings` : 'accepted';
  } catch (error) {
    const { errno, message } = error as Error & { errno?: number };
    return `refused: ${errno ?? ''} ${message}`.slice(0, 160);
  }
}

async function within<T>(work: (session: Session) => Promise<T>): Promise<T> {
  const session = await open(one);
  try {
    return await work(session);
  } finally {
    session.cut();
  }
}

const load = (table: string, more = '') =>
  `load data local infile 'verify.tsv' ${more} into table ${table} character set utf8mb4 fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n'`;

async function count(session: Session, table: string): Promise<number> {
  return Number((await session.query(`select count(*) as n from ${table}`))[0]?.['n']);
}

function verdict(agrees: boolean, found: string): Found {
  return { agrees, found };
}

const checks: Check[] = [
  {
    point: 'strictness',
    relied: 'data_conversion_compatibility_level is 8.0 or higher',
    run: () =>
      within(async (session) => {
        const [row] = await session.query(
          'select @@memsql_version as v, @@data_conversion_compatibility_level as level',
        );
        return verdict(Number(row?.['level']) >= 8, `version ${row?.['v']}, level ${row?.['level']}`);
      }),
  },
  {
    point: 'one transaction, two databases',
    relied: 'not relied on: expected to be refused',
    run: () =>
      within(async (session) => {
        await session.query(`create table ${one}.x1 (k int primary key)`);
        await session.query(`create table ${two}.x2 (k int primary key)`);
        await session.query('begin');
        await session.query(`insert into ${one}.x1 values (1)`);
        const second = await outcome(session, `insert into ${two}.x2 values (1)`);
        await session.query('rollback').catch(() => {});
        return verdict(true, second);
      }),
  },
  {
    point: 'rename under readers',
    relied: 'ALTER … RENAME works, with a moment in which the name is missing',
    run: () =>
      within(async (session) => {
        await session.query('create table live (k int primary key)');
        await session.query('create table shadow (k int primary key)');
        const pair = await outcome(session, 'rename table live to old0, shadow to live');
        if (!pair.startsWith('accepted')) {
          await session.query('alter table live rename to old0');
          await session.query('alter table shadow rename to live');
        }
        const names = (await session.query('show tables')).flatMap((row) => Object.values(row));
        return verdict(
          names.includes('live') && names.includes('old0'),
          `RENAME TABLE pair: ${pair}; ALTER RENAME: done`,
        );
      }),
  },
  {
    point: 'LOAD rolled back',
    relied: 'a LOAD inside BEGIN … ROLLBACK leaves no row',
    run: () =>
      within(async (session) => {
        await session.query('create table rolled (k int primary key, v varchar(9))');
        await session.query('begin');
        await session.query(load('rolled'), '1\ta\n2\tb\n');
        await session.query('rollback');
        const rows = await count(session, 'rolled');
        return verdict(rows === 0, `${rows} rows`);
      }),
  },
  {
    point: 'LOAD cut off',
    relied: 'a LOAD whose connection is destroyed inside a transaction leaves no row',
    run: async () => {
      const victim = await open(one);
      await victim.query('create table cut_off (k int primary key, v varchar(9))');
      await victim.query('begin');
      const endless = new Readable({ read() {} });
      for (let n = 0; n < 100_000; n++) endless.push(Buffer.from(`${n}\tx\n`));
      victim.query(load('cut_off'), endless).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 1500));
      victim.cut();
      await new Promise((resolve) => setTimeout(resolve, 3000));
      return within(async (session) => {
        const rows = await count(session, 'cut_off');
        return verdict(rows === 0, `${rows} rows`);
      });
    },
  },
  {
    point: 'duplicate key in LOAD without REPLACE',
    relied: 'an error, or a skipped row that the counts show',
    run: () =>
      within(async (session) => {
        await session.query('create table dup (k int primary key, v varchar(9))');
        const what = await outcome(session, load('dup'), '1\ta\n1\tb\n');
        const rows = await count(session, 'dup');
        return verdict(what.startsWith('refused') || rows === 1, `${what}; ${rows} rows`);
      }),
  },
  ...(
    [
      ['over-long string', 'varchar(3)', '1\tabcd\n'],
      ['bad number', 'int', '1\tabc\n'],
      ['number out of range', 'tinyint', '1\t300\n'],
      ['bad date', 'datetime(6)', '1\t2020-13-45 00:00:00\n'],
      ['year before 1000', 'datetime(6)', '1\t0999-01-01 00:00:00\n'],
      ['decimal with too many digits', 'decimal(5,2)', '1\t1.23456\n'],
    ] as const
  ).map(
    ([point, type, text]): Check => ({
      point: `LOAD of ${point} into ${type}`,
      relied: 'refused, or a warning (which fails the load)',
      run: () =>
        within(async (session) => {
          const table = `strict_${randomUUID().slice(0, 8)}`;
          await session.query(`create table ${table} (k int primary key, v ${type})`);
          const what = await outcome(session, load(table), text);
          const kept = what.startsWith('refused') ? [] : await session.query(`select v from ${table}`);
          return verdict(what !== 'accepted', `${what}; kept ${JSON.stringify(kept)}`);
        }),
    }),
  ),
  {
    point: 'fractions',
    relied: 'DATETIME(6) and TIME(6) keep microseconds',
    run: () =>
      within(async (session) => {
        const three = await outcome(session, 'create table fraction3 (k int primary key, a datetime(3))');
        await session.query('create table fraction6 (k int primary key, a datetime(6), b time(6))');
        await session.query(load('fraction6'), '1\t9999-12-31 23:59:59.999999\t-838:59:59.000001\n');
        const [row] = await session.query('select cast(a as char) as a, cast(b as char) as b from fraction6');
        return verdict(
          String(row?.['a']).endsWith('.999999') && String(row?.['b']).endsWith('.000001'),
          `${JSON.stringify(row)}; DATETIME(3): ${three}`,
        );
      }),
  },
  {
    point: 'string keys',
    relied: "utf8mb4_bin tells 'a', 'A' and 'a ' apart",
    run: () =>
      within(async (session) => {
        await session.query(
          'create table bin_key (k varchar(9) character set utf8mb4 collate utf8mb4_bin, primary key (k))',
        );
        const what = await outcome(session, load('bin_key'), 'a\nA\na \n');
        const rows = await count(session, 'bin_key');
        return verdict(rows === 3, `${what}; ${rows} of 3 rows`);
      }),
  },
  {
    point: 'delete by join with alias',
    relied: 'DELETE t FROM db.x AS t JOIN s works',
    run: () =>
      within(async (session) => {
        await session.query('create table del_t (k int primary key)');
        await session.query('create table del_s (k int primary key)');
        await session.query(load('del_t'), '1\n2\n');
        await session.query(load('del_s'), '2\n');
        const what = await outcome(session, `delete t from ${one}.del_t as t join ${one}.del_s as s on t.k = s.k`);
        return verdict((await count(session, 'del_t')) === 1, what);
      }),
  },
  {
    point: 'escapes, binary, NULL and empty',
    relied: '\\0 \\r \\t \\n \\\\ arrive as bytes; UNHEX of empty is empty, of NULL is NULL',
    run: () =>
      within(async (session) => {
        await session.query('create table bytes (k int primary key, t longtext character set utf8mb4, b longblob)');
        const into = `${load('bytes')} (k, t, @b) set b = unhex(@b)`;
        await session.query(into, '1\tx\\0\\r\\t\\n\\\\y\t00ff0a\n2\t\t\n3\t\\N\t\\N\n');
        const rows = await session.query('select k, hex(t) as t, hex(b) as b from bytes order by k');
        const text = JSON.stringify(rows.map((row) => [row['t'], row['b']]));
        return verdict(text === '[["78000D090A5C79","00FF0A"],["",""],[null,null]]', text);
      }),
  },
  {
    point: 'JSON numbers',
    relied: 'an integer beyond 2^53 keeps its digits',
    run: () =>
      within(async (session) => {
        await session.query('create table documents (k int primary key, j json)');
        await session.query(load('documents'), '1\t{"n": 9007199254740993, "d": 0.1}\n');
        const [row] = await session.query('select cast(j as char) as j from documents');
        return verdict(String(row?.['j']).includes('9007199254740993'), String(row?.['j']));
      }),
  },
  {
    point: 'FLOAT',
    relied: 'the shortest text of a float comes back as the same float',
    run: () =>
      within(async (session) => {
        await session.query('create table floats (k int primary key, f float)');
        await session.query(load('floats'), '1\t16777215\n2\t1.1754944e-38\n3\t3.4028235e38\n');
        const rows = await session
          .query('select f :> double as f from floats order by k')
          .catch(() => session.query('select f + 0e0 as f from floats order by k'));
        const same =
          rows.map((row) => Math.fround(Number(row['f']))).join() ===
          [16777215, Math.fround(1.1754944e-38), Math.fround(3.4028235e38)].join();
        return verdict(same, JSON.stringify(rows.map((row) => row['f'])));
      }),
  },
  {
    point: 'DDL in a transaction',
    relied: 'not relied on: expected to commit implicitly or to be refused',
    run: () =>
      within(async (session) => {
        await session.query('create table ddl_t (k int primary key)');
        await session.query('begin');
        await session.query(load('ddl_t'), '1\n');
        const what = await outcome(session, 'truncate table ddl_t');
        await session.query('rollback').catch(() => {});
        return verdict(true, `TRUNCATE: ${what}; ${await count(session, 'ddl_t')} rows after ROLLBACK`);
      }),
  },
  {
    point: 'guarded update',
    relied: 'an UPDATE that changes a row reports exactly one',
    run: () =>
      within(async (session) => {
        await session.query('create table guard (k int primary key, token int)');
        await session.query(load('guard'), '1\t1\n');
        const [hit] = await session.query('update guard set token = token + 1 where k = 1 and token = 1');
        const [miss] = await session.query('update guard set token = token + 1 where k = 1 and token = 1');
        return verdict(
          hit?.['affectedRows'] === 1 && miss?.['affectedRows'] === 0,
          `${hit?.['affectedRows']} then ${miss?.['affectedRows']}`,
        );
      }),
  },
  {
    point: 'layout of a table',
    relied: 'SHOW CREATE TABLE names SHARD KEY and SORT KEY in a form that is read back',
    run: () =>
      within(async (session) => {
        const what = await outcome(
          session,
          'create table layout (a int, b int, primary key (a, b), shard key (a), sort key (b))',
        );
        if (what !== 'accepted') return verdict(false, what);
        const [row] = await session.query('show create table layout');
        const text = String(row?.['Create Table']).replaceAll('\n', ' ');
        return verdict(/SHARD KEY/i.test(text) && /SORT KEY/i.test(text), text.slice(0, 300));
      }),
  },
];

const setup = await open();
for (const database of [one, two]) await setup.query(`create database ${database}`);
let wrong = 0;
try {
  for (const check of checks) {
    const found = await check.run().catch((error: Error) => verdict(false, `could not be tried: ${error.message}`));
    if (!found.agrees) wrong++;
    console.log(
      `${found.agrees ? 'ok     ' : 'DIFFERS'}  ${check.point}\n         relied on: ${check.relied}\n         found:     ${found.found}`,
    );
  }
} finally {
  for (const database of [one, two]) await setup.query(`drop database if exists ${database}`).catch(() => {});
  await setup.close();
}
console.log(`\n${checks.length - wrong} of ${checks.length} as relied on`);
process.exit(wrong === 0 ? 0 : 1);
