import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { type FakeColumn, type FakeRedo, type FakeValue, splitSql, statements } from './redo.ts';

/**
 * An Oracle database for tests: tables in SQLite, a counter for SCNs, a journal that redo rows and `AS OF SCN` come from, log files by thread.
 * It answers the statements of the driver through the few calls of oracledb (`client.ts`). Names are kept as they are written, the empty
 * text is no NULL, and a transaction is one call of `sql`: in these it is no Oracle.
 */
export type FakeOracle = {
  readonly schema: 'main';
  readonly settings: FakeSettings;
  /** Runs statements as one transaction of another session; rows of the last one. */
  sql(...statements: string[]): FakeValue[][];
  /** Adds a row to the redo log as it is; missing parts are those of a commit now. */
  redo(row: Partial<FakeRedo>): FakeRedo;
  readonly log: FakeRedo[];
  /** Every statement that clients have run. */
  readonly statements: string[];
  scn(): bigint;
  nextScn(): bigint;
  /** Ends the current log file of a thread and archives it. */
  switchLog(thread?: number): void;
  /** An archived file that is gone: still in the control file's list, or not. */
  loseLog(sequence: number, listed: boolean, thread?: number): void;
  openThread(thread: number): void;
  readonly files: FakeFile[];
  /** Sessions of clients. */
  sessions: number;
  /** A query of a client, with the table as of an SCN. */
  query(sql: string, binds: readonly SQLInputValue[]): FakeValue[][];
  /** Makes the next statement that matches fail. */
  fail(pattern: RegExp, message: string): void;
  readonly failures: { pattern: RegExp; message: string }[];
  close(): void;
};

export type FakeSettings = {
  user: string;
  password: string;
  logMode: string;
  supplementalMin: string;
  supplementalAll: string;
  container: string;
  containerId: number;
  version: string;
  resetlogs: number;
  privileges: string[];
};

export type FakeFile = {
  thread: number;
  sequence: number;
  first: bigint;
  next: bigint | null;
  listed: boolean;
  there: boolean;
};

type JournalEntry = {
  readonly scn: bigint;
  readonly op: 'insert' | 'update' | 'delete';
  readonly table: string;
  readonly rowid: bigint;
  readonly before: FakeValue[];
  readonly after: FakeValue[];
};

const CATALOG = `
attach ':memory:' as cat;
create table cat.dual (dummy text); insert into cat.dual values ('X');
create table cat.all_users (username text, oracle_maintained text); insert into cat.all_users values ('SYS','Y'), ('main','N');
create table cat.all_tables (owner text, table_name text, partitioned text, iot_type text, temporary text, num_rows int, avg_row_len int, blocks int, nested text, secondary text);
create table cat.all_views (owner text, view_name text);
create table cat.all_external_tables (owner text, table_name text);
create table cat.all_objects (owner text, object_name text, object_type text, object_id int, data_object_id int, last_ddl_time text);
create table cat.all_tab_cols (owner text, table_name text, column_name text, data_type text, data_type_owner text, char_length int, data_length int, char_used text, data_precision int, data_scale int, nullable text, virtual_column text, hidden_column text, column_id int);
create table cat.all_constraints (owner text, table_name text, constraint_name text, constraint_type text, "deferrable" text, status text, validated text);
create table cat.all_cons_columns (owner text, table_name text, constraint_name text, column_name text, position int);
create table cat.all_indexes (owner text, table_owner text, table_name text, index_name text, uniqueness text, index_type text);
create table cat.all_ind_columns (index_owner text, index_name text, column_name text, column_position int);
create table cat.all_log_groups (owner text, table_name text, log_group_type text);
create table cat.session_privs (privilege text);
create table cat.gv$transaction (start_scn int, xidusn int, xidslot int, xidsqn int);
create table cat.v$database (current_scn int, dbid int, "resetlogs_change#" int, resetlogs_time text, log_mode text, supplemental_log_data_min text, supplemental_log_data_pk text, supplemental_log_data_all text, force_logging text, open_mode text, database_role text);
create table cat.v$thread ("thread#" int, status text, enabled text);
create table cat.v$log ("group#" int, "thread#" int, "sequence#" int, "first_change#" int, "next_change#" int, status text, archived text);
create table cat.v$logfile ("group#" int, member text);
create table cat.v$archived_log (name text, "thread#" int, "sequence#" int, "first_change#" int, "next_change#" int, dictionary_begin text, dictionary_end text, archived text, deleted text, status text, dest_id int, "resetlogs_change#" int, resetlogs_time text, blocks int, block_size int);
create table cat.v$archive_dest_status (dest_id int, status text, type text); insert into cat.v$archive_dest_status values (1, 'VALID', 'LOCAL');
create table cat.v$log_history ("thread#" int, "sequence#" int, "next_change#" int, "resetlogs_change#" int);
`;

