import type { Socket } from 'node:net';
import mysql from 'mysql2';
import { errorNumber, translate } from './errors.ts';
import type { MysqlOptions } from './options.ts';

/** What the driver needs to know of the server it talks to. */
export type ServerFacts = {
  readonly product: 'MySQL' | 'MariaDB';
  /** As the server prints it, without MariaDB's replication prefix. */
  readonly version: string;
  /** `version` as one number: 8.0.36 is 80036. */
  readonly number: number;
  /** 0: names of tables are case-sensitive (`lower_case_table_names`). */
  readonly lowerCaseNames: number;
};

/** One session at the server, set up for exact reading: UTC, utf8mb4, read-only, no statement timeouts. */
export type Connection = {
  readonly facts: ServerFacts;
  /** For KILL. */
  readonly id: string;
  /** Rows of a statement as texts in column order; NULL is null. Throws translated errors. */
  query(sql: string): Promise<Row[]>;
  /** mysql2's own object; used by the row reader only. */
  readonly wire: Wire;
  /** Closes the socket at once. */
  destroy(): void;
  /** True once the session can't be used any more. */
  broken(): boolean;
};
export type Row = readonly (string | null)[];

/** The internals of a mysql2 connection (pinned version) that the row reader uses; test/drivers/mysql-reading.db.test.ts covers them. */
export type Wire = {
  readonly stream: Socket;
  readonly packetParser: { execute(data: Buffer): void };
  sequenceId: number;
  addCommand(command: object): void;
};

/** Opens a session. Aborting `signal` ends the attempt. Throws translated errors. */
export async function connect(options: MysqlOptions, signal?: AbortSignal): Promise<Connection> {
  try {
    return await session(await dialAsAsked(options, signal), signal);
  } catch (error) {
    throw signal?.aborted ? signal.reason : translate(error);
  }
}

async function dialAsAsked(options: MysqlOptions, signal?: AbortSignal): Promise<mysql.Connection> {
  if (options.ssl === 'disable') return dial(options, false, signal);
  try {
    return await dial(options, true, signal);
  } catch (error) {
    // As MySQL's own clients: `prefer` falls back only where the server offers no TLS at all.
    const offered = (error as { code?: string }).code !== 'HANDSHAKE_NO_SSL_SUPPORT';
    if (offered || options.ssl !== 'prefer') throw error;
    return dial(options, false, signal);
  }
}

/** Before 5.5.3 there is no utf8mb4. */
const UNKNOWN_CHARSET = 1115;
const CONNECT_TIMEOUT_MS = 20_000;

function dial(options: MysqlOptions, encrypted: boolean, signal?: AbortSignal): Promise<mysql.Connection> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const connection = mysql.createConnection({
      host: options.host,
      port: options.port,
      user: options.user,
      password: options.password,
      ...(options.database === '' ? {} : { database: options.database }),
      ...(encrypted ? { ssl: tls(options) } : {}),
      charset: 'UTF8MB4_GENERAL_CI',
      connectTimeout: CONNECT_TIMEOUT_MS,
      // No file of the worker may be asked for by a server, and the raw reader sends plain COM_QUERY packets.
      flags: ['-LOCAL_FILES', '-CLIENT_QUERY_ATTRIBUTES', '-DEPRECATE_EOF'],
      rowsAsArray: true,
      typeCast: (field: { string(): string | null }) => field.string(),
    });
    const abort = () => {
      connection.destroy();
      reject(signal?.reason);
    };
    const fail = (error: Error) => {
      signal?.removeEventListener('abort', abort);
      connection.destroy();
      reject(error);
    };
    signal?.addEventListener('abort', abort, { once: true });
    connection.once('error', fail);
    connection.once('connect', () => {
      signal?.removeEventListener('abort', abort);
      connection.removeListener('error', fail);
      resolve(connection);
    });
  });
}

function tls(options: MysqlOptions): mysql.SslOptions & { verifyIdentity: boolean } {
  const verified = options.ssl === 'verify-ca' || options.ssl === 'verify-full';
  return {
    rejectUnauthorized: verified,
    verifyIdentity: options.ssl === 'verify-full',
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...(options.cert === undefined ? {} : { cert: options.cert }),
    ...(options.key === undefined ? {} : { key: options.key }),
    // Servers before 5.7.28 speak TLS 1.0 with old ciphers only; without verification there is nothing left to lose by it.
    ...(verified ? {} : { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }),
  };
}

