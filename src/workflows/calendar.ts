/**
 * When a schedule is due. Daily and weekly schedules follow the local clock of a zone, periodic ones count elapsed seconds.
 *
 * A local time is due when the local clock first shows it or a later one. That one rule gives both that a time which does not exist runs
 * at the next existing minute, and that a time which exists twice runs once, at its first occurrence. It also keeps the order of days, so
 * each day has one tick; a day that a zone left out (Apia, 2011-12-30) has none, though its neighbours are complete.
 *
 * Pure, for use inside workflows: the zone's rules come from `Intl`. Numbers without a unit in their name are seconds, instants since
 * 1970 UTC, local ones since 1970 on the local clock.
 */
import type { Schedule } from './messages.ts';

const DAY = 86_400;
/** Greater than any zone's offset. */
const REACH = 16 * 3600;
/** 1 July 1970. */
const JULY = 181 * DAY;
/** Today to the same day in two weeks: a zone may leave out the one flagged day of a week, but not of two in a row. */
const DAYS_AHEAD = 15;

type Clock = {
  /** Local time minus UTC at an instant. */
  readonly offsetAt: (instant: number) => number;
  /** Offset of the zone's standard time when 1970 began. */
  readonly base: number;
};

/** Making a formatter costs about a hundred times its use. */
const clocks = new Map<string, Clock>();

/**
 * The first time strictly after `after` at which `schedule` is due, both in milliseconds since 1970; null for manual and auto.
 * Ticks that were missed coalesce: ask again with the time at which the last one was served, not the one at which it was due.
 * Throws on a schedule that `normaliseSchedule` would not make, and `RangeError` on an unknown zone.
 */
export function nextDue(schedule: Schedule, zone: string, after: number): number | null {
  const { type, duration, offset, weekFlags } = schedule;
  if (type === 'manual' || type === 'auto') return null;
  const since = Math.floor(after / 1000);
  const clock = clockOf(zone);
  if (type === 'periodic') return 1000 * nextPeriod(seconds(duration), seconds(offset) - clock.base, since);
  return 1000 * nextDay(clock, seconds(duration), type === 'weekly' ? weekFlags : 'YYYYYYY', since);
}

/** An offset moves all ticks, those before the base time too: a long one does not put off the first. */
function nextPeriod(interval: number, base: number, since: number): number {
  if (interval === 0) throw new Error('A periodic schedule needs an interval.');
  return base + (Math.floor((since - base) / interval) + 1) * interval;
}

function nextDay(clock: Clock, time: number, flags: string | null, since: number): number {
  // Ticks of earlier days are past, for the local clock shows more than their time.
  const today = Math.floor((since + clock.offsetAt(since)) / DAY);
  for (let day = today; day < today + DAYS_AHEAD; day++) {
    // 1970 began on a Thursday.
    if (flags?.[(((day + 4) % 7) + 7) % 7] !== 'Y') continue;
    const due = firstShowing(clock, day, time);
    if (due !== null && due > since) return due;
  }
  throw new Error('The schedule has no day.');
}

/** The first instant at which the local clock shows `time` of `day` or later; null when the zone left out that day. */
function firstShowing({ offsetAt }: Clock, day: number, time: number): number | null {
  const local = day * DAY + time;
  // At most one change lies between these two: since 1970 no zone had two within 40 hours.
  const before = offsetAt(local - REACH);
  const after = offsetAt(local + REACH);
  const early = local - before;
  const late = local - after;
  if (before === after || offsetAt(early) === before) return early;
  if (offsetAt(late) === after) return late;
  const change = firstInstant(late, early, (instant) => offsetAt(instant) === after);
  const leftOut = change + before <= day * DAY && change + after >= (day + 1) * DAY;
  return leftOut ? null : change;
}

/** The first instant in (`low`, `high`] at which `holds`, which from there on holds and does so at `high`. */
function firstInstant(low: number, high: number, holds: (instant: number) => boolean): number {
  let no = low;
  let yes = high;
  while (yes - no > 1) {
    const middle = Math.floor((no + yes) / 2);
    if (holds(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}

function clockOf(zone: string): Clock {
  const known = clocks.get(zone);
  if (known) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const offsetAt = (instant: number): number => {
    // As in `3/29/2026, 03:00:00`.
    const [month, date, year, hour, minute, second] = format
      .format(instant * 1000)
      .split(/\D+/)
      .map(Number) as [number, number, number, number, number, number];
    return Date.UTC(year, month - 1, date, hour, minute, second) / 1000 - instant;
  };
  // Summer time puts the clock forward, and no zone changed its standard time in the first half of 1970. London and Dublin were an hour
  // ahead of UTC all year by law, as their standard time.
  const clock = { offsetAt, base: Math.min(offsetAt(0), offsetAt(JULY)) };
  clocks.set(zone, clock);
  return clock;
}

/** Of `1d02h05m10s`, `0d00h01m` or `14h46m`. */
function seconds(text: string | null): number {
  const parts = /^(?:(\d+)d)?(\d\d)h(\d\d)m(?:(\d\d)s)?$/.exec(text ?? '');
  if (!parts) throw new Error(`Not a time of a schedule: ${text}`);
  const [days, hours, minutes, rest] = parts.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  return ((days * 24 + hours) * 60 + minutes) * 60 + rest;
}
