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
};

export type Logs = {
  readonly files: readonly LogFile[];
  /** Up to here the logs of all threads are there without a gap; below the SCN asked for: nothing can be read yet. */
  readonly end: bigint;
  /** What keeps the logs from going further: a file that is missing; null: they end because nothing more is written or archived. */
  readonly missing: string | null;
};

type Thread = { readonly thread: number; readonly open: boolean };

const ARCHIVED = [
  'select a.name, a.thread#, a.sequence#, to_char(a.first_change#), to_char(a.next_change#), a.dictionary_begin, a.dictionary_end',
  'from v$archived_log a join v$database d on a.resetlogs_change# = d.resetlogs_change# and a.resetlogs_time = d.resetlogs_time',
  "where a.name is not null and a.archived = 'YES' and a.deleted = 'NO' and a.status = 'A' and a.next_change# > %scn",
  "and a.dest_id = (select min(s.dest_id) from v$archive_dest_status s where s.status = 'VALID' and s.type = 'LOCAL')",
].join(' ');

// V$ and not GV$: on a cluster these views list the logs of all threads.
const ONLINE = [
  'select min(f.member), l.thread#, l.sequence#, to_char(l.first_change#), to_char(l.next_change#), l.status',
  'from v$log l join v$logfile f on f.group# = l.group#',
  "where l.status <> 'UNUSED' and (l.archived = 'NO' or l.status = 'CURRENT')",
  'group by l.group#, l.thread#, l.sequence#, l.first_change#, l.next_change#, l.status',
].join(' ');

/** The logs that hold everything from `from` on. `dictionary`: beginning with the last dictionary before it. */
export async function listLogs(session: Session, from: bigint, online: boolean, dictionary: boolean): Promise<Logs> {
  const start = dictionary ? await dictionaryStart(session, from) : from;
  const archived = (await session.query(ARCHIVED.replace('%scn', `${start}`))).map((row): LogFile => {
    const begins = row[5] === 'YES';
    const ends = row[6] === 'YES';
    return { ...fileOf(row), dictionary: begins && ends ? 'both' : begins ? 'begin' : ends ? 'end' : null };
  });
  const current = online ? (await session.query(ONLINE)).map((row) => ({ ...fileOf(row), dictionary: null })) : [];
  const threads = (await session.query("select thread#, status from v$thread where enabled <> 'DISABLED'")).map(
    (row): Thread => ({ thread: Number(row[0]), open: row[1] === 'OPEN' }),
  );
  const files = new Map<string, LogFile>();
  // An archived copy does not change any more: it stands for the online file.
  for (const file of [...current, ...archived]) files.set(`${file.thread} ${file.sequence}`, file);
  const needed = [...files.values()].filter((file) => file.next > start).sort(byPlace);
  let found = coverage(needed, threads, start);
  if (found.missing !== null && found.end < from && (await endedBefore(session, found.missing, start)))
    found = coverage(needed, threads, start, found.missing);
  const { end, missing } = found;
  return { files: needed, end, missing: missing === null ? null : textOf(missing) };
}

function fileOf(row: readonly unknown[]): Omit<LogFile, 'dictionary'> {
  const scn = (value: unknown): bigint => BigInt(String(value).trim());
  return {
    name: String(row[0]),
    thread: Number(row[1]),
    sequence: Number(row[2]),
    first: scn(row[3]),
    next: scn(row[4]),
  };
}

function byPlace(a: LogFile, b: LogFile): number {
  return a.thread - b.thread || a.sequence - b.sequence;
}

type Missing = { readonly thread: number; readonly sequence: number };

function textOf({ thread, sequence }: Missing): string {
  return `The redo log with sequence ${sequence} of thread ${thread} is not there.`;
}

const FOREVER = 2n ** 63n;

/**
 * How far the logs go without a gap, by sequence and thread: SCNs of neighbours need not meet after a restart. `known`: a predecessor that
 * ended before `from`, although it is not listed.
 */
export function coverage(
  files: readonly LogFile[],
  threads: readonly Thread[],
  from: bigint,
  known?: Missing,
): { end: bigint; missing: Missing | null } {
  let end = FOREVER;
  let missing: Missing | null = null;
  const cut = (at: bigint, why: Missing | null): void => {
    if (at >= end) return;
    end = at;
    missing = why;
  };
  for (const { thread, open } of threads) {
    const own = files.filter((file) => file.thread === thread);
    const [first] = own;
    if (!first) {
      // A closed thread writes nothing; an open one without a file has not archived any since.
      if (open) cut(from - 1n, null);
      continue;
    }
    const before = { thread, sequence: first.sequence - 1 };
    const isKnown = known?.thread === thread && known.sequence === before.sequence;
    if (first.first > from && first.sequence > 1 && !isKnown) {
      cut(from - 1n, before);
      continue;
    }
    let last = first;
    for (const file of own.slice(1)) {
      if (file.sequence !== last.sequence + 1) {
        cut(last.next - 1n, { thread, sequence: last.sequence + 1 });
        break;
      }
      last = file;
    }
    if (last === own.at(-1) && open) cut(last.next - 1n, null);
  }
  return { end, missing };
}

/** Whether a log that is not listed ended before `from`: a thread that was closed for a while. */
async function endedBefore(session: Session, { thread, sequence }: Missing, from: bigint): Promise<boolean> {
  const [row] = await session.query(
    'select to_char(max(h.next_change#)) from v$log_history h join v$database d on h.resetlogs_change# = d.resetlogs_change# where h.thread# = :1 and h.sequence# = :2',
    [thread, sequence],
  );
  return row?.[0] != null && BigInt(String(row[0]).trim()) <= from;
}

/** Where the last whole dictionary in the logs begins that ends before `from`. */
async function dictionaryStart(session: Session, from: bigint): Promise<bigint> {
  const [row] = await session.query(
    `select to_char(max(a.first_change#)) from v$archived_log a join v$database d on a.resetlogs_change# = d.resetlogs_change# where a.dictionary_begin = 'YES' and a.name is not null and a.deleted = 'NO' and a.first_change# <= ${from}`,
  );
  return row?.[0] == null ? from : BigInt(String(row[0]).trim());
}
