import type { ClaimedScope, Followed, LeavingTable } from '../apply.ts';
import { DestinationRejected, UnsupportedValue } from '../errors.ts';
import type { Position, Table } from '../model.ts';
import { checkClaim } from './claim.ts';
import { type Row, rows, run, type Session, transaction } from './connection.ts';
import { isMissing } from './control.ts';
import { shadowName } from './names.ts';
import { type Pool, withSession } from './pool.ts';
import { sql, table } from './sql.ts';
import { type Registered, readTables } from './tables.ts';

/** The tables that a scope writes (contract: `Destination.followed`), by database and id. */
export async function readFollowed(
  session: Session,
  databases: readonly string[],
  pipeline: string,
  scope: number,
): Promise<Followed[]> {
  const found: Followed[] = [];
  for (const database of [...new Set(databases)].sort()) {
    const registered = await readTables(session, database).catch((error: unknown) => {
      if (isMissing(error)) return [] as Registered[];
      throw error;
    });
    const mine = registered
      .filter((row) => row.pipeline === pipeline && (isLive(row, scope) || isShadow(row, scope)))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    if (mine.length === 0) continue;
    const structures = await newestStructures(
      session,
      database,
      mine.map((row) => row.id),
    );
    for (const row of mine) {
      const live = isLive(row, scope);
      const load = live ? row.liveLoad || row.load : row.load;
      const structure = structures.get(`${row.id}/${load}`);
      if (structure === undefined)
        throw new DestinationRejected(
          `The structure of ${row.ref.schema}.${row.ref.name} is not stored at the destination any more.`,
          'Load the table again.',
        );
      const text = (field: 'follow_from' | 'ahead_until' | 'load_until') =>
        (row.row[field] as Position | null | '') || null;
      found.push({
        id: row.id,
        ref: row.ref,
        target: { database, table: row.target },
        place: live ? row.target : shadowName(row.id, row.load),
        load,
        table: structure,
        ...(live && row.row['joined'] ? { joined: String(row.row['joined']) as Position } : {}),
        followFrom: live ? text('follow_from') : null,
        aheadUntil: live ? text('ahead_until') : text('load_until'),
        options: { history: historyOf(row, live) },
      });
    }
  }
  return found;
}

/** Refuses changes of a table without key. */
export function checkKey({ ref, table: { key } }: Followed): void {
  if (key.length > 0) return;
  throw new UnsupportedValue(
    `${ref.schema}.${ref.name} has no key: its changes can't be told apart.`,
    'Give the table a `key` in its options, or load it anew with `full`.',
  );
}

/** Takes tables out of a scope (contract: `Destination.leave`); one transaction per database. */
export async function leave(pool: Pool, claim: ClaimedScope, leaving: readonly LeavingTable[]): Promise<void> {
  const byDatabase = Map.groupBy(leaving, (one) => one.database);
  for (const database of [...byDatabase.keys()].sort()) {
    await withSession(pool, (session) =>
      transaction(session, async () => {
        await checkClaim(session, claim, database);
        for (const one of byDatabase.get(database) ?? [])
          for (const statement of leaveStatements(claim, one)) await run(session, statement);
      }),
    );
  }
}

/** What takes a table out of a claimed scope. Part of a guarded transaction. */
export function leaveStatements(claim: ClaimedScope, { id, database, state, error, kept }: LeavingTable): string[] {
  const words = error ?? { class: '', message: '', action: '' };
  const set = sql`update ${table(database, '_flow_tables')} set [state] = ${state}, [error_class] = ${words.class}, [error_message] = ${words.message}, [error_action] = ${words.action}`;
  const mine = sql`where [table_id] = ${id} and [pipeline] = ${claim.pipeline}`;
  const { position, slot, scope } = kept ?? { position: null, slot: '', scope: claim.scope };
  const log = state === 'paused' ? sql`, [scope] = ${scope}, [kept_position] = ${position}, [kept_slot] = ${slot}` : '';
  return [
    `${set}${log} ${mine} ${sql`and [scope] = ${claim.scope} and [live] = 1`}`,
    // A shadow that is not followed any more is worth nothing.
    `${set}${sql`, [load_state] = 'dropping', [load_fence] = [load_fence] + 1`} ${mine} ${sql`and [load_scope] = ${claim.scope} and [load_state] = 'sealed'`}`,
  ];
}

/** Stores the structure that a table has from a position on; nothing when it is the newest stored already. Part of a guarded transaction. */
export async function storeStructure(
  session: Session,
  followed: Followed,
  structure: Table,
  from: Position,
): Promise<void> {
  const structures = table(followed.target.database, '_flow_structures');
  const [newest] = await rows(
    session,
    sql`select [serial], [valid_from], [structure] from ${structures} where [table_id] = ${followed.id} and [load_number] = ${followed.load} order by [serial] desc limit 1`,
  );
  const text = JSON.stringify(structure);
  if (newest?.['structure'] === text) return;
  const serial = newest ? Number(newest['serial']) + 1 : 0;
  await run(
    session,
    sql`insert into ${structures} ([table_id], [load_number], [serial], [valid_from], [structure]) values (${followed.id}, ${followed.load}, ${serial}, ${from}, ${text})`,
  );
}

function historyOf(registered: Registered, live: boolean): Followed['options']['history'] {
  const { row } = registered;
  if (!(live ? registered.history : registered.loadHistory)) return null;
  const since = String((live ? row['started_at'] : row['load_started']) ?? '1970-01-01 00:00:00.000000');
  // A shadow becomes the baseline: all that is applied to it belongs to its rows.
  if (!live) return { since, until: 'all' };
  return { since, until: (row['baseline_until'] as Position | null | '') || null };
}

function isLive(row: Registered, scope: number): boolean {
  return row.live && row.scope === scope && (row.state === 'loaded' || row.state === 'consistent');
}

/** A load that waits to be put in place; while it does, its scope catches up with the log. */
function isShadow(row: Registered, scope: number): boolean {
  return row.loadState === 'sealed' && row.loadScope === scope && !row.keep;
}

/** By id and load number. A newer structure is stored together with the checkpoint from which it is valid, so the newest one holds. */
async function newestStructures(
  session: Session,
  database: string,
  ids: readonly string[],
): Promise<Map<string, Table>> {
  const newest = new Map<string, Row>();
  for (const row of await rows(
    session,
    sql`select [table_id], [load_number], [serial], [structure] from ${table(database, '_flow_structures')} where [table_id] in (${ids})`,
  )) {
    const name = `${row['table_id']}/${row['load_number']}`;
    if (Number(newest.get(name)?.['serial'] ?? -1) < Number(row['serial'])) newest.set(name, row);
  }
  return new Map([...newest].map(([name, row]) => [name, JSON.parse(String(row['structure'])) as Table]));
}
