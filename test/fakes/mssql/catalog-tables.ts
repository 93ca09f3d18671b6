import type { DatabaseSync } from 'node:sqlite';
import { byteLength, type TableDefinition } from './definition.ts';
import { quoted, tableName } from './rewrite.ts';
import type { FakeInstance } from './triggers.ts';

const LAYOUT: Readonly<Record<string, string>> = {
  'sys.schemas': 'name, schema_id',
  'sys.objects': 'object_id, name, schema_id, type, is_ms_shipped',
  'sys.tables': 'object_id, is_memory_optimized',
  'sys.types': 'name, user_type_id, system_type_id',
  'sys.columns':
    'object_id, column_id, name, user_type_id, system_type_id, max_length, precision, scale, is_nullable, collation_name, is_computed, default_object_id, is_column_set, encryption_type, graph_type, is_masked',
  'sys.indexes': 'object_id, index_id, name, is_unique, is_primary_key, has_filter, type, is_disabled, is_hypothetical',
  'sys.index_columns': 'object_id, index_id, column_id, key_ordinal',
  'sys.partitions': 'object_id, index_id, partition_id, partition_number, rows',
  'sys.allocation_units': 'container_id, type, total_pages',
  'sys.databases': 'name, snapshot_isolation_state, is_read_committed_snapshot_on, is_cdc_enabled',
  'sys.database_recovery_status': 'database_id, recovery_fork_guid',
  'sys.change_tracking_databases': 'database_id, is_auto_cleanup_on, retention_period, retention_period_units_desc',
  'sys.change_tracking_tables': 'object_id, least, begin_version',
  'sys.dm_tran_commit_table': 'commit_ts, commit_time',
  'sys.security_policies': 'object_id, is_enabled',
  'sys.security_predicates': 'object_id, target_object_id, predicate_type_desc',
  'sys.dm_cdc_log_scan_sessions': 'session_id, start_time, end_time, tran_count, empty_scan_count',
  'cdc.change_tables': 'capture_instance, object_id, source_object_id, start_lsn, partition_switch',
  'cdc.captured_columns': 'object_id, column_name, column_ordinal, column_id',
  'cdc.mapping': 'start_lsn, tran_end_time',
  'msdb.dbo.cdc_jobs': 'database_id, job_type, retention',
};

/** What is not filled from the state of tables. */
const HAPPENING = new Set(['sys.change_tracking_tables', 'sys.dm_cdc_log_scan_sessions', 'sys.dm_tran_commit_table']);

/** The catalog as tables. `cdc.*` is filled by what happens, the rest by `fillCatalog`. */
export function createCatalog(db: DatabaseSync): void {
  for (const [name, columns] of Object.entries(LAYOUT)) db.exec(`create table ${quoted(name)} (${columns})`);
  // The capture job has come so far.
  db.exec('create view "cdc.lsn_time_mapping" as select * from "cdc.mapping" where start_lsn <= tsql_captured()');
  db.exec(
    'insert into "msdb.dbo.cdc_jobs" values (1, \'cleanup\', 4320); create table "$meta" (version integer, row_version integer, dirty integer); insert into "$meta" values (100, 5000, 0)',
  );
}

export type CatalogState = {
  readonly database: string;
  readonly schemas: ReadonlyMap<string, number>;
  readonly tables: readonly TableDefinition[];
  readonly instances: readonly FakeInstance[];
  readonly snapshot: boolean;
  readonly cdc: boolean;
  readonly tracking: boolean;
  readonly fork: string;
  /** A column that is masked, and a table whose rows are filtered. */
  readonly masked: string;
  readonly filtered: string;
};

