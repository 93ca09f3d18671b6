import type { Position } from '../model.ts';
import type { LogState } from '../source.ts';
import { type LogKinds, listLogs } from './log-files.ts';
import { decodePosition } from './position.ts';
import type { Session } from './session.ts';

const OF_THIS = 'join v$database d on a.resetlogs_change# = d.resetlogs_change#';

/** How far a reader is behind the log's end, and how long the files that it needs will stay. */
export async function logState(session: Session, position: Position, kinds: LogKinds): Promise<LogState> {
  const { from, scn } = decodePosition(position);
  const logs = await listLogs(session, from, { online: kinds.online, remote: false });
  if (logs.missing !== null && logs.end < from)
    return { bytes: null, hoursLeft: 0, lost: `${logs.missing} Load the tables again, or bring the file back.` };
  const [archived] = await session.query(
    `select sum(b.bytes) from (select max(a.blocks * a.block_size) bytes from v$archived_log a ${OF_THIS} where a.next_change# > ${scn} group by a.thread#, a.sequence#) b`,
  );
  return {
    bytes: archived?.[0] == null ? null : Number(archived[0]),
    hoursLeft: await hoursLeft(session, from),
    lost: null,
  };
}

/**
 * No view tells when archived logs are deleted: RMAN's rules and jobs decide. As long as they stay what they are, a log is deleted at the age
 * that the oldest one has that is still there. null: none has been deleted yet.
 */
async function hoursLeft(session: Session, from: bigint): Promise<number | null> {
  const there = "a.name is not null and a.deleted = 'NO' and a.standby_dest = 'NO'";
  const [row] = await session.query(
    [
      `select max(case when a.deleted = 'YES' then 1 else 0 end), to_char(min(case when ${there} then a.next_time end), 'YYYY-MM-DD HH24:MI:SS'),`,
      `to_char(min(case when ${there} and a.next_change# > ${from} then a.next_time end), 'YYYY-MM-DD HH24:MI:SS'), to_char(sysdate, 'YYYY-MM-DD HH24:MI:SS')`,
      `from v$archived_log a ${OF_THIS}`,
    ].join(' '),
  );
  const [deleted, oldest, needed, now] = row ?? [];
  if (String(deleted ?? '0') !== '1' || oldest == null) return null;
  // What is not archived yet will be so now at the earliest.
  return Math.max(0, (timeOf(needed ?? now) - timeOf(oldest)) / 3_600_000);
}

function timeOf(text: unknown): number {
  return Date.parse(`${String(text).trim().replace(' ', 'T')}Z`);
}
