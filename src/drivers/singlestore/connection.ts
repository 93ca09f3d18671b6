import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Connection, createConnection, type QueryError } from 'mysql2';
import { AccessDenied } from '../errors.ts';
import { type Address, connectionOptions } from './params.ts';

/** Sees every statement; what it throws ends the connection as a lost network would. Tests use it to read, lint and cut. */
export type Observe = (sql: string, when: 'before' | 'after') => void;

/** A connection to the destination. Text protocol only; after any error it is destroyed, never used again. */
export type Session = {
  readonly connection: Connection;
  readonly observe: Observe | undefined;
  /** Set once the connection has ended, with the reason. */
  lost: Error | undefined;
  readonly waiting: Set<(error: Error) => void>;
};

/** What a statement without rows answered. `affected` counts matched rows, also those that an update left equal. */
export type Answer = { readonly affected: number; readonly warnings: number; readonly info: string };

/** One row by column name; numbers beyond 2^53 arrive as text. */
export type Row = Readonly<Record<string, string | number | null>>;

type Result = Row[] | { affectedRows: number; warningStatus: number; info: string };
type Infile =
  NonNullable<Parameters<Connection['query']>[0]> extends never ? never : (path: string) => NodeJS.EventEmitter;

/** mysql2's socket and packet counter, which its types leave out. */
export type Wire = { stream: Socket; sequenceId: number };

/** What mysql2 hides in its types but the LOAD sender needs. */
export function wire(session: Session): Wire {
  return session.connection as unknown as Wire;
}

/** Whether the connection is under TLS. */
export function isEncrypted(session: Session): boolean {
  return wire(session).stream instanceof TLSSocket;
}

/** Runs a SELECT or SHOW. */
export async function rows(session: Session, text: string): Promise<Row[]> {
  const result = await send(session, text);
  return Array.isArray(result) ? result : [];
}

/** Runs any other statement. */
export async function run(session: Session, text: string, infile?: Infile): Promise<Answer> {
  const result = await send(session, text, infile);
  if (Array.isArray(result)) return { affected: 0, warnings: 0, info: '' };
  return { affected: Number(result.affectedRows ?? 0), warnings: result.warningStatus ?? 0, info: result.info ?? '' };
}

/** Runs `body` between BEGIN and COMMIT. On an error nothing is rolled back here: the caller destroys the session, which does it. */
export async function transaction<T>(session: Session, body: () => Promise<T>): Promise<T> {
  await run(session, 'begin');
  const value = await body();
  await run(session, 'commit');
  return value;
}

/** Ends a connection at once; an open transaction is rolled back by the server, statements under way reject. */
export function destroy(
  session: Session,
  why: Error = new Error('The connection to the destination was closed.'),
): void {
  session.lost ??= why;
  for (const reject of session.waiting) reject(session.lost);
  session.waiting.clear();
  session.connection.destroy();
}

/**
 * Opens a connection; TLS as the address says. Without a database name an account without global rights is refused with error 1046
 * (singlestore.md §6), so it is tried again with one that every account can see.
 */
export async function connect(address: Address, observe?: Observe): Promise<Session> {
  const databases =
    address.database === undefined
      ? [undefined, 'information_schema']
      : [address.database, undefined, 'information_schema'];
  let failure: unknown;
  for (const database of databases) {
    try {
      return await handshakes(address, database, observe);
    } catch (error) {
      failure = error;
      if (!NEEDS_ANOTHER_DATABASE.has(numberOf(error))) break;
    }
  }
  throw refusal(address, failure);
}

/** The server's error number, 0 when the error is not the server's. */
export function numberOf(error: unknown): number {
  const number = (error as { errno?: unknown } | null)?.errno;
  return typeof number === 'number' && number >= 1000 ? number : 0;
}

/** 1044 no access to the database, 1046 none selected, 1049 it does not exist (yet). */
const NEEDS_ANOTHER_DATABASE: ReadonlySet<number> = new Set([1044, 1046, 1049]);
/** 1044, 1045 and 1698 refuse the login, 1130 the host, 1251 and 2059 the login method, 1862 an expired password, 3118 a locked account, 3159 wants TLS. */
const REFUSES_LOGIN: ReadonlySet<number> = new Set([1044, 1045, 1130, 1251, 1698, 1862, 2059, 3118, 3159, 4151]);

