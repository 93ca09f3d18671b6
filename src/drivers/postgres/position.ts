import { setTimeout as delay } from 'node:timers/promises';
import { AccessDenied, Misconfigured } from '../errors.ts';
import type { Position } from '../model.ts';
import type { Start } from '../source.ts';
import type { Relation } from './catalog.ts';
import { abandon, giveBack, type Server, type Session, takeSession, withSession } from './connection.ts';
import { publish } from './publication.ts';

const FAST_POLL_MS = 20;
const SLOW_POLL_MS = 1_000;

/**
 * P0 of a scope (EXACTNESS.md §3): publication, then the slot, then a wait until every transaction that the slot will not report is visible to
 * new snapshots. `slot` '' (capture none): only the log's end.
 */
export async function begin(
  server: Server,
  publication: string,
  slot: string,
  relations: readonly Relation[],
  waiting: (why: string) => void,
  signal: AbortSignal,
): Promise<Start> {
  const standby = await withSession(server, isStandby);
  if (standby && server.version < 160000)
    throw new Misconfigured(
      'This server is a standby, which has no slots before PostgreSQL 16.',
      'Use the primary, or set `capture` to none.',
    );
  await withSession(server, (session) =>
    standby ? requirePublication(session, publication) : publish(session, server.version, publication, relations),
  );
  await withSession(server, (session) => dropSlot(session, slot));
  const position = await createSlot(server, slot, waiting, signal);
  await untilVisible(server, standby, waiting, signal);
  const identity = await withSession(
    server,
    async (session) => `${await identityOf(session)}/${await publicationOid(session, publication)}`,
  );
  return { position, slot, identity };
}

async function publicationOid(session: Session, publication: string): Promise<number> {
  const { rows } = await session.query<{ oid: number }>('select oid from pg_publication where pubname = $1', [
    publication,
  ]);
  return rows[0]?.oid ?? 0;
}

/** The log's written end: every commit that a read has seen lies before it. */
export async function writtenEnd(session: Session): Promise<Position> {
  const { rows } = await session.query<{ lsn: string }>(
    'select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end::text as lsn',
  );
  return (rows[0]?.lsn ?? '0/0') as Position;
}

/**
 * `<system identifier>/<timeline>`: another server, or one restored or promoted, has another one. A scope's identity also has the oid of its
 * publication: another one may have left out changes (`log-start.ts`).
 */
export async function identityOf(session: Session): Promise<string> {
  // After a promotion the control file has the new timeline only from the next checkpoint on; the name of the current segment has it at once.
  const { rows } = await session.query<{ identity: string }>(
    `select system_identifier::text || '/' || case when pg_is_in_recovery() then (select timeline_id::text from pg_control_checkpoint())
       else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int::text end as identity from pg_control_system()`,
  );
  return rows[0]?.identity ?? '';
}

/** Drops a slot of this database, ending a reader that still holds it. Fine when there is none. */
export async function dropSlot(session: Session, slot: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { rows } = await session.query<{ pid: number | null }>(
      'select active_pid as pid from pg_replication_slots where slot_name = $1 and database = current_database()',
      [slot],
    );
    const found = rows[0];
    if (!found) return;
    try {
      if (found.pid !== null) await session.query('select pg_terminate_backend($1)', [found.pid]);
      await session.query('select pg_drop_replication_slot($1)', [slot]);
      return;
    } catch (error) {
      const { code } = error as { code?: string };
      // Gone meanwhile, or its reader is not yet.
      if (code === '42704') return;
      if (code !== '55006' || attempt >= 100) throw error;
      await delay(100);
    }
  }
}

/** Slots of this database that belong to a pipeline and to none whose longer name begins the same. */
export async function slotsOf(session: Session, pipeline: string): Promise<string[]> {
  const { rows } = await session.query<{ name: string }>(
    `select slot_name as name from pg_replication_slots s
     where database = current_database() and left(slot_name, length($1) + 1) = $1 || '_'
       and not exists (select from pg_publication p where left(pubname, length($1) + 1) = $1 || '_'
         and left(s.slot_name, length(pubname) + 1) = pubname || '_')`,
    [pipeline],
  );
  return rows.map((row) => row.name);
}

async function isStandby(session: Session): Promise<boolean> {
  return (await session.query<{ standby: boolean }>('select pg_is_in_recovery() as standby')).rows[0]?.standby ?? false;
}

async function requirePublication(session: Session, publication: string): Promise<void> {
  const { rowCount } = await session.query('select 1 from pg_publication where pubname = $1', [publication]);
  if (rowCount === 0)
    throw new Misconfigured(
      `This server is a standby, where the publication "${publication}" can't be created.`,
      `Run at the primary: create publication "${publication}" for table … with (publish_via_partition_root = true);`,
    );
}

