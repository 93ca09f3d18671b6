import type { Session } from './session.ts';

/** The server's time, ms since 1970 (UTC). */
export async function clockOf(session: Session): Promise<number> {
  // As text: the session's time zone must not matter.
  const [row] = await session.query(
    "select to_char(sys_extract_utc(systimestamp), 'YYYY-MM-DD HH24:MI:SS.FF3') from dual",
  );
  return Date.parse(`${String(row?.[0]).replace(' ', 'T')}Z`);
}

/** Whether the database keeps local time stamps in UTC: then there is but one way for the log to print them. */
export async function localZoneIsUtc(session: Session): Promise<boolean> {
  const [row] = await session.query('select dbtimezone from dual');
  return /^[+-]?00:00$/.test(String(row?.[0] ?? ''));
}

/** How far the server's clock, which the log's times are of, is before UTC. */
export async function zoneOf(session: Session): Promise<number> {
  const [row] = await session.query(
    "select to_char(systimestamp, 'YYYY-MM-DD HH24:MI'), to_char(sys_extract_utc(systimestamp), 'YYYY-MM-DD HH24:MI') from dual",
  );
  const [own, utc] = (row ?? []).map((text) => Date.parse(`${String(text).replace(' ', 'T')}:00Z`));
  const difference = (own ?? 0) - (utc ?? 0);
  return Math.round(difference / 900_000) * 900_000;
}
