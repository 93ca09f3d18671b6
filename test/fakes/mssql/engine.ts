import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { createCatalog, fillCatalog, measure } from './catalog-tables.ts';
import { convert, type Stored, textOf, toUtc, variantOf } from './convert.ts';
import { addColumn, affinity, parseColumns, type TableDefinition } from './definition.ts';
import type { Call } from './requests.ts';
import { quoted, rewrite, type Schema, tableAt, tableName } from './rewrite.ts';
import { type Answer, ServerError, type Session } from './server.ts';
import { type FakeInstance, trackingTable, triggersOf } from './triggers.ts';
import { closing, isWord, type Token, tokenize } from './tsql.ts';
import { wireType } from './wire-types.ts';

const { DatabaseSync: Sqlite } = process.getBuiltinModule('node:sqlite');

/** A database that answers T-SQL of the shapes that the driver and its tests use; SQLite does the work. */
export type Engine = {
  readonly database: string;
  /** What a real server would be set to. */
  readonly settings: {
    snapshot: boolean;
    cdc: boolean;
    tracking: boolean;
    agent: boolean;
    fork: string;
    mayRead: boolean;
  };
  /** Every statement that sessions have sent, in order. */
  readonly statements: string[];
  /** Runs statements in one transaction; rows of the last one as text. */
  run(sql: string | readonly string[], schema?: string): (string | null)[][];
  createSchema(name: string): void;
  track(schema: string, name: string): void;
  /** Makes a capture instance of the table's columns of today. */
  enableCdc(schema: string, name: string, instance?: string): void;
  disableCdc(instance: string): void;
  /** Forgets changes, as the clean-up jobs do. */
  cleanUp(): void;
  session(): Session;
  /** The types of a table's columns as they are on the wire. */
  close(): void;
};

