import { setTimeout as delay } from 'node:timers/promises';
import type { CaptureRequest, LogEvent } from '../changes.ts';
import { PositionLost } from '../errors.ts';
import type { Server, Session } from './connection.ts';
import { parseLsn, timelineOf } from './lsn.ts';
import { identityOf, writtenEnd } from './position.ts';
import { findPublication } from './publication.ts';
import { quoteTable } from './sql.ts';
import { structureParts } from './table.ts';

const RELOAD = 'Run a full extract: the rows at the destination stay as they are until it has finished.';

export function lost(what: string): PositionLost {
  return new PositionLost(what, RELOAD);
}

/** What holds for the whole reader. */
export type LogStart = {
  /** Of the server now. */
  readonly timeline: number;
  /** The scope began on an earlier one: positions then name theirs. */
  readonly promoted: boolean;
  readonly standby: boolean;
  /** How often the server must hear of its reader at least, in ms. */
  readonly aliveMs: number;
  readonly validate: boolean;
};

/**
 * Proves that the log of this server continues at the position (EXACTNESS.md §3), and takes the slot from an earlier reader. `history`: the
 * text of a timeline's history. Throws `PositionLost`.
 */
export async function checkStart(
  session: Session,
  server: Server,
  request: CaptureRequest,
  history: (timeline: number) => Promise<string>,
): Promise<LogStart> {
  const { slot, from } = request;
  const [system = '', timelineText = '1'] = request.identity.split('/');
  const [systemNow = '', timelineNow = '1'] = (await identityOf(session)).split('/');
  if (system !== systemNow)
    throw lost('This is another PostgreSQL server than the one that was copied: its system identifier is another one.');
  const timeline = Number(timelineNow);
  const begun = Number(timelineText);
  const at = timelineOf(from) ?? begun;
  if (timeline !== at) await checkFork(from, at, timeline, history);
  const { rows } = await session.query<{ standby: boolean; timeout: number; encoding: string }>(
    `select pg_is_in_recovery() as standby, (select setting::int from pg_settings where name = 'wal_sender_timeout') as timeout,
       current_setting('server_encoding') as encoding`,
  );
  const facts = rows[0] as (typeof rows)[0];
  const end = await writtenEnd(session);
  if (!facts.standby && parseLsn(from) > parseLsn(end))
    throw lost(`The log ends at ${end}, before the position ${from}: the server was restored to an earlier state.`);
  await checkSlot(session, server, slot, parseLsn(from));
  const publication = await findPublication(session, server.version, request.pipeline);
  const oid = Number(request.identity.split('/')[2] ?? 0);
  if (!publication || (oid !== 0 && oid !== publication.oid))
    throw lost(
      `The publication "${request.pipeline}" was dropped${publication ? ' and made again' : ''}: changes in between are in no log.`,
    );
  if (!publication.complete)
    throw lost(
      `The publication "${request.pipeline}" no longer carries all changes: what it left out can't be read later.`,
    );
  await takeSlot(session, slot);
  return {
    timeline,
    promoted: timeline !== begun,
    standby: facts.standby,
    aliveMs: facts.timeout === 0 ? 10_000 : Math.max(Math.min(facts.timeout / 3, 10_000), 50),
    validate: facts.encoding === 'SQL_ASCII',
  };
}

/** A history lists, for each timeline before, where the next one left it. */
async function checkFork(
  from: string,
  at: number,
  timeline: number,
  history: (timeline: number) => Promise<string>,
): Promise<void> {
  const lines = (await history(timeline)).split('\n').map((line) => line.trim().split(/\s+/));
  const left = lines.find(([number]) => Number(number) === at)?.[1];
  if (left === undefined)
    throw lost(`The server is on timeline ${timeline}, which does not come from timeline ${at} of the position.`);
  if (parseLsn(from) > parseLsn(left))
    throw lost(
      `The server that was promoted left the log at ${left}, before the position ${from}: rows at the destination may be unknown to it.`,
    );
}

type SlotState = {
  plugin: string;
  database: string | null;
  restart: string | null;
  confirmed: string | null;
  status: string | null;
};

/** State of a slot; undefined: there is none. */
export async function slotState(session: Session, version: number, slot: string): Promise<SlotState | undefined> {
  const { rows } = await session.query<SlotState>(
    `select plugin, database, restart_lsn::text as restart, confirmed_flush_lsn::text as confirmed, ${version >= 130000 ? 'wal_status' : 'null'} as status
     from pg_replication_slots where slot_name = $1`,
    [slot],
  );
  return rows[0];
}

