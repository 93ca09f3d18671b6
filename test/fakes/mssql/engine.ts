import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { createCatalog, fillCatalog, measure } from './catalog-tables.ts';
import { type Stored, textOf } from './convert.ts';
import { addColumn, affinity, parseColumns, type TableDefinition } from './definition.ts';
import { addFunctions, lsn, version } from './functions.ts';
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
    masked: string;
    filtered: string;
  };
  /** Every statement that sessions have sent, in order. */
  readonly statements: string[];
  /** Called with each statement of a session, before it is answered. */
  before: ((sql: string) => void) | undefined;
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
  const settings = {
    snapshot: true,
    cdc: false,
    tracking: false,
    agent: true,
    fork: 'A1',
    mayRead: true,
    masked: '',
    filtered: '',
  };
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
    addFunctions(db, {
      database,
      settings,
      writer: () => writer,
      capture,
      changeTable: (id) => {
        const instance = instances.find((one) => one.id === id);
        return instance ? `${instance.name}_CT` : null;
      },
    });
    return db;
  }

  /** What the capture job does, where it runs; up to where it has come. */
  const capture = (): bigint => {
    if (settings.agent) captured = version(writer);
    return captured;
  };
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
    writer.prepare('insert into "cdc.mapping" values (?, ?)').run(lsn(version(writer)), ended);
    writer.prepare('insert into "sys.dm_tran_commit_table" values (?, ?)').run(version(writer), ended);
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
        // Whether it has a version of its own is not documented: here it has none, which is harder to notice.
        writer.exec(`delete from ${tableName(trackingTable(table))}`);
        writer
          .prepare('update "sys.change_tracking_tables" set least = ?1, begin_version = ?1 where object_id = ?2')
          .run(version(writer), table.id);
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

  const engine: Engine = {
    database,
    before: undefined,
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
      writer
        .prepare('insert into "sys.change_tracking_tables" values (?, ?, ?)')
        .run(table.id, version(writer), version(writer));
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
        .run(instance, made.id, table.id, settings.agent ? lsn(version(writer)) : null);
      for (const [i, column] of columns.entries())
        writer
          .prepare('insert into "cdc.captured_columns" values (?, ?, ?, ?)')
          .run(made.id, column, i + 1, table.columns[i]?.id ?? 0);
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
  return engine;

  function session(): Session {
    const db = connect();
    return {
      execute(call) {
        statements.push(call.sql);
        engine.before?.(call.sql);
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
    // The capture job gives an instance its beginning.
    if (sql.includes('cdc.change_tables') && settings.agent)
      writer.prepare('update "cdc.change_tables" set start_lsn = ? where start_lsn is null').run(lsn(capture()));
    if (sql.includes('dm_cdc_log_scan_sessions')) {
      writer.exec('delete from "sys.dm_cdc_log_scan_sessions"');
      const at = settings.agent
        ? new Date(Date.now() + 20).toISOString().slice(0, 23).replace('T', ' ')
        : '2020-01-01 00:00:00.000';
      writer.prepare('insert into "sys.dm_cdc_log_scan_sessions" values (1, ?, ?, 0, 1)').run(at, at);
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

  /** Settings, as far as tests have sessions make them. */
  function set(sql: string): boolean {
    const tracked = /^ALTER TABLE (\w+) ENABLE CHANGE_TRACKING$/.exec(sql);
    const captured = /sp_cdc_enable_table .*@source_name = N'(\w+)'/.exec(sql);
    if (tracked) engine.track('dbo', tracked[1] ?? '');
    else if (captured) engine.enableCdc('dbo', captured[1] ?? '');
    else return /^ALTER DATABASE|sp_cdc_enable_db$/.test(sql);
    return true;
  }

  function write(sql: string): void {
    if (set(sql)) return;
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
