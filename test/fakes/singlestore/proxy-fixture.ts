import { type Connection, type ConnectionOptions, createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, inject } from 'vitest';
import { type SingleStoreProxy, type SingleStoreProxyOptions, startSingleStoreProxy } from './proxy.ts';

/** A proxy in front of the test server with a database of its own, and ways to talk through it and past it. */
export type ProxyFixture = {
  database: string;
  proxy(): SingleStoreProxy;
  /** A connection to the server itself, in the database. */
  direct(): Connection;
  /** How to log in through a proxy. */
  login(at?: { host: string; port: number }): { host: string; port: number; user: string; password: string };
  /** A connection through a proxy, ended with the tests. */
  through(at?: { host: string; port: number }, options?: ConnectionOptions): Promise<Connection>;
  /** Runs with a proxy of other options. */
  withProxy<T>(options: Partial<SingleStoreProxyOptions>, run: (proxy: SingleStoreProxy) => Promise<T>): Promise<T>;
};

/** Sets the fixture up for the tests of one file. */
export function proxyFixture(name: string): ProxyFixture {
  const server = inject('destination');
  const database = `${name}_${process.pid}`;
  const open: Connection[] = [];
  let proxy: SingleStoreProxy;
  let direct: Connection;
  const login = (at: { host: string; port: number } = proxy) => ({
    host: at.host,
    port: at.port,
    user: server.user,
    password: server.password,
  });

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

  return {
    database,
    proxy: () => proxy,
    direct: () => direct,
    login,
    async through(at = proxy, options = {}) {
      const connection = await createConnection({ ...login(at), database, dateStrings: true, ...options });
      connection.on('error', () => {});
      open.push(connection);
      return connection;
    },
    async withProxy(options, run) {
      const own = await startSingleStoreProxy({ backend: server, ...options });
      try {
        return await run(own);
      } finally {
        await own.close();
      }
    },
  };
}

/** The rows of a query. */
export async function rows(connection: Connection, sql: string): Promise<RowDataPacket[]> {
  const [found] = await connection.query<RowDataPacket[]>(sql);
  return found;
}

/** The error of a promise, undefined when there is none. */
export function errorOf(
  promise: Promise<unknown>,
): Promise<{ errno?: number; sqlState?: string; message: string } | undefined> {
  return promise.then(
    () => undefined,
    (error) => error,
  );
}