async function session(raw: mysql.Connection, signal?: AbortSignal): Promise<Connection> {
  let broken = false;
  // Without a listener, the end of an idle connection would end the process.
  raw.on('error', () => {
    broken = true;
  });
  raw.on('end', () => {
    broken = true;
  });
  // mysql2 never answers a query whose connection was destroyed.
  const unanswered = new Set<(error: Error) => void>();
  const query = (sql: string): Promise<Row[]> =>
    new Promise((resolve, reject) => {
      unanswered.add(reject);
      raw.query(sql, (error, rows) => {
        unanswered.delete(reject);
        if (!error) return resolve(rows as unknown as Row[]);
        if ((error as { fatal?: boolean }).fatal) broken = true;
        reject(translate(error));
      });
    });
  const destroy = () => {
    broken = true;
    raw.destroy();
    // mysql2 only ends its side, and would wait for a server that is busy with a statement.
    (raw as unknown as Wire).stream.destroy();
    for (const reject of unanswered) reject(new Error('The connection was closed.'));
    unanswered.clear();
  };
  signal?.addEventListener('abort', destroy, { once: true });
  try {
    const [row] = await query('select version(), connection_id(), @@lower_case_table_names');
    const facts = serverFacts(row?.[0] ?? '', Number(row?.[2] ?? '0'));
    for (const statement of setUp(facts)) await query(statement);
    if (!(await tolerate(query('set names utf8mb4'), [UNKNOWN_CHARSET]))) await query('set names utf8');
    if (facts.product === 'MySQL' && facts.number >= 80_030)
      await tolerate(query('set session show_gipk_in_create_table_and_information_schema = on'), [1227, 1193, 3655]);
    return {
      facts,
      id: row?.[1] ?? '',
      query,
      wire: raw as unknown as Wire,
      destroy,
      broken: () => broken,
    };
  } catch (error) {
    destroy();
    throw error;
  } finally {
    signal?.removeEventListener('abort', destroy);
  }
}

/** Awaits `work`; the server errors in `numbers` give undefined. */
export async function tolerate<T>(work: Promise<T>, numbers: readonly number[]): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (!numbers.includes(errorNumber(error) ?? -1)) throw error;
    return undefined;
  }
}

/** Reads `select version()`: `10.11.19-MariaDB-0+deb12u1-log`, `8.0.36`, and MariaDB's `5.5.5-10.3.39-MariaDB`. */
export function serverFacts(version: string, lowerCaseNames: number): ServerFacts {
  const mariadb = /mariadb/i.test(version);
  const shown = version.replace(/^5\.5\.5-(?=\d+\.\d+\.\d+-mariadb)/i, '');
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(shown) ?? [];
  return {
    product: mariadb ? 'MariaDB' : 'MySQL',
    version: shown,
    number: Number(major) * 10_000 + Number(minor) * 100 + Number(patch),
    lowerCaseNames,
  };
}

/** A paused reader must not be dropped by the server: the destination may take its time. */
const STALL_SECONDS = 86_400;

function setUp(facts: ServerFacts): string[] {
  const settings = [
    "time_zone = '+00:00'",
    // '' lets zero dates through and keeps CHAR free of padding (PAD_CHAR_TO_FULL_LENGTH), backslash and quotes as usual.
    "sql_mode = ''",
    `net_write_timeout = ${STALL_SECONDS}`,
    `net_read_timeout = ${STALL_SECONDS}`,
    `wait_timeout = ${STALL_SECONDS}`,
    'sql_auto_is_null = 0',
    'sql_big_selects = 1',
    'sql_select_limit = default',
  ];
  if (facts.product === 'MariaDB') settings.push('max_statement_time = 0');
  else if (facts.number >= 50_708) settings.push('max_execution_time = 0');
  // Cached statistics would show a table that was just filled as empty.
  if (facts.product === 'MySQL' && facts.number >= 80_000) settings.push('information_schema_stats_expiry = 0');
  const statements = [
    `set session ${settings.join(', session ')}`,
    'set session transaction isolation level repeatable read',
  ];
  const readOnly = facts.product === 'MariaDB' ? facts.number >= 100_000 : facts.number >= 50_600;
  if (readOnly) statements.push('set session transaction read only');
  return statements;
}