const TYPES = [
  ...[
    'bit',
    'tinyint',
    'smallint',
    'int',
    'bigint',
    'decimal',
    'numeric',
    'money',
    'smallmoney',
    'float',
    'real',
    'date',
    'time',
  ],
  ...[
    'datetime',
    'datetime2',
    'smalldatetime',
    'datetimeoffset',
    'char',
    'varchar',
    'nchar',
    'nvarchar',
    'text',
    'ntext',
    'image',
  ],
  ...[
    'binary',
    'varbinary',
    'timestamp',
    'uniqueidentifier',
    'xml',
    'sql_variant',
    'hierarchyid',
    'geometry',
    'geography',
    'rocket',
  ],
];

/** Writes what a real server would show of these tables. */
export function fillCatalog(db: DatabaseSync, state: CatalogState): void {
  const put = (name: string, ...values: (string | number | null)[]): void => {
    db.prepare(`insert into ${quoted(name)} values (${values.map(() => '?').join(', ')})`).run(...values);
  };
  db.exec('savepoint catalog');
  for (const name of Object.keys(LAYOUT))
    if (name.startsWith('sys.') && !HAPPENING.has(name)) db.exec(`delete from ${quoted(name)}`);
  for (const [name, id] of state.schemas) put('sys.schemas', name, id);
  for (const [i, name] of TYPES.entries()) put('sys.types', name, i + 1, i + 1);
  put('sys.databases', state.database, state.snapshot ? 1 : 0, 0, state.cdc ? 1 : 0);
  put('sys.database_recovery_status', 1, state.fork);
  if (state.tracking) put('sys.change_tracking_databases', 1, 1, 7, 'DAYS');
  for (const table of state.tables) {
    put('sys.objects', table.id, table.name, state.schemas.get(table.schema) ?? 0, 'U', 0);
    put('sys.tables', table.id, 0);
    if (table.name === state.filtered) {
      put('sys.security_policies', 77, 1);
      put('sys.security_predicates', 77, table.id, 'FILTER');
    }
    put('sys.partitions', table.id, 1, table.id, 1, 0);
    put('sys.allocation_units', table.id, 1, 0);
    for (const column of table.columns) {
      const [, word = '', first = '', second = ''] = /^(\w+)(?:\((\w+)(?:,(\d+))?)?/.exec(column.type) ?? [];
      const timed = /^(time|datetime2|datetimeoffset)$/.test(word);
      const type = TYPES.indexOf(word) + 1;
      const scale = timed ? Number(first || 7) : Number(second || 0);
      put(
        'sys.columns',
        ...[
          table.id,
          column.id,
          column.name,
          type,
          type,
          byteLength(column.type),
          timed ? 27 : Number(first) || 18,
          scale,
        ],
        ...[
          column.nullable ? 1 : 0,
          column.collation === '' ? null : column.collation,
          0,
          column.fallback === null ? 0 : 77,
          0,
          null,
          null,
          column.name === state.masked ? 1 : 0,
        ],
      );
    }
    if (table.key.length > 0) {
      put('sys.indexes', table.id, 1, `PK_${table.name}`, 1, 1, 0, 1, 0, 0);
      for (const [i, name] of table.key.entries())
        put('sys.index_columns', table.id, 1, table.columns.find((one) => one.name === name)?.id ?? 0, i + 1);
    }
  }
  db.exec('release catalog');
}

/** Row counts and sizes, which only some statements ask for. */
export function measure(db: DatabaseSync, tables: readonly TableDefinition[]): void {
  for (const table of tables) {
    const name = tableName(`${table.schema}.${table.name}`);
    const columns = table.columns
      .map((column) => `coalesce(length(cast(${quoted(column.name)} as blob)), 0)`)
      .join(' + ');
    const row = db.prepare(`select count(*) as n, coalesce(sum(${columns}), 0) as bytes from ${name}`).get() as {
      n: number;
      bytes: number;
    };
    db.prepare('update "sys.partitions" set rows = ? where object_id = ?').run(row.n, table.id);
    db.prepare('update "sys.allocation_units" set total_pages = ? where container_id = ?').run(
      Math.ceil(row.bytes / 8192),
      table.id,
    );
  }
}
