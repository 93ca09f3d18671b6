import type { Connection } from './connection.ts';
import type { Pool } from './pool.ts';

const LOOK_AFTER_MS = 2_000;
const SESSIONS_SHOWN = 5;

/** Tells `waiting` every two seconds, until stopped, which statements a lock taken by `connection` may be waiting for. */
export function watchLocks(
  pool: Pool,
  connection: Connection,
  waiting: (why: string) => void,
): { readonly stop: () => void } {
  const look = async (): Promise<void> => {
    // Not information_schema.PROCESSLIST: on MySQL 8+ it fails when any session's statement holds a 4-byte character.
    const rows = await pool.lend((other) => other.query('show processlist'));
    const sessions = rows
      .filter(([id, , , , command]) => id !== connection.id && !/^(Sleep|Daemon|Binlog Dump.*)$/.test(command ?? ''))
      .map((row) => ({ id: row[0] ?? '', seconds: Number(row[5]) }))
      .filter(({ seconds }) => seconds > 0)
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, SESSIONS_SHOWN)
      .map(({ id, seconds }) => `${id} (for ${seconds} s)`)
      .join(', ');
    waiting(
      sessions === ''
        ? 'Waiting for the read lock: an open transaction holds a table.'
        : `Waiting for the read lock behind sessions ${sessions}.`,
    );
  };
  const timer = setInterval(() => void look().catch(() => {}), LOOK_AFTER_MS);
  return { stop: () => clearInterval(timer) };
}
