import type { Connection } from './connection.ts';

export type Settings = ReadonlyMap<string, string>;

/** Global variables by lower-case name; a server knows those of its version only. */
export async function globalVariables(connection: Connection): Promise<Settings> {
  const rows = await connection.query('show global variables');
  return new Map(rows.map(([name, value]) => [(name ?? '').toLowerCase(), value ?? '']));
}

/** After how many seconds the server deletes a file of its log; null: never. */
export function retentionSeconds(settings: Settings): number | null {
  const seconds = Number(settings.get('binlog_expire_logs_seconds') ?? '0');
  const days = Number(settings.get('expire_logs_days') ?? '0');
  if (settings.get('binlog_expire_logs_auto_purge') === 'OFF') return null;
  if (seconds > 0) return seconds;
  return days > 0 ? days * 86_400 : null;
}
