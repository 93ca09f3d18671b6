import { randomUUID } from 'node:crypto';
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ComparedSource } from '../../scripts/compare.ts';
import type { ServerInfo } from '../../scripts/servers/server.ts';

/** A source database with tables of every shape that matters to a load, made anew for one test. */
export type SeededSource = {
  /** Parameters as a client sends them. */
  readonly params: Record<string, string>;
  readonly compared: ComparedSource;
  readonly database: string;
  readonly schema: string;
  /** Tables that can be copied. */
  readonly tables: readonly string[];
  readonly kind: 'postgres' | 'mysql';
  run(sql: string): Promise<unknown>;
  drop(): Promise<void>;
};

const odd = 'Order "x" `y` é.t-表';

export async function seedPostgres(server: ServerInfo, rows: number): Promise<SeededSource> {
  const database = `e2e_${randomUUID().slice(0, 8)}`;
  const address = { host: server.host, port: server.port, user: server.user, password: server.password };
  const admin = new pg.Client({ ...address, database: 'postgres' });
  // A server that is killed by a test must not end the test by an unheard error.
  admin.on('error', () => {});
  await admin.connect();
  await admin.query(`create database ${database}`);
  await admin.end();
  const run = async (sql: string): Promise<unknown> => {
    const client = new pg.Client({ ...address, database });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  await run(`
    create table big (id bigint primary key, a int, b varchar(40), c numeric(12,2), d timestamp(6), e double precision, f text, g boolean);
    insert into big select n, case when n % 7 = 0 then null else n % 1000 end, 'row ' || n || case when n % 100 = 0 then E'\\t\\n\\\\ \\f\\v 😀' else '' end,
      n * 0.01, timestamp '2020-01-01' + n * interval '1 second 1 microsecond', n / 3.0, case when n % 11 = 0 then '' else repeat('x', (n % 50)::int) end, n % 2 = 0
      from generate_series(1, ${rows}) n;
    create table text_key (country varchar(20), code text, v jsonb, primary key (country, code));
    insert into text_key select 'c' || n % 10, 'k' || n || case when n % 2 = 0 then ' ' else '' end, jsonb_build_object('n', n, 'big', 9007199254740993) from generate_series(1, 5000) n;
    create table keyless (a int, b bytea); insert into keyless select n % 10, decode(md5(n::text), 'hex') from generate_series(1, 1000) n;
    create table empty_table (id int primary key, t text);
    create table "${odd.replaceAll('"', '""')}" ("select" int primary key, "a ""b" text, "é.ü" timestamptz);
    insert into "${odd.replaceAll('"', '""')}" select n, 'v' || n, timestamptz '2021-06-01 12:00:00+02' + n * interval '1 hour' from generate_series(1, 100) n;
  `);
  return {
    params: {
      host: server.host,
      port: String(server.port),
      uid: server.user,
      pwd: server.password,
      type: 'rds.pgres',
      db: database,
    },
    compared: { kind: 'postgres', database, ...address },
    database,
    schema: 'public',
    tables: ['big', 'text_key', 'keyless', 'empty_table', odd],
    kind: 'postgres',
    run,
    drop: async () => {
      const last = new pg.Client({ ...address, database: 'postgres' });
      await last.connect();
      await last.query(`drop database if exists ${database} with (force)`).catch(() => {});
      await last.end();
    },
  };
}

export async function seedMysql(server: ServerInfo, rows: number): Promise<SeededSource> {
  const schema = `e2e_${randomUUID().slice(0, 8)}`;
  const address = { host: server.host, port: server.port, user: server.user, password: server.password };
  const run = async (sql: string): Promise<unknown> => {
    const client = await mysql.createConnection({ ...address, charset: 'utf8mb4', multipleStatements: true });
    try {
      return (await client.query(sql.startsWith('create database') ? sql : `use ${schema}; ${sql}`))[0];
    } finally {
      client.destroy();
    }
  };
  await run(`create database ${schema} character set utf8mb4`);
  const quoted = `\`${odd.replaceAll('`', '``')}\``;
  await run(`
    create table digits (n int primary key); insert into digits values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
    create table big (id bigint unsigned primary key, a int, b varchar(40), c decimal(12,2), d datetime(6), e double, f text, g bool);
    insert into big select n, if(n % 7 = 0, null, n % 1000), concat('row ', n, if(n % 100 = 0, '\\t\\n\\\\ 😀', '')), n * 0.01,
      timestampadd(microsecond, n * 1000001, '2020-01-01'), n / 3, if(n % 11 = 0, '', repeat('x', n % 50)), n % 2 = 0
      from (${numbers(rows)}) s where n <= ${rows};
    create table text_key (country varchar(20), code varchar(50) collate utf8mb4_bin, v json, primary key (country, code));
    insert into text_key select concat('c', id % 10), concat('k', id), json_object('n', id, 'big', 9007199254740993) from big where id <= 5000;
    create table keyless (a int, b varbinary(40)); insert into keyless select id % 10, unhex(sha2(id, 224)) from big where id <= 1000;
    create table empty_table (id int primary key, t text);
    create table ${quoted} (\`select\` int primary key, \`a "b\` text, \`é.ü\` timestamp(6) null);
    insert into ${quoted} select id, concat('v', id), timestampadd(hour, id, '2021-06-01 12:00:00') from big where id <= 100;
  `);
  return {
    params: { host: server.host, port: String(server.port), uid: server.user, pwd: server.password, type: 'rds.mysql' },
    compared: { kind: 'mysql', ...address },
    database: 'default',
    schema,
    tables: ['big', 'text_key', 'keyless', 'empty_table', odd, 'digits'],
    kind: 'mysql',
    run,
    drop: async () => {
      await run(`drop database if exists ${schema}`);
    },
  };
}

/** A query of the numbers 1 to the next power of ten, for servers of any age. */
function numbers(upTo: number): string {
  const places = Array.from({ length: Math.max(1, Math.ceil(Math.log10(upTo))) }, (_, place) => place);
  return `select 1 + ${places.map((place) => `${10 ** place} * d${place}.n`).join(' + ')} as n from ${places.map((place) => `digits d${place}`).join(', ')}`;
}
