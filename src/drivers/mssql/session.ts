import mssql from 'mssql';
import { translate } from './errors.ts';
import type { MssqlOptions } from './options.ts';

export type Value = string | number | boolean | Buffer | Date | null;
export type Row = readonly Value[];

/** Holds a statement's rows back, and lets them come again. */
export type Flow = { pause(): void; resume(): void };
/** What happens to the rows of a statement as they come. */
export type RowSink = { row(cells: readonly unknown[], flow: Flow): void };

/** Values bound by name (`@name`): text as nvarchar, whole numbers as bigint. */
export type Bound = Readonly<Record<string, string | bigint>>;

/** One login, with one statement at a time. What it has set (isolation, a transaction) holds until it ends. */
export type Session = {
  /** All rows of a statement. */
  query(sql: string, params?: Bound): Promise<Row[]>;
  /** Runs a statement, its rows to `sink`; resolves at its end. Fails when fewer rows came than the server says it sent. */
  stream(sql: string, sink: RowSink, params?: Bound): Promise<void>;
  broken(): boolean;
  /** Ends it, and its statement. */
  destroy(): void;
};

type Client = Parameters<NonNullable<mssql.config['beforeConnect']>>[0];
type ServerMessage = { readonly number: number; readonly message: string };

/** Room enough that a packet carries several rows; the server grants at most this. */
const PACKET_BYTES = 32_767;
const CONNECT_MS = 15_000;
/** `ConnectionPool.connect` logs in once to see whether that works; the second login is the session's. */
const LOGINS = 2;
const CUT = 'The connection to the source was cut.';

/**
 * Logs in, and runs `first`, whose rows are returned. A session is a pool of `mssql` that holds one connection: that is the only way in
 * which `mssql` keeps statements on one login without a transaction of its own. Throws the classes of `errors.ts`.
 */
export async function openSession(
  options: MssqlOptions,
  encrypt: boolean,
  first: string,
  signal?: AbortSignal,
): Promise<{ readonly session: Session; readonly rows: readonly Row[] }> {
  signal?.throwIfAborted();
  let client: Client | undefined;
  let logins = 0;
  let broken = false;
  let closing = false;
  /** The session's own login is done. */
  let ready = false;
  let active: mssql.Request | undefined;
  // The error of a refused login does not tell the server's number.
  let refused: ServerMessage | undefined;
  let onEnd = (): void => {};

  const pool = new mssql.ConnectionPool({
    ...loginOf(options, encrypt),
    pool: { min: 1, max: 1 },
    validateConnection: false,
    beforeConnect(fresh) {
      logins++;
      if (broken || logins > LOGINS) {
        // The pool would put another login in the place of one that is gone, without its transaction and its settings.
        broken = true;
        fresh.close();
        throw new Error(CUT);
      }
      client = fresh;
      fresh.on('errorMessage', (message: ServerMessage) => {
        refused ??= message;
      });
      if (logins < LOGINS) return;
      fresh.on('connect', () => {
        ready = true;
      });
      fresh.on('error', gone);
      fresh.on('end', gone);
    },
  });
  // What befalls the socket between two statements is met by the next one.
  pool.on('error', () => {});

  function gone(): void {
    broken = true;
    onEnd();
    if (!active) close();
  }

  function close(): void {
    if (closing) return;
    closing = true;
    pool.close().catch(() => {});
  }

  function stream(sql: string, sink: RowSink, params?: Bound): Promise<void> {
    if (broken) return Promise.reject(new Error(CUT));
    return new Promise((resolve, reject) => {
      const request = new mssql.Request(pool);
      request.stream = true;
      request.arrayRowMode = true;
      let rows = 0;
      let told: number | undefined;
      const errors: Error[] = [];
      const finish = (): void => {
        onEnd = () => {};
        active = undefined;
        if (broken) close();
        if (errors.length > 0) reject(translate(errors.length > 1 ? new AggregateError(errors) : errors[0]));
        else if (told !== undefined && told !== rows)
          reject(new Error(`The server sent ${told} rows, of which ${rows} arrived.`));
        else resolve();
      };
      onEnd = () => reject(new Error(CUT));
      request.on('error', (error: Error) => errors.push(error));
      request.on('rowsaffected', (count: number) => {
        if (listed) told = (told ?? 0) + count;
      });
      let listed = false;
      request.on('recordset', () => {
        listed = true;
      });
      request.on('row', (cells: readonly unknown[]) => {
        rows++;
        try {
          sink.row(cells, request);
        } catch (failed) {
          reject(failed);
          destroy();
        }
      });
      for (const [name, value] of Object.entries(params ?? {}))
        request.input(name, typeof value === 'bigint' ? mssql.BigInt : mssql.NVarChar, value);
      active = request;
      // In this mode every failure is told by an event, before the end.
      (params ? request.query(sql) : request.batch(sql)).then(finish, (error: Error) => {
        errors.push(error);
        finish();
      });
    });
  }

  /**
   * A statement at work is told to stop first: that frees the server at once, and a client that is closed between a statement's last token
   * and its end would throw where nobody can catch it.
   */
  function destroy(): void {
    if (broken) return;
    broken = true;
    if (active) active.cancel();
    else close();
  }

  async function query(sql: string, params?: Bound): Promise<Row[]> {
    const rows: Row[] = [];
    await stream(sql, { row: (cells) => void rows.push(cells as Row) }, params);
    return rows;
  }

  const abort = (): void => {
    broken = true;
    active?.cancel();
    if (!ready) client?.close();
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await pool.connect();
    const rows = await query(first);
    signal?.throwIfAborted();
    return { session: { query, stream, broken: () => broken, destroy }, rows };
  } catch (error) {
    broken = true;
    close();
    if (signal?.aborted) throw signal.reason;
    throw translate(refused ? Object.assign(new Error(refused.message), { number: refused.number }) : error);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function loginOf(options: MssqlOptions, encrypt: boolean): mssql.config {
  const verified = options.ssl === 'verify-ca' || options.ssl === 'verify-full';
  return {
    server: options.host,
    authentication: { type: 'default', options: { userName: options.user, password: options.password } },
    ...(options.database !== '' && { database: options.database }),
    options: {
      ...(options.instance === undefined ? { port: options.port } : { instanceName: options.instance }),
      ...(options.ca !== undefined && { cryptoCredentialsDetails: { ca: options.ca } }),
      encrypt,
      trustServerCertificate: !verified,
      appName: 'flow-ingest',
      connectTimeout: CONNECT_MS,
      // 0: a read takes as long as it takes.
      requestTimeout: 0,
      packetSize: PACKET_BYTES,
      maxRetriesOnTransientErrors: 0,
    },
  };
}
