import { setTimeout as sleep } from 'node:timers/promises';
import type { TableRef } from '../model.ts';
import { readTables } from './catalog.ts';
import { newest, readInstances } from './cdc-instances.ts';
import { requireCdc } from './cdc-scan.ts';
import type { Connection } from './connection.ts';
import type { Pool } from './pool.ts';
import { maxLsn, NO_LSN } from './position.ts';

const LOOK_MS = 1_000;

/**
 * Where a scope of `tables` starts: what was committed before is seen by any later read, and each change after it is in the change tables. An
 * instance that the capture job has not come to yet holds nothing: that is waited for.
 */
export async function startLsn(
  pool: Pool,
  tables: readonly TableRef[],
  waiting: (why: string) => void,
  signal: AbortSignal,
): Promise<string> {
  for (;;) {
    const { lsn, without } = await pool.lend((connection) => look(connection, tables), signal);
    if (without.length === 0) return lsn;
    waiting(
      `The capture job has not begun with ${without.join(', ')} yet: SQL Server Agent must run (EXEC sys.sp_cdc_start_job @job_type = N'capture').`,
    );
    await sleep(LOOK_MS, undefined, { signal });
  }
}

async function look(
  connection: Connection,
  tables: readonly TableRef[],
): Promise<{ lsn: string; without: readonly string[] }> {
  requireCdc(connection);
  const found = await readTables(connection, tables);
  const instances = await readInstances(connection);
  const used = found.flatMap((table) => newest(instances.filter((one) => one.table === table?.id)) ?? []);
  const starts = used.flatMap(({ startLsn }) => startLsn ?? []);
  return {
    // What was committed before an instance was made is in no change table.
    lsn: [(await maxLsn(connection)) ?? NO_LSN, ...starts].sort().at(-1) as string,
    without: used.filter(({ startLsn }) => startLsn === null).map(({ name }) => name),
  };
}
