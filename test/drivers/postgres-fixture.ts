import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import type { Params } from '../../src/drivers/model.ts';
import { open } from '../../src/drivers/postgres/source.ts';
import type { Source } from '../../src/drivers/source.ts';

export type ServerName = string;

/** The PostgreSQL servers that tests run on: 15 and 18, and in the matrix also others. */
export function postgresServers(): ServerName[] {
  const matrix = inject('matrix').filter((one) => one.kind === 'postgres');
  return ['postgres15', 'postgres18', ...matrix.map((one) => one.name)];
}

/** How to connect to a server as its superuser. */
export type Address = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
};

export function addressOf(name: ServerName): Address {
  if (name === 'postgres15' || name === 'postgres18') return inject(name);
  const found = inject('matrix').find((one) => one.name === name);
  if (!found) throw new Error(`there is no server ${name}`);
  return found;
}

/** A database of its own on one of the test servers, dropped at the end. */
export type Playground = AsyncDisposable & {
  readonly database: string;
  readonly password: string;
  /** Rows as arrays of the server's own text. */
  sql(statement: string, values?: unknown[]): Promise<(string | null)[][]>;
  /** Another session of the tests' own, closed with the playground. */
  session(user?: { user: string; password: string }): Promise<pg.Client>;
  params(more?: Params): Params;
  open(more?: Params): Promise<Source>;
  /** Connections of the driver to this database. */
  sessions(): Promise<number>;
};

const asText = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;

/** `options`: appended to CREATE DATABASE, e.g. an encoding. */
export async function playground(server: ServerName | Address, options = ''): Promise<Playground> {
  const { host, port, user, password } = typeof server === 'string' ? addressOf(server) : server;
  const database = `pgd_${randomBytes(5).toString('hex')}`;
  const clients: pg.Client[] = [];
  const connect = async (to: string, as = { user, password }): Promise<pg.Client> => {
    const client = new pg.Client({ host, port, ...as, database: to, application_name: 'test' });
    // The servers may be stopped while a test's session is idle.
    client.on('error', () => {});
    await client.connect();
    clients.push(client);
    return client;
  };
  const root = await connect('postgres');
  await root.query(`create database ${database} ${options}`);
  const client = await connect(database);
  // The tests' session prints in another way than the driver's, so that neither can rely on a default.
  await client.query("set timezone = 'America/New_York'");
  const params = (more: Params = {}): Params => ({
    host,
    port: String(port),
    uid: user,
    pwd: password,
    db: database,
    ...more,
  });
  const query = async (by: pg.Client, statement: string, values: unknown[] = []) =>
    (await by.query<(string | null)[]>({ text: statement, values, rowMode: 'array', types: asText })).rows;
  return {
    database,
    password,
    sql: (statement, values) => query(client, statement, values),
    session: (as) => connect(database, as),
    params,
    open: (more) => open(params(more), new AbortController().signal),
    async sessions() {
      const rows = await query(
        root,
        "select count(*) from pg_stat_activity where datname = $1 and application_name = 'flow-ingest'",
        [database],
      );
      return Number(rows[0]?.[0]);
    },
    async [Symbol.asyncDispose]() {
      for (const one of clients) if (one !== root) await one.end();
      await root.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1', [
        database,
      ]);
      await root.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [database]);
      await root.query(`drop database ${database}`);
      await root.end();
    },
  };
}
