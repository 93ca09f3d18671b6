import type { Position } from '../model.ts';
import type { LogState } from '../source.ts';
import { listLogs } from './log-files.ts';
import { decodePosition } from './position.ts';
import type { Session } from './session.ts';

/** How far a reader is behind the log's end. When archived logs are deleted no view tells: RMAN's rules and jobs decide. */
export async function logState(session: Session, position: Position, online: boolean): Promise<LogState> {
  const { from, scn } = decodePosition(position);
  const logs = await listLogs(session, from, online, false);
  if (logs.missing !== null && logs.end < from)
    return { bytes: null, hoursLeft: 0, lost: `${logs.missing} Load the tables again, or bring the file back.` };
  const [archived] = await session.query(
    `select sum(a.blocks * a.block_size) from v$archived_log a where a.next_change# > ${scn} and a.dest_id = (select min(s.dest_id) from v$archive_dest_status s where s.status = 'VALID' and s.type = 'LOCAL')`,
  );
  return { bytes: archived?.[0] == null ? null : Number(archived[0]), hoursLeft: null, lost: null };
}
