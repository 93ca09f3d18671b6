import { type Connection, connect } from './connection.ts';
import { translate } from './errors.ts';
import type { MssqlOptions } from './options.ts';

/** Sessions kept open between calls; as many at a time as there are callers. */
export type Pool = {
  /** Lends a session to `use`. It is closed instead of kept when `use` throws, since its state is unknown then. */
  lend<T>(use: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Takes a session out; the caller gives it back or destroys it. */
  take(signal?: AbortSignal): Promise<Connection>;
  give(connection: Connection): void;
  /** Ends a session; the server ends its statement when it finds the socket closed. */
  drop(connection: Connection): void;
  close(): Promise<void>;
};

const IDLE_KEPT = 8;

export function createPool(options: MssqlOptions): Pool {
  const idle: Connection[] = [];
  const lent = new Set<Connection>();
  let closed = false;

  async function take(signal?: AbortSignal): Promise<Connection> {
    if (closed) throw new Error('The source is closed.');
    for (let kept = idle.pop(); kept !== undefined; kept = idle.pop()) {
      if (kept.broken()) continue;
      lent.add(kept);
      return kept;
    }
    const fresh = await connect(options, signal);
    if (closed) {
      fresh.destroy();
      throw new Error('The source is closed.');
    }
    lent.add(fresh);
    return fresh;
  }

  function give(connection: Connection): void {
    lent.delete(connection);
    if (closed || connection.broken() || idle.length >= IDLE_KEPT) connection.destroy();
    else idle.push(connection);
  }

  function drop(connection: Connection): void {
    lent.delete(connection);
    connection.destroy();
  }

  async function lend<T>(use: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const connection = await take(signal);
    const abort = (): void => drop(connection);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const result = await use(connection);
      give(connection);
      return result;
    } catch (error) {
      drop(connection);
      throw signal?.aborted ? signal.reason : translate(error);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async function close(): Promise<void> {
    closed = true;
    for (const connection of [...idle, ...lent]) connection.destroy();
    idle.length = 0;
    lent.clear();
  }

  return { lend, take, give, drop, close };
}