/** Addresses with `prefer` whose server offers no TLS: without this, every connection of a pool would be tried twice. */
const withoutTls = new WeakSet<Address>();

async function handshakes(
  address: Address,
  database: string | undefined,
  observe: Observe | undefined,
): Promise<Session> {
  if (address.tls === 'disable' || withoutTls.has(address)) return handshake(address, false, database, observe);
  try {
    return await handshake(address, true, database, observe);
  } catch (error) {
    if (address.tls !== 'prefer' || (error as QueryError).code !== 'HANDSHAKE_NO_SSL_SUPPORT') throw error;
    withoutTls.add(address);
    return handshake(address, false, database, observe);
  }
}

function handshake(
  address: Address,
  encrypted: boolean,
  database: string | undefined,
  observe: Observe | undefined,
): Promise<Session> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(connectionOptions(address, encrypted, database));
    const session: Session = { connection, observe, lost: undefined, waiting: new Set() };
    const end = (error: Error) => {
      destroy(session, error);
      reject(error);
    };
    connection.once('error', end);
    connection.once('connect', () => {
      connection.off('error', end);
      const lost = (error: Error) => destroy(session, error);
      connection.on('error', lost);
      // mysql2 tells a waiting query of a lost socket, but not of one that this process destroyed. A server that ends its side (KILL on
      // MariaDB does) may leave the other side full and open for ever: that is the end, too.
      const over = () => lost(new Error('The connection to the destination was lost.'));
      wire(session).stream.once('end', over);
      wire(session).stream.once('close', over);
      resolve(session);
    });
  });
}

function send(session: Session, text: string, infile?: Infile): Promise<Result> {
  return new Promise((resolve, reject) => {
    if (session.lost) {
      reject(session.lost);
      return;
    }
    const settle = (error: Error | null, result?: Result) => {
      session.waiting.delete(reject);
      if (error) return reject(error);
      try {
        session.observe?.(text, 'after');
      } catch (cut) {
        destroy(session, cut as Error);
        return reject(cut);
      }
      resolve(result as Result);
    };
    try {
      session.observe?.(text, 'before');
    } catch (cut) {
      destroy(session, cut as Error);
      reject(cut);
      return;
    }
    session.waiting.add(reject);
    const options = infile === undefined ? { sql: text } : { sql: text, infileStreamFactory: infile };
    session.connection.query(options as { sql: string }, (error, result) => settle(error, result as unknown as Result));
  });
}

/** Turns a failed handshake into what users are told: refused logins are permanent, an unreachable server is not. */
function refusal(address: Address, error: unknown): Error {
  const number = numberOf(error);
  const code = String((error as { code?: unknown }).code ?? '');
  if (REFUSES_LOGIN.has(number))
    return new AccessDenied(
      `The destination refused the login of user "${address.user}".`,
      'Correct `uid` and `pwd` of the destination connection, or let this worker’s host in.',
    );
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT')
    return new AccessDenied(
      'The destination offers no TLS, but `ssl_mode` asks for it.',
      'Turn TLS on at the destination, or set `ssl_mode` to `prefer`.',
    );
  // mysql2 gives every failure in the TLS handshake one code: a connection that was cut in it says nothing of TLS.
  const cut = /\b(ECONNRESET|EPIPE|ETIMEDOUT|ECONNABORTED)\b|disconnected/.test(String((error as Error).message));
  if (!cut && (code === 'HANDSHAKE_SSL_ERROR' || /^(ERR_TLS|CERT_|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED)/.test(code)))
    return new AccessDenied(
      `The destination's TLS certificate was refused (${code}).`,
      'Give the certificate authority in `ssl_ca`, or lower `ssl_mode`.',
    );
  if (number !== 0) return new Error(`The destination refused the connection (error ${number}).`);
  // The original's wording, which its clients know (flow-product.md §2.5).
  return new Error(
    `Socket fail to connect to host:address=(host=${address.host})(port=${address.port}). ${address.host}`,
  );
}
