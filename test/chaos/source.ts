import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ComparedSource } from '../../scripts/compare.ts';
import { type Fleet, productUser } from './fleet.ts';
import { mysqlChange, mysqlTables, odd, postgresChange, postgresTables } from './tables.ts';

/** The source database of a fleet: ten tables of every shape that matters to a load, one of them big. */
export type ChaosSource = {
  /** Product and version. */
  readonly version: string;
  /** Parameters as a client sends them. */
  readonly params: Readonly<Record<string, string>>;
  readonly compared: ComparedSource;
  /** The two names that come before a table's in the documented routes. */
  readonly path: readonly [database: string, schema: string];
  readonly schema: string;
  readonly tables: readonly string[];
  /** Changes rows of every table, so that a repeated full has to replace it. */
  change(round: number): Promise<void>;
  /** A session of our own, for changes that go on. */
  connect(): Promise<SourceSession>;
  /** Sessions that the product has open. */
  sessions(): Promise<string[]>;
  /** Replication slots and publications; none but at PostgreSQL. */
  slots(): Promise<string[]>;
  publications(): Promise<string[]>;
};

export type SourceSession = { query(sql: string): Promise<unknown>; close(): Promise<void> };

const name = 'chaos';
const copied = [
  'big',
  'by_text',
  'composite',
  'keyless',
  'empty_table',
  odd,
  'select',
  'kinds',
  'parent',
  'child',
  'tiny',
];

/** Makes the tables; `rows` are those of the big one. */
export async function seedSource(fleet: Fleet, rows: number): Promise<ChaosSource> {
  return fleet.sourceName === 'postgres' ? seedPostgres(fleet, rows) : seedMysql(fleet, rows);
}

async function seedPostgres({ source }: Fleet, rows: number): Promise<ChaosSource> {
  const { host, port, user, password } = source;
  const query = async (sql: string, database = name): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ host, port, user, password, database });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  await query(`create database ${name}`, 'postgres');
  await query(`create role ${productUser.user} superuser login password '${productUser.password}'`);
  await query(postgresTables(rows));
  const [server] = await query("select current_setting('server_version') as version");
  const names = async (sql: string) => (await query(sql)).map((row) => String(row['name']));
  return {
    version: `PostgreSQL ${server?.['version']}`,
    params: login('rds.pgres', host, port, name),
    compared: { kind: 'postgres', host, port, user, password, database: name },
    path: [name, 'public'],
    schema: 'public',
    tables: copied,
    change: async (round) => {
      await query(postgresChange(round));
    },
    connect: async () => {
      const client = new pg.Client({ host, port, user, password, database: name });
      client.on('error', () => {});
      await client.connect();
      return { query: (sql) => client.query(sql), close: () => client.end() };
    },
    sessions: () =>
      names(
        `select state || ': ' || left(query, 100) as name from pg_stat_activity where usename = '${productUser.user}'`,
      ),
    slots: () => names('select slot_name as name from pg_replication_slots order by 1'),
    publications: () => names('select pubname as name from pg_publication order by 1'),
  };
}

async function seedMysql({ source }: Fleet, rows: number): Promise<ChaosSource> {
  const { host, port, user, password } = source;
  const query = async (sql: string): Promise<Record<string, unknown>[]> => {
    const options = { host, port, user, password, charset: 'utf8mb4', multipleStatements: true };
    const client = await mysql.createConnection(options);
    try {
      return (await client.query(sql))[0] as Record<string, unknown>[];
    } finally {
      client.destroy();
    }
  };
  await query(`create database ${name} character set utf8mb4`);
  await query(grant());
  await query(`use ${name}; ${mysqlTables(rows)}`);
  const [server] = await query('select version() as version');
  return {
    version: mysqlVersion(server?.['version']),
    params: login('rds.mysql', host, port),
    compared: { kind: 'mysql', host, port, user, password },
    path: ['default', name],
    schema: name,
    tables: copied,
    change: async (round) => {
      await query(`use ${name}; ${mysqlChange(round)}`);
    },
    connect: async () => {
      const options = { host, port, user, password, charset: 'utf8mb4', multipleStatements: true, database: name };
      const client = await mysql.createConnection(options);
      client.on('error', () => {});
      return { query: (sql) => client.query(sql), close: async () => client.destroy() };
    },
    sessions: async () => (await query(processes())).map((row) => String(row['name'])),
    slots: async () => [],
    publications: async () => [],
  };
}

/** Product and version, from what `version()` returns. */
export function mysqlVersion(version: unknown): string {
  const text = String(version);
  return text.includes('MariaDB') ? `MariaDB ${text.split('-')[0]}` : `MySQL ${text}`;
}

/** Makes the product's account at a MySQL-wire server. */
export function grant(): string {
  const account = `'${productUser.user}'@'%'`;
  return `create user ${account} identified by '${productUser.password}'; grant all on *.* to ${account};`;
}

/** The product's sessions at a MySQL-wire server. */
export function processes(): string {
  return `select concat(command, ' ', time, ' s: ', coalesce(left(info, 100), '')) as name from information_schema.processlist where user = '${productUser.user}'`;
}

function login(type: string, host: string, port: number, db?: string): Record<string, string> {
  const { user: uid, password: pwd } = productUser;
  return { type, host, port: String(port), uid, pwd, ...(db === undefined ? {} : { db }) };
}