/** Why a slot can't be read any more; undefined: it can. */
export function slotLoss(state: SlotState | undefined, slot: string, database: string): string | undefined {
  if (!state) return `The replication slot "${slot}" is gone: the log since the position is not kept.`;
  if (state.plugin !== 'pgoutput' || state.database !== database)
    return `The replication slot "${slot}" is another one: plugin ${state.plugin}, database ${state.database}.`;
  if (state.status === 'lost' || state.restart === null)
    return `The server has dropped log that the replication slot "${slot}" needed (wal_status lost, see max_slot_wal_keep_size and idle_replication_slot_timeout).`;
  return undefined;
}

async function checkSlot(session: Session, server: Server, slot: string, from: bigint): Promise<void> {
  const state = await slotState(session, server.version, slot);
  const loss = slotLoss(state, slot, server.database);
  if (loss !== undefined) throw lost(loss);
  // PostgreSQL would begin at the slot's position without a word.
  if (state?.confirmed && parseLsn(state.confirmed) > from)
    throw lost(`The replication slot "${slot}" has moved on to ${state.confirmed}: someone else has read it.`);
}

/** Ends a reader that still holds the slot: an earlier attempt of ours. */
async function takeSlot(session: Session, slot: string): Promise<void> {
  for (let attempt = 1; attempt <= 100; attempt++) {
    const { rows } = await session.query<{ pid: number | null }>(
      'select active_pid as pid from pg_replication_slots where slot_name = $1',
      [slot],
    );
    const pid = rows[0]?.pid ?? null;
    if (pid === null) return;
    await session.query('select pg_terminate_backend($1)', [pid]);
    await delay(50);
  }
}

/** What a reader compares while it reads: another membership means that changes were left out in between. */
export type Membership = ReadonlyMap<number, string>;

/** Tables that the publication does not carry (any more), as events; `before`: the membership that was found at the start. */
export async function checkTables(
  session: Session,
  server: Server,
  request: CaptureRequest,
  before: Membership | undefined,
): Promise<{ membership: Membership; events: LogEvent[] }> {
  const { tables, pipeline } = request;
  const { rows } = await session.query<{
    index: number;
    oid: number | null;
    mine: boolean | null;
    member: string | null;
    filtered: boolean;
    published: boolean;
    file: string;
  }>(
    `select t.place::int - 1 as index, c.oid, c.oid = t.oid or t.oid = 0 as mine, r.oid::text as member, ${server.version >= 150000 ? 'p.rowfilter is not null' : 'false'} as filtered,
       p.tablename is not null as published, c.oid || ':' || coalesce(pg_relation_filenode(c.oid), 0) as file
     from unnest($2::text[], $3::text[], $4::int8[]) with ordinality as t(schema, name, oid, place)
     left join pg_namespace n on n.nspname = t.schema left join pg_class c on c.relnamespace = n.oid and c.relname = t.name
     left join pg_publication_tables p on p.pubname = $1 and p.schemaname = t.schema and p.tablename = t.name
     left join pg_publication_rel r on r.prrelid = c.oid and r.prpubid = (select oid from pg_publication where pubname = $1)`,
    [
      pipeline,
      tables.map(({ table }) => table.ref.schema),
      tables.map(({ table }) => table.ref.name),
      tables.map(({ table }) => structureParts(table)?.oid ?? 0),
    ],
  );
  const membership = new Map<number, string>();
  const events: LogEvent[] = [];
  for (const row of rows) {
    const { table } = tables[row.index] as CaptureRequest['tables'][0];
    const not = (reason: string): void => {
      events.push({ kind: 'structure', table: row.index, now: null, reason });
    };
    membership.set(row.index, `${row.oid}/${row.member}`);
    // Before 13 a publication holds the partitions, not their root.
    const byPartition = table.kind === 'partitioned' && server.version < 130000;
    if (row.oid === null) not('It was dropped or renamed.');
    else if (row.mine === false) not('Another table has taken its name.');
    else if (!byPartition && !row.published)
      not(
        `The publication "${pipeline}" does not carry it. Check its replica identity; then load it again: alter publication "${pipeline}" add table ${quoteTable(table.ref)};`,
      );
    else if (row.filtered) not(`The publication "${pipeline}" leaves out rows of it by a condition.`);
    else if (server.version < 110000 && table.kind === 'table' && row.file !== table.storage)
      not('It was truncated or written anew, which the log does not report before PostgreSQL 11.');
    else if (before !== undefined && before.get(row.index) !== membership.get(row.index))
      not(`It was taken out of the publication "${pipeline}" and added again: changes in between are in no log.`);
  }
  return { membership, events };
}
