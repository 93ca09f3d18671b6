import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ServerInfo } from '../servers/server.ts';
import { type SampleTable, sampleTables, type Value } from './sample.ts';

/** The sample database: at PostgreSQL a database with the schema `public`, at MySQL a schema. */
export const sampleDatabase = 'classicmodels';

/** The one large table; its rows are made by the server itself. */
export const largeTable = 'measurements';

/** Every table of the sample, small ones first. */
export function sampleTableNames(): string[] {
  return [...sampleTables().map((table) => table.name), largeTable];
}

/** Makes the sample database anew in PostgreSQL. */
export async function loadPostgres(server: ServerInfo, largeRows: number): Promise<void> {
  const address = { host: server.host, port: server.port, user: server.user, password: server.password };
  const admin = new pg.Client({ ...address, database: 'postgres' });
  await admin.connect();
  await admin.query(`drop database if exists ${sampleDatabase}`);
  await admin.query(`create database ${sampleDatabase}`);
  await admin.end();
  const client = new pg.Client({ ...address, database: sampleDatabase });
  await client.connect();
  await client.query("set timezone = 'UTC'");
  for (const table of sampleTables()) {
    await client.query(createStatement(table, (name) => `"${name}"`, 'postgres'));
    for (const rows of portions(table, 30_000)) {
      const width = table.columns.length;
      const tuples = rows.map((_, row) => `(${table.columns.map((_, at) => `$${row * width + at + 1}`).join(', ')})`);
      const values = rows.flatMap((row) => row.map((value, at) => (at >= 0 ? postgresValue(table, at, value) : value)));
      await client.query(`insert into "${table.name}" values ${tuples.join(', ')}`, values);
    }
  }
  await client.query(`
    create table ${largeTable} (
      id bigint primary key, sensor integer not null, measured_at timestamp(3) not null, value double precision,
      total numeric(18,4) not null, status varchar(12) not null, comment text)`);
  await client.query(`
    insert into ${largeTable}
    select n, n % 977, timestamp '2020-01-01' + n * interval '1.5 second', case when n % 13 <> 0 then n / 7.0::float8 end,
           n * 1.2345, (array['ok', 'warn', 'échec', '⚠️'])[1 + n % 4],
           case when n % 5 = 0 then null when n % 11 = 0 then '' else 'sensor ' || (n % 977) || ' reported ' || left(encode(sha256(convert_to(n::text, 'UTF8')), 'hex'), 32) end
    from generate_series(1, ${largeRows}) as n`);
  await client.query('analyze');
  await client.end();
}

/** Makes the sample database anew in MySQL or MariaDB. */
export async function loadMysql(server: ServerInfo, largeRows: number): Promise<void> {
  const address = { host: server.host, port: server.port, user: server.user, password: server.password };
  const client = await mysql.createConnection({ ...address, charset: 'utf8mb4', timezone: 'Z' });
  await client.query(`drop database if exists ${sampleDatabase}`);
  await client.query(`create database ${sampleDatabase} character set utf8mb4`);
  await client.query(`use ${sampleDatabase}`);
  for (const table of sampleTables()) {
    await client.query(createStatement(table, (name) => `\`${name}\``, 'mysql'));
    for (const rows of portions(table, 20_000)) await client.query(`insert into \`${table.name}\` values ?`, [rows]);
  }
  await client.query(`
    create table ${largeTable} (
      id bigint primary key, sensor int not null, measured_at datetime(3) not null, value double,
      total decimal(18,4) not null, status varchar(12) not null, comment text)`);
  // One level of recursion more than 1,000 would exceed the servers' default limits, so two short series are crossed.
  await client.query(`
    insert into ${largeTable}
    with recursive s as (select 0 as i union all select i + 1 from s where i < 999),
         numbers as (select 1 + a.i * 1000 + b.i as n from s as a cross join s as b)
    select n, n % 977, timestamp('2020-01-01') + interval n * 1500000 microsecond, case when n % 13 <> 0 then n / 7e0 end,
           n * 1.2345, elt(1 + n % 4, 'ok', 'warn', 'échec', '⚠️'),
           case when n % 5 = 0 then null when n % 11 = 0 then '' else concat('sensor ', n % 977, ' reported ', left(sha2(n, 256), 32)) end
    from numbers where n <= ${largeRows}`);
  await client.query(`analyze table ${largeTable}`);
  await client.end();
}

function createStatement(table: SampleTable, quote: (name: string) => string, dialect: 'postgres' | 'mysql'): string {
  const columns = table.columns.map((column) => {
    const required = table.key.includes(column.name) ? ' not null' : '';
    return `${quote(column.name)} ${column[dialect]}${required}`;
  });
  return `create table ${quote(table.name)} (${columns.join(', ')}, primary key (${table.key.map(quote).join(', ')}))`;
}

function postgresValue(table: SampleTable, at: number, value: Value): Value | boolean {
  return table.columns[at]?.postgres === 'boolean' ? value === 1 : value;
}

/** Rows in portions of at most so many cells: PostgreSQL takes 65,535 parameters in a statement. */
function* portions(table: SampleTable, cells: number): Generator<Value[][]> {
  const size = Math.floor(cells / table.columns.length);
  for (let at = 0; at < table.rows.length; at += size) yield table.rows.slice(at, at + size);
}
