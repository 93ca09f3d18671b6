import { setTimeout as sleep } from 'node:timers/promises';
import { Misconfigured } from '../errors.ts';
import type { Connection } from './connection.ts';
import { errorNumber } from './errors.ts';
import { maxLsn, NO_LSN } from './position.ts';

const LOOK_MS = 500;
/** The server keeps its times of commits and scans in steps of 3 ms. */
const STEP_MS = 5;

/**
 * Up to where CDC has captured, at a moment when it has scanned what is committed by now, as far as that can be told: a transaction captured
 * that ended later, or a scan that began later and found nothing more (one that finds much stops before the log's end). A capture job that
 * can't be seen is waited for `waitMs`.
 */
export async function scanned(connection: Connection, waitMs: number, signal?: AbortSignal): Promise<string> {
  const [now] = await connection.query(
    `SELECT CONVERT(nvarchar(23), DATEADD(millisecond, ${STEP_MS}, SYSDATETIME()), 121) AS since`,
  );
  const since = String(now?.[0]);
  const before = await lastScan(connection);
  const until = Date.now() + waitMs;
  for (;;) {
    const done = (await scannedSince(connection, since, before)) || Date.now() > until;
    // After the question whether it has scanned: what a scan finds is there by the time that it is told of.
    if (done) return (await maxLsn(connection)) ?? NO_LSN;
    await sleep(LOOK_MS, undefined, signal && { signal });
  }
}

async function scannedSince(connection: Connection, since: string, before: Scan | null): Promise<boolean> {
  // By LSN: local time goes back once a year.
  if (((await lastCaptured(connection)) ?? '') > since) return true;
  const scan = await lastScan(connection);
  if (!scan?.ended || scan.found > 0) return false;
  // Scans that find nothing share one line: of those counted since the first look the second one began after it.
  return scan.began >= since || (scan.id === before?.id && scan.empty >= before.empty + 2);
}

/** When the last captured transaction ended, in the server's own time; a running job notes the time in quiet periods too. null: none. */
export async function lastCaptured(connection: Connection): Promise<string | null> {
  const [row] = await connection.query(
    'SELECT TOP (1) CONVERT(nvarchar(23), m.tran_end_time, 121) AS latest FROM cdc.lsn_time_mapping AS m ORDER BY m.start_lsn DESC',
  );
  return row?.[0] == null ? null : String(row[0]);
}

/** `found`: transactions; `empty`: scans in a row that found none. */
export type Scan = {
  readonly id: number;
  readonly began: string;
  readonly ended: string | null;
  readonly found: number;
  readonly empty: number;
};

/** The latest scan of the log by the capture job, in the server's own time; null: none, or this user may not see it. */
export async function lastScan(connection: Connection): Promise<Scan | null> {
  try {
    const [row] = await connection.query(
      `SELECT TOP (1) s.session_id, CONVERT(nvarchar(23), s.start_time, 121) AS began, CONVERT(nvarchar(23), s.end_time, 121) AS ended,
 s.tran_count, s.empty_scan_count
FROM sys.dm_cdc_log_scan_sessions AS s
WHERE s.session_id <> 0
ORDER BY s.session_id DESC`,
    );
    if (row?.[1] == null) return null;
    const [id, began, ended, found, empty] = row;
    return {
      id: Number(id),
      began: String(began),
      ended: ended == null ? null : String(ended),
      found: Number(found),
      empty: Number(empty),
    };
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
