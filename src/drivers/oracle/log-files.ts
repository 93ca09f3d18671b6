import type { Session } from './session.ts';

/** A redo log file, archived or not yet. Changes with `first` ≤ SCN < `next` are in it. */
export type LogFile = {
  readonly name: string;
  readonly thread: number;
  readonly sequence: number;
  readonly first: bigint;
  readonly next: bigint;
  /** It holds the beginning or the end of a dictionary (DBMS_LOGMNR_D.BUILD). */
  readonly dictionary: 'begin' | 'end' | 'both' | null;
  /** Not an archived copy: the server will write over it one day. */
  readonly online: boolean;
};

export type Logs = {
  readonly files: readonly LogFile[];
  /** Up to here the logs of all threads are there without a gap; below the SCN asked for: nothing can be read yet. */
  readonly end: bigint;
  /** What keeps the logs from going further: a file that is missing; null: they end because nothing more is written or archived. */
  readonly missing: string | null;
};

/** Which files count. */
export type LogKinds = {
  /** Those that are still written to as well. */
  readonly online: boolean;
  /** They are read elsewhere: archived ones alone, beginning with the last dictionary before the SCN asked for. */
  readonly remote: boolean;
};

/** A redo thread. A closed one has written up to `lastChange`, in the file `lastSequence`. */
export type Thread = {
  readonly thread: number;
  readonly open: boolean;
  readonly lastSequence: number;
  readonly lastChange: bigint;
};

// V$ and not GV$: on a cluster these views list the logs of all threads. Copies at standby databases have names that mean nothing here;
// of several copies the last row counts. Files that RMAN restored may belong to no destination.
const ARCHIVED = [
  'select a.name, a.thread#, a.sequence#, to_char(a.first_change#), to_char(a.next_change#), a.dictionary_begin, a.dictionary_end',
  'from v$archived_log a join v$database d on a.resetlogs_change# = d.resetlogs_change# and a.resetlogs_time = d.resetlogs_time',
  "where a.name is not null and a.archived = 'YES' and a.deleted = 'NO' and a.status = 'A' and a.standby_dest = 'NO' and a.next_change# > %scn",
  "order by a.thread#, a.sequence#, case when a.dest_id = (select min(s.dest_id) from v$archive_dest_status s where s.status = 'VALID' and s.type = 'LOCAL') then 1 else 0 end, a.recid",
].join(' ');

const ONLINE = [
  'select min(f.member), l.thread#, l.sequence#, to_char(l.first_change#), to_char(l.next_change#), l.status',
  'from v$log l join v$logfile f on f.group# = l.group#',
  "where l.status <> 'UNUSED' and (l.archived = 'NO' or l.status = 'CURRENT')",
  'group by l.group#, l.thread#, l.sequence#, l.first_change#, l.next_change#, l.status',
].join(' ');

const THREADS = 'select thread#, status, last_redo_sequence#, to_char(last_redo_change#) from v$thread';

/** The logs that hold everything from `from` on. */
export async function listLogs(session: Session, from: bigint, { online, remote }: LogKinds): Promise<Logs> {
  const start = remote ? ((await dictionaryStart(session, from)) ?? from) : from;
  // First what is not archived yet: a file that is archived between the two statements is in both of them, not in none.
  const unarchived = (await session.query(ONLINE)).map((row) => fileOf(row, null, true));
  const archived = (await session.query(ARCHIVED.replace('%scn', `${start}`))).map((row) => {
    const begins = row[5] === 'YES';
    const ends = row[6] === 'YES';
    return fileOf(row, begins && ends ? 'both' : begins ? 'begin' : ends ? 'end' : null, false);
  });
  const threads = (await session.query(THREADS)).map(threadOf);
  const closed = new Set(threads.filter(({ open }) => !open).map(({ thread }) => thread));
  const files = new Map<string, LogFile>();
  // Nobody writes to the last log of a closed thread, and it may stay unarchived for long.
  for (const file of unarchived) if (online || (!remote && closed.has(file.thread))) files.set(idOf(file), file);
  // An archived copy does not change any more: it stands for the online file.
  for (const file of archived) files.set(idOf(file), file);
  const needed = [...files.values()].filter((file) => file.next > start).sort(byPlace);
  const known = new Set<string>();
  for (;;) {
    const { end, missing } = coverage(needed, threads, start, known);
    if (missing === null) return { files: needed, end, missing };
    const id = idOf(missing);
    if (end < from && !known.has(id) && (await endedBefore(session, missing, start))) {
      known.add(id);
      continue;
    }
    // It is only on its way to its archive.
    const coming = unarchived.some((file) => idOf(file) === id);
    return { files: needed, end, missing: coming ? null : textOf(missing) };
  }
}

