import { createServer, type Socket } from 'node:net';
import { type Connection, createConnection } from 'mysql2/promise';
import { catalogKey, type TableInfo } from './catalog.ts';
import { type Shared, serveClient } from './connection.ts';
import { describeTables } from './lookup.ts';
import type { Rejection } from './rules.ts';
import { showCreate, shownTable } from './show-create.ts';
import { DEFAULT_VARIABLES, type Variables } from './variables.ts';

/** How a stand-in for SingleStore is set up. */
export type SingleStoreProxyOptions = {
  /** The MariaDB behind it. With a user, tables that were not created through the proxy are looked up there. */
  backend: { host: string; port: number; user?: string; password?: string };
  /** 0 or nothing takes any free port of the loopback interface. */
  listenPort?: number;
  /** Called with each text before it is checked. */
  onStatement?: (sql: string) => void;
  /** Values of engine variables besides or in place of the default ones. */
  variables?: Variables;
  /** Looks for years below 1000 in the data of LOAD DATA, at the cost of reading each byte. */
  checkLoadDates?: boolean;
};

/** A running stand-in. */
export type SingleStoreProxy = {
  host: string;
  port: number;
  /** All texts so far, cut at 64 KB. */
  statements(): string[];
  /** All rejected texts with the rule that rejected them. */
  rejections(): { sql: string; rule: string }[];
  /** Ends all connections and stops listening. */
  close(): Promise<void>;
  /** Cuts all connections at once, as a server that is killed does, and stops listening. */
  kill(): void;
};

const LOGGED = 65_536;

/**
 * Starts *SingleStore mode*: a proxy on the MySQL protocol in front of MariaDB that answers as SingleStore does, takes
 * SingleStore's own syntax and rejects what SingleStore rejects (rules.ts). It cannot show what depends on the engine:
 * duplicate keys in a LOAD without REPLACE, silent conversions, padding of collations, unordered results, lock waits.
 */
export async function startSingleStoreProxy(options: SingleStoreProxyOptions): Promise<SingleStoreProxy> {
  const statements: string[] = [];
  const rejections: Rejection[] = [];
  const sockets = new Set<Socket>();
  const { host, port, user, password } = options.backend;
  let admin: Promise<Connection> | undefined;
  const connection = () => {
    admin ??= createConnection({
      host,
      port,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password }),
    });
    return admin;
  };
  const shared: Shared = {
    backend: { host, port },
    catalog: new Map<string, TableInfo>(),
    variables: { ...DEFAULT_VARIABLES, ...options.variables },
    checkLoadDates: options.checkLoadDates ?? false,
    async lookUp(parsed, session) {
      if (user === undefined) return session;
      const found = await describeTables(parsed, session, connection, shared.checkLoadDates);
      if (found.length === 0) return session;
      const catalog = new Map(session.catalog);
      for (const table of found) catalog.set(catalogKey(table, undefined), table);
      return { ...session, catalog };
    },
    async replace(statement, session) {
      const table = user === undefined ? undefined : shownTable(statement);
      return table && showCreate(table, session, connection);
    },
    onStatement(sql) {
      statements.push(sql.slice(0, LOGGED));
      options.onStatement?.(sql);
    },
    onRejection: (rejection) => rejections.push({ ...rejection, sql: rejection.sql.slice(0, LOGGED) }),
  };

  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  };
  const listener = createServer((client) => {
    track(client);
    track(serveClient(client, shared));
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(options.listenPort ?? 0, '127.0.0.1', resolve);
  });
  const address = listener.address();
  const kill = () => {
    listener.close();
    for (const socket of sockets) socket.resetAndDestroy();
    void admin?.then(
      (side) => side.destroy(),
      () => {},
    );
    admin = undefined;
  };
  return {
    host: '127.0.0.1',
    port: typeof address === 'object' && address ? address.port : 0,
    statements: () => [...statements],
    rejections: () => rejections.map(({ sql, rule }) => ({ sql, rule })),
    kill,
    async close() {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await (await admin?.catch(() => undefined))?.end();
      await closed;
    },
  };
}
