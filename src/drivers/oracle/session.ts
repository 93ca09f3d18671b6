import type oracledb from 'oracledb';
import { Misconfigured } from '../errors.ts';
import { translate } from './errors.ts';
import type { Address, OracleOptions } from './options.ts';
import type { CellValue } from './row-text.ts';

/** A row as the client library gives it: NUMBER as text, LOBs as text or bytes, everything else as `types.ts` asks for it. */
export type ResultRow = readonly CellValue[];
export type Binds = readonly (string | number | null)[];

/** A session at the server. One call at a time. */
export type Session = {
  readonly facts: Facts;
  /** Runs a statement; all its rows. */
  query(sql: string, binds?: Binds): Promise<ResultRow[]>;
  /** Runs a query and gives its rows in pieces of at most `rowsAtOnce`, fetched when they are asked for. */
  rows(sql: string, binds: Binds, rowsAtOnce: number): AsyncGenerator<readonly ResultRow[], void, undefined>;
  broken(): boolean;
  /** Ends what the session is doing, and the session. */
  destroy(): Promise<void>;
};

/** What is known of a server as soon as a session stands. */
export type Facts = {
  /** `19.3.0.0.0`, and its first number. */
  readonly version: string;
  readonly major: number;
};

/** The database that sessions work in: a pluggable database (id above 1), the root (1), or one without containers (0). */
export type Container = { readonly name: string; readonly id: number };

/** Uniform texts: of values in SQL_REDO, of numbers, and of intervals. Session times are UTC. */
const SETTINGS = [
  "alter session set nls_date_format = 'SYYYY-MM-DD HH24:MI:SS'",
  "nls_timestamp_format = 'SYYYY-MM-DD HH24:MI:SS.FF9'",
  "nls_timestamp_tz_format = 'SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM'",
  "nls_numeric_characters = '.,'",
  "nls_date_language = 'AMERICAN'",
  "nls_sort = 'BINARY'",
  "nls_comp = 'BINARY'",
  "time_zone = '+00:00'",
].join(' ');

/** Opens a session; `container`: the pluggable database to go to. Throws the classes of `errors.ts`. */
export async function connect(
  options: OracleOptions,
  address: Address,
  container: string | undefined,
  signal?: AbortSignal,
): Promise<Session> {
  signal?.throwIfAborted();
  const { default: client } = await import('oracledb');
  loadThickClient(client, options.thickClient);
  const opening = client
    .getConnection({
      user: address.user,
      password: address.password,
      connectString: descriptor(options, address),
      ...(options.wallet === undefined ? {} : { walletContent: options.wallet }),
    })
    .catch((error: unknown) => {
      throw translate(error);
    });
  const connection = await abortable(opening, signal);
  const session = sessionOf(client, connection);
  try {
    await session.query(SETTINGS);
    if (container !== undefined)
      await session.query(`alter session set container = "${container.replaceAll('"', '').toUpperCase()}"`);
    return session;
  } catch (error) {
    await session.destroy();
    throw error;
  }
}

/** The client library can't be told to give up: a connection that comes too late is closed. */
async function abortable(
  opening: Promise<oracledb.Connection>,
  signal: AbortSignal | undefined,
): Promise<oracledb.Connection> {
  if (signal === undefined) return opening;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([opening, aborted]);
  } catch (error) {
    void opening.then((late) => late.close()).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

let thickLoaded: string | undefined;

/** Thick mode is a matter of the whole process, decided before its first connection. */
function loadThickClient(client: typeof oracledb, folder: string | undefined): void {
  if (folder === undefined || thickLoaded === folder) return;
  try {
    client.initOracleClient({ libDir: folder });
  } catch (error) {
    if (!/NJS-118|NJS-090/.test((error as Error).message)) throw translate(error);
    throw new Misconfigured(
      'This worker has used Oracle in thin mode, or with other client libraries, and can not change that while it runs.',
      'Give all Oracle connections the same `thick_client`, and start the workers again.',
    );
  }
  thickLoaded = folder;
}

function descriptor({ tls }: OracleOptions, { host, port, service }: Address): string {
  const plain = (name: string, value: string): string => {
    if (/[()=\s"']/.test(value))
      throw new Misconfigured(`The parameter ${name} holds a character that no ${name} has.`, `Correct ${name}.`);
    return value;
  };
  const sid = /^sid:(.+)$/i.exec(service)?.[1];
  const data = sid === undefined ? `SERVICE_NAME=${plain('db', service)}` : `SID=${plain('db', sid)}`;
  const security = tls === 'off' ? '' : `(SECURITY=(SSL_SERVER_DN_MATCH=${tls === 'verify-full' ? 'yes' : 'no'}))`;
  // Probes every minute: balancers cut connections that are silent for some minutes, as during a long call.
  return `(DESCRIPTION=(CONNECT_TIMEOUT=20)(TRANSPORT_CONNECT_TIMEOUT=10)(EXPIRE_TIME=1)(ADDRESS=(PROTOCOL=${tls === 'off' ? 'tcp' : 'tcps'})(HOST=${plain('host', host)})(PORT=${port}))(CONNECT_DATA=(${data}))${security})`;
}

function sessionOf(client: typeof oracledb, connection: oracledb.Connection): Session {
  let broken = false;
  let busy = false;
  const exact = (column: { dbType?: unknown }) => {
    if (column.dbType === client.DB_TYPE_NUMBER) return { type: client.STRING };
    if (column.dbType === client.DB_TYPE_CLOB || column.dbType === client.DB_TYPE_NCLOB) return { type: client.STRING };
    if (column.dbType === client.DB_TYPE_BLOB) return { type: client.BUFFER };
    return undefined;
  };
  const version = connection.oracleServerVersionString ?? '';

  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    busy = true;
    try {
      return await work();
    } catch (error) {
      const known = translate(error);
      if (/NJS-50[0-9]|NJS-521|ORA-03113|ORA-03114|ORA-03135|ORA-00028|ORA-02396/.test((error as Error).message))
        broken = true;
      throw known;
    } finally {
      busy = false;
    }
  }

  return {
    facts: { version, major: Number(version.split('.')[0] ?? '0') },

    query: (sql, binds = []) =>
      guarded(async () => {
        const result = await connection.execute(sql, [...binds], {
          outFormat: client.OUT_FORMAT_ARRAY,
          fetchArraySize: 1000,
          prefetchRows: 1000,
          fetchTypeHandler: exact,
        } as oracledb.ExecuteOptions);
        return (result.rows ?? []) as ResultRow[];
      }),

    async *rows(sql, binds, rowsAtOnce) {
      const set = await guarded(async () => {
        const result = await connection.execute(sql, [...binds], {
          outFormat: client.OUT_FORMAT_ARRAY,
          resultSet: true,
          fetchArraySize: rowsAtOnce,
          prefetchRows: rowsAtOnce,
          fetchTypeHandler: exact,
        } as oracledb.ExecuteOptions);
        return result.resultSet as oracledb.ResultSet<ResultRow>;
      });
      for (;;) {
        const rows = await guarded(() => set.getRows(rowsAtOnce));
        if (rows.length > 0) yield rows as unknown as readonly ResultRow[];
        if (rows.length < rowsAtOnce) break;
      }
      await guarded(() => set.close());
    },

    broken: () => broken,

    async destroy() {
      broken = true;
      try {
        if (busy) await connection.break();
      } catch {
        // The call may have ended by itself meanwhile.
      }
      await connection.close({ drop: true }).catch(() => {});
    },
  };
}
