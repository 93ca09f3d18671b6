import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, connect } from './connection.ts';
import type { MysqlOptions } from './options.ts';

/** Sessions kept open between calls; as many at a time as there are callers. */
export type Pool = {
  /** Lends a session to `use`. It is closed instead of kept when `use` throws, since its state is unknown then. */
  lend<T>(use: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Takes a session out; the caller gives it back or destroys it. */
  take(signal?: AbortSignal): Promise<Connection>;
  give(connection: Connection): void;
  /** Ends a session's work at the server at once, by KILL from another session; best effort. */
  kill(connection: Connection): Promise<void>;
  close(): Promise<void>;
};

const IDLE_KEPT = 8;
/** A server that can't be reached must not hold up an abort. */
const KILL_MS = 3_000;

export function createPool(options: MysqlOptions): Pool {
  const idle: Connection[] = [];
  const lent = new Set<Connection>();
  const kills = new Set<Promise<unknown>>();
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

  async function lend<T>(use: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const connection = await take(signal);
    const abort = () => void kill(connection);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const result = await use(connection);
      give(connection);
      return result;
    } catch (error) {
      lent.delete(connection);
      connection.destroy();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async function kill(connection: Connection): Promise<void> {
    lent.delete(connection);
    connection.destroy();
    // The server notices a closed socket only when it next writes; a sort or a long filter would go on till then.
    const killed = lend((other) => other.query(`kill ${connection.id}`)).catch(() => {});
    const work = Promise.race([killed, sleep(KILL_MS, undefined, { ref: false })]);
    kills.add(work);
    await work;
    kills.delete(work);
  }

  async function close(): Promise<void> {
    await Promise.all(kills);
    closed = true;
    for (const connection of [...idle, ...lent]) connection.destroy();
    idle.length = 0;
    lent.clear();
  }

  return { lend, take, give, kill, close };
}
