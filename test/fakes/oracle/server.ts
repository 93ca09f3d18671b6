import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { createCatalog } from './catalog.ts';
import { type ControlFile, createControlFile } from './control-file.ts';
import { cased, FUNCTIONS, quote, rowIdText, timeNow, translated, typed } from './dialect.ts';
import { type FakeRedo, type FakeValue, splitSql, statements } from './redo.ts';

/**
 * An Oracle database for tests: tables in SQLite, a counter for SCNs, a journal that redo rows and `AS OF SCN` come from, log files by thread.
 * It answers the driver's statements through the few calls of oracledb (`client.ts`). Names are kept as they are written, the empty text is no
 * NULL, and a transaction is one call of `sql`: in these it is no Oracle.
 */
export type FakeOracle = {
  readonly schema: 'main';
  readonly settings: FakeSettings;
  /** Threads and log files. */
  readonly control: ControlFile;
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
  openThread(thread: number): void;
  /** An archived file that is gone: still in the control file's list, or not. */
  loseLog(sequence: number, listed: boolean, thread?: number): void;
  /** Sessions of clients. */
  sessions: number;
  /** A query of a client, with the table as of an SCN. */
  query(sql: string, binds: readonly SQLInputValue[]): FakeValue[][];
  /** Makes the next statement that matches fail. */
  fail(pattern: RegExp, message: string): void;
  readonly failures: { pattern: RegExp; message: string }[];
  /** What the next statement that matches is answered, instead of the truth; undefined: the truth, after `work`. */
  answer(pattern: RegExp, work: () => FakeValue[][] | undefined): void;
  readonly answers: { pattern: RegExp; work: () => FakeValue[][] | undefined }[];
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
  dbid: number;
  conDbid: number;
  openMode: string;
  dbTimeZone: string;
  privileges: string[];
  /** The database whose logs this one reads; its archived files that lie here, undefined: under their own paths. */
  minesFor: FakeOracle | undefined;
  copies: Set<string> | undefined;
};

type JournalEntry = {
  readonly scn: bigint;
  readonly op: 'insert' | 'update' | 'delete';
  readonly table: string;
  readonly rowid: bigint;
  readonly before: FakeValue[];
  readonly after: FakeValue[];
};

export function startOracle(settings: Partial<FakeSettings> = {}): FakeOracle {
  const db = new DatabaseSync(':memory:');
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
    dbid: 77,
    conDbid: 78,
    openMode: 'READ WRITE',
    dbTimeZone: '+00:00',
    privileges: ['LOGMINING', 'SELECT ANY TRANSACTION', 'CREATE SESSION'],
    minesFor: undefined,
    copies: undefined,
    ...settings,
  };
  // Beyond what a JavaScript number holds exactly.
  const scn = { value: 9_007_199_254_740_993n };
  const catalog = createCatalog(db);
  const { columnsOf } = catalog;
  const control = createControlFile(db, all, scn);
  let xids = 0;
  const journal: JournalEntry[] = [];
  let changed: JournalEntry[] = [];
  const written: FakeRedo[] = [];
  /** Transactions whose rows of the log nobody has asked for yet. */
  let unwritten: (() => void)[] = [];
  const asOf = new Map<string, string>();

  db.function('flow_journal', { varargs: true, useBigIntArguments: true }, (...values) => {
    const [op, table, rowid, ...cells] = values as [string, string, bigint, ...FakeValue[]];
    const width = columnsOf.get(table)?.length ?? 0;
    const before = op === 'insert' ? [] : cells.slice(0, width);
    const after = op === 'delete' ? [] : op === 'insert' ? cells.slice(0, width) : cells.slice(width);
    changed.push({ scn: ++scn.value, op: op as JournalEntry['op'], table, rowid, before, after });
    return null;
  });
  for (const [name, work] of Object.entries(FUNCTIONS))
    db.function(name, { deterministic: true, varargs: true, useBigIntArguments: true }, work as never);

  function redo(row: Partial<FakeRedo>): FakeRedo {
    const full: FakeRedo = {
      scn: row.scn ?? ++scn.value,
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
      ...control.place(row.thread ?? 1),
      ...row,
    };
    written.push(full);
    return full;
  }

  function writeChange(common: Partial<FakeRedo>, entry: JournalEntry): void {
    const columns = columnsOf.get(entry.table) ?? [];
    const object = catalog.objectOf(entry.table);
    for (const { operation, sql } of statements(entry.op, 'main', entry.table, columns, entry.before, entry.after))
      for (const part of splitSql(sql))
        redo({
          ...common,
          scn: entry.scn,
          operation,
          owner: 'main',
          table: entry.table,
          object,
          rowId: rowIdText(entry.rowid),
          ...part,
        });
  }

  const nextXid = () => `0A00${(++xids % 0xffff).toString(16).padStart(4, '0').toUpperCase()}00000001`;

  /** A statement of the data dictionary is a transaction of its own. */
  function ddl(texts: readonly string[], start: bigint): FakeValue[][] {
    catalog.unwatch();
    let rows: FakeValue[][] = [];
    for (const text of texts) rows = run(typed(cased(text)));
    const before = changed;
    changed = [];
    catalog.refresh();
    void server.log;
    const xid = nextXid();
    redo({ scn: start, xid, operation: 6 });
    for (const text of texts)
      redo({ xid, operation: 5, info: 'USER DDL', sql: `${text};`, owner: 'main', table: null });
    redo({ xid, operation: 7 });
    for (const entry of before) journal.push(entry);
    return rows;
  }

  const server: FakeOracle = {
    schema: 'main',
    settings: all,
    control,
    get log() {
      const writers = unwritten;
      unwritten = [];
      for (const write of writers) write();
      return written;
    },
    statements: [],
    sessions: 0,
    failures: [],
    answers: [],
    scn: () => scn.value,
    nextScn: () => ++scn.value,
    switchLog: (thread) => control.switchLog(thread),
    openThread: (thread) => control.openThread(thread),
    redo(row) {
      void server.log;
      return redo(row);
    },

    sql(...texts) {
      changed = [];
      const start = ++scn.value;
      if (/^\s*(create|alter|drop|truncate)\b/i.test(texts[0] ?? '')) return ddl(texts, start);
      let rows: FakeValue[][] = [];
      db.exec('begin');
      try {
        for (const text of texts) rows = run(typed(cased(text)));
      } catch (error) {
        db.exec('rollback');
        throw error;
      }
      db.exec('commit');
      if (changed.length === 0) return rows;
      const entries = changed;
      const common = { ...control.place(1), xid: nextXid(), time: timeNow() };
      const end = ++scn.value;
      journal.push(...entries);
      unwritten.push(() => {
        redo({ ...common, scn: start, operation: 6 });
        for (const entry of entries) writeChange(common, entry);
        redo({ ...common, scn: end, operation: 7 });
      });
      return rows;
    },

    loseLog(sequence, listed, thread = 1) {
      const file = control.file(sequence, thread);
      file.there = false;
      file.listed = listed;
    },

    query(sql, binds) {
      if (/v\$|session_privs/.test(sql)) control.refresh();
      if (/all_tables/.test(sql)) catalog.refreshSizes();
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

    answer(pattern, work) {
      server.answers.push({ pattern, work });
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

  catalog.refresh();
  return server;
}
