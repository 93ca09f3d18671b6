import type { ClaimedScope, PausedTable } from '../apply.ts';
import { Superseded } from '../errors.ts';
import type { Position } from '../model.ts';
import { checkClaim, databaseOf } from './claim.ts';
import { rows, run, type Session, transaction } from './connection.ts';
import { isMissing } from './control.ts';
import { type Pool, withSession } from './pool.ts';
import { sql, table } from './sql.ts';
import { type Registered, readTables } from './tables.ts';

/** Paused tables whose log is kept: they go on in a scope of their own, with the copy that is there (EXACTNESS.md §5, pause). */

/** The paused tables of a pipeline whose log is kept, by database and id. */
export async function readPaused(
  session: Session,
  databases: readonly string[],
  pipeline: string,
): Promise<PausedTable[]> {
  const found: PausedTable[] = [];
  for (const database of [...new Set(databases)].sort()) {
    const registered = await readTables(session, database).catch((error: unknown) => {
      if (isMissing(error)) return [] as Registered[];
      throw error;
    });
    for (const { id, ref, target, scope, row, ...one } of registered.sort((a, b) => (a.id < b.id ? -1 : 1))) {
      // Absent in control tables of an older version.
      const position = row['kept_position'] ?? '';
      if (one.pipeline !== pipeline || !one.live || one.state !== 'paused' || position === '') continue;
      found.push({
        id,
        ref,
        target: { database, table: target },
        followFrom: (row['follow_from'] as Position | null | '') || null,
        kept: { position: String(position) as Position, slot: String(row['kept_slot'] ?? ''), scope },
      });
    }
  }
  return found;
}

/** Contract: `Destination.resume`. The log that is kept stays noted, for the case that the scope is given up. */
export async function resume(
  session: Session,
  database: string,
  pipeline: string,
  scope: number,
  tables: readonly PausedTable[],
): Promise<void> {
  await transaction(session, async () => {
    const [row] = await rows(
      session,
      sql`select [token] from ${table(database, '_flow_checkpoints')} where [pipeline] = ${pipeline} and [scope] = ${scope} for update`,
    );
    if (!row || Number(row['token']) !== 0)
      throw new Superseded(
        `Scope ${scope} of pipeline "${pipeline}" is followed already, or was given up.`,
        'Nothing: the attempt that began it goes on.',
      );
    for (const { id, followFrom, kept } of tables)
      await run(
        session,
        sql`update ${table(database, '_flow_tables')} set [scope] = ${scope}, [state] = 'loaded', [joined] = null, [follow_from] = ${followFrom} where [table_id] = ${id} and [pipeline] = ${pipeline} and [scope] = ${kept.scope} and [live] = 1 and [state] = 'paused' and [kept_position] = ${kept.position}`,
      );
  });
}

/** Contract: `Destination.handOver`; one transaction per database. */
export async function handOver(pool: Pool, side: ClaimedScope, main: ClaimedScope): Promise<void> {
  for (const { database, position } of side.databases) {
    await withSession(pool, (session) =>
      transaction(session, async () => {
        for (const claim of [side, main].sort((a, b) => a.scope - b.scope)) await checkClaim(session, claim, database);
        // A pass of the main stream that is under way did not write these tables.
        const joined = databaseOf(main, database).part?.until ?? null;
        await run(
          session,
          sql`update ${table(database, '_flow_tables')} set [scope] = ${main.scope}, [joined] = ${joined}, [follow_from] = ${position}, [kept_position] = null, [kept_slot] = '' where [pipeline] = ${side.pipeline} and [scope] = ${side.scope} and [live] = 1 and [state] in ('loaded', 'consistent')`,
        );
      }),
    );
  }
}