/** The last SCN of a file that is written to. */
const OPEN_END = 9_223_372_036_854_775_807n;

export function startOracle(settings: Partial<FakeSettings> = {}): FakeOracle {
  const db = new DatabaseSync(':memory:');
  db.exec(CATALOG);
  const all: FakeSettings = {
    user: 'flow',
    password: 'flow-secret',
    logMode: 'ARCHIVELOG',
    supplementalMin: 'YES',
    supplementalAll: 'YES',
    container: 'FREE',
    containerId: 0,
    version: '19.3.0.0.0',
    resetlogs: 1,
    privileges: ['LOGMINING', 'SELECT ANY TRANSACTION', 'CREATE SESSION'],
    ...settings,
  };
  // Beyond what a JavaScript number holds exactly.
  let scn = 9_007_199_254_740_993n;
  let xids = 0;
  let objects = 70_000;
  const journal: JournalEntry[] = [];
  let changed: JournalEntry[] = [];
  const written: FakeRedo[] = [];
  /** Transactions whose rows of the log nobody has asked for yet. */
  let unwritten: (() => void)[] = [];
  const files: FakeFile[] = [{ thread: 1, sequence: 1, first: scn, next: null, listed: true, there: true }];
  const columnsOf = new Map<string, FakeColumn[]>();
  const asOf = new Map<string, string>();

  db.function('flow_journal', { varargs: true, useBigIntArguments: true }, (...values) => {
    const [op, table, rowid, ...cells] = values as [string, string, bigint, ...FakeValue[]];
    const width = columnsOf.get(table)?.length ?? 0;
    const before = op === 'insert' ? [] : cells.slice(0, width);
    const after = op === 'delete' ? [] : op === 'insert' ? cells.slice(0, width) : cells.slice(width);
    changed.push({ scn: ++scn, op: op as JournalEntry['op'], table, rowid, before, after });
    return null;
  });
  for (const [name, work] of Object.entries(FUNCTIONS))
    db.function(name, { varargs: true, useBigIntArguments: true }, work as never);

  function refreshCatalog(): void {
    db.exec(
      'delete from cat.all_tables; delete from cat.all_tab_cols; delete from cat.all_constraints; delete from cat.all_cons_columns; delete from cat.all_indexes; delete from cat.all_ind_columns; delete from cat.all_views',
    );
    const masters = db
      .prepare("select type, name from main.sqlite_schema where type in ('table', 'view') and name not like 'sqlite_%'")
      .all();
    const put = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
    for (const { type, name: kept } of masters as { type: string; name: string }[]) {
      const name = uncased(kept);
      const info = db.prepare('select name, type, "notnull" as required, pk from pragma_table_info(?)').all(kept);
      const columns = (info as { name: string; type: string; required: number; pk: number }[]).map((column) => ({
        ...column,
        name: uncased(column.name),
      }));
      if (type === 'view') put('insert into cat.all_views values (?, ?)', 'main', name);
      else put("insert into cat.all_tables values ('main', ?, 'NO', null, 'N', 0, 0, 0, 'NO', 'N')", name);
      for (const [index, column] of columns.entries()) {
        const { word, chars, bytes, used, precision, scale } = oracleType(column.type);
        put(
          "insert into cat.all_tab_cols values ('main', ?, ?, ?, null, ?, ?, ?, ?, ?, ?, 'NO', 'NO', ?)",
          ...[
            name,
            column.name,
            word,
            chars,
            bytes,
            used,
            precision,
            scale,
            column.required || column.pk ? 'N' : 'Y',
            index + 1,
          ],
        );
      }
      const key = columns.filter((column) => column.pk > 0).sort((a, b) => a.pk - b.pk);
      if (key.length > 0)
        put(
          "insert into cat.all_constraints values ('main', ?, ?, 'P', 'NOT DEFERRABLE', 'ENABLED', 'VALIDATED')",
          name,
          `pk_${name}`,
        );
      for (const [index, column] of key.entries())
        put("insert into cat.all_cons_columns values ('main', ?, ?, ?, ?)", name, `pk_${name}`, column.name, index + 1);
      if (type === 'view') continue;
      if (!columnsOf.has(name))
        put(
          "insert into cat.all_objects values ('main', ?, 'TABLE', ?, ?, ?)",
          name,
          ++objects,
          objects,
          '2020-01-01 00:00:00',
        );
      columnsOf.set(
        name,
        columns.map((column) => ({ name: column.name, type: declared(column.type) })),
      );
      watch(
        name,
        columns.map((column) => column.name),
      );
    }
  }

  /** Triggers that tell the journal of each change. */
  function watch(table: string, columns: readonly string[]): void {
    const name = quote(table);
    const cells = (row: string) => columns.map((column) => `${row}.${quote(column)}`).join(', ');
    const text = `'${table.replaceAll("'", "''")}'`;
    for (const [op, list] of [
      ['insert', cells('new')],
      ['update', `${cells('old')}, ${cells('new')}`],
      ['delete', cells('old')],
    ] as const) {
      const trigger = quote(`flow_${op}_${table}`);
      db.exec(`drop trigger if exists temp.${trigger}`);
      const row = op === 'delete' ? 'old' : 'new';
      db.exec(
        `create temp trigger ${trigger} after ${op} on main.${name} begin select flow_journal('${op}', ${text}, ${row}.rowid, ${list}); end`,
      );
    }
  }

  function place(thread: number): { thread: number; sequence: number } {
    const file = files.findLast((one) => one.thread === thread && one.next === null);
    return { thread, sequence: file?.sequence ?? 1 };
  }

  function redo(row: Partial<FakeRedo>): FakeRedo {
    const full: FakeRedo = {
      scn: row.scn ?? ++scn,
      time: timeNow(),
      xid: '0000000000000000',
      operation: 7,
      rollback: 0,
      status: 0,
      info: null,
      owner: null,
      table: null,
      object: null,
      rowId: 'AAAAAAAAAAAAAAAAAA',
      csf: 0,
      sql: null,
      container: all.container,
      ...place(row.thread ?? 1),
      ...row,
    };
    written.push(full);
    return full;
  }

  function objectOf(table: string): string | null {
    const [row] = db.prepare('select object_id from cat.all_objects where object_name = ?').all(table) as {
      object_id: number;
    }[];
    return row ? String(row.object_id) : null;
  }

  function writeChange(common: Partial<FakeRedo>, entry: JournalEntry): void {
    const columns = columnsOf.get(entry.table) ?? [];
    for (const { operation, sql } of statements(entry.op, 'main', entry.table, columns, entry.before, entry.after))
      for (const part of splitSql(sql))
        redo({
          ...common,
          scn: entry.scn,
          operation,
          owner: 'main',
          table: entry.table,
          object: objectOf(entry.table),
          rowId: rowIdText(entry.rowid),
          ...part,
        });
  }

  const server: FakeOracle = {
    schema: 'main',
    settings: all,
    get log() {
      const writers = unwritten;
      unwritten = [];
      for (const write of writers) write();
      return written;
    },
    statements: [],
    files,
    sessions: 0,
    failures: [],
    scn: () => scn,
    nextScn: () => ++scn,
    redo(row) {
      void server.log;
      return redo(row);
    },

    sql(...texts) {
      const xid = `0A00${(++xids % 0xffff).toString(16).padStart(4, '0').toUpperCase()}00000001`;
      changed = [];
      let rows: FakeValue[][] = [];
      const start = ++scn;
      const isDdl = /^\s*(create|alter|drop|truncate)\b/i.test(texts[0] ?? '');
      if (!isDdl) db.exec('begin');
      try {
        if (isDdl)
          for (const [name] of columnsOf)
            for (const op of ['insert', 'update', 'delete'])
              db.exec(`drop trigger if exists temp.${quote(`flow_${op}_${name}`)}`);
        for (const text of texts) rows = run(typed(cased(text)));
      } catch (error) {
        if (!isDdl) db.exec('rollback');
        throw error;
      }
      if (!isDdl) db.exec('commit');
      if (isDdl) {
        const before = changed;
        changed = [];
        refreshCatalog();
        void server.log;
        redo({ scn: start, xid, operation: 6 });
        for (const text of texts)
          redo({ xid, operation: 5, info: 'USER DDL', sql: `${text};`, owner: 'main', table: null });
        redo({ xid, operation: 7 });
        for (const entry of before) journal.push(entry);
        return rows;
      }
      if (changed.length === 0) return rows;
      const entries = changed;
      const common = { ...place(1), xid, time: timeNow() };
      const end = ++scn;
      journal.push(...entries);
      unwritten.push(() => {
        redo({ ...common, scn: start, operation: 6 });
        for (const entry of entries) writeChange(common, entry);
        redo({ ...common, scn: end, operation: 7 });
      });
      return rows;
    },

    switchLog(thread = 1) {
      const current = files.findLast((one) => one.thread === thread && one.next === null);
      if (!current) throw new Error('There is no such thread.');
      current.next = ++scn;
      files.push({ thread, sequence: current.sequence + 1, first: scn, next: null, listed: true, there: true });
    },

    loseLog(sequence, listed, thread = 1) {
      const file = files.find((one) => one.sequence === sequence && one.thread === thread);
      if (!file) throw new Error('There is no such log.');
      file.there = false;
      file.listed = listed;
    },

    openThread(thread) {
      files.push({ thread, sequence: 1, first: ++scn, next: null, listed: true, there: true });
    },

    query(sql, binds) {
      if (/v\$|session_privs/.test(sql)) refreshLogs();
      if (/all_tables/.test(sql)) refreshSizes();
      const text = sql.replace(
        /from ("main"\."((?:[^"]|"")+)") as of scn \((\d+)\)/,
        (_, name: string, table: string, at: string) =>
          `from ${tableAsOf(name, table.replaceAll('""', '"'), BigInt(at))}`,
      );
      const statement = db.prepare(translated(text));
      statement.setReadBigInts(true);
      statement.setReturnArrays(true);
      return statement.all(...binds) as unknown as FakeValue[][];
    },

    fail(pattern, message) {
      server.failures.push({ pattern, message });
    },

    close: () => db.close(),
  };

  function run(text: string): FakeValue[][] {
    if (/^\s*select/i.test(text)) {
      const statement = db.prepare(text);
      statement.setReturnArrays(true);
      statement.setReadBigInts(true);
      return statement.all() as unknown as FakeValue[][];
    }
    db.exec(/^\s*truncate\s+table/i.test(text) ? text.replace(/^\s*truncate\s+table/i, 'delete from') : text);
    return [];
  }

  /** Views on the control file and on sizes, as they are now. */
  function refreshLogs(): void {
    db.exec(
      'delete from cat.v$database; delete from cat.v$thread; delete from cat.v$log; delete from cat.v$logfile; delete from cat.v$archived_log; delete from cat.v$log_history; delete from cat.session_privs',
    );
    const put = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
    put(
      'insert into cat.v$database values (?, 77, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ++scn,
      all.resetlogs,
      'then',
      all.logMode,
      all.supplementalMin,
      'NO',
      all.supplementalAll,
      'YES',
      'READ WRITE',
      'PRIMARY',
    );
    for (const privilege of all.privileges) put('insert into cat.session_privs values (?)', privilege);
    for (const thread of new Set(files.map((one) => one.thread)))
      put("insert into cat.v$thread values (?, 'OPEN', 'PUBLIC')", thread);
    for (const [index, file] of files.entries()) {
      const name = `/arch/${file.thread}_${file.sequence}.arc`;
      if (file.next !== null)
        put('insert into cat.v$log_history values (?, ?, ?, ?)', file.thread, file.sequence, file.next, all.resetlogs);
      if (!file.listed) continue;
      if (file.next === null) {
        put(
          "insert into cat.v$log values (?, ?, ?, ?, ?, 'CURRENT', 'NO')",
          index,
          file.thread,
          file.sequence,
          file.first,
          OPEN_END,
        );
        put('insert into cat.v$logfile values (?, ?)', index, `/redo/${file.thread}_${file.sequence}.log`);
      } else
        put(
          "insert into cat.v$archived_log values (?, ?, ?, ?, ?, 'NO', 'NO', 'YES', 'NO', 'A', 1, ?, 'then', 100, 512)",
          name,
          file.thread,
          file.sequence,
          file.first,
          file.next,
          all.resetlogs,
        );
    }
  }

  function refreshSizes(): void {
    const put = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
    for (const [name] of columnsOf) {
      const exists =
        db.prepare("select 1 from main.sqlite_schema where type = 'table' and name = ?").all(quote(name).slice(1, -1))
          .length > 0;
      if (!exists) continue;
      const [row] = db.prepare(`select count(*) as n from main.${quote(name)}`).all() as { n: number }[];
      const [length] = db
        .prepare(
          `select avg(${(columnsOf.get(name) ?? []).map((column) => `coalesce(length(${quote(column.name)}), 1)`).join(' + ')}) as n from (select * from main.${quote(name)} limit 50)`,
        )
        .all() as { n: number | null }[];
      put(
        'update cat.all_tables set num_rows = ?, avg_row_len = ? where table_name = ?',
        row?.n ?? 0,
        Math.ceil(length?.n ?? 1),
        name,
      );
    }
  }

  /** The table with all later changes taken back; its rows keep their ROWIDs. */
  function tableAsOf(name: string, table: string, at: bigint): string {
    const later = journal.filter((entry) => entry.table === table && entry.scn > at);
    if (later.length === 0) return name;
    const id = `${table} ${at}`;
    const known = asOf.get(id);
    if (known !== undefined) return known;
    const columns = columnsOf.get(table) ?? [];
    const statement = db.prepare(`select rowid, * from ${cased(name)}`);
    statement.setReturnArrays(true);
    statement.setReadBigInts(true);
    const rows = new Map(
      (statement.all() as unknown as [bigint, ...FakeValue[]][]).map(([rowid, ...cells]) => [rowid, cells]),
    );
    for (const entry of later.reverse()) {
      if (entry.op === 'insert') rows.delete(entry.rowid);
      else rows.set(entry.rowid, entry.before);
    }
    const made = `temp.${quote(`asof_${asOf.size}`)}`;
    db.exec(`create table ${made} (${columns.map((column) => quote(column.name)).join(', ')})`);
    const insert = db.prepare(
      `insert into ${made} (rowid, ${columns.map((column) => quote(column.name)).join(', ')}) values (?, ${columns.map(() => '?').join(', ')})`,
    );
    for (const [rowid, cells] of rows) insert.run(rowid, ...(cells as SQLInputValue[]));
    asOf.set(id, made);
    return made;
  }

  refreshCatalog();
  return server;
}

