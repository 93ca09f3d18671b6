import { isPermanent } from '../errors.ts';
import { NO_TLS } from './errors.ts';
import type { MssqlOptions } from './options.ts';
import { openSession, type Session } from './session.ts';

/** What the server and its database are, read once per session. */
export type Facts = {
  readonly version: string;
  /** 11 = 2012, 13 = 2016, 16 = 2022. */
  readonly major: number;
  readonly azure: boolean;
  readonly database: string;
  /** ALLOW_SNAPSHOT_ISOLATION is on. */
  readonly snapshot: boolean;
  /** READ_COMMITTED_SNAPSHOT is on. */
  readonly committedSnapshot: boolean;
  /** CDC is enabled for the database. */
  readonly cdc: boolean;
};

/** A session, and what is known of its database. */
export type Connection = Session & { readonly facts: Facts };

const FACTS = `SELECT CONVERT(nvarchar(128), SERVERPROPERTY(N'ProductVersion')) AS version,
 CONVERT(int, SERVERPROPERTY(N'EngineEdition')) AS edition, d.name, CONVERT(int, d.snapshot_isolation_state) AS snapshot,
 CONVERT(int, d.is_read_committed_snapshot_on) AS rcsi, CONVERT(int, d.is_cdc_enabled) AS cdc
FROM sys.databases AS d
WHERE d.name = DB_NAME()`;

/** Logs in. Throws the classes of `errors.ts`. */
export async function connect(options: MssqlOptions, signal?: AbortSignal): Promise<Connection> {
  const { session, rows } = await logIn(options, signal);
  const [row] = rows;
  const version = String(row?.[0] ?? '');
  const edition = Number(row?.[1] ?? 0);
  const facts: Facts = {
    version,
    major: Number.parseInt(version, 10) || 11,
    azure: edition === 5 || edition === 8,
    database: String(row?.[2] ?? options.database),
    // 1: on; 3: being switched on, which waits for transactions.
    snapshot: Number(row?.[3] ?? 0) === 1,
    committedSnapshot: Number(row?.[4] ?? 0) === 1,
    cdc: Number(row?.[5] ?? 0) === 1,
  };
  return { ...session, facts };
}

async function logIn(options: MssqlOptions, signal?: AbortSignal): ReturnType<typeof openSession> {
  const open = (encrypt: boolean) => openSession(options, encrypt, FACTS, signal);
  if (options.ssl !== 'prefer') return open(options.ssl !== 'disable');
  try {
    return await open(true);
  } catch (error) {
    // The server has no TLS at all, which `prefer` accepts.
    if (isPermanent(error) && error.action === NO_TLS) return open(false);
    throw error;
  }
}
