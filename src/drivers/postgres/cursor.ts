import { type CursorColumn, type CursorSettings, type Mark, type Since, withCursor } from '../cursor.ts';
import type { CursorSource } from '../cursor-looks.ts';
import type { Table, TableOptions } from '../model.ts';
import type { Relation, SourceColumn } from './catalog.ts';
import type { Server, Session } from './connection.ts';
import { chooseKey } from './key.ts';
import { identityOf } from './position.ts';
import { formatRange } from './range.ts';
import { readRange } from './read.ts';
import { rereadRows } from './reread.ts';
import { quoteName, quoteText } from './sql.ts';
import { copiedColumns } from './table.ts';

/** `capture` = cursor: rows are found by columns of timestamptz and timestamp, which needs no more than SELECT. */

/** What the driver lends: sessions, and the catalog's view of a table. */
type Means = Pick<CursorSource, 'describe' | 'settings'> & {
  readonly server: Server;
  readonly refuse: boolean;
  inSession<T>(work: (session: Session) => Promise<T>): Promise<T>;
  relationOf(table: Table): Promise<Relation>;
};

export function cursorSource({ server, refuse, inSession, relationOf, describe, settings }: Means): CursorSource {
  return {
    describe,
    settings,
    identity: () => inSession(identityOf),
    now: () => inSession(markOf),
    async *changed(table, since, signal) {
      const relation = await relationOf(table);
      const where = changedSince(relation, table, since);
      return yield* readRange(server, { table, relation, where, range: formatRange({ form: 'all' }), refuse }, signal);
    },
    reread: (table, keys, signal) => rereadRows(server, table, keys, new Set(), refuse, signal),
  };
}

/**
 * The server's clock, on a standby the commit time that it has replayed up to: later ones are yet to be seen. Transactions of others show to
 * users with `pg_read_all_stats` only.
 */
async function markOf(session: Session): Promise<Mark> {
  const { rows } = await session.query<{ t: number; o: number | null }>(
    `select floor(extract(epoch from case when pg_is_in_recovery()
         then least(clock_timestamp(), coalesce(pg_last_xact_replay_timestamp(), (select checkpoint_time from pg_control_checkpoint())))
         else clock_timestamp() end) * 1000)::float8 as t,
       floor(extract(epoch from least(
         (select min(xact_start) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
           and application_name <> 'flow-ingest' and backend_type not in ('autovacuum worker', 'walsender')),
         (select min(prepared) from pg_prepared_xacts where database = current_database()))) * 1000)::float8 as o`,
  );
  const { t, o } = rows[0] as (typeof rows)[0];
  return o === null || o === undefined || o > t ? { t } : { t, o };
}

/** The columns that an index without a condition begins with, by table: `oid` and number in one text. */
export async function indexedColumns(
  session: Session,
  relations: readonly (Relation | undefined)[],
): Promise<ReadonlySet<string>> {
  const { rows } = await session.query<{ id: string }>(
    `select indrelid::text || ' ' || indkey[0]::text as id from pg_index where indrelid = any($1::oid[]) and indisvalid and indpred is null`,
    [relations.flatMap((relation) => relation?.oid ?? [])],
  );
  return new Set(rows.map(({ id }) => id));
}

/** A described table as its cursor columns follow it. */
export function followedByCursor(
  table: Table,
  relation: Relation,
  options: TableOptions,
  server: Server,
  indexed: ReadonlySet<string>,
  settings: CursorSettings,
): Table {
  const { copied } = copiedColumns(relation, server);
  const columns = copied.map((column): CursorColumn => {
    const name = timeType(column);
    return {
      name: column.name,
      nullable: !column.notNull,
      clock: name === undefined ? null : 'time',
      indexed: indexed.has(`${relation.oid} ${column.number}`),
      ...(name === 'timestamp' ? { local: true as const } : {}),
    };
  });
  // What the log does not carry is no matter.
  const ofLog = table.key.length === 0 ? [] : chooseKey(relation, copied, options).warnings;
  const warnings = table.warnings.filter((warning) => !ofLog.includes(warning));
  return withCursor({ ...table, warnings }, columns, options.cursor, settings);
}

function timeType({ type }: SourceColumn): 'timestamp' | 'timestamptz' | undefined {
  return type.schema === 'pg_catalog' && (type.name === 'timestamp' || type.name === 'timestamptz')
    ? type.name
    : undefined;
}

/** The condition for rows that were written since, as far as their cursor columns tell. */
function changedSince(relation: Relation, table: Table, since: Since): string {
  const parts = (table.cursor ?? []).map((name) => {
    const column = relation.columns.find((one) => one.name === name);
    const zoned = column !== undefined && timeType(column) === 'timestamptz';
    const from = zoned ? `${quoteText(`${since.utc}+00`)}::timestamptz` : `${quoteText(since.local)}::timestamp`;
    return `${quoteName(name)} >= ${from}`;
  });
  return parts.length === 0 ? 'false' : parts.join(' or ');
}
