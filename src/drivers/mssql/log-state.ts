import type { Position } from '../model.ts';
import type { LogState } from '../source.ts';
import { readStarts } from './cdc-instances.ts';
import type { Connection } from './connection.ts';
import { errorNumber } from './errors.ts';
import type { CaptureMode } from './options.ts';
import { currentVersion, decodeLsn, decodeVersion } from './position.ts';
import type { Row } from './session.ts';
import { readTracked } from './tracked.ts';

const UNKNOWN: LogState = { bytes: null, hoursLeft: null, lost: null };

/**
 * How long the server still keeps what a reader at `position` has not read: the retention, less the age of the first transaction after it.
 * Neither CDC nor change tracking tells how many bytes these are.
 */
export async function logState(connection: Connection, mode: CaptureMode, position: Position): Promise<LogState> {
  if (position === '') return UNKNOWN;
  if (mode === 'cdc') return cdcState(connection, decodeLsn(position));
  if (mode === 'tracking') return trackingState(connection, decodeVersion(position));
  return UNKNOWN;
}

async function cdcState(connection: Connection, from: string): Promise<LogState> {
  const starts = [...(await readStarts(connection)).values()].sort();
  const [least] = starts;
  if (least !== undefined && from < least)
    return {
      ...UNKNOWN,
      hoursLeft: 0,
      lost: 'The change tables begin after what was read last: they were cleaned up.',
    };
  const [next] = await connection.query(
    `SELECT TOP (1) DATEDIFF(minute, m.tran_end_time, SYSDATETIME()) AS age
FROM cdc.lsn_time_mapping AS m
WHERE m.start_lsn > CONVERT(binary(10), @from, 2)
ORDER BY m.start_lsn`,
    { from },
  );
  // Azure SQL keeps the jobs in the database itself.
  const jobs = connection.facts.azure ? 'cdc.cdc_jobs' : 'msdb.dbo.cdc_jobs';
  const [kept] = await visible(
    connection,
    `SELECT CONVERT(int, j.[retention]) AS minutes FROM ${jobs} AS j WHERE j.database_id = DB_ID() AND j.job_type = N'cleanup'`,
  );
  return { ...UNKNOWN, hoursLeft: hoursLeft(kept?.[0], next?.[0]) };
}

async function trackingState(connection: Connection, from: bigint): Promise<LogState> {
  const least = (await readTracked(connection)).flatMap((one) => one.least ?? []);
  if (least.length > 0 && least.every((one) => from < one))
    return { ...UNKNOWN, hoursLeft: 0, lost: 'Change tracking begins after what was read last: it was cleaned up.' };
  const [kept] = await connection.query(
    `SELECT CASE WHEN d.is_auto_cleanup_on = 1 THEN d.retention_period * CASE d.retention_period_units_desc WHEN N'DAYS' THEN 1440 WHEN N'HOURS' THEN 60 ELSE 1 END END AS minutes
FROM sys.change_tracking_databases AS d
WHERE d.database_id = DB_ID()`,
  );
  if ((await currentVersion(connection)) <= from) return { ...UNKNOWN, hoursLeft: hoursLeft(kept?.[0], null) };
  const [next] = await visible(
    connection,
    'SELECT DATEDIFF(minute, MIN(c.commit_time), SYSUTCDATETIME()) AS age FROM sys.dm_tran_commit_table AS c WHERE c.commit_ts > @from',
    { from },
  );
  return { ...UNKNOWN, hoursLeft: next === undefined ? null : hoursLeft(kept?.[0], next[0]) };
}

/** Both in minutes. `age`: null where nothing is left to be read. */
function hoursLeft(kept: unknown, age: unknown): number | null {
  return kept == null ? null : Math.max(0, Math.round(((Number(kept) - Number(age ?? 0)) / 60) * 10) / 10);
}

/** Rows of what not every user may see; none for those who may not. */
async function visible(connection: Connection, sql: string, params?: { readonly from: bigint }): Promise<Row[]> {
  try {
    return await connection.query(sql, params);
  } catch (error) {
    if (errorNumber(error) === undefined) throw error;
    return [];
  }
}
