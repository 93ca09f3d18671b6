import type { TableId } from '../destination.ts';
import { DestinationRejected, Superseded } from '../errors.ts';
import type { TableError, TableRef } from '../model.ts';
import { type Row, rows, type Session } from './connection.ts';
import { shadowName } from './names.ts';
import { sql, table } from './sql.ts';

/** What the driver reads of a row of `_flow_tables`. */
export type Registered = {
  readonly id: TableId;
  readonly pipeline: string;
  readonly ref: TableRef;
  readonly target: string;
  readonly scope: number;
  readonly state: string;
  readonly live: boolean;
  readonly run: number;
  readonly load: number;
  /** The load that the live copy came from; 0: not known. */
  readonly liveLoad: number;
  readonly loadState: string;
  readonly loadScope: number;
  readonly shape: string;
  readonly replace: boolean;
  readonly adopt: boolean;
  /** The load fills nothing: the live table stays as it is (`skipInitial` with a table that is there). */
  readonly keep: boolean;
  /** Whether the live copy keeps versions of its rows, and whether that of the load will. */
  readonly history: boolean;
  readonly loadHistory: boolean;
  readonly loadRows: number;
  readonly loadBytes: number;
  readonly loadRules: Record<string, number>;
  readonly fence: number;
  readonly row: Row;
};

/** Reads rows of `_flow_tables`; all of the database, or those named. */
export async function readTables(session: Session, database: string, ids?: readonly TableId[]): Promise<Registered[]> {
  const tables = table(database, '_flow_tables');
  if (ids === undefined) return (await rows(session, sql`select * from ${tables}`)).map(registered);
  if (ids.length === 0) return [];
  return (await rows(session, sql`select * from ${tables} where [table_id] in (${ids})`)).map(registered);
}

/** The row of a table whose load a run is about to close; throws `Superseded` when the load is not the table's current one. */
export async function readLoad(session: Session, database: string, id: TableId, load: number): Promise<Registered> {
  const [found] = await readTables(session, database, [id]);
  if (!found || found.load !== load)
    throw new Superseded(
      `Load ${load} of table ${id} was given up or replaced.`,
      'Nothing: the run that owns the table goes on.',
    );
  return found;
}

/** Whether the table's current load is in place already. */
export function isPromoted(registered: Registered): boolean {
  return (
    registered.loadState === '' && registered.live && registered.state !== 'reload' && registered.state !== 'error'
  );
}

/** Names of the tables in a database, as the server shows them; `names`: only these, if given. */
export async function tableNames(session: Session, database: string, names?: readonly string[]): Promise<Set<string>> {
  const all = sql`select table_name as [name] from information_schema.tables where table_schema = ${database}`;
  const found = names === undefined ? await rows(session, all) : await ofTables(session, all, names);
  return new Set(found.map((row) => String(row['name'])));
}

/** Tables per statement. */
const LOOKUPS = 100;

/**
 * What a query of `information_schema` says of these tables; it ends in a condition. MariaDB looks a table up when it is named alone, and opens every
 * table of the database when names stand in a list.
 */
export async function ofTables(session: Session, query: string, names: readonly string[]): Promise<Row[]> {
  const found: Row[] = [];
  for (let i = 0; i < names.length; i += LOOKUPS) {
    const some = names.slice(i, i + LOOKUPS).map((name) => `${query}${sql` and table_name = ${name}`}`);
    found.push(...(await rows(session, some.join(' union all '))));
  }
  return found;
}

/** Refuses to go on with a load whose rows are not there. */
export function shadowGone(registered: Registered): DestinationRejected {
  return new DestinationRejected(
    `The loaded rows of ${registered.ref.schema}.${registered.ref.name} are gone: someone dropped ${shadowName(registered.id, registered.load)}.`,
    'Load the table again.',
  );
}

/** A permanent error as one table's error. */
export function tableError(error: Error & { action?: string }): TableError {
  return { class: error.name, message: error.message, action: error.action ?? '' };
}

/** A stored error; null where there is none. */
export function readError(row: Row): TableError | null {
  const name = String(row['error_class'] ?? '');
  if (name === '') return null;
  return { class: name, message: String(row['error_message'] ?? ''), action: String(row['error_action'] ?? '') };
}

/** Reads a stored JSON object of counts. */
export function readCounts(value: Row[string]): Record<string, number> {
  return typeof value === 'string' && value !== '' ? (JSON.parse(value) as Record<string, number>) : {};
}

function registered(row: Row): Registered {
  return {
    id: String(row['table_id']),
    pipeline: String(row['pipeline']),
    ref: { schema: String(row['source_schema']), name: String(row['source_name']) },
    target: String(row['target_table']),
    scope: Number(row['scope']),
    state: String(row['state']),
    live: Number(row['live']) === 1,
    run: Number(row['run']),
    load: Number(row['load_number']),
    liveLoad: Number(row['live_load']),
    loadState: String(row['load_state']),
    loadScope: Number(row['load_scope']),
    shape: String(row['load_shape'] ?? ''),
    replace: Number(row['load_replace']) === 1,
    adopt: Number(row['load_adopt']) === 1,
    keep: Number(row['load_keep']) === 1,
    history: Number(row['history']) === 1,
    loadHistory: Number(row['load_history']) === 1,
    loadRows: Number(row['load_rows']),
    loadBytes: Number(row['load_bytes']),
    loadRules: readCounts(row['load_rules'] ?? null),
    fence: Number(row['load_fence']),
    row,
  };
}
