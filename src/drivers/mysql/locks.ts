import type { Connection } from './connection.ts';
import type { Pool } from './pool.ts';

const LOOK_AFTER_MS = 2_000;

/** Tells `waiting` every two seconds, until stopped, which statements a lock taken by `connection` may be waiting for. */
export function watchLocks(
  pool: Pool,
  connection: Connection,
  waiting: (why: string) => void,
): { readonly stop: () => void } {
  const look = async (): Promise<void> => {
    const rows = await pool.lend((other) =>
      other.query(
        `select ID, TIME, coalesce(STATE, '') from information_schema.PROCESSLIST
         where ID not in (connection_id(), ${connection.id}) and COMMAND not in ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID')
         order by TIME desc limit 5`,
      ),
    );
    const sessions = rows.map(([id, seconds]) => `${id} (for ${seconds} s)`).join(', ');
    waiting(
      sessions === ''
        ? 'Waiting for the read lock: an open transaction holds a table.'
        : `Waiting for the read lock behind sessions ${sessions}.`,
    );
  };
  const timer = setInterval(() => void look().catch(() => {}), LOOK_AFTER_MS);
  return { stop: () => clearInterval(timer) };
}
