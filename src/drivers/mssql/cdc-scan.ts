import { setTimeout as sleep } from 'node:timers/promises';
import { Misconfigured } from '../errors.ts';
import type { Connection } from './connection.ts';
import { errorNumber } from './errors.ts';
import { maxLsn, NO_LSN } from './position.ts';

const LOOK_MS = 500;

/**
 * Up to where CDC has captured, at a moment when it has scanned what is committed by now, as far as that can be told: a scan that began
 * later, or a transaction captured that ended later. A capture job that can't be seen is waited for `waitMs`.
 */
export async function scanned(connection: Connection, waitMs: number, signal?: AbortSignal): Promise<string> {
  const [now] = await connection.query('SELECT CONVERT(nvarchar(23), SYSDATETIME(), 121) AS now');
  const since = String(now?.[0]);
  const until = Date.now() + waitMs;
  for (;;) {
    const lsn = await maxLsn(connection);
    if ((await scannedSince(connection, since)) || Date.now() > until) return lsn ?? NO_LSN;
    await sleep(LOOK_MS, undefined, signal && { signal });
  }
}

async function scannedSince(connection: Connection, since: string): Promise<boolean> {
  const [mapped] = await connection.query(
    'SELECT CONVERT(nvarchar(23), MAX(m.tran_end_time), 121) AS latest FROM cdc.lsn_time_mapping AS m',
  );
  if (String(mapped?.[0] ?? '') > since) return true;
  const scan = await lastScan(connection);
  return scan !== null && scan.began >= since && scan.ended;
}

export type Scan = { readonly began: string; readonly ended: boolean };

/** The latest scan of the log by the capture job, in the server's own time; null: none, or this user may not see it. */
export async function lastScan(connection: Connection): Promise<Scan | null> {
  try {
    const [row] = await connection.query(
      `SELECT TOP (1) CONVERT(nvarchar(23), s.start_time, 121) AS began, CONVERT(nvarchar(23), s.end_time, 121) AS ended
FROM sys.dm_cdc_log_scan_sessions AS s
WHERE s.session_id <> 0
ORDER BY s.start_time DESC`,
    );
    return row?.[0] == null ? null : { began: String(row[0]), ended: row[1] != null };
  } catch (error) {
    if (errorNumber(error) === undefined) throw error;
    return null;
  }
}

/** Throws `Misconfigured` where CDC can't work at all. */
export function requireCdc({ facts }: Connection): void {
  if (!facts.cdc)
    throw new Misconfigured(
      `CDC is not enabled for the database ${facts.database}.`,
      `Run EXEC sys.sp_cdc_enable_db in ${facts.database} as a sysadmin (Azure SQL: db_owner), then EXEC sys.sp_cdc_enable_table for each table.`,
    );
}