/** Throws when one of these files is not what it was: the server has begun to write over it. */
export async function checkOnline(session: Session, files: readonly LogFile[]): Promise<void> {
  const online = files.filter((file) => file.online);
  if (online.length === 0) return;
  const rows = await session.query('select thread#, sequence# from v$log');
  const there = new Set(rows.map((row) => `${row[0]} ${row[1]}`));
  for (const file of online)
    if (!there.has(idOf(file)))
      throw new Error(
        `The online redo log with sequence ${file.sequence} of thread ${file.thread} was written over while it was read: its archived copy is next.`,
      );
}

function fileOf(row: readonly unknown[], dictionary: LogFile['dictionary'], online: boolean): LogFile {
  return {
    name: String(row[0]),
    thread: Number(row[1]),
    sequence: Number(row[2]),
    first: scnOf(row[3]),
    next: scnOf(row[4]),
    dictionary,
    online,
  };
}

function threadOf(row: readonly unknown[]): Thread {
  return {
    thread: Number(row[0]),
    open: row[1] === 'OPEN',
    lastSequence: Number(row[2] ?? 0),
    lastChange: row[3] == null ? 0n : scnOf(row[3]),
  };
}

function scnOf(value: unknown): bigint {
  return BigInt(String(value).trim());
}

function byPlace(a: LogFile, b: LogFile): number {
  return a.thread - b.thread || a.sequence - b.sequence;
}

type Place = { readonly thread: number; readonly sequence: number };

function idOf({ thread, sequence }: Place): string {
  return `${thread} ${sequence}`;
}

function textOf({ thread, sequence }: Place): string {
  return `The redo log with sequence ${sequence} of thread ${thread} is not there.`;
}

const FOREVER = 2n ** 63n;

/**
 * How far the logs go without a gap, by sequence and thread: SCNs of neighbours need not meet after a restart. `known`: predecessors that
 * ended before `from`, although they are not listed.
 */
export function coverage(
  files: readonly LogFile[],
  threads: readonly Thread[],
  from: bigint,
  known: ReadonlySet<string> = new Set(),
): { end: bigint; missing: Place | null } {
  let end = FOREVER;
  let missing: Place | null = null;
  const cut = (at: bigint, why: Place | null): void => {
    if (at >= end) return;
    end = at;
    missing = why;
  };
  for (const { thread, open, lastSequence, lastChange } of threads) {
    const own = files.filter((file) => file.thread === thread);
    const [first] = own;
    if (!first) {
      // A closed thread writes nothing more; an open one without a file has not archived any since.
      if (open) cut(from - 1n, null);
      else if (lastChange >= from) cut(from - 1n, { thread, sequence: lastSequence });
      continue;
    }
    const before = { thread, sequence: first.sequence - 1 };
    if (first.first > from && first.sequence > 1 && !known.has(idOf(before))) {
      cut(from - 1n, before);
      continue;
    }
    let last = first;
    for (const file of own.slice(1)) {
      if (file.sequence !== last.sequence + 1) break;
      last = file;
    }
    const whole = last === own.at(-1);
    if (!whole || (!open && last.sequence < lastSequence && lastChange >= last.next))
      cut(last.next - 1n, { thread, sequence: last.sequence + 1 });
    else if (open) cut(last.next - 1n, null);
  }
  return { end, missing };
}

/** Whether a log that is not listed ended before `from`: a thread that was closed for a while. */
async function endedBefore(session: Session, { thread, sequence }: Place, from: bigint): Promise<boolean> {
  const [row] = await session.query(
    'select to_char(max(h.next_change#)) from v$log_history h join v$database d on h.resetlogs_change# = d.resetlogs_change# where h.thread# = :1 and h.sequence# = :2',
    [thread, sequence],
  );
  return row?.[0] != null && scnOf(row[0]) <= from;
}

/** Where the last whole dictionary in the logs begins that ends before `from`; null: there is none. */
export async function dictionaryStart(session: Session, from: bigint): Promise<bigint | null> {
  const there = "a.name is not null and a.deleted = 'NO'";
  const [row] = await session.query(
    [
      'select to_char(max(a.first_change#)) from v$archived_log a join v$database d on a.resetlogs_change# = d.resetlogs_change#',
      `where a.dictionary_begin = 'YES' and ${there} and exists (select 1 from v$archived_log e where e.dictionary_end = 'YES'`,
      `and e.resetlogs_change# = a.resetlogs_change# and ${there.replaceAll('a.', 'e.')} and e.first_change# >= a.first_change# and e.next_change# <= ${from})`,
    ].join(' '),
  );
  return row?.[0] == null ? null : scnOf(row[0]);
}
