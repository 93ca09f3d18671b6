import { AccessDenied } from '../errors.ts';
import { numberOf, type Row, rows, run, type Session } from './connection.ts';
import type { Dialect } from './dialect.ts';
import { checkDatabaseName } from './names.ts';
import { quote, sql, table } from './sql.ts';

type Kind = 'word' | 'name' | 'number' | 'long' | 'time';

/** One control table. Stored at the destination: add columns, never rename. Columns outside the key have a default or are nullable. */
type ControlTable = {
  readonly columns: Readonly<Record<string, Kind>>;
  readonly key: readonly string[];
  readonly shard: readonly string[];
  readonly rowstore: boolean;
};

/** The control tables of each destination database (EXACTNESS.md §1). Stored at the destination: add columns, never rename. */
export const CONTROL: Readonly<Record<string, ControlTable>> = {
  _flow_checkpoints: {
    columns: {
      pipeline: 'word',
      scope: 'number',
      run: 'number',
      token: 'number',
      owner: 'word',
      seq: 'number',
      position: 'long',
      ordinal: 'number',
      slot: 'name',
      identity: 'long',
      connections: 'long',
      // The last table (by id) of a pass, which holds everything up to `part_until`; '': no transaction is written in passes.
      part: 'word',
      part_until: 'long',
    },
    key: ['pipeline', 'scope'],
    shard: ['pipeline', 'scope'],
    rowstore: true,
  },
  _flow_tables: {
    columns: {
      table_id: 'word',
      pipeline: 'word',
      source_schema: 'name',
      source_name: 'name',
      target_table: 'name',
      scope: 'number',
      state: 'word',
      // 1 once a load of this pipeline has been put in place (or an existing table was adopted): only then the target may be replaced.
      live: 'number',
      run: 'number',
      load_number: 'number',
      // The load that the live copy came from; 0 in rows of versions that did not know it.
      live_load: 'number',
      // '' | planning | loading | sealed | journalled | dropping
      load_state: 'word',
      load_scope: 'number',
      load_shape: 'long',
      load_replace: 'number',
      load_adopt: 'number',
      load_keep: 'number',
      load_history: 'number',
      load_until: 'long',
      load_rows: 'number',
      load_bytes: 'number',
      load_rules: 'long',
      load_started: 'time',
      load_fence: 'number',
      follow_from: 'long',
      ahead_until: 'long',
      // 1: the copy keeps versions of its rows. Changes up to `baseline_until` belong to the loaded rows.
      history: 'number',
      baseline_until: 'long',
      // The scope's `part_until` when the table joined it.
      joined: 'long',
      options_hash: 'word',
      rows_total: 'number',
      bytes_total: 'number',
      rules: 'long',
      started_at: 'time',
      loaded_at: 'time',
      // Changes of runs that `_flow_runs` no longer knows one by one; times: the last commit at the source, and its write here.
      inserted: 'number',
      updated: 'number',
      deleted: 'number',
      parked: 'number',
      changed_at: 'time',
      written_at: 'time',
      error_class: 'word',
      error_message: 'long',
      error_action: 'long',
    },
    key: ['table_id'],
    shard: ['table_id'],
    rowstore: true,
  },
  _flow_chunks: {
    columns: {
      table_id: 'word',
      load_number: 'number',
      chunk: 'number',
      token: 'number',
      state: 'word',
      cut: 'long',
      rows_sent: 'number',
      bytes_sent: 'number',
      rows_parked: 'number',
      rules: 'long',
    },
    key: ['table_id', 'load_number', 'chunk'],
    shard: ['table_id'],
    rowstore: true,
  },
  _flow_structures: {
    columns: { table_id: 'word', load_number: 'number', serial: 'number', valid_from: 'long', structure: 'long' },
    key: ['table_id', 'load_number', 'serial'],
    shard: ['table_id'],
    rowstore: false,
  },
  _flow_journal: {
    columns: {
      table_id: 'word',
      pipeline: 'word',
      run: 'number',
      load_number: 'number',
      // journal | retire | install
      step: 'word',
      target_table: 'name',
    },
    key: ['table_id'],
    shard: ['table_id'],
    rowstore: true,
  },
  _flow_points: {
    columns: {
      pipeline: 'word',
      point: 'number',
      scope: 'number',
      run: 'number',
      position: 'long',
      source_time: 'time',
      recorded_at: 'time',
      // By database: the ordinal that belongs to the position.
      ordinals: 'long',
    },
    key: ['pipeline', 'point'],
    shard: ['pipeline', 'point'],
    rowstore: false,
  },
  _flow_dead_letters: {
    columns: {
      table_id: 'word',
      row_key: 'word',
      key_text: 'long',
      letter: 'long',
      reason: 'long',
      position: 'long',
      recorded_at: 'time',
    },
    key: ['table_id', 'row_key'],
    shard: ['table_id', 'row_key'],
    rowstore: false,
  },
  _flow_rereads: {
    columns: { table_id: 'word', row_key: 'word', key_text: 'long', reason: 'long', recorded_at: 'time' },
    key: ['table_id', 'row_key'],
    shard: ['table_id', 'row_key'],
    rowstore: false,
  },
  _flow_runs: {
    columns: {
      pipeline: 'word',
      run: 'number',
      table_id: 'word',
      source_schema: 'name',
      source_name: 'name',
      target_table: 'name',
      state: 'word',
      rows_total: 'number',
      bytes_total: 'number',
      started_at: 'time',
      ended_at: 'time',
      error_class: 'word',
      error_message: 'long',
      error_action: 'long',
      // What a validation found; '' for loads.
      checked: 'long',
      // Changes that the run has applied, counted in the transactions that wrote them.
      inserted: 'number',
      updated: 'number',
      deleted: 'number',
      parked: 'number',
      changed_at: 'time',
      written_at: 'time',
    },
    key: ['pipeline', 'run', 'table_id'],
    shard: ['pipeline', 'run', 'table_id'],
    rowstore: true,
  },
};

