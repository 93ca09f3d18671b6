import type { JdbcOptions } from './options.ts';
import { connect, type Session } from './session.ts';
import { shelve, unshelve } from './shelf.ts';

/** JVMs kept between calls; as many at a time as there are callers. */
export type Pool = {
  readonly options: JdbcOptions;
  /** Lends a session to `use`. It is ended instead of kept when `use` throws. */
  lend<T>(use: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Takes a session out; the caller gives it back or ends it. */
  take(signal?: AbortSignal): Promise<Session>;
  give(session: Session): void;
  end(session: Session): Promise<void>;
  close(): Promise<void>;
};

/** Callers of one source mostly ask one after the other. */
const IDLE_KEPT = 2;

export function createPool(options: JdbcOptions): Pool {
  const idle: Session[] = [];
  const alive = new Set<Session>();
  const ends = new Set<Promise<void>>();
  let closed = false;

  async function take(signal?: AbortSignal): Promise<Session> {
    if (closed) throw new Error('The source is closed.');
    for (let kept = idle.pop(); kept !== undefined; kept = idle.pop()) {
      if (!kept.jvm.ended()) return kept;
      alive.delete(kept);
    }
    const fresh = unshelve(options) ?? (await connect(options, signal));
    alive.add(fresh);
    if (closed) {
      await end(fresh);
      throw new Error('The source is closed.');
    }
    return fresh;
  }

  function give(session: Session): void {
    if (closed || session.jvm.ended() || idle.length >= IDLE_KEPT) void end(session);
    else idle.push(session);
  }

  async function end(session: Session): Promise<void> {
    alive.delete(session);
    const work = session.jvm.stop();
    ends.add(work);
    await work;
    ends.delete(work);
  }

  async function lend<T>(use: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const session = await take(signal);
    const abort = (): void => void end(session);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const result = await use(session);
      give(session);
      return result;
    } catch (error) {
      await end(session);
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  return {
    options,
    lend,
    take,
    give,
    end,
    async close() {
      closed = true;
      for (const session of idle.splice(0)) {
        alive.delete(session);
        shelve(options, session);
      }
      await Promise.all([...ends, ...[...alive].map(end)]);
    },
  };
}
