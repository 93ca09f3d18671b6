import { AccessDenied } from '../errors.ts';
import { connect, destroy, type Observe, run, type Session } from './connection.ts';
import type { Dialect } from './dialect.ts';
import type { Address } from './params.ts';
import { explain } from './rejects.ts';

/** Connections that are opened when needed and kept a while: opening is expensive on SingleStore, idle ones are cheap (singlestore.md §6). */
export type Pool = {
  readonly address: Address;
  readonly dialect: Dialect;
  readonly observe: Observe | undefined;
  readonly idle: { session: Session; since: number }[];
  readonly open: Set<Session>;
  readonly queue: (() => void)[];
  busy: number;
  closed: Error | undefined;
};

/** Loads run in parallel on their own connections; more callers wait. */
const MOST_BUSY = 24;
/** Well below the sessions' `wait_timeout`, so that no statement meets a connection which the server is closing. */
const IDLE_MS = 30_000;

/** An empty pool. */
export function createPool(address: Address, dialect: Dialect, observe: Observe | undefined): Pool {
  return { address, dialect, observe, idle: [], open: new Set(), queue: [], busy: 0, closed: undefined };
}

/**
 * Runs `body` with a connection of its own. After any error the connection is destroyed, so that nothing of it stays, and the error is
 * explained (`rejects.ts`).
 */
export async function withSession<T>(pool: Pool, body: (session: Session) => Promise<T>): Promise<T> {
  if (pool.busy >= MOST_BUSY) await new Promise<void>((resolve) => pool.queue.push(resolve));
  pool.busy++;
  try {
    const session = await take(pool);
    try {
      const value = await body(session);
      if (session.lost === undefined) pool.idle.push({ session, since: Date.now() });
      return value;
    } catch (error) {
      destroy(session);
      throw explain(pool.closed ?? error);
    }
  } finally {
    pool.busy--;
    pool.queue.shift()?.();
  }
}

/** A connection outside the pool's number, for one holder; it must be destroyed. Closing the pool destroys it, too. */
export async function openSession(pool: Pool): Promise<Session> {
  if (pool.closed) throw pool.closed;
  return fresh(pool);
}

/** Destroys all connections; statements under way reject with `why`. */
export function closePool(pool: Pool, why: Error): void {
  pool.closed ??= why;
  pool.idle.length = 0;
  for (const session of pool.open) destroy(session, why);
  pool.open.clear();
}

async function take(pool: Pool): Promise<Session> {
  for (;;) {
    if (pool.closed) throw pool.closed;
    const kept = pool.idle.pop();
    if (!kept) break;
    if (kept.session.lost === undefined && Date.now() - kept.since < IDLE_MS) return kept.session;
    drop(pool, kept.session);
  }
  return fresh(pool);
}

async function fresh(pool: Pool): Promise<Session> {
  const session = await connect(pool.address, pool.observe);
  for (const other of pool.open) if (other.lost !== undefined) pool.open.delete(other);
  pool.open.add(session);
  try {
    await prepareSession(session, pool.dialect);
  } catch (error) {
    drop(pool, session);
    throw explain(error);
  }
  if (pool.closed) {
    drop(pool, session);
    throw pool.closed;
  }
  return session;
}

/** Sends a dialect's session settings. What a server does not know is left at its default where the dialect allows that. */
async function prepareSession(session: Session, dialect: Dialect): Promise<void> {
  for (const setting of dialect.session) {
    try {
      await run(session, setting.sql);
    } catch (error) {
      if (!setting.optional || session.lost !== undefined || error instanceof AccessDenied) throw error;
    }
  }
}

function drop(pool: Pool, session: Session): void {
  pool.open.delete(session);
  destroy(session);
}