/** Creating a slot waits for all transactions that write now; meanwhile `waiting` hears which. */
async function createSlot(
  server: Server,
  slot: string,
  waiting: (why: string) => void,
  signal: AbortSignal,
): Promise<Position> {
  const session = await takeSession(server);
  let created = false;
  const abort = (): void => void abandon(server, session);
  signal.addEventListener('abort', abort, { once: true });
  try {
    // The wait is for transactions, not for a lock that someone forgot: it may take hours.
    await session.query('set lock_timeout = 0');
    const work = session.query<{ lsn: string }>(
      "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')",
      [slot],
    );
    const finished = work.then(
      () => true,
      () => true,
    );
    while (!(await Promise.race([finished, delay(SLOW_POLL_MS, false, { ref: false })]))) {
      signal.throwIfAborted();
      waiting(await whoBlocks(server, session.backend.pid));
    }
    const { rows } = await work;
    await session.query("set lock_timeout = '60s'");
    created = true;
    return (rows[0]?.lsn ?? '0/0') as Position;
  } catch (error) {
    signal.throwIfAborted();
    throw slotFailure(error);
  } finally {
    signal.removeEventListener('abort', abort);
    if (created) giveBack(server, session, false);
    else await abandon(server, session);
  }
}

/** What the server says when it makes no slot. */
export function slotFailure(error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string };
  if (code === '53400')
    return new Misconfigured(
      'All replication slots of the server are in use.',
      'Raise max_replication_slots and restart the server, or drop unused slots.',
    );
  if (code === '55000')
    return new Misconfigured(
      `The server can't make a logical slot: ${message}.`,
      'Set wal_level = logical and restart it, or set `capture` to none.',
    );
  if (code === '42501')
    return new AccessDenied(
      'The user may not create replication slots.',
      'Run: alter role … replication; (RDS: grant rds_replication to …;)',
    );
  return error;
}

async function whoBlocks(server: Server, pid: number): Promise<string> {
  return withSession(server, async (session) => {
    const { rows } = await session.query<{ who: string }>(
      `select 'pid ' || pid || ' (' || coalesce(usename, '') || ', ' || coalesce(application_name, '') || ', in transaction since ' || xact_start || ')' as who
       from pg_stat_activity where pid = any(pg_blocking_pids($1))
       union all select 'prepared transaction ' || quote_literal(gid) || ' of ' || prepared from pg_prepared_xacts where 0 = any(pg_blocking_pids($1))`,
      [pid],
    );
    return rows.length === 0
      ? 'The server is making the replication slot.'
      : `The replication slot waits for transactions that are open at the source: ${rows.map((row) => row.who).join('; ')}.`;
  });
}

/**
 * Waits until every transaction that ran when the slot was ready has ended for new snapshots too: a commit may be in the log before it can be
 * seen, and would be in neither the rows nor the changes after P0. The limit is a transaction number of our own: the xmax of a snapshot is
 * only one above the last number that has ended, so that running transactions may lie beyond it. A standby sees a commit as soon as it has
 * replayed it, and can't take a number.
 */
async function untilVisible(
  server: Server,
  standby: boolean,
  waiting: (why: string) => void,
  signal: AbortSignal,
): Promise<void> {
  if (standby) return;
  const modern = server.version >= 130000;
  await withSession(server, async (session) => {
    const { rows } = await session.query<{ limit: string }>(
      `select ${modern ? 'pg_current_xact_id()' : 'txid_current()'}::text as limit`,
    );
    const limit = rows[0]?.limit ?? '0';
    const oldest = modern ? 'pg_snapshot_xmin(pg_current_snapshot())' : 'txid_snapshot_xmin(txid_current_snapshot())';
    const start = Date.now();
    for (let told = start; ; ) {
      signal.throwIfAborted();
      const { rows: seen } = await session.query<{ done: boolean }>(
        `select ${oldest}::text::numeric >= $1::numeric as done`,
        [limit],
      );
      if (seen[0]?.done) return;
      const slow = Date.now() - start > SLOW_POLL_MS;
      if (slow && Date.now() - told >= SLOW_POLL_MS) {
        waiting(await whoIsOpen(session));
        told = Date.now();
      }
      await delay(slow ? SLOW_POLL_MS / 2 : FAST_POLL_MS, undefined, { signal });
    }
  });
}

async function whoIsOpen(session: Session): Promise<string> {
  const { rows } = await session.query<{ who: string }>(
    `select 'pid ' || pid || ' (' || coalesce(usename, '') || ', database ' || coalesce(datname, '') || ', since ' || xact_start || ')' as who
     from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
     union all select 'prepared transaction ' || quote_literal(gid) || ' of ' || prepared from pg_prepared_xacts`,
  );
  return `Reading waits for transactions that were open when the position was taken: ${rows.map((row) => row.who).join('; ') || 'none is shown any more'}.`;
}