/** The statement that creates a control table where it is missing. */
export function controlDdl(dialect: Dialect, database: string, name: string): string {
  const control = CONTROL[name] as ControlTable;
  return dialect.createTable({
    database,
    name,
    columns: Object.entries(control.columns).map(([column, kind]) => definition(dialect, control, column, kind)),
    key: control.key,
    layout: { shard: control.shard.map(quote), sort: undefined },
    rowstore: control.rowstore,
    ifMissing: true,
  });
}

/** Creates the database when it is missing, its control tables, and the columns that an older version lacks. */
export async function prepare(session: Session, dialect: Dialect, database: string): Promise<void> {
  checkDatabaseName(database);
  await createDatabase(session, database);
  const present = await columnsOf(session, database);
  for (const [name, control] of Object.entries(CONTROL)) {
    const columns = present.get(name);
    if (!columns) {
      await run(session, controlDdl(dialect, database, name));
      continue;
    }
    for (const [column, kind] of Object.entries(control.columns)) {
      if (columns.has(column)) continue;
      const added = definition(dialect, control, column, kind);
      try {
        await run(session, sql`alter table ${table(database, name)} add column ${{ raw: added }}`);
      } catch (error) {
        // 1060: another worker has just added it.
        if (numberOf(error) !== 1060) throw error;
      }
    }
  }
}

/** Whether an error says that the database (1049) or a control table (1146) does not exist. */
export function isMissing(error: unknown): boolean {
  return numberOf(error) === 1049 || numberOf(error) === 1146;
}

/** The time now as the destination stores it (UTC). Taken here and not at the server: times are shown, never compared. */
export function now(): string {
  return new Date().toISOString().replace('T', ' ').replace('Z', '000');
}

/** A stored time as RFC 3339; null where there is none. */
export function readTime(value: Row[string]): string | null {
  if (typeof value !== 'string') return null;
  return `${value.replace(' ', 'T').replace(/(\.\d{3})\d*$/, '$1')}Z`;
}

/** Shortest name first: `varchar` lengths of words (our own, short) and names (a source's, up to 255 characters). */
function definition(dialect: Dialect, control: ControlTable, column: string, kind: Kind): string {
  const bytewise = `character set utf8mb4 collate ${dialect.keyCollation}`;
  const key = control.key.includes(column);
  switch (kind) {
    case 'word':
      return `${quote(column)} varchar(100) ${bytewise} not null${key ? '' : " default ''"}`;
    case 'name':
      return `${quote(column)} varchar(255) ${bytewise} not null${key ? '' : " default ''"}`;
    case 'number':
      return `${quote(column)} bigint not null${key ? '' : ' default 0'}`;
    case 'long':
      return `${quote(column)} longtext ${bytewise} null`;
    case 'time':
      return `${quote(column)} datetime(6) null`;
  }
}

async function createDatabase(session: Session, database: string): Promise<void> {
  const found = await rows(
    session,
    sql`select schema_name as [name] from information_schema.schemata where schema_name = ${database}`,
  );
  if (found.length > 0) return;
  try {
    await run(session, `create database if not exists ${quote(database)}`);
  } catch (error) {
    if (![1044, 1142, 1227].includes(numberOf(error))) throw error;
    throw new AccessDenied(
      `The database "${database}" does not exist at the destination, and the destination user may not create it.`,
      `Run "create database ${quote(database)}" there, or grant CREATE to the user.`,
    );
  }
}

async function columnsOf(session: Session, database: string): Promise<Map<string, Set<string>>> {
  const names = Object.keys(CONTROL);
  const found = await rows(
    session,
    sql`select table_name as [name], column_name as [field] from information_schema.columns where table_schema = ${database} and table_name in (${names})`,
  );
  const tables = new Map<string, Set<string>>();
  for (const { name, field } of found) {
    const columns = tables.get(String(name)) ?? new Set();
    columns.add(String(field).toLowerCase());
    tables.set(String(name), columns);
  }
  return tables;
}
