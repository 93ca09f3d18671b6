import { Connection as Client, Request, TYPES } from 'tedious';
import { translate } from './errors.ts';
import type { MssqlOptions } from './options.ts';

export type Value = string | number | boolean | Buffer | Date | null;
export type Row = readonly Value[];

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

/** A cell as tedious gives it. */
export type Cell = { readonly value: unknown };
/** What happens to the rows of a statement as they come. */
export type RowSink = { row(cells: readonly Cell[], request: Request): void };

/** Values bound by name (`@name`): text as nvarchar, whole numbers as bigint. */
export type Bound = Readonly<Record<string, string | bigint>>;

/** One session, with one statement at a time. */
export type Connection = {
  readonly facts: Facts;
  /** All rows of a statement. */
  query(sql: string, params?: Bound): Promise<Row[]>;
  /** Runs a statement, its rows to `sink`; resolves at its end. */
  stream(sql: string, sink: RowSink, params?: Bound): Promise<void>;
  broken(): boolean;
  destroy(): void;
};

/** Room enough that a packet carries several rows; the server grants at most this. */
const PACKET_BYTES = 32_767;
const CONNECT_MS = 15_000;

const FACTS = `SELECT CONVERT(nvarchar(128), SERVERPROPERTY(N'ProductVersion')) AS version,
 CONVERT(int, SERVERPROPERTY(N'EngineEdition')) AS edition, d.name, CONVERT(int, d.snapshot_isolation_state) AS snapshot,
 CONVERT(int, d.is_read_committed_snapshot_on) AS rcsi, CONVERT(int, d.is_cdc_enabled) AS cdc
FROM sys.databases AS d
WHERE d.name = DB_NAME()`;

/** Logs in. Throws the classes of `errors.ts`. */
export async function connect(options: MssqlOptions, signal?: AbortSignal): Promise<Connection> {
  const client = await logIn(options, signal);
  try {
    const run = session(client);
    const [row] = await run.query(FACTS);
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
    return { ...run, facts };
  } catch (error) {
    client.close();
    throw error;
  }
}

async function logIn(options: MssqlOptions, signal?: AbortSignal): Promise<Client> {
  if (options.ssl !== 'prefer') return logInOnce(options, options.ssl !== 'disable', signal);
  try {
    return await logInOnce(options, true, signal);
  } catch (error) {
    // The server has no TLS at all, which `prefer` accepts.
    if ((error as { action?: string }).action?.includes('prefer')) return logInOnce(options, false, signal);
    throw error;
  }
}

function logInOnce(options: MssqlOptions, encrypt: boolean, signal?: AbortSignal): Promise<Client> {
  signal?.throwIfAborted();
  const verified = options.ssl === 'verify-ca' || options.ssl === 'verify-full';
  const client = new Client({
    server: options.host,
    authentication: { type: 'default', options: { userName: options.user, password: options.password } },
    options: {
      ...(options.instance === undefined ? { port: options.port } : { instanceName: options.instance }),
      ...(options.database !== '' && { database: options.database }),
      ...(options.ca !== undefined && { cryptoCredentialsDetails: { ca: options.ca } }),
      encrypt,
      trustServerCertificate: !verified,
      appName: 'flow-ingest',
      connectTimeout: CONNECT_MS,
      requestTimeout: 0,
      packetSize: PACKET_BYTES,
      useColumnNames: false,
      rowCollectionOnRequestCompletion: false,
      maxRetriesOnTransientErrors: 0,
    },
  });
  return new Promise((resolve, reject) => {
    const abort = (): void => client.close();
    signal?.addEventListener('abort', abort, { once: true });
    // What befalls the socket between two statements is met by the next one.
    client.on('error', () => {});
    // The error of a refused login does not tell the server's number.
    let refused: { readonly number: number; readonly message: string } | undefined;
    const note = (message: { readonly number: number; readonly message: string }): void => {
      refused ??= message;
    };
    client.on('errorMessage', note);
    client.connect((error?: Error) => {
      signal?.removeEventListener('abort', abort);
      client.removeListener('errorMessage', note);
      if (signal?.aborted) {
        client.close();
        reject(signal.reason);
      } else if (error) {
        client.close();
        reject(translate(refused ? Object.assign(new Error(refused.message), { number: refused.number }) : error));
      } else resolve(client);
    });
  });
}

function session(client: Client): Omit<Connection, 'facts'> {
  let broken = false;
  let active: Request | undefined;
  const mark = (): void => {
    broken = true;
  };
  client.on('end', mark);
  client.on('error', mark);

  function stream(sql: string, sink: RowSink, params?: Bound): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = new Request(sql, (error) => {
        client.removeListener('end', ended);
        active = undefined;
        if (broken) client.close();
        if (error) reject(translate(error));
        else resolve();
      });
      const ended = (): void => reject(new Error('The connection to the source was cut.'));
      client.once('end', ended);
      request.on('row', (cells: readonly Cell[]) => {
        try {
          sink.row(cells, request);
        } catch (failed) {
          reject(failed);
          destroy();
        }
      });
      for (const [name, value] of Object.entries(params ?? {}))
        request.addParameter(name, typeof value === 'bigint' ? TYPES.BigInt : TYPES.NVarChar, value);
      if (broken) return ended();
      active = request;
      if (params) client.execSql(request);
      else client.execSqlBatch(request);
    });
  }

  /**
   * Ends the session. A statement at work is told to stop first: that frees the server at once, and a client that is closed between a
   * statement's last token and its end would throw where nobody can catch it.
   */
  function destroy(): void {
    if (broken) return;
    broken = true;
    if (active) client.cancel();
    else client.close();
  }

  return {
    stream,
    async query(sql, params) {
      const rows: Row[] = [];
      await stream(sql, { row: (cells) => void rows.push(cells.map(({ value }) => value as Value)) }, params);
      return rows;
    },
    broken: () => broken,
    destroy,
  };
}
