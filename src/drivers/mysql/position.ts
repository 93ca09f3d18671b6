import { setTimeout as sleep } from 'node:timers/promises';
import { Misconfigured, PositionLost } from '../errors.ts';
import type { Position, TableRef } from '../model.ts';
import { type Connection, tolerate } from './connection.ts';
import { quoteName } from './types.ts';

/**
 * Where the binlog stands. `gtid`: the set of transactions that are contained (MySQL), or the position by GTID (MariaDB). `file` and
 * `offset`: a place in the binlog of the server `server` (a UUID; MySQL only). `since`: rows of XA transactions that were prepared before
 * this place and not committed stand from there on. A MySQL start by GTID has no file, since file and offset run ahead of what a SELECT
 * sees (reference/drivers.md §1.6). Stored at the destination as JSON: add fields, never rename.
 */
export type LogPosition = {
  readonly gtid?: string;
  readonly file?: string;
  readonly offset?: number;
  readonly server?: string;
  readonly since?: { readonly file: string; readonly offset: number };
};

export function encodePosition(position: LogPosition): Position {
  return JSON.stringify(position) as Position;
}

/** null for '', the position of a source without a log. Throws `PositionLost` for one of another kind of source. */
export function decodePosition(text: string): LogPosition | null {
  if (text === '') return null;
  const position = text.startsWith('{') ? (JSON.parse(text) as LogPosition) : {};
  if (position.gtid === undefined && position.file === undefined)
    throw new PositionLost('The stored position is none of a binary log.', 'Run a full extract.');
  return position;
}

/** The written end of the binlog: whatever a SELECT has returned by now lies before it. */
export async function writtenEnd(connection: Connection): Promise<LogPosition> {
  const [row] = await logStatus(connection);
  const [file, offset] = row ?? [];
  if (!file || !offset) throw noLog();
  const place = { file, offset: Number(offset) };
  const ids = await serverIds(connection);
  if (!ids?.gtids) return ids ? { ...place, server: ids.server } : place;
  // What a SELECT has returned is either among the executed ones or still owned by the session that commits it.
  const [owned] = await connection.query('select @@global.gtid_owned');
  const [executed] = await connection.query('select @@global.gtid_executed');
  const sets = [executed?.[0] ?? '', (owned?.[0] ?? '').replace(/#\d+/g, '')];
  return {
    ...place,
    server: ids.server,
    gtid: sets
      .map((set) => set.replace(/\s/g, ''))
      .filter(Boolean)
      .join(','),
  };
}

/** The UUID of a MySQL server, and whether its transactions have ids; undefined for MariaDB and for MySQL before 5.6. */
export async function serverIds(connection: Connection): Promise<{ server: string; gtids: boolean } | undefined> {
  if (connection.facts.product !== 'MySQL') return undefined;
  const [row] = (await tolerate(connection.query('select @@server_uuid, @@global.gtid_mode'), [1193])) ?? [];
  return row?.[0] ? { server: row[0], gtids: row[1]?.toUpperCase() === 'ON' } : undefined;
}

/**
 * A place in the log such that no later commit of `tables` lies before it and every earlier one is visible to any later read
 * (EXACTNESS.md §3). Takes a read lock only on MySQL without GTIDs, for as long as it takes to read one row.
 */
async function startPosition(connection: Connection, tables: readonly TableRef[]): Promise<LogPosition> {
  const { product } = connection.facts;
  if (product === 'MySQL') {
    const [row] = (await tolerate(connection.query('select @@global.gtid_mode, @@global.gtid_executed'), [1193])) ?? [];
    if (row?.[0]?.toUpperCase() === 'ON') return { gtid: (row[1] ?? '').replace(/\s/g, '') };
  }
  return (await snapshotPosition(connection)) ?? (await lockedPosition(connection, tables));
}

/**
 * A start at which no XA transaction is prepared: the rows of one would stand in the log before it, and count after it. Waits for them; those
 * that the server does not show to this user are noticed by the reader of the log.
 */
export async function settledStart(
  connection: Connection,
  tables: readonly TableRef[],
  waiting: (why: string) => void,
): Promise<LogPosition> {
  for (;;) {
    const position = await startPosition(connection, tables);
    const prepared = (await tolerate(connection.query('xa recover'), [1064, 1227, 1401])) ?? [];
    if (prepared.length === 0) return position;
    waiting(
      `Waiting for ${prepared.length} prepared XA transactions (XA RECOVER), whose rows would be missing: ${prepared
        .slice(0, 5)
        .map((row) => row.at(-1))
        .join(', ')}.`,
    );
    await sleep(XA_LOOK_MS);
  }
}

const XA_LOOK_MS = 500;

/** MariaDB and Percona Server tell the place that belongs to a consistent snapshot; null where there is no such thing. */
async function snapshotPosition(connection: Connection): Promise<LogPosition | null> {
  await connection.query('start transaction with consistent snapshot');
  try {
    const rows = await connection.query("show status like 'binlog_snapshot_%'");
    const status = new Map(rows.map(([name, value]) => [(name ?? '').toLowerCase(), value ?? '']));
    const file = status.get('binlog_snapshot_file') ?? '';
    const offset = Number(status.get('binlog_snapshot_position') ?? '0');
    if (file === '' || offset === 0) return null;
    if (connection.facts.product !== 'MariaDB') return { file, offset };
    const [row] = await connection.query(`select binlog_gtid_pos('${file.replaceAll("'", "''")}', ${offset})`);
    return row?.[0] == null ? { file, offset } : { gtid: row[0], file, offset };
  } finally {
    await connection.query('rollback');
  }
}

/** A lock that waits for all writers, so that what the log holds is committed; released before returning. */
async function lockedPosition(connection: Connection, tables: readonly TableRef[]): Promise<LogPosition> {
  await tolerate(connection.query(`set session lock_wait_timeout = ${LOCK_SECONDS}`), [1193]);
  const locked = await tolerate(connection.query('flush tables with read lock'), [1044, 1045, 1227]);
  const list = tables.map(({ schema, name }) => `${quoteName(schema)}.${quoteName(name)} read`).join(', ');
  if (!locked && list !== '') await connection.query(`lock tables ${list}`);
  try {
    return await writtenEnd(connection);
  } finally {
    await connection.query('unlock tables');
  }
}

/** After so long the wait for the lock is given up, so that writers queued behind it go on; the caller tries again. */
const LOCK_SECONDS = 30;

/** File, offset, binlog_do_db, binlog_ignore_db, …; [] without a binlog. Needs REPLICATION CLIENT (MariaDB: BINLOG MONITOR). */
export async function logStatus(connection: Connection): Promise<(readonly (string | null)[])[]> {
  const { product, number } = connection.facts;
  return connection.query(product === 'MySQL' && number >= 80_200 ? 'show binary log status' : 'show master status');
}

/** The server whose log is followed: later starts compare it. */
export async function identity(connection: Connection): Promise<string> {
  const { product } = connection.facts;
  if (product === 'MySQL') {
    const [row] = (await tolerate(connection.query('select @@server_uuid'), [1193])) ?? [];
    if (row?.[0]) return `mysql:${row[0]}`;
  }
  const [row] = await connection.query('select @@server_id');
  return `${product.toLowerCase()}:${row?.[0] ?? ''}`;
}

function noLog(): Misconfigured {
  return new Misconfigured(
    'The source writes no binary log.',
    'Set log_bin and server_id at the source and restart it, or set `capture` to none for full extracts only.',
  );
}
