import { setTimeout as sleep } from 'node:timers/promises';
import type { Address, OracleOptions } from './options.ts';
import { connect, type Session } from './session.ts';

/** Sessions kept open between calls; as many at a time as there are callers. */
export type Pool = {
  /** Lends a session to `use`. It is closed instead of kept when `use` throws, since its state is unknown then. */
  lend<T>(use: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Takes a session out; the caller gives it back or drops it. */
  take(signal?: AbortSignal): Promise<Session>;
  give(session: Session): void;
  /** Ends a session and what it is doing at once. */
  drop(session: Session): Promise<void>;
  close(): Promise<void>;
};

const IDLE_KEPT = 8;
/** A server that can't be reached must not hold up an abort. */
const DROP_MS = 3_000;

/** Sessions at `address`, in the pluggable database `container` if one is named. */
export function createPool(options: OracleOptions, address: Address, container: string | undefined): Pool {
  const idle: Session[] = [];
  const lent = new Set<Session>();
  const ending = new Set<Promise<unknown>>();
  let closed = false;

  function end(session: Session): Promise<unknown> {
    const work = Promise.race([session.destroy(), sleep(DROP_MS, undefined, { ref: false })]);
    ending.add(work);
    return work.finally(() => ending.delete(work));
  }

  async function take(signal?: AbortSignal): Promise<Session> {
    if (closed) throw new Error('The source is closed.');
    const kept = idle.pop();
    const session = kept ?? (await connect(options, address, container, signal));
    if (closed) {
      await end(session);
      throw new Error('The source is closed.');
    }
    lent.add(session);
    return session;
  }

  function give(session: Session): void {
    lent.delete(session);
    if (closed || session.broken() || idle.length >= IDLE_KEPT) void end(session);
    else idle.push(session);
  }

  async function drop(session: Session): Promise<void> {
    lent.delete(session);
    await end(session);
  }

  return {
    take,
    give,
    drop,
    async lend(use, signal) {
      const session = await take(signal);
      const abort = (): void => void drop(session);
      signal?.addEventListener('abort', abort, { once: true });
      try {
        const result = await use(session);
        give(session);
        return result;
      } catch (error) {
        await drop(session);
        throw signal?.aborted ? signal.reason : error;
      } finally {
        signal?.removeEventListener('abort', abort);
      }
    },
    async close() {
      closed = true;
      const open = [...idle, ...lent];
      idle.length = 0;
      lent.clear();
      await Promise.all([...open.map(end), ...ending]);
    },
  };
}
