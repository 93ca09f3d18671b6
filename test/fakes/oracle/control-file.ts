import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { timeNow } from './dialect.ts';
import type { FakeSettings } from './server.ts';

/** Redo threads and their log files, and the views on them. */
export type FakeFile = {
  readonly thread: number;
  readonly sequence: number;
  readonly first: bigint;
  /** null: it is written to. */
  next: bigint | null;
  nextTime: string;
  archived: boolean;
  /** The server has begun to write over the online file. */
  reused: boolean;
  /** In the list of the control file, or there as deleted. */
  listed: boolean;
  /** The archived copy can be opened. */
  there: boolean;
  /** It holds a whole dictionary. */
  dictionary: boolean;
  /** RMAN brought it back: it is of no destination. */
  restored: boolean;
};

export type FakeThread = {
  open: boolean;
  /** LAST_REDO_CHANGE#; null: always the latest SCN. */
  lastChange: bigint | null;
};

export type ControlFile = {
  readonly files: FakeFile[];
  readonly threads: Map<number, FakeThread>;
  /** Where a thread writes. */
  place(thread: number): { thread: number; sequence: number };
  file(sequence: number, thread?: number): FakeFile;
  /** Ends the current file of a thread; `archive`: it is archived at once. */
  switchLog(thread?: number, archive?: boolean): void;
  openThread(thread: number): void;
  /** The instance stops; its last file is not archived. */
  closeThread(thread: number): void;
  /** The views as they are now. */
  refresh(): void;
};

const VIEWS = `
create table cat.session_privs (privilege text);
create table cat.gv$transaction (start_scn int, xidusn int, xidslot int, xidsqn int);
create table cat.v$database (current_scn int, dbid int, "resetlogs_change#" int, resetlogs_time text, log_mode text, supplemental_log_data_min text, supplemental_log_data_pk text, supplemental_log_data_all text, force_logging text, open_mode text, database_role text, con_dbid int);
create table cat.v$thread ("thread#" int, status text, "last_redo_sequence#" int, "last_redo_change#" int);
create table cat.v$log ("group#" int, "thread#" int, "sequence#" int, "first_change#" int, "next_change#" int, status text, archived text);
create table cat.v$logfile ("group#" int, member text);
create table cat.v$archived_log (name text, "thread#" int, "sequence#" int, "first_change#" int, "next_change#" int, dictionary_begin text, dictionary_end text, archived text, deleted text, status text, dest_id int, "resetlogs_change#" int, resetlogs_time text, blocks int, block_size int, standby_dest text, recid int, next_time text);
create table cat.v$archive_dest_status (dest_id int, status text, type text); insert into cat.v$archive_dest_status values (1, 'VALID', 'LOCAL');
create table cat.v$log_history ("thread#" int, "sequence#" int, "next_change#" int, "resetlogs_change#" int);
`;

/** The last SCN of a file that is written to. */
const OPEN_END = 9_223_372_036_854_775_807n;

export function createControlFile(db: DatabaseSync, all: FakeSettings, scn: { value: bigint }): ControlFile {
  db.exec(VIEWS);
  const files: FakeFile[] = [];
  const threads = new Map<number, FakeThread>();

  function begin(thread: number, sequence: number): void {
    files.push({
      ...{ thread, sequence, first: scn.value, next: null, nextTime: '' },
      ...{ archived: false, reused: false, listed: true, there: true, dictionary: false, restored: false },
    });
  }

  function currentOf(thread: number): FakeFile {
    const found = files.findLast((one) => one.thread === thread && one.next === null);
    if (!found) throw new Error('There is no such thread.');
    return found;
  }

  const control: ControlFile = {
    files,
    threads,
    place: (thread) => ({ thread, sequence: currentOf(thread).sequence }),
    file(sequence, thread = 1) {
      const found = files.find((one) => one.sequence === sequence && one.thread === thread);
      if (!found) throw new Error('There is no such log.');
      return found;
    },
    switchLog(thread = 1, archive = true) {
      const current = currentOf(thread);
      current.next = ++scn.value;
      current.nextTime = timeNow();
      current.archived = archive;
      begin(thread, current.sequence + 1);
    },
    openThread(thread) {
      scn.value++;
      threads.set(thread, { open: true, lastChange: null });
      begin(thread, 1);
    },
    closeThread(thread) {
      threads.set(thread, { open: false, lastChange: ++scn.value });
    },

    refresh() {
      db.exec(
        'delete from cat.v$database; delete from cat.v$thread; delete from cat.v$log; delete from cat.v$logfile; delete from cat.v$archived_log; delete from cat.v$log_history; delete from cat.session_privs',
      );
      const put = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
      put(
        `insert into cat.v$database values (?, ?, ?, 'then', ?, ?, 'NO', ?, 'YES', ?, 'PRIMARY', ?)`,
        ...[++scn.value, all.dbid, all.resetlogs, all.logMode, all.supplementalMin, all.supplementalAll],
        ...[all.openMode, all.conDbid],
      );
      for (const privilege of all.privileges) put('insert into cat.session_privs values (?)', privilege);
      for (const [thread, { open, lastChange }] of threads)
        put(
          'insert into cat.v$thread values (?, ?, ?, ?)',
          ...[thread, open ? 'OPEN' : 'CLOSED', currentOf(thread).sequence, lastChange ?? scn.value],
        );
      for (const [index, file] of files.entries()) show(put, index, file);
    },
  };

  function show(put: (sql: string, ...values: SQLInputValue[]) => unknown, index: number, file: FakeFile): void {
    const { thread, sequence, first, next, archived, listed } = file;
    if (next !== null) put('insert into cat.v$log_history values (?, ?, ?, ?)', thread, sequence, next, all.resetlogs);
    if (!file.reused && listed) {
      const status = next === null ? 'CURRENT' : 'ACTIVE';
      put(
        'insert into cat.v$log values (?, ?, ?, ?, ?, ?, ?)',
        ...[index, thread, sequence, first, next ?? OPEN_END, status, archived ? 'YES' : 'NO'],
      );
      put('insert into cat.v$logfile values (?, ?)', index, `/redo/${thread}_${sequence}.log`);
    }
    if (!archived || next === null) return;
    const dictionary = file.dictionary ? 'YES' : 'NO';
    const copy = (folder: string, dest: number, standby: string, recid: number) =>
      put(
        "insert into cat.v$archived_log values (?, ?, ?, ?, ?, ?, ?, 'YES', ?, 'A', ?, ?, 'then', 100, 512, ?, ?, ?)",
        ...[listed ? `${folder}/${thread}_${sequence}.arc` : null, thread, sequence, first, next],
        ...[dictionary, dictionary, listed ? 'NO' : 'YES', dest, all.resetlogs, standby, recid, file.nextTime],
      );
    copy('standby', 3, 'YES', index + 3000);
    if (file.restored) copy('/restored', 0, 'NO', index);
    else {
      copy('/arch', 1, 'NO', index);
      copy('/second', 2, 'NO', index + 2000);
    }
  }

  scn.value--;
  control.openThread(1);
  return control;
}
