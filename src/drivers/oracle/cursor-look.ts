import { encodeMark, latestMark, type Mark, timeFrom } from '../cursor.ts';
import type { ChangedRows, Look } from '../cursor-capture.ts';
import { newsOf } from '../cursor-looks.ts';
import type { Position, RuleUse, Table } from '../model.ts';
import { describeTables } from './describe.ts';
import type { Pool } from './pool.ts';
import { chunkSelect, readRows } from './read.ts';
import { createRowText, maskUses } from './row-text.ts';
import { clockOf, zoneOf } from './server-clock.ts';
import type { Session } from './session.ts';
import { quoteName } from './types.ts';

/** Where a source that is followed by cursor columns stands: its clock. */
export async function markNow(session: Session): Promise<Position> {
  return encodeMark({ t: await clockOf(session) });
}

/** A look by cursor columns. Rows are found again as long as their times lie within the overlap. */
export async function cursorLook(pool: Pool, overlapMs: number, refuse: boolean, signal: AbortSignal): Promise<Look> {
  // Before any row is read: what is committed by now, is seen by every later statement.
  const { at, zoneMs } = await pool.lend(
    async (session) => ({ at: await clockOf(session), zoneMs: await zoneOf(session) }),
    signal,
  );
  return {
    position: encodeMark({ t: at }),
    at,
    news: (tables) =>
      pool.lend(
        (session) => newsOf({ describe: (requests) => describeTables(session, requests, 'cursor') }, tables),
        signal,
      ),
    async *changed(table, positions, stop): AsyncGenerator<ChangedRows, readonly RuleUse[], undefined> {
      const text = createRowText(table, refuse);
      const tally = { rows: 0 };
      const since = changedSince(table, latestMark(positions), at, overlapMs, zoneMs / 60_000);
      for await (const { data } of readRows(pool, table, text, chunkSelect(table, since, {}), [], tally, stop))
        yield { kind: 'update', data };
      return [...text.takeUses(), ...maskUses(table, tally.rows)];
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** The condition for rows that were written since a mark, as far as their cursor columns tell. */
function changedSince(table: Table, mark: Mark, now: number, overlapMs: number, zoneMinutes: number): string {
  const parts = (table.cursor ?? []).map((name) => {
    const type = table.columns.find((one) => one.name === name)?.sourceType ?? '';
    const zoned = /TIME ZONE$/.test(type);
    const from = new Date(Math.floor(timeFrom(mark, now, overlapMs, zoned ? 0 : zoneMinutes) / 1000) * 1000);
    const text = from.toISOString().slice(0, 19).replace('T', ' ');
    if (zoned) return `${quoteName(name)} >= to_timestamp_tz('${text} +00:00', 'YYYY-MM-DD HH24:MI:SS TZH:TZM')`;
    const call = type === 'DATE' ? 'to_date' : 'to_timestamp';
    return `${quoteName(name)} >= ${call}('${text}', 'YYYY-MM-DD HH24:MI:SS')`;
  });
  return parts.length === 0 ? '1 = 0' : parts.join(' or ');
}
