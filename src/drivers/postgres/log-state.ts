import type { Position } from '../model.ts';
import type { LogState } from '../source.ts';
import type { Server, Session } from './connection.ts';
import { slotLoss, slotState } from './log-start.ts';
import { parseLsn } from './lsn.ts';
import { writtenEnd } from './position.ts';

const HOUR = 3_600_000;
/** The log's growth is measured over at least so long, and over at most some hours. */
const SHORTEST = 1_000;
const LONGEST = 6 * HOUR;

/** Remembers the log's end at earlier calls, for its pace. */
export type LogPace = { samples: { readonly at: number; readonly end: bigint }[] };

/** How far a reader is behind and how long its log is kept (contract: `Source.logState`). */
export async function logState(
  session: Session,
  server: Server,
  slot: string,
  position: Position,
  pace: LogPace,
): Promise<LogState> {
  const end = parseLsn(await writtenEnd(session));
  const behind = end - parseLsn(position);
  const bytes = Number(behind > 0n ? behind : 0n);
  if (slot === '') return { bytes, hoursLeft: null, lost: null };
  const state = await slotState(session, server.version, slot);
  const loss = slotLoss(state, slot, server.database);
  if (loss !== undefined) return { bytes, hoursLeft: 0, lost: loss };
  if (state?.confirmed && parseLsn(state.confirmed) > parseLsn(position)) {
    const moved = `The replication slot "${slot}" has moved on to ${state.confirmed}: set \`rollback_window\` to keep log for longer.`;
    return { bytes, hoursLeft: 0, lost: moved };
  }
  const room = await roomOf(session, server, slot);
  const perHour = await paceOf(session, end, pace);
  const hours = [room.bytes === null || perHour === 0 ? null : room.bytes / perHour, room.hours].filter(
    (one) => one !== null,
  );
  return { bytes, hoursLeft: hours.length === 0 ? null : Math.max(0, Math.min(...hours)), lost: null };
}

/** What the slot may still fall behind: bytes by max_slot_wal_keep_size, hours by idle_replication_slot_timeout. */
async function roomOf(
  session: Session,
  server: Server,
  slot: string,
): Promise<{ bytes: number | null; hours: number | null }> {
  if (server.version < 130000) return { bytes: null, hours: null };
  const { rows } = await session.query<{ bytes: string | null; hours: number | null }>(
    `select safe_wal_size::text as bytes, ${
      server.version >= 180000
        ? `case when (select setting::int from pg_settings where name = 'idle_replication_slot_timeout') > 0 then
             ((select setting::int from pg_settings where name = 'idle_replication_slot_timeout') - extract(epoch from now() - inactive_since))::float8 / 3600 end`
        : 'null::float8'
    } as hours from pg_replication_slots where slot_name = $1`,
    [slot],
  );
  const row = rows[0];
  return { bytes: row?.bytes == null ? null : Number(row.bytes), hours: row?.hours ?? null };
}

/** Bytes of log an hour: measured between calls, else since the last checkpoint. */
async function paceOf(session: Session, end: bigint, pace: LogPace): Promise<number> {
  const now = Date.now();
  const kept = pace.samples.filter((sample) => now - sample.at < LONGEST && sample.end <= end);
  const first = kept.find((sample) => now - sample.at >= SHORTEST);
  pace.samples =
    kept.length === 0 || now - (kept.at(-1)?.at ?? 0) >= SHORTEST ? [...kept.slice(-1_000), { at: now, end }] : kept;
  if (first !== undefined) return (Number(end - first.end) / (now - first.at)) * HOUR;
  const { rows } = await session.query<{ lsn: string; ms: number }>(
    'select redo_lsn::text as lsn, greatest(extract(epoch from clock_timestamp() - checkpoint_time) * 1000, 1000)::float8 as ms from pg_control_checkpoint()',
  );
  const row = rows[0] as (typeof rows)[0];
  return (Math.max(Number(end - parseLsn(row.lsn)), 0) / row.ms) * HOUR;
}
