import { readFile } from 'node:fs/promises';
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { Misconfigured } from '../errors.ts';
import type { Params } from '../model.ts';
import { explained } from './failure.ts';

/** A source's connections and what every part of the driver needs to know about its server. */
export type Server = {
  readonly pool: pg.Pool;
  /** `server_version_num`: 150018 is 15.18. */
  readonly version: number;
  readonly versionText: string;
  readonly database: string;
  readonly user: string;
  /** Digits after the point of `money`, which follow the server's lc_monetary. */
  readonly moneyScale: number;
  /** Connections in use, so that closing can end them. */
  readonly busy: Set<Session>;
  /** Opens a connection that can stream the log, with the same fixed settings; the caller ends it. */
  replication(): Promise<pg.Client>;
};

/** A connection in use, with what is needed to end its backend from another one. */
export type Session = pg.PoolClient & { readonly backend: { readonly pid: number; readonly started: string } };

/**
 * Settings that fix how values print: EXACTNESS.md §9, drivers.md §2.2. `row_security = off` makes a filtered read an error instead of
 * a silent loss of rows. jit costs more than it gains on copies. extra_float_digits above 0 is the shortest exact text from 12 on.
 */
const SETTINGS: readonly (readonly [since: number, statement: string])[] = [
  [0, "set client_encoding = 'UTF8'"],
  [0, 'set idle_in_transaction_session_timeout = 0'],
  [140000, 'set idle_session_timeout = 0'],
  [170000, 'set transaction_timeout = 0'],
  [0, "set lock_timeout = '60s'"],
  [0, "set datestyle = 'ISO'"],
  [0, "set intervalstyle = 'iso_8601'"],
  [0, "set timezone = 'UTC'"],
  [0, 'set extra_float_digits = 3'],
  [0, "set bytea_output = 'hex'"],
  [0, 'set standard_conforming_strings = on'],
  [0, 'set row_security = off'],
  [110000, 'set jit = off'],
];

/**
 * What the log prints by itself, where a read can say how: money in a notation that does not depend on the server, and names of the kind of
 * regclass as `openSnapshot` reads them.
 */
const LOG_SETTINGS = ["set lc_monetary = 'C'", 'set search_path = pg_catalog'];

// A message of its own: the clock of the old limit runs until the end of the message that it began with.
const NO_TIMEOUT = 'set statement_timeout = 0';

/** Connects with the documented parameters; the first connection proves login and version. Throws `AccessDenied`, `Misconfigured`. */
export async function connect(params: Params, signal: AbortSignal): Promise<Server> {
  const { host = '', port = '5432', uid: user = '', pwd: password = '' } = params;
  const database = params['db'] || 'postgres';
  if (host === '' || user === '') throw new Misconfigured('A PostgreSQL source needs `host` and `uid`.', 'Set them.');
  const about = { server: `${host}:${port}`, user };
  const base = {
    host,
    port: Number(port),
    user,
    password,
    database,
    application_name: 'flow-ingest',
    connectionTimeoutMillis: 20_000,
    keepAlive: true,
  };
  return explained(about, async () => {
    signal.throwIfAborted();
    const ssl = await tls(params);
    const config = { ...base, ssl: ssl === 'prefer' ? await preferred(base) : ssl };
    const pool = new pg.Pool({ ...config, Client, max: 64, idleTimeoutMillis: 10_000, allowExitOnIdle: true });
    // An idle connection that the server closes must not end the process; the next use opens a new one.
    pool.on('error', () => {});
    try {
      const facts = await greet(pool);
      return {
        pool,
        database,
        user,
        busy: new Set(),
        ...facts,
        replication: () => openReplication(config, facts.version),
      };
    } catch (error) {
      await pool.end();
      throw error;
    }
  });
}

type Connected = ((error: Error) => void) & ((error: null, client: pg.Client) => void);

/** A pool's client. One that gives up in the middle of the login is left open by `pg`, and held by the server for a minute. */
class Client extends pg.Client {
  override connect(): Promise<pg.Client>;
  override connect(done: Connected): void;
  override connect(done?: Connected): Promise<pg.Client> | undefined {
    const connecting = super.connect().catch((error: unknown) => {
      // Not awaited: a server that has stopped answering would never let it end.
      void this.end().catch(() => {});
      throw error;
    });
    if (done === undefined) return connecting;
    connecting.then(() => done(null, this), done);
    return undefined;
  }
}

async function greet(pool: pg.Pool): Promise<Pick<Server, 'version' | 'versionText' | 'moneyScale'>> {
  const client = await pool.connect();
  try {
    await client.query(NO_TIMEOUT);
    const { rows } = await client.query<{ num: string; text: string; money: number }>(
      `select current_setting('server_version_num') as num, current_setting('server_version') as text, scale(1::money::numeric) as money`,
    );
    const row = rows[0] as (typeof rows)[0];
    const version = Number(row.num);
    if (version < 100000)
      throw new Misconfigured(
        `PostgreSQL ${row.text} is too old: 10 is the oldest that can be copied.`,
        'Upgrade the server.',
      );
    return { version, versionText: row.text, moneyScale: row.money };
  } finally {
    client.release();
  }
}