export function createEngine(database = 'shop'): Engine {
  const folder = mkdtempSync(join(tmpdir(), 'flow-tds-'));
  const file = join(folder, 'data.db');
  const schemas = new Map([['dbo', 1]]);
  const tables: TableDefinition[] = [];
  const instances: FakeInstance[] = [];
  const settings = { snapshot: true, cdc: false, tracking: false, agent: true, fork: 'A1', mayRead: true };
  const statements: string[] = [];
  let nextId = 1000;
  let captured = 100n;
  let clock = 0;

  const find = (name: string): TableDefinition | undefined =>
    tables.find((one) => `${one.schema}.${one.name}` === name);
  const schemaOf = (defaultSchema: string): Schema => ({
    defaultSchema,
    columnType: (table, column) =>
      find(table)?.columns.find((one) => one.name === column)?.type ?? changeColumn(table, column),
    changeTable: (table) => `$ct ${table}`,
  });

  function changeColumn(table: string, column: string): string | undefined {
    const instance = instances.find(({ name }) => `cdc.${name}_CT` === table);
    if (column === '__$operation') return 'int';
    if (column === '__$update_mask') return 'varbinary(128)';
    return instance?.table.columns.find((one) => one.name === column)?.type;
  }

  function connect(): DatabaseSync {
    const db = new Sqlite(file);
    db.exec('pragma journal_mode = wal; pragma synchronous = off; pragma busy_timeout = 5000');
    addFunctions(db);
    return db;
  }

  const version = (db: DatabaseSync): bigint =>
    BigInt((db.prepare('select version from "$meta"').get() as { version: number }).version);
  const lsn = (value: bigint): Uint8Array => Buffer.from(value.toString(16).padStart(20, '0'), 'hex');
  const now = (): string => new Date().toISOString().slice(0, 23).replace('T', ' ').replace('Z', '');

  function addFunctions(db: DatabaseSync): void {
    const add = (name: string, fn: (...args: never[]) => Stored, options = {}): void =>
      void db.function(name, { varargs: true, useBigIntArguments: true, ...options }, fn as never);
    add('tsql_convert', ((target: string, source: string, value: Stored, style: bigint | null) =>
      convert(target, source, value, style === null ? null : Number(style))) as never);
    add('tsql_same', ((value: Stored) => value) as never);
    add('tsql_srid', ((value: string | null) =>
      value === null ? null : Number(/SRID=(\d+)/.exec(value)?.[1] ?? 0)) as never);
    add('tsql_wkt', ((value: string | null) => value?.replace(/^SRID=\d+;/, '') ?? null) as never);
    add('SWITCHOFFSET', ((value: Stored) => toUtc(value)) as never);
    add('SQL_VARIANT_PROPERTY', ((value: Stored) => (value === null ? null : variantOf(value).t)) as never);
    add('tsql_bytes', ((value: bigint) => lsn(value).subarray(2)) as never);
    add('tsql_lsn', ((value: bigint) => lsn(value)) as never);
    add('tsql_mask', ((...bits: bigint[]) => {
      const mask = Buffer.alloc(Math.ceil(bits.length / 8));
      for (const [i, bit] of bits.entries())
        if (bit === 1n)
          mask[mask.length - 1 - (i >> 3)] = (mask[mask.length - 1 - (i >> 3)] as number) | (1 << (i & 7));
      return mask;
    }) as never);
    add('tsql_zone', (() => 0) as never);
    add('DB_NAME', (() => database) as never);
    add('DB_ID', (() => 1) as never);
    add('SERVERPROPERTY', ((name: string) => (name === 'EngineEdition' ? 3 : '16.0.4135.4')) as never);
    add('SYSUTCDATETIME', (() => now()) as never);
    add('SYSDATETIME', (() => now()) as never);
    add('HAS_PERMS_BY_NAME', (() => (settings.mayRead ? 1 : 0)) as never);
    add('COLUMNPROPERTY', (() => 1) as never);
    add('OBJECT_NAME', ((id: bigint) => {
      const instance = instances.find((one) => one.id === Number(id));
      return instance ? `${instance.name}_CT` : null;
    }) as never);
    const main = () => writer;
    add('MIN_ACTIVE_ROWVERSION', (() =>
      lsn(BigInt((main().prepare('select row_version + 1 as v from "$meta"').get() as { v: number }).v)).subarray(
        2,
      )) as never);
    // Of the session's own snapshot.
    add('CHANGE_TRACKING_CURRENT_VERSION', (() => (settings.tracking ? version(db) : null)) as never);
    add('CHANGE_TRACKING_MIN_VALID_VERSION', ((id: bigint) => {
      const row = db.prepare('select least from "sys.change_tracking_tables" where object_id = ?').get(id) as
        | { least: number }
        | undefined;
      return row ? BigInt(row.least) : null;
    }) as never);
    add('fn_cdc_get_max_lsn', (() => {
      if (settings.agent) captured = version(main());
      const any = main().prepare('select 1 from "cdc.lsn_time_mapping" limit 1').get();
      return any ? lsn(captured) : null;
    }) as never);
    add('fn_cdc_get_min_lsn', ((name: string) => {
      const row = db.prepare('select start_lsn as l from "cdc.change_tables" where capture_instance = ?').get(name) as
        | { l: Uint8Array }
        | undefined;
      return row?.l ?? null;
    }) as never);
  }

  const writer: DatabaseSync = connect();
  createCatalog(writer);
  refresh();

  function refresh(): void {
    fillCatalog(writer, { database, schemas, tables, instances, ...settings });
  }

  /** Ends a transaction: what was changed in it has one version. */
  function settle(): void {
    const { dirty } = writer.prepare('select dirty from "$meta"').get() as { dirty: number };
    if (dirty === 0) return;
    writer.exec('update "$meta" set version = version + 1, dirty = 0');
    // No two transactions end at the same moment, so that a captured one is told from those after it.
    clock = Math.max(clock + 1, Date.now());
    const ended = new Date(clock).toISOString().slice(0, 23).replace('T', ' ');
    writer.prepare('insert into "cdc.lsn_time_mapping" values (?, ?)').run(lsn(version(writer)), ended);
  }

  function ddl(all: readonly Token[], defaultSchema: string): boolean {
    const guarded = isWord(all[2], 'IF');
    const tokens = guarded ? [...all.slice(0, 2), ...all.slice(5)] : all;
    const second = tokens[1];
    const { name, next } = tableAt(tokens, 2, schemaOf(defaultSchema));
    const [schema = '', ...rest] = name.split('.');
    if (isWord(tokens[0], 'CREATE') && isWord(second, 'TABLE')) {
      if (guarded && find(name)) return true;
      const table: TableDefinition = {
        id: ++nextId,
        schema,
        name: rest.join('.'),
        columns: [],
        key: [],
        lastColumn: 0,
        tracked: false,
      };
      parseColumns(tokens.slice(next + 1, closing(tokens, next)), table);
      const columns = table.columns.map(columnSql);
      const key = table.key.length > 0 ? `, primary key (${table.key.map(quoted).join(', ')})` : '';
      writer.exec(`create table ${tableName(name)} (${columns.join(', ')}${key})`);
      tables.push(table);
      rebuild(table);
    } else if (isWord(tokens[0], 'ALTER') && isWord(second, 'TABLE')) {
      const table = find(name) as TableDefinition;
      const rest = tokens.slice(next);
      for (const one of triggersOf({ ...table, tracked: false, columns: [] }, [])) writer.exec(one);
      if (isWord(rest[0], 'ADD')) {
        addColumn(rest.slice(1), table);
        writer.exec(
          `alter table ${tableName(name)} add column ${columnSql(table.columns.at(-1) as TableDefinition['columns'][number])}`,
        );
      } else if (isWord(rest[0], 'DROP')) {
        const gone = rest[2]?.text ?? '';
        writer.exec(`alter table ${tableName(name)} drop column ${quoted(gone)}`);
        table.columns = table.columns.filter((column) => column.name !== gone);
      } else if (isWord(rest[0], 'RENAME')) {
        const [from = '', to = ''] = [rest[2]?.text, rest[4]?.text];
        writer.exec(`alter table ${tableName(name)} rename column ${quoted(from)} to ${quoted(to)}`);
        table.columns = table.columns.map((column) => (column.name === from ? { ...column, name: to } : column));
      } else throw new Error('ALTER TABLE of a shape that the fake does not know');
      rebuild(table);
    } else if (isWord(tokens[0], 'DROP') && isWord(second, 'TABLE')) {
      writer.exec(`drop table ${tableName(name)}`);
      tables.splice(tables.indexOf(find(name) as TableDefinition), 1);
    } else if (isWord(tokens[0], 'TRUNCATE')) {
      const table = find(name) as TableDefinition;
      for (const one of triggersOf({ ...table, tracked: false, columns: [] }, [])) writer.exec(one);
      writer.exec(`delete from ${tableName(name)}`);
      if (table.tracked) {
        writer.exec(`delete from ${tableName(trackingTable(table))}; update "$meta" set dirty = 1`);
        writer
          .prepare('update "sys.change_tracking_tables" set least = ? where object_id = ?')
          .run(version(writer) + 1n, table.id);
      }
      rebuild(table);
    } else return false;
    refresh();
    return true;
  }

  function columnSql(column: TableDefinition['columns'][number]): string {
    return `${quoted(column.name)} ${affinity(column.type)}${column.nullable || column.type === 'timestamp' ? '' : ' not null'}${column.fallback === null ? '' : ` default ${column.fallback}`}`;
  }

  function rebuild(table: TableDefinition): void {
    for (const one of triggersOf(
      table,
      instances.filter((instance) => instance.table === table),
    ))
      writer.exec(one);
  }

  function runOne(sql: string, defaultSchema: string): (string | null)[][] {
    const tokens = tokenize(sql);
    if (tokens.length === 0 || ddl(tokens, defaultSchema)) return [];
    const { sql: rewritten, columns } = rewrite(sql, schemaOf(defaultSchema));
    const statement = writer.prepare(rewritten);
    if (!isWord(tokens[0], 'SELECT')) {
      statement.run();
      return [];
    }
    statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    return (statement.all() as unknown as Stored[][]).map((row) =>
      row.map((value, i) => (value === null ? null : textOf(columns[i]?.type ?? '', value))),
    );
  }

  return {
    database,
    settings: new Proxy(settings, {
      set(target, name, value) {
        Object.assign(target, { [name]: value });
        refresh();
        return true;
      },
    }),
    statements,
    run(sql, schema = 'dbo') {
      let rows: (string | null)[][] = [];
      writer.exec('begin immediate');
      try {
        for (const one of typeof sql === 'string' ? [sql] : sql) rows = runOne(one, schema);
        settle();
        writer.exec('commit');
      } catch (error) {
        writer.exec('rollback');
        throw error;
      }
      return rows;
    },
    createSchema(name) {
      schemas.set(name, schemas.size + 4);
      refresh();
    },
    track(schema, name) {
      settings.tracking = true;
      const table = find(`${schema}.${name}`) as TableDefinition;
      table.tracked = true;
      const keys = table.key.map(quoted);
      writer.exec(
        `create table ${tableName(trackingTable(table))} (${keys.join(', ')}, "$gone", "$created", "$last", primary key (${keys.join(', ')}))`,
      );
      writer.prepare('insert into "sys.change_tracking_tables" values (?, ?)').run(table.id, version(writer));
      rebuild(table);
      refresh();
    },
    enableCdc(schema, name, instance = `${schema}_${name}`) {
      settings.cdc = true;
      const table = find(`${schema}.${name}`) as TableDefinition;
      const columns = table.columns.map((column) => column.name);
      const made = { name: instance, id: ++nextId, table, columns };
      instances.push(made);
      const types = table.columns.map((column) => `${quoted(column.name)} ${affinity(column.type)}`);
      writer.exec(
        `create table ${tableName(`cdc.${instance}_CT`)} ("__$start_lsn", "__$command_id", "__$seqval", "__$operation", "__$update_mask", ${types.join(', ')})`,
      );
      writer.exec('update "$meta" set version = version + 1');
      writer
        .prepare('insert into "cdc.change_tables" values (?, ?, ?, ?, 0)')
        .run(instance, made.id, table.id, lsn(version(writer)));
      for (const [i, column] of columns.entries())
        writer.prepare('insert into "cdc.captured_columns" values (?, ?, ?)').run(made.id, column, i + 1);
      rebuild(table);
      refresh();
    },
    disableCdc(instance) {
      const at = instances.findIndex(({ name }) => name === instance);
      const [gone] = instances.splice(at, 1);
      writer.prepare('delete from "cdc.change_tables" where capture_instance = ?').run(instance);
      if (gone) rebuild(gone.table);
      writer.exec(`drop table ${tableName(`cdc.${instance}_CT`)}`);
    },
    cleanUp() {
      const at = version(writer);
      writer.prepare('update "cdc.change_tables" set start_lsn = ?').run(lsn(at));
      for (const { name } of instances) writer.exec(`delete from ${tableName(`cdc.${name}_CT`)}`);
      writer.prepare('update "sys.change_tracking_tables" set least = ?').run(at);
      for (const table of tables) if (table.tracked) writer.exec(`delete from ${tableName(trackingTable(table))}`);
    },
    session: () => session(),
    close() {
      writer.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };

  function session(): Session {
    const db = connect();
    return {
      execute(call) {
        statements.push(call.sql);
        return answer(db, call);
      },
      close: () => db.close(),
    };
  }

  function answer(db: DatabaseSync, { sql, params }: Call): Answer {
    const tokens = tokenize(sql);
    if (isWord(tokens[0], 'SET')) return { count: 0 };
    if (isWord(tokens[0], 'BEGIN', 'COMMIT', 'ROLLBACK')) {
      db.exec(tokens[0]?.text ?? '');
      return { count: 0 };
    }
    if (sql.includes('sys.partitions')) measure(writer, tables);
    if (sql.includes('dm_cdc_log_scan_sessions')) {
      writer.exec('delete from "sys.dm_cdc_log_scan_sessions"');
      const at = settings.agent
        ? new Date(Date.now() + 1).toISOString().slice(0, 23).replace('T', ' ')
        : '2020-01-01 00:00:00.000';
      writer.prepare('insert into "sys.dm_cdc_log_scan_sessions" values (1, ?, ?)').run(at, at);
    }
    if (!isWord(tokens[0], 'SELECT')) {
      write(sql);
      return { count: 1 };
    }
    const { sql: rewritten, columns } = rewrite(sql, schemaOf('dbo'));
    let statement: ReturnType<DatabaseSync['prepare']>;
    try {
      statement = db.prepare(rewritten);
    } catch (error) {
      throw refused(error);
    }
    statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    const used = Object.entries(params).filter(([name]) => new RegExp(`${name}\\b`).test(rewritten));
    const bound = Object.fromEntries(used) as Record<string, SQLInputValue>;
    const rows = statement.iterate(bound) as unknown as Iterator<Stored[]> & Iterable<Stored[]>;
    const first = rows.next();
    const width = statement.columns().length;
    const wire = Array.from({ length: width }, (_, i) => ({
      name: columns[i]?.name || (statement.columns()[i]?.name ?? ''),
      type: wireType(columns[i]?.type ?? guess(first.done ? null : (first.value[i] ?? null))),
    }));
    const padded = columns.flatMap(({ type }, i) => (type?.startsWith('nchar') ? [i] : []));
    const pad = (row: Stored[]): Stored[] => {
      for (const i of padded) if (row[i] !== null) row[i] = textOf(columns[i]?.type ?? '', row[i] ?? null);
      return row;
    };
    function* all(): Generator<Stored[]> {
      if (first.done) return;
      yield pad(first.value);
      for (const row of rows) yield pad(row);
    }
    return { columns: wire, rows: all() };
  }

  function write(sql: string): void {
    writer.exec('begin immediate');
    try {
      runOne(sql, 'dbo');
      settle();
      writer.exec('commit');
    } catch (error) {
      writer.exec('rollback');
      throw refused(error);
    }
  }
}

function guess(value: Stored): string {
  if (typeof value === 'bigint') return value >= -2147483648n && value <= 2147483647n ? 'int' : 'bigint';
  if (typeof value === 'number') return 'float';
  if (value instanceof Uint8Array) return 'varbinary(max)';
  return 'nvarchar(max)';
}

/** SQLite's complaints in the server's words. */
function refused(error: unknown): ServerError {
  const text = error instanceof Error ? error.message : String(error);
  const column = /no such column: (?:\w+\.)?"?([^"]+)"?/.exec(text);
  if (column) return new ServerError(207, `Invalid column name '${column[1]}'.`);
  const table = /no such table: (.+)/.exec(text);
  if (table) return new ServerError(208, `Invalid object name '${table[1]}'.`);
  if (/syntax error/.test(text)) return new ServerError(102, `Incorrect syntax: ${text}`);
  return new ServerError(50_000, text);
}
