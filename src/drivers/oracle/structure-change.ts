import type { LogEvent } from '../changes.ts';
import { ddlEffect, dropsUser, mentions } from './ddl.ts';
import { describeTables } from './describe.ts';
import type { RedoRow } from './mining-session.ts';
import type { Pool } from './pool.ts';
import type { Follower } from './redo-entry.ts';
import type { Entry } from './transactions.ts';

/** What DDL means for followed tables: an entry for each that it concerns. */
export async function ddlEntries(pool: Pool, followers: readonly Follower[], row: RedoRow): Promise<Entry[]> {
  const effect = ddlEffect(row.sql);
  if (effect === 'none') return [];
  const entries: Entry[] = [];
  for (const follower of followers) {
    const { schema, name } = follower.table.ref;
    const named =
      (row.owner === schema && row.table === name) ||
      mentions(row.sql, schema, name, row.owner) ||
      dropsUser(row.sql, schema);
    if (!named || follower.gone) continue;
    if (effect === 'truncate') {
      entries.push(marker(follower, 'truncate'));
      continue;
    }
    const statement = row.sql.replace(/\s+/g, ' ').slice(0, 200);
    if (effect === 'rows') {
      entries.push(structureEntry(follower, `Rows changed without a word in the log, by: ${statement}`));
      continue;
    }
    entries.push(...(await columnsEntry(pool, follower, effect === 'added', row, statement)));
  }
  return entries;
}

/**
 * Columns may have changed. The catalog shows them as they are today: that is what this statement made only where no later one followed,
 * which the time of the table's last DDL tells.
 */
async function columnsEntry(
  pool: Pool,
  follower: Follower,
  added: boolean,
  row: RedoRow,
  statement: string,
): Promise<Entry[]> {
  const { ref } = follower.table;
  const { now, last } = await pool.lend(async (session) => {
    const [described] = await describeTables(session, [{ ref, options: follower.options ?? {} }], 'log');
    const [time] = await session.query(
      "select to_char(max(last_ddl_time), 'YYYY-MM-DD HH24:MI:SS') from all_objects where owner = :1 and object_name = :2 and object_type = 'TABLE'",
      [ref.schema, ref.name],
    );
    return { now: described && 'table' in described ? described.table : null, last: String(time?.[0] ?? '') };
  });
  if (now?.structure === follower.table.structure) return [];
  const reason = `The structure changed: ${statement}`;
  if (!now || !added || last > laterBy(row.time, 2)) return [structureEntry(follower, reason)];
  return [{ ...structureEntry(follower, reason), now, carry: { fills: new Map(), renames: new Map() } }];
}

/** A time of the server, some seconds later, in the same form. */
function laterBy(time: string, seconds: number): string {
  const ms = Date.parse(`${time.replace(' ', 'T')}Z`);
  return Number.isNaN(ms) ? time : new Date(ms + seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

/** A table can't be followed past this place of the log. */
export function structureEntry(follower: Follower, reason: string): Entry {
  return { ...marker(follower, 'structure'), now: null, reason };
}

function marker(follower: Follower, kind: 'truncate' | 'structure'): Entry {
  return { kind, table: follower.index, rowId: '', key: '', oldKey: null, line: null, missing: null };
}

const NOTHING = new Uint8Array(0);

/**
 * The events of an entry. A row that must be read again is first deleted and then comes with nothing but its key: whoever applies that reads
 * it from the source (EXACTNESS.md §6).
 */
export function eventsOf(entry: Entry): LogEvent[] {
  const { table, key, oldKey, missing } = entry;
  const data = entry.line ?? NOTHING;
  const row = { table, key, data, from: 0, to: data.length, missing };
  switch (entry.kind) {
    case 'insert':
    case 'update':
      return [{ ...row, kind: entry.kind, oldKey }];
    case 'delete':
      return [{ ...row, kind: 'delete', oldKey: null }];
    case 'reread': {
      const gone = { ...row, kind: 'delete' as const, oldKey: null, data: NOTHING, to: 0, missing: null };
      return [...(oldKey === null ? [] : [{ ...gone, key: oldKey }]), gone, { ...row, kind: 'insert', oldKey: null }];
    }
    case 'truncate':
      return [{ kind: 'truncate', table }];
    case 'structure':
      return [
        {
          kind: 'structure',
          table,
          now: entry.now ?? null,
          reason: entry.reason ?? '',
          ...(entry.carry === undefined ? {} : { carry: entry.carry }),
        },
      ];
  }
}
