import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ServerInfo } from '../scripts/servers/server.ts';

/**
 * `bench_orders`: 12 columns, some 195 bytes a row as text, with NULLs, empty strings and multi-byte text; one row in a hundred holds a tab,
 * a newline, a backslash, quotes and an emoji. The servers make the rows themselves. And the other tables that are measured.
 */

/** The database at PostgreSQL and the schema at MariaDB that hold everything. */
export const sourceDatabase = 'bench';
export const orders = 'bench_orders';
export const cellTable = 'bench_cell';
export const cellBytes = 64 * 1024 * 1024;
/** The schema at PostgreSQL that holds the small tables. */
export const smallSchema = 'small';
export const smallRows = 100;

export async function openPostgres(server: ServerInfo, database = sourceDatabase): Promise<pg.Client> {
  const { host, port, user, password } = server;
  const client = new pg.Client({ host, port, user, password, database });
  await client.connect();
  return client;
}

export function openMysql(server: ServerInfo): Promise<mysql.Connection> {
  const { host, port, user, password } = server;
  return mysql.createConnection({ host, port, user, password, charset: 'utf8mb4', supportBigNumbers: true });
}

/** Makes the table in PostgreSQL. */
export async function makePostgresOrders(server: ServerInfo, rows: number): Promise<void> {
  const client = await openPostgres(server);
  await client.query(`create table ${orders} (
    id bigint primary key, customer_id integer not null, product_id integer not null, quantity integer, channel smallint not null,
    price numeric(12,2) not null, discount numeric(8,4), ordered_at timestamp(6) not null, shipped_at timestamp(6),
    status varchar(20) not null, reference varchar(60) not null, note text)`);
  await client.query(`insert into ${orders}
    select n, n * 7919 % 50000, n * 104729 % 2000, case when n % 17 > 0 then n % 100 end, n % 9,
      n % 100000 * 1.07, case when n % 5 > 0 then n % 1000 * 0.0037 end,
      timestamp '2023-01-01' + n * interval '31.000123 seconds',
      case when n % 4 > 0 then timestamp '2023-01-03' + n * interval '31.000457 seconds' end,
      (array['new', 'paid', 'shipped', 'zurückgegeben', ''])[1 + n % 5],
      'R-' || md5(n::text),
      case when n % 11 = 0 then null when n % 13 = 0 then ''
        else md5((n * 3)::text) || ' Größe ' || n % 50 || case when n % 100 = 0 then E'\\t"quoted" \\n back\\\\slash \\'x\\' 😀' else ' ok ' end || repeat('lorem ', (n % 8)::int) end
    from generate_series(1, ${rows}::bigint) n`);
  await client.query(`vacuum (analyze) ${orders}`);
  await client.query('checkpoint');
  await client.end();
}

/** Makes the table in MariaDB. */
export async function makeMysqlOrders(server: ServerInfo, rows: number): Promise<void> {
  const client = await openMysql(server);
  await client.query(`use ${sourceDatabase}`);
  // Some releases stop a recursion after a thousand rounds; others don't know the setting.
  await client.query(`set session max_recursive_iterations = ${rows + 1}`).catch(() => {});
  await client.query(`create table ${orders} (
    id bigint primary key, customer_id int not null, product_id int not null, quantity int, channel smallint not null,
    price decimal(12,2) not null, discount decimal(8,4), ordered_at datetime(6) not null, shipped_at datetime(6),
    status varchar(20) not null, reference varchar(60) not null, note text)`);
  await client.query(`insert into ${orders}
    with recursive numbers as (select 1 as n union all select n + 1 from numbers where n < ${rows})
    select n, n * 7919 % 50000, n * 104729 % 2000, if(n % 17 > 0, n % 100, null), n % 9,
      n % 100000 * 1.07, if(n % 5 > 0, n % 1000 * 0.0037, null),
      timestampadd(microsecond, n * 31000123, '2023-01-01'),
      if(n % 4 > 0, timestampadd(microsecond, n * 31000457, '2023-01-03'), null),
      elt(1 + n % 5, 'new', 'paid', 'shipped', 'zurückgegeben', ''),
      concat('R-', md5(n)),
      case when n % 11 = 0 then null when n % 13 = 0 then ''
        else concat(md5(n * 3), ' Größe ', n % 50, if(n % 100 = 0, '\\t"quoted" \\n back\\\\slash \\'x\\' 😀', ' ok '), repeat('lorem ', n % 8)) end
    from numbers`);
  await client.query(`analyze table ${orders}`);
  await client.end();
}

/** A table with one cell of 64 MB between small rows. */
export async function makeCell(server: ServerInfo): Promise<void> {
  const client = await openPostgres(server);
  await client.query(`create table ${cellTable} (id int primary key, body text)`);
  await client.query(
    `insert into ${cellTable} select n, case when n = 2 then repeat(E'tab\\there', ${cellBytes / 8}) else 'small' end from generate_series(1, 3) n`,
  );
  await client.end();
}

/** `count` tables of a hundred rows each. */
export async function makeSmallTables(server: ServerInfo, count: number): Promise<string[]> {
  const client = await openPostgres(server);
  const names = Array.from({ length: count }, (_, index) => `t${String(index + 1).padStart(4, '0')}`);
  await client.query(`create schema ${smallSchema}`);
  for (let at = 0; at < names.length; at += 100)
    await client.query(
      names
        .slice(at, at + 100)
        .map(
          (name) =>
            `create table ${smallSchema}.${name} (id int primary key, name varchar(40) not null, amount numeric(12,2), at timestamp(6));
             insert into ${smallSchema}.${name} select n, 'row ' || n, n * 1.5, timestamp '2024-01-01' + n * interval '1 hour' from generate_series(1, ${smallRows}) n`,
        )
        .join(';'),
    );
  await client.query('analyze');
  await client.end();
  return names;
}