/** Lends a connection with the fixed settings; it is closed instead of reused when `work` fails. */
export async function withSession<T>(server: Server, work: (session: Session) => Promise<T>): Promise<T> {
  const session = await takeSession(server);
  let failed = true;
  try {
    const result = await work(session);
    failed = false;
    return result;
  } finally {
    giveBack(server, session, failed);
  }
}

/** Takes a connection out of the pool; the caller gives it back with `giveBack`. */
export async function takeSession(server: Server): Promise<Session> {
  const client = (await server.pool.connect()) as pg.PoolClient & { backend?: Session['backend'] };
  // Without a listener an error between two queries would end the process; the next query reports it.
  if (client.listenerCount('error') === 0) client.on('error', () => {});
  if (client.backend === undefined) {
    try {
      await client.query(NO_TIMEOUT);
      await client.query(settingsOf(server.version).join(';'));
      const { rows } = await client.query<{ pid: number; started: string }>(
        'select pid, backend_start::text as started from pg_stat_activity where pid = pg_backend_pid()',
      );
      client.backend = rows[0] ?? { pid: 0, started: '' };
    } catch (error) {
      client.release(true);
      throw error;
    }
  }
  const session = client as Session;
  server.busy.add(session);
  return session;
}

function settingsOf(version: number): string[] {
  return SETTINGS.filter(([since]) => version >= since).map(([, statement]) => statement);
}

async function openReplication(config: pg.ClientConfig, version: number): Promise<pg.Client> {
  // A small buffer, so that pausing the socket stops the reading and not only the giving.
  const stream = (): Socket => new Socket({ readableHighWaterMark: 1024 } as SocketConstructorOpts);
  const client = new pg.Client({ ...config, stream, ...{ replication: 'database' } });
  // Whoever reads it hears of the error from its own query.
  client.on('error', () => {});
  try {
    await client.connect();
    // One statement a message: servers before 14 look for replication commands in the whole text.
    for (const statement of [NO_TIMEOUT, ...settingsOf(version), ...LOG_SETTINGS]) await client.query(statement);
    // A server without an encoding refuses to send what is not UTF-8, and would then send nothing more: the rows are checked instead.
    const { rows } = await client.query<{ encoding: string }>("select current_setting('server_encoding') as encoding");
    if (rows[0]?.encoding === 'SQL_ASCII') await client.query("set client_encoding = 'SQL_ASCII'");
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

/** Puts a connection back, or closes it (`broken`): nothing of a failed transaction may reach its next user. */
export function giveBack(server: Server, session: Session, broken: boolean): void {
  if (!server.busy.delete(session)) return;
  session.release(broken);
}

/**
 * Ends a connection that is in the middle of a query: the socket at once, and the backend too, which would otherwise notice only when it
 * sends its next row. Never throws.
 */
export async function abandon(server: Server, session: Session): Promise<void> {
  if (!server.busy.delete(session)) return;
  const { pid, started } = session.backend;
  const { connection } = session as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
  session.release(true);
  await server.pool
    .query(
      'select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2::timestamptz and usename = current_user',
      [pid, started],
    )
    .catch(() => {});
}

/** Ends all connections, also those in use. */
export async function close(server: Server): Promise<void> {
  await Promise.all([...server.busy].map((session) => abandon(server, session)));
  await server.pool.end();
}

async function tls(params: Params): Promise<ConnectionOptions | false | 'prefer'> {
  const mode = params['ssl_mode'] || 'prefer';
  const ca = params['ssl_ca'];
  const files = {
    ...(ca ? { ca: await pem(ca) } : {}),
    ...(params['ssl_cert'] ? { cert: await pem(params['ssl_cert']) } : {}),
    ...(params['ssl_key'] ? { key: await pem(params['ssl_key']) } : {}),
  };
  switch (mode) {
    case 'disable':
      return false;
    case 'prefer':
      return files.cert === undefined ? 'prefer' : { ...files, rejectUnauthorized: false };
    case 'require':
      return { ...files, rejectUnauthorized: false };
    case 'verify-ca':
      return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined };
    case 'verify-full':
      return { ...files, rejectUnauthorized: true };
    default:
      throw new Misconfigured(
        `ssl_mode "${mode}" is unknown.`,
        'Use one of disable, prefer, require, verify-ca, verify-full.',
      );
  }
}

async function pem(text: string): Promise<string> {
  if (text.includes('-----BEGIN')) return text;
  return readFile(text, 'utf8').catch(() => {
    throw new Misconfigured('A TLS file can not be read.', 'Give PEM text or the path of a file on the worker.');
  });
}

/** TLS if the server offers it, as `prefer` means everywhere; asked once, so that later connections cost no extra attempt. */
async function preferred(base: pg.ClientConfig): Promise<ConnectionOptions | false> {
  const ssl = { rejectUnauthorized: false };
  const probe = new pg.Client({ ...base, ssl });
  probe.on('error', () => {});
  try {
    await probe.connect();
    return ssl;
  } catch (error) {
    if (/does not support SSL/.test(String(error))) return false;
    throw error;
  } finally {
    await probe.end().catch(() => {});
  }
}
