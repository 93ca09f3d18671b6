import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode, logGone, logRight } from './errors.ts';
import { checkOnline, type LogFile, type Logs, listLogs } from './log-files.ts';
import { type ContentsFilter, contents, type RedoRow, startMining, stopMining } from './mining-session.ts';
import type { OracleOptions } from './options.ts';
import type { Pool } from './pool.ts';
import type { Session } from './session.ts';
import { createWrittenEnd, waits } from './written-end.ts';

/** The log in windows of SCNs: what can be read now, and its rows. */
export type LogWindows = {
  /** The window that begins at `from`; waits for a file that is missing. Throws `PositionLost` when it does not come. */
  window(from: bigint): Promise<Window>;
  /** Rows of the log in a window. What has been given out is right, also when the next piece throws. */
  rows(from: bigint, to: bigint): AsyncGenerator<readonly RedoRow[], void, undefined>;
  close(): Promise<void>;
};

export type Window = {
  /** Its last SCN; before its first: there is nothing to read yet. */
  readonly to: bigint;
  /** The log ends there for now. */
  readonly last: boolean;
  /** The log has been looked at to where it ended when it was opened, or as far as archived files go. */
  readonly whole: boolean;
};

export type WindowParts = {
  readonly pool: Pool;
  readonly mining: Pool;
  readonly options: OracleOptions;
  readonly filter: ContentsFilter;
  /** The SCN of the moment when the log was opened. */
  readonly goal: bigint;
};

/** So many log files are read by one start of LogMiner: with more of them its session grows at the server. */
const FILES_AT_ONCE = 12;
/** A session of LogMiner is not used for longer. */
const SESSION_MS = 3_600_000;
/** A log file may be on its way to its archive: so often it is looked for, each time for longer. */
const TRIES = 6;
/** LogMiner could not open or find a file; another list of files may do. */
const FILE_TROUBLE = new Set([
  'ORA-00308',
  'ORA-00310',
  'ORA-00313',
  'ORA-00334',
  'ORA-01284',
  'ORA-01291',
  'ORA-01292',
  'ORA-27037',
]);

function denied(error: Error): never {
  throw logRight(error, 'the views of the redo log');
}

export function openWindows(parts: WindowParts, signal: AbortSignal): LogWindows {
  const { pool, mining, options, filter, goal } = parts;
  const { online, remote } = options.mode;
  // The root lists the logs of all its databases; a database elsewhere knows nothing of them.
  const control = remote ? pool : mining;
  const written = createWrittenEnd(performance.now(), goal);
  let session: Session | undefined;
  let openedMs = 0;
  const abort = (): void => {
    if (session) void mining.drop(session);
  };
  signal.addEventListener('abort', abort, { once: true });

  /** The logs from `from` on, without a gap at least up to `to`. */
  async function logsTo(from: bigint, to: bigint): Promise<Logs> {
    for (let attempt = 1; ; attempt++) {
      const logs = await control.lend((one) => listLogs(one, from, { online, remote }), signal).catch(denied);
      if (logs.missing === null || logs.end >= to) return logs;
      if (attempt === TRIES) throw logGone(logs.missing);
      await again(attempt);
    }
  }

  function again(attempt: number): Promise<void> {
    return sleep(Math.min(10_000, waits.retryMs * attempt), undefined, { signal });
  }

  async function start(one: Session, from: bigint, to: bigint): Promise<readonly LogFile[]> {
    for (let attempt = 1; ; attempt++) {
      const { files, end } = await logsTo(from, to);
      const needed = files.filter((file) => file.first <= to && (remote || file.next > from));
      try {
        // The list may have become shorter since the window was made.
        if (end < to) throw new Error('A redo log has gone from the list of the control file.');
        await startMining(one, needed, from, to, remote, options.miningFolder);
        return needed;
      } catch (error) {
        if (end >= to && !FILE_TROUBLE.has(errorCode(error) ?? '')) throw error;
        if (attempt === TRIES) {
          // All files are listed, and LogMiner misses one: it is none that could be brought back.
          if (errorCode(error) === 'ORA-01291') throw error;
          if (!remote) throw logGone((error as Error).message);
          throw new Error(
            `The mining database does not find a log file of the source (${(error as Error).message}). Copy the archived logs to \`mining_folder\` on its host.`,
          );
        }
        await again(attempt);
      }
    }
  }

  return {
    async window(from) {
      const end = online ? await control.lend((one) => written.look(one), signal).catch(denied) : null;
      if (online && (end === null || end < from))
        return { to: from - 1n, last: true, whole: end !== null && end >= goal };
      const logs = await logsTo(from, from);
      const upper = end !== null && end < logs.end ? end : logs.end;
      const ahead = logs.files.filter((file) => file.next > from).sort((a, b) => (a.next < b.next ? -1 : 1));
      const cut = ahead.length > FILES_AT_ONCE ? (ahead[FILES_AT_ONCE - 1]?.next ?? upper) - 1n : upper;
      const last = cut >= upper || cut < from;
      return {
        to: last ? upper : cut,
        last,
        whole: last && (end === null ? logs.missing === null : upper >= goal),
      };
    },

    async *rows(from, to) {
      signal.throwIfAborted();
      if (session && performance.now() - openedMs > SESSION_MS) {
        await mining.drop(session);
        session = undefined;
      }
      if (!session) {
        session = await mining.take(signal);
        openedMs = performance.now();
      }
      const files = await start(session, from, to);
      for await (const rows of contents(session, from, to, filter)) {
        // Where the server has begun anew in a file, its old rest looks like the end of the log.
        await control.lend((one) => checkOnline(one, files), signal);
        yield rows;
      }
      await control.lend((one) => checkOnline(one, files), signal);
      await stopMining(session);
    },

    async close() {
      signal.removeEventListener('abort', abort);
      if (session) await mining.drop(session);
      session = undefined;
    },
  };
}
