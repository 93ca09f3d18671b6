import { setTimeout as sleep } from 'node:timers/promises';
import { AccessDenied, PositionLost } from '../errors.ts';
import type { Position } from '../model.ts';
import type { Container, Session } from './session.ts';
import { currentScn } from './split.ts';

/**
 * How far a scope has come: all transactions that committed before `scn`, and at `scn` those of `done` (absent: all). `from`: where a reader
 * must begin to see every later transaction whole. Stored at the destination as JSON: add fields, never rename.
 */
export type LogPosition = { readonly scn: bigint; readonly from: bigint; readonly done?: readonly string[] };

export function encodePosition({ scn, from, done }: LogPosition): Position {
  const more = done === undefined ? '' : `,"done":${JSON.stringify(done)}`;
  return `{"scn":"${scn}","from":"${from}"${more}}` as Position;
}

/** Throws `PositionLost` for a position that this driver did not make. */
export function decodePosition(position: Position): LogPosition {
  try {
    const { scn, from, done } = JSON.parse(position) as { scn: string; from: string; done?: string[] };
    return { scn: BigInt(scn), from: BigInt(from), ...(done === undefined ? {} : { done }) };
  } catch {
    throw new PositionLost(
      'The stored position is none of an Oracle log.',
      'Set `capture` to log (a code of the Log Miner) and run a full extract.',
    );
  }
}

/** Whether everything up to `goal` lies within `position`. */
export function positionReached(position: LogPosition, goal: LogPosition): boolean {
  if (position.scn !== goal.scn) return position.scn > goal.scn;
  return position.done === undefined || (goal.done?.every((xid) => position.done?.includes(xid)) ?? false);
}

/** Whether a transaction lies within `position`. */
export function contains(position: LogPosition, scn: bigint, xid: string): boolean {
  if (position.scn !== scn) return scn < position.scn;
  return position.done === undefined || position.done.includes(xid);
}

/** Transactions that have begun and have no SCN yet are waited for so long. */
const UNNUMBERED_MS = 10_000;

/**
 * The position of now: a later commit comes after it, every earlier one is visible to later reads. The log must be read from the start of the
 * oldest open transaction on. The first SCN is taken before the list of transactions and the second behind it: one that begins in
 * between is younger than the first and thus seen whole.
 */
export async function positionNow(session: Session, waiting: (why: string) => void): Promise<LogPosition> {
  const until = performance.now() + UNNUMBERED_MS;
  for (;;) {
    const before = BigInt(await currentScn(session));
    const rows = await session.query('select to_char(start_scn), xidusn, xidslot, xidsqn from gv$transaction');
    const starts = rows.map((row) => BigInt(String(row[0] ?? '0').trim()));
    if (starts.some((scn) => scn === 0n) && performance.now() < until) {
      waiting('transactions that have only just begun');
      await sleep(100);
      continue;
    }
    const from = starts.reduce((least, scn) => (scn > 0n && scn < least ? scn : least), before);
    return { scn: BigInt(await currentScn(session)), from };
  }
}

/**
 * The database, its incarnation (after OPEN RESETLOGS the same SCNs mean other changes), and the pluggable database: one that was made anew
 * under its old name is another.
 */
export async function identityOf(session: Session, container: Container): Promise<string> {
  const plugged = container.id > 1 ? ', con_dbid' : '';
  const [row] = await session.query(`select dbid, resetlogs_change#${plugged} from v$database`);
  if (row === undefined) throw new AccessDenied('V$DATABASE is empty.', 'GRANT SELECT ON SYS.V_$DATABASE TO <user>.');
  return row.join(':');
}

/** Throws `PositionLost` unless the database is the one that `stored` names; '' names none. */
export async function checkIdentity(session: Session, container: Container, stored: string): Promise<void> {
  if (stored !== '' && (await identityOf(session, container)) !== stored)
    throw new PositionLost(
      'The source is another database than the one that was followed, or was opened with RESETLOGS.',
      'Load the tables again.',
    );
}

/** The number of the database, that of the root where it is a pluggable one. */
export async function databaseOf(session: Session): Promise<string> {
  const [row] = await session.query('select dbid from v$database');
  return String(row?.[0]);
}