const timeNow = (): string => new Date().toISOString().slice(0, 19).replace('T', ' ');

/** A name as an identifier of SQLite, which takes letters of both cases for the same. */
const quote = (name: string): string => cased(`"${name.replaceAll('"', '""')}"`);

/** Capital letters in quoted names become `^` and a small one. */
function cased(sql: string): string {
  return sql.replace(/"((?:[^"]|"")*)"|'(?:[^']|'')*'/g, (whole, name: string | undefined) =>
    name === undefined ? whole : `"${name.replace(/[A-Z]/g, (letter) => `^${letter.toLowerCase()}`)}"`,
  );
}

function uncased(name: string): string {
  return name.replace(/\^([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Oracle's types as SQLite takes them: the whole type is the declared one, and a last word decides how values are kept. */
function typed(sql: string): string {
  if (!/^\s*(create\s+table|alter\s+table)/i.test(sql)) return sql;
  return sql.replace(
    /"[^"]*"|'[^']*'|\b(NUMBER(?:\([^)]*\))?|N?VARCHAR2\([^)]*\)|N?CHAR\([^)]*\)|DATE\b|TIMESTAMP(?:\(\d\))?(?: WITH(?: LOCAL)? TIME ZONE)?|INTERVAL YEAR\(\d\) TO MONTH|INTERVAL DAY\(\d\) TO SECOND\(\d\)|RAW\(\d+\)|BLOB|N?CLOB|BINARY_DOUBLE|BINARY_FLOAT|FLOAT\(\d+\)|XMLTYPE)/g,
    (whole, type: string | undefined) => {
      if (type === undefined) return whole;
      return `"${type} ${/^RAW|^BLOB/.test(type) ? 'BLOB' : /^BINARY_/.test(type) ? 'REAL' : 'TEXT'}"`;
    },
  );
}

function declared(type: string): string {
  return type.replace(/ (TEXT|BLOB|REAL)$/, '').toUpperCase();
}

function oracleType(type: string): {
  word: string;
  chars: number;
  bytes: number;
  used: string | null;
  precision: number | null;
  scale: number | null;
} {
  const whole = declared(type);
  const none = { chars: 0, bytes: 0, used: null, precision: null, scale: null };
  const number = /^NUMBER(?:\((\d+)(?:,(-?\d+))?\))?$/.exec(whole);
  if (number)
    return {
      ...none,
      word: 'NUMBER',
      precision: number[1] === undefined ? null : Number(number[1]),
      scale: number[1] === undefined ? null : Number(number[2] ?? 0),
    };
  if (/^INT(?!ERVAL)/.test(whole)) return { ...none, word: 'NUMBER', scale: 0 };
  const text = /^(N?)(?:VARCHAR2?|CHAR)\((\d+)(?: (CHAR|BYTE))?\)$/.exec(whole);
  if (text) {
    const word = whole.startsWith('NCHAR')
      ? 'NCHAR'
      : whole.startsWith('CHAR')
        ? 'CHAR'
        : text[1] === 'N'
          ? 'NVARCHAR2'
          : 'VARCHAR2';
    return { ...none, word, chars: Number(text[2]), bytes: Number(text[2]), used: text[3] === 'CHAR' ? 'C' : 'B' };
  }
  const raw = /^RAW\((\d+)\)$/.exec(whole);
  if (raw) return { ...none, word: 'RAW', bytes: Number(raw[1]) };
  const float = /^FLOAT\((\d+)\)$/.exec(whole);
  if (float) return { ...none, word: 'FLOAT', precision: Number(float[1]) };
  return { ...none, word: whole };
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** A ROWID as Oracle prints it: its order as text is not the order of ROWIDs. */
export function rowIdText(rowid: bigint): string {
  let text = '';
  for (let left = rowid; text.length < 10; left /= 64n) text = `${DIGITS[Number(left % 64n)]}${text}`;
  return `AAAAAAAA${text}`;
}

function rowIdOf(text: string): bigint {
  let value = 0n;
  for (const char of text) value = value * 64n + BigInt(DIGITS.indexOf(char));
  return value;
}

const FUNCTIONS: Readonly<Record<string, (...values: FakeValue[]) => FakeValue>> = {
  to_char: (value) => (value === null || value === undefined ? null : String(value)),
  to_number: (value) =>
    value === null || value === undefined
      ? null
      : /^-?\d+$/.test(String(value))
        ? BigInt(String(value))
        : String(value),
  // Dates are kept as `SYYYY` prints them.
  to_date: (value) => (value === null || value === undefined ? null : String(value).replace(/^(?=\d)/, ' ')),
  to_timestamp: (value) => (value === null || value === undefined ? null : String(value).replace(/^(?=\d)/, ' ')),
  to_timestamp_tz: (value) => value ?? null,
  to_yminterval: (value) => value ?? null,
  to_dsinterval: (value) => value ?? null,
  hextoraw: (value) => Buffer.from(String(value), 'hex'),
  rowidtochar: (value) => rowIdText(value as bigint),
  chartorowid: (value) => rowIdOf(String(value)),
  dbms_rowid_rowid_object: () => 1n,
  dbms_rowid_rowid_relative_fno: () => 1n,
  dbms_rowid_rowid_block_number: (value) => (value as bigint) / 20n,
  dbms_lob_getlength: (value) =>
    value === null || value === undefined
      ? null
      : BigInt(typeof value === 'string' ? value.length : (value as Uint8Array).length),
  sys_extract_utc: (value) => (value === null || value === undefined ? null : utcOf(String(value))),
};

function utcOf(text: string): string {
  const [, moment = text, fraction = '', sign, hours = '0', minutes = '0'] =
    /^ ?(.{19})(\.\d+)? ?(?:([+-])(\d\d):(\d\d))?$/.exec(text) ?? [];
  if (sign === undefined) return text;
  const ms =
    Date.parse(`${moment.replace(' ', 'T')}Z`) -
    (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
  return ` ${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}${fraction}`;
}

/** The driver's Oracle SQL as SQLite takes it; only names and forms differ. */
function translated(sql: string): string {
  return cased(sql)
    .replace(/ sample block \([\d.]+\)/g, '')
    .replaceAll('dbms_rowid.', 'dbms_rowid_')
    .replaceAll('dbms_lob.', 'dbms_lob_')
    .replace(/xmlserialize\(content (.*?) as clob\)/g, '$1')
    .replace(/json_serialize\((.*?) returning clob\)/g, '$1')
    .replace(/\bc\.deferrable\b/g, 'c."deferrable"')
    .replace(/\) in \(\(/g, ') in (values (')
    .replace(/(?<=[\s.(,])([a-z_0-9]+#)/g, '"$1"')
    .replace(/(?<!['\d]):(\d+)/g, '?$1');
}
