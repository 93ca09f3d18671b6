import { setTimeout as sleep } from 'node:timers/promises';
import type { CaptureRequest } from '../changes.ts';
import { Misconfigured, PositionLost } from '../errors.ts';
import type { Connection, ServerFacts } from './connection.ts';
import { domainIdsText, type GtidSet, parseDomainIds, parseGtidSet } from './gtid.ts';
import type { Pool } from './pool.ts';
import { decodePosition, identity, type LogPosition, serverIds } from './position.ts';

/** How a reader begins. */
export type Opening = {
  readonly facts: ServerFacts;
  readonly from: LogPosition;
  /** The UUID of a MySQL server. */
  readonly server: string | undefined;
  /** Positions are sets of ids (MySQL with GTIDs). */
  readonly useGtids: boolean;
  readonly gtids: GtidSet | undefined;
  /** MariaDB, from a position that has ids only. */
  readonly domains: string | undefined;
};

const AGAIN = 'Load the tables again.';
/** A transaction may be in the log a moment before the server counts it as executed. */
const LAG_MS = 10_000;

/** Whether the log holds everything that comes after the position. Throws `PositionLost` with the reason. */
export async function checkPosition(pool: Pool, request: CaptureRequest, signal: AbortSignal): Promise<Opening> {
  const from = decodePosition(request.from);
  if (!from)
    throw new Misconfigured(
      'The source is followed by no log (`capture` is none).',
      'Set `capture` to log and run a full extract.',
    );
  return pool.lend(async (connection) => {
    const { facts } = connection;
    const ids = await serverIds(connection);
    const server = ids?.server;
    if (facts.product === 'MySQL' && from.gtid !== undefined) {
      if (!ids?.gtids)
        throw new PositionLost(
          'The source has no GTIDs any more (gtid_mode is not ON), and the stored position is a set of them.',
          `Turn gtid_mode on again, or: ${AGAIN}`,
        );
      const gtids = parseGtidSet(from.gtid);
      await checkSets(connection, from.gtid, LAG_MS, signal);
      return { facts, from, server, useGtids: true, gtids, domains: undefined };
    }
    if (request.identity !== '' && (await identity(connection)) !== request.identity)
      throw new PositionLost(
        'The source is another server than the one that was followed, and without GTIDs its log can not be compared.',
        AGAIN,
      );
    if (from.file === undefined || from.offset === undefined) {
      if (from.gtid === undefined) throw new PositionLost('The stored position is empty.', AGAIN);
      return { facts, from, server, useGtids: false, gtids: undefined, domains: from.gtid };
    }
    await checkFile(connection, from, true);
    const there = await nextFile(connection, from);
    return { facts, from: there ?? from, server, useGtids: false, gtids: undefined, domains: undefined };
  }, signal);
}

/**
 * The beginning of the next file, when nothing was written between the position and it; undefined otherwise. MariaDB leaves a file as it was when it
 * died: what is behind its last whole transaction was rolled back, and can't be read.
 */
async function nextFile(connection: Connection, from: LogPosition): Promise<LogPosition | undefined> {
  if (connection.facts.product !== 'MariaDB' || from.gtid === undefined || from.since) return undefined;
  const files = await logFiles(connection);
  const next = files[files.findIndex(({ name }) => name === from.file) + 1];
  const ids = next && (await idsAt(connection, next.name, 4));
  if (!next || ids == null || sorted(ids) !== sorted(from.gtid)) return undefined;
  return { ...from, file: next.name, offset: 4 };
}

/** MariaDB's position by ids at a place of its log; null: it has no such place. */
export async function idsAt(connection: Connection, file: string, offset: number): Promise<string | null> {
  const [row] = await connection.query(`select binlog_gtid_pos('${file.replaceAll("'", "''")}', ${offset})`);
  return row?.[0] ?? null;
}

/** `lagMs`: how long the server may take to count what it has written as executed. */
export async function checkSets(
  connection: Connection,
  position: string,
  lagMs: number,
  signal: AbortSignal,
): Promise<void> {
  const set = `'${position.replace(/[^0-9a-z_:,-]/gi, '')}'`;
  for (const until = performance.now() + lagMs; ; await sleep(100, undefined, { signal })) {
    const [row] = await connection.query(
      `select gtid_subset(@@global.gtid_purged, ${set}), gtid_subset(${set}, @@global.gtid_executed), gtid_subtract(@@global.gtid_purged, ${set})`,
    );
    if (row?.[0] !== '1')
      throw new PositionLost(
        `The source has deleted log that was not read yet (${row?.[2] ?? ''}).`,
        `${AGAIN} Raise binlog_expire_logs_seconds at the source.`,
      );
    if (row[1] === '1') return;
    if (performance.now() > until)
      throw new PositionLost(
        'The source does not know transactions that were read from it: it was restored from a backup, or is another server.',
        AGAIN,
      );
  }
}

/** `compare`: also whether the file holds the position's transactions, which reads it. */
export async function checkFile(connection: Connection, from: LogPosition, compare: boolean): Promise<void> {
  const files = await logFiles(connection);
  const file = files.find(({ name }) => name === (from.since?.file ?? from.file));
  const last = files.find(({ name }) => name === from.file);
  if (!file || !last)
    throw new PositionLost(
      `The source no longer has the log file ${from.since?.file ?? from.file}, or never had it.`,
      `${AGAIN} Raise ${connection.facts.product === 'MySQL' ? 'binlog_expire_logs_seconds' : 'expire_logs_days'} at the source.`,
    );
  if (last.bytes < (from.offset ?? 0))
    throw new PositionLost(
      `The log file ${from.file} of the source ends before the stored position: its log was reset, or it was restored from a backup.`,
      AGAIN,
    );
  if (!compare || connection.facts.product !== 'MariaDB' || from.gtid === undefined) return;
  const ids = await idsAt(connection, from.file ?? '', from.offset ?? 0);
  if (ids === null || sorted(ids) !== sorted(from.gtid))
    throw new PositionLost(
      `The log of the source holds other transactions at the stored position (${ids ?? 'none'} instead of ${from.gtid}): it was reset, or restored from a backup.`,
      AGAIN,
    );
}

function sorted(gtid: string): string {
  return domainIdsText(new Map([...parseDomainIds(gtid)].sort(([a], [b]) => a - b)));
}

/** The files of the log, oldest first. */
export async function logFiles(connection: Connection): Promise<{ readonly name: string; readonly bytes: number }[]> {
  const rows = await connection.query('show binary logs');
  return rows.map(([name, bytes]) => ({ name: name ?? '', bytes: Number(bytes ?? '0') }));
}
