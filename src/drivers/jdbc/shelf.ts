import { createHash } from 'node:crypto';
import type { JdbcOptions } from './options.ts';
import type { Session } from './session.ts';

/**
 * Idle JVMs of closed sources, for the next that opens with the same options: the activities of a run open one source after the other, and
 * a JVM takes longer to start than most of what it is asked.
 */
type Kept = { readonly session: Session; readonly timer: NodeJS.Timeout };

const KEPT_MS = 2_000;
const MOST_KEPT = 4;
const shelf = new Map<string, Kept[]>();

/** Puts a session away; it ends by itself when nobody asks for it. */
export function shelve(options: JdbcOptions, session: Session): void {
  const id = idOf(options);
  const kept = shelf.get(id) ?? [];
  if (kept.length >= MOST_KEPT) return void session.jvm.stop();
  const timer = setTimeout(() => {
    const left = (shelf.get(id) ?? []).filter((one) => one.session !== session);
    if (left.length > 0) shelf.set(id, left);
    else shelf.delete(id);
    void session.jvm.stop();
  }, KEPT_MS);
  shelf.set(id, [...kept, { session, timer }]);
}

/** Takes one that was put away with the same options. */
export function unshelve(options: JdbcOptions): Session | undefined {
  const kept = shelf.get(idOf(options));
  for (let one = kept?.pop(); one !== undefined; one = kept?.pop()) {
    clearTimeout(one.timer);
    if (!one.session.jvm.ended()) return one.session;
  }
  return undefined;
}

/** Passwords are among the options. */
function idOf(options: JdbcOptions): string {
  return createHash('sha256').update(JSON.stringify(options)).digest('base64url');
}
