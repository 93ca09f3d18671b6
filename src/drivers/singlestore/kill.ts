import type { TableId } from '../destination.ts';
import { numberOf, rows, run, type Session } from './connection.ts';
import { sql } from './sql.ts';

/**
 * The comment that a LOAD carries, by which later attempts find it in the process list. The same table may be copied into several databases
 * of one server, by installations that share a login; the database's name is in hexadecimal digits, which need no escape anywhere.
 */
export function loadMark(database: string, id: TableId, load?: number, chunk?: number): string {
  const parts = [Buffer.from(database).toString('hex'), id, load, chunk];
  return `/* flow ${parts.filter((part) => part !== undefined).join(' ')} `;
}

/** The same for statements of a check. */
export function checkMark(database: string, id: TableId): string {
  return `/* flow check ${Buffer.from(database).toString('hex')} ${id} */ `;
}

/**
 * Ends connections of our own user that are busy with a marked LOAD. Best effort: what is not visible or not ours stays, and its transaction
 * fails at its guard.
 */
export async function killLoads(session: Session, mark: string): Promise<void> {
  const found = await rows(
    session,
    sql`select [id] from information_schema.processlist where [info] like ${`${mark}%`}`,
  ).catch((error: unknown) => {
    if (session.lost !== undefined) throw error;
    return [];
  });
  for (const { id } of found) {
    try {
      await run(session, `kill ${Number(id)}`);
    } catch (error) {
      // 1094 no such thread any more, 1095 not ours.
      if (session.lost !== undefined || ![1094, 1095].includes(numberOf(error))) throw error;
    }
  }
}
