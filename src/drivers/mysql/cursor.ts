import { type CursorColumn, type CursorSettings, type Mark, type Since, withCursor } from '../cursor.ts';
import type { CursorSource } from '../cursor-looks.ts';
import type { Finding, Table, TableOptions } from '../model.ts';
import type { CatalogTable } from './catalog.ts';
import { type Connection, tolerate } from './connection.ts';
import type { Pool } from './pool.ts';
import { identity } from './position.ts';
import { EVERYTHING } from './range.ts';
import { readChunk } from './read.ts';
import { rereadKeys } from './reread.ts';
import { quoteName } from './types.ts';

/** `capture` = cursor: rows are found by columns of TIMESTAMP and DATETIME, which needs no more than SELECT. */

export function cursorSource(
  pool: Pool,
  refuse: boolean,
  { describe, settings }: Pick<CursorSource, 'describe' | 'settings'>,
): CursorSource {
  return {
    describe,
    settings,
    identity: () => pool.lend(identity),
    now: () => pool.lend(markOf),
    changed: (table, since, signal) => readChunk(pool, table, changedSince(table, since), EVERYTHING, refuse, signal),
    reread: (table, keys, signal) => rereadKeys(pool, table, keys, null, refuse, signal),
  };
}

/** The server's clock, ms since 1970 (UTC). */
export async function clockOf(connection: Connection): Promise<number> {
  // As text: the session's time zone must not matter, nor an hour that comes twice.
  const { product, number } = connection.facts;
  const whole = product === 'MySQL' && number < 50_604;
  const [row] = await connection.query(`select utc_timestamp(${whole ? '' : '3'})`);
  return Date.parse(`${String(row?.[0]).replace(' ', 'T')}Z`);
}

/** The clock, and since when a transaction is open as far as this user may know (PROCESS). */
async function markOf(connection: Connection): Promise<Mark> {
  const t = await clockOf(connection);
  // Their times are shown by the clock of the system.
  await connection.query("set time_zone = 'SYSTEM'");
  const open = await tolerate(
    connection.query('select timestampdiff(second, min(trx_started), now()) from information_schema.INNODB_TRX'),
    [1109, 1227],
  );
  await connection.query("set time_zone = '+00:00'");
  const seconds = open?.[0]?.[0];
  return seconds == null ? { t } : { t, o: t - (Math.max(0, Number(seconds)) + 1) * 1000 };
}

/** A replica's clock runs on while its rows come late. */
export async function replicaLag(connection: Connection): Promise<Finding[]> {
  const { product, number } = connection.facts;
  const status = product === 'MySQL' && number >= 80_022 ? 'show replica status' : 'show slave status';
  const rows = await tolerate(connection.query(status), [1227]);
  if (!rows || rows.length === 0) return [];
  const message =
    'The source is a replica: rows that it gets later than `cursor_overlap` after they were written are missed by deltas. Raise `cursor_overlap` above the longest lag, or use its primary.';
  return [{ severity: 'warning', code: 'replica', message }];
}

/** A described table as its cursor columns follow it. */
export function followedByCursor(
  table: Table,
  found: CatalogTable,
  options: TableOptions,
  settings: CursorSettings,
): Table {
  const columns = table.columns.flatMap(({ name }): CursorColumn[] => {
    const column = found.columns.find((one) => one.name === name);
    if (!column) return [];
    const isTime = column.word === 'timestamp' || column.word === 'datetime';
    return [
      {
        name,
        nullable: column.nullable,
        clock: isTime ? 'time' : null,
        indexed: found.indexes.some(({ method, parts }) => method === 'BTREE' && parts[0]?.column === name),
        ...(column.word === 'datetime' ? { local: true as const } : {}),
      },
    ];
  });
  const { cascades = [], ...rest } = table;
  const keys = cascades.map((one) => one.name).join(', ');
  const warnings =
    cascades.length === 0
      ? table.warnings
      : [
          ...table.warnings,
          `Foreign keys (${keys}) change or delete its rows without a new time: \`validate\` finds them.`,
        ];
  return withCursor({ ...rest, warnings }, columns, options.cursor, settings);
}

/** The condition for rows that were written since, as far as their cursor columns tell. Sessions are in UTC, as TIMESTAMPs are then. */
function changedSince(table: Table, since: Since): string {
  const parts = (table.cursor ?? []).map((name) => {
    const column = table.columns.find((one) => one.name === name);
    const from = /^timestamp/i.test(column?.sourceType ?? '') ? since.utc : since.local;
    return `${quoteName(name)} >= '${from}'`;
  });
  return parts.length === 0 ? 'false' : parts.join(' or ');
}
