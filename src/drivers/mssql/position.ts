import { decodeMark, encodeMark, markReached } from '../cursor.ts';
import { Misconfigured, PositionLost } from '../errors.ts';
import type { Position } from '../model.ts';
import type { Connection } from './connection.ts';
import { errorNumber } from './errors.ts';
import type { CaptureMode } from './options.ts';

/** A version of change tracking. Stored at the destination as JSON: add fields, never rename. */
type Version = { readonly version: string };
/** A commit LSN of CDC, 20 hex digits: everything up to and including it. Stored likewise. */
type Lsn = { readonly lsn: string };

export const NO_LSN = '0'.repeat(20);

export function encodeVersion(version: bigint): Position {
  return JSON.stringify({ version: String(version) } satisfies Version) as Position;
}

/** Throws `PositionLost` for a position of another kind. */
export function decodeVersion(position: string): bigint {
  return BigInt(partsOf<Version>(position).version ?? fault());
}

export function encodeLsn(lsn: string): Position {
  return JSON.stringify({ lsn } satisfies Lsn) as Position;
}

/** Throws `PositionLost` for a position of another kind. */
export function decodeLsn(position: string): string {
  return partsOf<Lsn>(position).lsn ?? fault();
}

function partsOf<T>(position: string): Partial<T> {
  return position.startsWith('{') ? (JSON.parse(position) as Partial<T>) : {};
}

function fault(): never {
  throw new PositionLost('The stored position is of another way to capture changes.', 'Run a full extract.');
}

/** Whether everything up to `goal` lies within `position`. */
export function positionReached(mode: CaptureMode, position: string, goal: string): boolean {
  if (mode === 'none' || position === '' || goal === '') return true;
  if (mode === 'tracking') return decodeVersion(position) >= decodeVersion(goal);
  if (mode === 'cdc') return decodeLsn(position) >= decodeLsn(goal);
  if (decodeMark(position) === null) return true;
  return markReached(position, goal);
}

/** The database's clocks: UTC as ms since 1970, minutes that its own zone is east of that, and the lowest row version that may still change. */
export type Clocks = { readonly utc: number; readonly zone: number; readonly version: bigint };

const CLOCKS = `SELECT CONVERT(nvarchar(23), SYSUTCDATETIME(), 121) AS utc, DATEDIFF(minute, SYSUTCDATETIME(), SYSDATETIME()) AS zone,
 CONVERT(nvarchar(16), CONVERT(binary(8), MIN_ACTIVE_ROWVERSION()), 2) AS row_version`;

export async function readClocks(connection: Connection): Promise<Clocks> {
  const [row] = await connection.query(CLOCKS);
  return {
    utc: Date.parse(`${String(row?.[0]).replace(' ', 'T')}Z`),
    // The two clocks are read one after the other: a minute may pass between them, and zones are in quarters of an hour.
    zone: Math.round(Number(row?.[1]) / 15) * 15,
    version: BigInt(`0x${String(row?.[2])}`),
  };
}

/** Everything committed by now is before it. */
export async function markNow(connection: Connection): Promise<Position> {
  const { utc, version } = await readClocks(connection);
  return encodeMark({ t: utc, v: String(version) });
}

/** The last committed version. Throws `Misconfigured` when change tracking is off. */
export async function currentVersion(connection: Connection): Promise<bigint> {
  const [row] = await connection.query('SELECT CHANGE_TRACKING_CURRENT_VERSION() AS version');
  if (row?.[0] == null)
    throw new Misconfigured(
      `Change tracking is off in ${connection.facts.database}.`,
      `Run ALTER DATABASE [${connection.facts.database}] SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS, AUTO_CLEANUP = ON).`,
    );
  return BigInt(String(row[0]));
}

/** The version of a snapshot that begins now, where the database allows one: every commit up to it is seen by whatever begins later. */
export async function versionNow(connection: Connection): Promise<bigint> {
  if (!connection.facts.snapshot) return currentVersion(connection);
  await connection.query('SET TRANSACTION ISOLATION LEVEL SNAPSHOT');
  await connection.query('BEGIN TRANSACTION');
  const version = await currentVersion(connection);
  await connection.query('COMMIT TRANSACTION');
  return version;
}

/** Up to where CDC has captured; null: nothing yet. */
export async function maxLsn(connection: Connection): Promise<string | null> {
  const [row] = await connection.query('SELECT CONVERT(nvarchar(20), sys.fn_cdc_get_max_lsn(), 2) AS max_lsn');
  return row?.[0] == null ? null : String(row[0]);
}

/**
 * The database and the fork of its log, which a restore to an earlier point makes anew; '' for the fork where this user may not see it.
 * A failover to another server keeps both.
 */
export async function identity(connection: Connection): Promise<string> {
  const { database } = connection.facts;
  try {
    const [row] = await connection.query(
      'SELECT CONVERT(nvarchar(36), r.recovery_fork_guid) AS fork FROM sys.database_recovery_status AS r WHERE r.database_id = DB_ID()',
    );
    return `mssql:${row?.[0] ?? ''}:${database}`;
  } catch (error) {
    if (errorNumber(error) === undefined) throw error;
    return `mssql::${database}`;
  }
}

/** Throws `PositionLost` when the database is another one than was followed, or was restored since. */
export function checkIdentity(stored: string, now: string): void {
  if (stored === '') return;
  const [, forkBefore = '', ...before] = stored.split(':');
  const [, fork = '', ...name] = now.split(':');
  if (before.join(':') !== name.join(':'))
    throw new PositionLost(
      `The source is the database ${name.join(':')}, and ${before.join(':') || 'another source'} was followed.`,
      'Correct `db`, or run a full extract.',
    );
  if (forkBefore !== '' && fork !== '' && forkBefore !== fork)
    throw new PositionLost(
      'The database was restored from a backup since: what changed is not known.',
      'Run a full extract.',
    );
}
