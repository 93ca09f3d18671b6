import type { ClaimedScope, Point, RollBack } from '../apply.ts';
import type { Position } from '../model.ts';
import { checkClaim, databaseOf } from './claim.ts';
import { numberOf, rows, run, type Session, transaction } from './connection.ts';
import { isMissing, now, readTime } from './control.ts';
import { leaveStatements } from './followed.ts';
import { undoVersions } from './history.ts';
import { type Pool, withSession } from './pool.ts';
import { sql, table } from './sql.ts';

/** Rollback points: positions of the main stream that it was at once (EXACTNESS.md §10). Those of a pipeline stand in its first database. */

const KEPT = 200;
/** Points are at least so long apart. */
const APART_MS = 10_000;

/** Records where the stream stands now, unless a point says so already or is only seconds old. */
export async function addPoint(
  session: Session,
  claim: ClaimedScope,
  point: { readonly position: Position; readonly sourceTime: number | null },
): Promise<void> {
  const database = firstOf(claim);
  const points = table(database, '_flow_points');
  await transaction(session, async () => {
    await checkClaim(session, claim, database);
    const [newest] = await rows(
      session,
      sql`select [position], [recorded_at] from ${points} where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} order by [point] desc limit 1`,
    );
    const age = newest
      ? Date.now() - Date.parse(readTime(newest['recorded_at'] ?? null) ?? '')
      : Number.POSITIVE_INFINITY;
    if (newest?.['position'] === point.position || age < APART_MS) return;
    const at =
      point.sourceTime === null ? null : new Date(point.sourceTime).toISOString().replace('T', ' ').replace('Z', '000');
    const ordinals = JSON.stringify(await ordinalsAt(session, claim, point.position));
    for (;;) {
      const [last] = await rows(
        session,
        sql`select max([point]) as [n] from ${points} where [pipeline] = ${claim.pipeline}`,
      );
      const number = Number(last?.['n'] ?? 0) + 1;
      const made = await run(
        session,
        sql`insert into ${points} ([pipeline], [point], [scope], [run], [position], [source_time], [recorded_at], [ordinals]) values (${claim.pipeline}, ${number}, ${claim.scope}, ${claim.run}, ${point.position}, ${at}, ${now()}, ${ordinals})`,
      ).catch((error: unknown) => {
        if (numberOf(error) !== 1062) throw error;
      });
      // Another stream of the pipeline took the number this very moment, and its transaction has ended.
      if (!made) continue;
      const old = sql`delete from ${points} where [pipeline] = ${claim.pipeline} and [point] <= ${number - KEPT}`;
      await run(session, old);
      return;
    }
  });
}

/** By database that stands at the position: the ordinal of the last transaction there, which rows in history mode know. */
async function ordinalsAt(session: Session, claim: ClaimedScope, position: Position): Promise<Record<string, number>> {
  const ordinals: Record<string, number> = {};
  for (const { database } of claim.databases) {
    const [row] = await rows(
      session,
      sql`select [ordinal] from ${table(database, '_flow_checkpoints')} where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} and [position] = ${position}`,
    );
    if (row) ordinals[database] = Number(row['ordinal']);
  }
  return ordinals;
}

/** Points of a scope, newest first. */
export async function readPoints(
  session: Session,
  database: string,
  pipeline: string,
  scope: number,
): Promise<Point[]> {
  const found = await rows(
    session,
    sql`select * from ${table(database, '_flow_points')} where [pipeline] = ${pipeline} and [scope] = ${scope} order by [point] desc`,
  ).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return found.map((row) => ({
    id: Number(row['point']),
    run: Number(row['run']),
    position: String(row['position']) as Position,
    sourceTime: readTime(row['source_time'] ?? null),
    recordedAt: readTime(row['recorded_at'] ?? null) ?? '',
  }));
}

/**
 * Sets a claimed scope back (contract: `Destination.rollBack`). Rows stay as they are and are ahead of the stream until it has come again to
 * where it was; versions of rows (history mode) that came since go. A table whose structure changed in between can't be replayed, nor one with
 * versions when nothing was recorded at the position: they are left to a reload.
 */
export async function rollBack(pool: Pool, { claim, to, tables, reached }: RollBack): Promise<void> {
  const ordinals = await withSession(pool, (session) => ordinalsOf(session, claim, to));
  for (const { database } of claim.databases) {
    await withSession(pool, (session) =>
      transaction(session, async () => {
        await checkClaim(session, claim, database);
        const here = databaseOf(claim, database).position;
        const mine = sql`where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope}`;
        for (const followed of tables.filter((one) => one.target.database === database)) {
          const [newest] = await rows(
            session,
            sql`select [serial], [valid_from] from ${table(database, '_flow_structures')} where [table_id] = ${followed.id} and [load_number] = ${followed.load} order by [serial] desc limit 1`,
          );
          const since = String(newest?.['valid_from'] ?? '') as Position;
          const same = Number(newest?.['serial'] ?? 0) === 0 || since === '' || reached(to, since);
          const ordinal = ordinals[database];
          if (same && followed.options.history === null) continue;
          if (same && ordinal !== undefined) {
            for (const statement of undoVersions(database, followed.place, ordinal)) await run(session, statement);
            continue;
          }
          const name = `${followed.ref.schema}.${followed.ref.name}`;
          const error = {
            class: 'StructureChanged',
            message: same
              ? `No point says which versions of the rows of ${name} belong to the position.`
              : `The structure of ${name} has changed since the point.`,
            action: 'Load the table again with syncnew.',
          };
          for (const statement of leaveStatements(claim, { id: followed.id, database, state: 'reload', error }))
            await run(session, statement);
        }
        // Rows that are ahead of the stream already are so beyond its position.
        await run(
          session,
          sql`update ${table(database, '_flow_tables')} set [state] = 'loaded', [ahead_until] = coalesce([ahead_until], ${here}) ${{ raw: mine }} and [live] = 1 and [state] in ('loaded', 'consistent')`,
        );
        await run(
          session,
          sql`update ${table(database, '_flow_checkpoints')} set [seq] = [seq] + 1, [position] = ${to}, [part] = '', [part_until] = null ${{ raw: mine }}`,
        );
      }),
    );
  }
}

/** What a point at the position says of ordinals, by database; {} when there is none. */
async function ordinalsOf(session: Session, claim: ClaimedScope, to: Position): Promise<Record<string, number>> {
  const [point] = await rows(
    session,
    sql`select [ordinals] from ${table(firstOf(claim), '_flow_points')} where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} and [position] = ${to} order by [point] desc limit 1`,
  );
  return JSON.parse(String(point?.['ordinals'] ?? '{}')) as Record<string, number>;
}

function firstOf(claim: ClaimedScope): string {
  return claim.databases[0]?.database ?? '';
}
