import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseSchedule } from '../../src/api/schedule.ts';
import { nextDue } from '../../src/workflows/calendar.ts';
import type { Schedule } from '../../src/workflows/messages.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;
const two = (value: number) => String(value).padStart(2, '0');

const daily = (duration: string): Schedule => normaliseSchedule({ type: 'daily', duration });
const weekly = (weekFlags: string, duration: string): Schedule =>
  normaliseSchedule({ type: 'weekly', duration, weekFlags });
const periodic = (duration: string, offset?: string): Schedule =>
  normaliseSchedule({ type: 'periodic', duration, offset });
const intervalOf = (s: number) => `${Math.floor(s / 86_400)}d${timeOf(Math.floor(s / 60) % 1440)}${two(s % 60)}s`;
const timeOf = (minute: number) => `${two(Math.floor(minute / 60))}h${two(minute % 60)}m`;

/** Due times after `from`, as `2026-03-29T01:00Z`. */
function dues(schedule: Schedule, zone: string, from: string, count: number): string[] {
  const found: string[] = [];
  let at = Date.parse(from);
  while (found.length < count) {
    at = nextDue(schedule, zone, at) ?? Number.NaN;
    found.push(new Date(at).toISOString().replace(':00.000Z', 'Z'));
  }
  return found;
}

describe('manual and auto', () => {
  it.each(['manual', 'auto'] as const)('%s is never due', (type) => {
    expect(nextDue(normaliseSchedule({ type }), 'Europe/Berlin', 0)).toBeNull();
  });
});

// Every instant was worked out by hand from the zones' rules (`zdump -V`).
describe('daily', () => {
  it.each([
    ['UTC', '00h00m', '2026-02-28T00:00Z', ['2026-03-01T00:00Z', '2026-03-02T00:00Z']],
    ['UTC', '23h59m', '2023-12-31T23:58:59.999Z', ['2023-12-31T23:59Z', '2024-01-01T23:59Z']],
    ['Asia/Kolkata', '04h00m', '2026-01-01T00:00Z', ['2026-01-01T22:30Z', '2026-01-02T22:30Z']],
    ['Asia/Kathmandu', '00h00m', '2026-01-01T00:00Z', ['2026-01-01T18:15Z', '2026-01-02T18:15Z']],
    // The clock goes from 02:00 to 03:00.
    ['Europe/Berlin', '02h30m', '2026-03-28T00:00Z', ['2026-03-28T01:30Z', '2026-03-29T01:00Z', '2026-03-30T00:30Z']],
    ['Europe/Berlin', '03h00m', '2026-03-28T12:00Z', ['2026-03-29T01:00Z', '2026-03-30T01:00Z']],
    ['Europe/Berlin', '01h59m', '2026-03-28T12:00Z', ['2026-03-29T00:59Z', '2026-03-29T23:59Z']],
    ['America/New_York', '02h30m', '2026-03-07T12:00Z', ['2026-03-08T07:00Z', '2026-03-09T06:30Z']],
    // The clock goes from 03:00 back to 02:00; asked between both occurrences and in the second one, too.
    ['Europe/Berlin', '02h30m', '2026-10-24T12:00Z', ['2026-10-25T00:30Z', '2026-10-26T01:30Z']],
    ['Europe/Berlin', '02h30m', '2026-10-25T00:45Z', ['2026-10-26T01:30Z']],
    ['Europe/Berlin', '02h30m', '2026-10-25T01:15Z', ['2026-10-26T01:30Z']],
    ['Europe/Berlin', '03h00m', '2026-10-24T12:00Z', ['2026-10-25T02:00Z', '2026-10-26T02:00Z']],
    ['America/New_York', '01h30m', '2026-10-31T12:00Z', ['2026-11-01T05:30Z', '2026-11-02T06:30Z']],
    // Half an hour: 02:00 to 02:30, and 02:00 back to 01:30.
    ['Australia/Lord_Howe', '02h15m', '2026-10-03T00:00Z', ['2026-10-03T15:30Z', '2026-10-04T15:15Z']],
    ['Australia/Lord_Howe', '01h45m', '2026-04-04T00:00Z', ['2026-04-04T14:45Z', '2026-04-05T15:15Z']],
    // 02:45 to 03:45, and 03:45 back to 02:45.
    ['Pacific/Chatham', '03h00m', '2026-09-26T00:00Z', ['2026-09-26T14:00Z', '2026-09-27T13:15Z']],
    ['Pacific/Chatham', '03h00m', '2026-04-04T00:00Z', ['2026-04-04T13:15Z', '2026-04-05T14:15Z']],
    // 00:00 to 01:00, and 00:00 back to 23:00 of the day before.
    [
      'America/Sao_Paulo',
      '00h30m',
      '2018-11-03T00:00Z',
      ['2018-11-03T03:30Z', '2018-11-04T03:00Z', '2018-11-05T02:30Z'],
    ],
    ['America/Sao_Paulo', '00h00m', '2018-11-03T12:00Z', ['2018-11-04T03:00Z', '2018-11-05T02:00Z']],
    ['America/Sao_Paulo', '23h30m', '2018-02-17T12:00Z', ['2018-02-18T01:30Z', '2018-02-19T02:30Z']],
    [
      'America/Sao_Paulo',
      '00h00m',
      '2018-02-17T00:00Z',
      ['2018-02-17T02:00Z', '2018-02-18T03:00Z', '2018-02-19T03:00Z'],
    ],
    ['Asia/Beirut', '00h15m', '2026-03-28T00:00Z', ['2026-03-28T22:00Z', '2026-03-29T21:15Z']],
    ['Asia/Beirut', '23h30m', '2026-10-24T00:00Z', ['2026-10-24T20:30Z', '2026-10-25T21:30Z']],
    ['Africa/Cairo', '00h00m', '2026-04-23T00:00Z', ['2026-04-23T22:00Z', '2026-04-24T21:00Z']],
    ['Africa/Cairo', '23h59m', '2026-10-29T00:00Z', ['2026-10-29T20:59Z', '2026-10-30T21:59Z']],
    // 23:00 on Saturday to 00:00 on Sunday: the next existing minute is on another day.
    ['America/Nuuk', '23h30m', '2024-03-30T12:00Z', ['2024-03-31T01:00Z', '2024-04-01T00:30Z']],
    ['America/Nuuk', '00h00m', '2024-03-30T12:00Z', ['2024-03-31T01:00Z', '2024-04-01T01:00Z']],
    ['America/Nuuk', '23h30m', '2024-10-26T12:00Z', ['2024-10-27T00:30Z', '2024-10-28T01:30Z']],
    // There was no 30 December: from -10 to +14 at its midnight.
    ['Pacific/Apia', '14h00m', '2011-12-29T00:00Z', ['2011-12-30T00:00Z', '2011-12-31T00:00Z', '2012-01-01T00:00Z']],
    ['Pacific/Apia', '00h00m', '2011-12-29T00:00Z', ['2011-12-29T10:00Z', '2011-12-30T10:00Z', '2011-12-31T10:00Z']],
    ['Pacific/Kwajalein', '09h00m', '1993-08-20T12:00Z', ['1993-08-20T21:00Z', '1993-08-21T21:00Z']],
    // Fixed offsets are zones as well.
    ['+05:30', '04h00m', '2026-01-01T00:00Z', ['2026-01-01T22:30Z']],
  ])('%s at %s after %s', (zone, time, from, expected) => {
    expect(dues(daily(time), zone, from, expected.length)).toEqual(expected);
  });
});

describe('weekly', () => {
  it.each([
    // 2026-01-01 was a Thursday.
    ['UTC', 'YNNNNNN', '00h00m', '2026-01-01T00:00Z', ['2026-01-04T00:00Z', '2026-01-11T00:00Z']],
    ['UTC', 'NNNNYNN', '00h00m', '2025-12-31T23:59:59.999Z', ['2026-01-01T00:00Z', '2026-01-08T00:00Z']],
    ['UTC', 'NYYYYYN', '12h00m', '2026-01-01T12:00Z', ['2026-01-02T12:00Z', '2026-01-05T12:00Z', '2026-01-06T12:00Z']],
    // The weekday is the local one: Monday morning in Tokyo is Sunday in UTC, Sunday evening in Los Angeles is Monday.
    ['Asia/Tokyo', 'NYNNNNN', '08h00m', '2026-01-01T00:00Z', ['2026-01-04T23:00Z', '2026-01-11T23:00Z']],
    ['America/Los_Angeles', 'YNNNNNN', '20h00m', '2026-01-01T00:00Z', ['2026-01-05T04:00Z', '2026-01-12T04:00Z']],
    ['Africa/Cairo', 'NNNNNYN', '00h30m', '2026-04-20T00:00Z', ['2026-04-23T22:00Z', '2026-04-30T21:30Z']],
    // Saturday's time does not exist and falls on Sunday's first minute, although Sunday is not flagged.
    ['America/Nuuk', 'NNNNNNY', '23h30m', '2024-03-28T00:00Z', ['2024-03-31T01:00Z', '2024-04-07T00:30Z']],
    // The Friday that Samoa left out.
    ['Pacific/Apia', 'NNNNNYN', '14h00m', '2011-12-22T00:00Z', ['2011-12-24T00:00Z', '2012-01-06T00:00Z']],
    ['Pacific/Apia', 'NNNNNYN', '14h00m', '2011-12-24T00:00Z', ['2012-01-06T00:00Z', '2012-01-13T00:00Z']],
    ['Pacific/Apia', 'NNNNYNY', '14h00m', '2011-12-29T12:00Z', ['2011-12-30T00:00Z', '2011-12-31T00:00Z']],
  ])('%s %s at %s after %s', (zone, flags, time, from, expected) => {
    expect(dues(weekly(flags, time), zone, from, expected.length)).toEqual(expected);
  });
});

describe('periodic', () => {
  it.each([
    ['UTC', '1970-01-01T00:00Z'],
    ['America/New_York', '1970-01-01T05:00Z'],
    ['Europe/Berlin', '1969-12-31T23:00Z'],
    // Both kept the hour of summer all year as their standard time.
    ['Europe/London', '1969-12-31T23:00Z'],
    ['Europe/Dublin', '1969-12-31T23:00Z'],
    // In summer time on that day; half an hour in Santo Domingo.
    ['Australia/Hobart', '1969-12-31T14:00Z'],
    ['Antarctica/Macquarie', '1969-12-31T14:00Z'],
    ['America/Santiago', '1970-01-01T04:00Z'],
    ['America/Punta_Arenas', '1970-01-01T04:00Z'],
    ['Pacific/Easter', '1970-01-01T07:00Z'],
    ['America/Santo_Domingo', '1970-01-01T05:00Z'],
    // Other standard times than today's.
    ['Asia/Kathmandu', '1969-12-31T18:30Z'],
    ['Asia/Singapore', '1969-12-31T16:30Z'],
    ['Pacific/Apia', '1970-01-01T11:00Z'],
    ['Pacific/Kwajalein', '1970-01-01T12:00Z'],
    ['Africa/Monrovia', '1970-01-01T00:44:30.000Z'],
    ['America/Argentina/Buenos_Aires', '1970-01-01T03:00Z'],
    ['Australia/Adelaide', '1969-12-31T14:30Z'],
    ['-03:30', '1970-01-01T03:30Z'],
  ])('%s counts from %s', (zone, base) => {
    const start = new Date(Date.parse(base) - 1).toISOString();
    expect(dues(periodic('36500d'), zone, start, 1)).toEqual([base]);
    expect(dues(periodic('1d'), zone, '2026-07-01T00:00Z', 1)[0]?.slice(11, 16)).toBe(base.slice(11, 16));
  });

  it.each([
    ['UTC', '10h01m', '0d', '2026-01-01T00:00Z', ['2026-01-01T00:48Z', '2026-01-01T10:49Z']],
    ['UTC', '5m', '0d', '2026-01-01T00:05Z', ['2026-01-01T00:10Z', '2026-01-01T00:15Z']],
    ['UTC', '5m', '0d00h01m', '2026-01-01T00:05Z', ['2026-01-01T00:06Z', '2026-01-01T00:11Z']],
    // An offset longer than the interval counts as what is left of it.
    ['UTC', '1h', '9000d05h10m', '2026-01-01T00:00Z', ['2026-01-01T00:10Z', '2026-01-01T01:10Z']],
    ['UTC', '1h', '36500d00h10m', '2026-01-01T00:00Z', ['2026-01-01T00:10Z', '2026-01-01T01:10Z']],
    // Elapsed time: the local clock reads 01:00 in summer, 00:00 in winter.
    ['America/New_York', '1d', '0d', '2026-03-07T12:00Z', ['2026-03-08T05:00Z', '2026-03-09T05:00Z']],
    ['Europe/Berlin', '1d', '0d01h30m', '2026-10-24T12:00Z', ['2026-10-25T00:30Z', '2026-10-26T00:30Z']],
    ['UTC', '7d', '0d', '1969-12-20T00:00Z', ['1969-12-25T00:00Z', '1970-01-01T00:00Z']],
  ])('%s every %s, offset %s, after %s', (zone, every, offset, from, expected) => {
    expect(dues(periodic(every, offset), zone, from, expected.length)).toEqual(expected);
  });

  it('knows seconds', () => {
    expect(dues(periodic('1s'), 'UTC', '2026-01-01T00:00:00.500Z', 2)).toEqual([
      '2026-01-01T00:00:01.000Z',
      '2026-01-01T00:00:02.000Z',
    ]);
  });
});

describe('wrong schedules', () => {
  const schedule: Schedule = { type: 'daily', duration: '04h00m', offset: '0d00h00m', weekFlags: null };
  it.each([
    ['a time', { ...schedule, duration: '4 am' }],
    ['no time', { ...schedule, duration: null }],
    ['no interval', { ...schedule, type: 'periodic', duration: '0d00h00m00s' }],
    ['no day', { ...schedule, type: 'weekly', weekFlags: 'NNNNNNN' }],
    ['no flags', { ...schedule, type: 'weekly' }],
  ] as const)('throw: %s', (_, wrong) => {
    expect(() => nextDue(wrong, 'UTC', 0)).toThrow(Error);
  });
  it('throw: an unknown zone', () => expect(() => nextDue(schedule, 'Mars/Olympus', 0)).toThrow(RangeError));
});

/** Zones and the days around their changes: every kind of gap and overlap. */
const changes: readonly (readonly [zone: string, day: string])[] = [
  ['UTC', '2024-02-29'],
  ['Europe/Berlin', '2026-03-29'],
  ['Europe/Berlin', '2026-10-25'],
  ['Europe/Dublin', '2026-10-25'],
  ['America/New_York', '2026-03-08'],
  ['America/New_York', '2026-11-01'],
  ['America/St_Johns', '2006-04-02'],
  ['America/St_Johns', '2006-10-29'],
  ['Australia/Lord_Howe', '2026-10-03'],
  ['Australia/Lord_Howe', '2026-04-04'],
  ['Pacific/Chatham', '2026-09-26'],
  ['Pacific/Chatham', '2026-04-04'],
  ['America/Sao_Paulo', '2018-11-04'],
  ['America/Sao_Paulo', '2018-02-18'],
  ['Asia/Beirut', '2026-03-28'],
  ['Asia/Beirut', '2026-10-24'],
  ['Africa/Cairo', '2026-04-23'],
  ['Africa/Cairo', '2026-10-29'],
  ['America/Nuuk', '2024-03-31'],
  ['America/Nuuk', '2024-10-27'],
  ['Africa/Casablanca', '2026-02-15'],
  ['Africa/Casablanca', '2026-03-22'],
  // At one minute past midnight.
  ['America/Goose_Bay', '2009-03-08'],
  ['America/Goose_Bay', '2009-11-01'],
  ['America/Goose_Bay', '1988-04-03'],
  ['Antarctica/Troll', '2026-03-29'],
  ['Antarctica/Troll', '2026-10-25'],
  ['Antarctica/Vostok', '1994-01-31'],
  ['Antarctica/Vostok', '1994-11-01'],
  ['Asia/Kathmandu', '1985-12-31'],
  ['Asia/Pyongyang', '2015-08-14'],
  ['Asia/Pyongyang', '2018-05-04'],
  ['America/Caracas', '2007-12-09'],
  ['America/Caracas', '2016-05-01'],
  ['Pacific/Apia', '2011-12-30'],
  ['Pacific/Fakaofo', '2011-12-30'],
  ['Pacific/Kiritimati', '1994-12-31'],
  ['Pacific/Kwajalein', '1993-08-21'],
];

const flags = fc
  .integer({ min: 1, max: 127 })
  .map((bits) => bits.toString(2).padStart(7, 'N').replaceAll('1', 'Y').replaceAll('0', 'N'));

/** What the local clock shows, in minutes since 1970, read by another way than the code under test. */
function localMinutes(zone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' });
  return (instant) => Date.parse(`${format.format(instant).replace(' ', 'T')}Z`) / MINUTE;
}

/** Eight days around a change, minute by minute, and a day more at both ends. */
function scan(zone: string, day: string) {
  const first = Date.parse(day) - 5 * DAY;
  const last = Date.parse(day) + 5 * DAY;
  const read = localMinutes(zone);
  const firstShown = new Map<number, number>();
  for (let at = first; at < last; at += MINUTE) {
    const shown = read(at);
    if (!firstShown.has(shown)) firstShown.set(shown, at);
  }
  return { first: first + DAY, last: last - DAY, firstShown };
}

/** All ticks by the rule's own words. */
function ticks({ first, last, firstShown }: ReturnType<typeof scan>, minute: number, flags: string): number[] {
  const found = [];
  const days = new Set([...firstShown.keys()].map((shown) => Math.floor(shown / 1440)));
  for (const day of days) {
    if (flags[new Date(day * DAY).getUTCDay()] !== 'Y') continue;
    let due = day * 1440 + minute;
    for (let tried = 0; !firstShown.has(due) && tried < 1440; tried++) due++;
    found.push(firstShown.get(due) ?? Number.NaN);
  }
  return found.filter((at) => at > first && at <= last).sort((a, b) => a - b);
}

describe('minute by minute around every kind of change', () => {
  it.each(changes)('%s %s', (zone, day) => {
    const scanned = scan(zone, day);
    const check = (minute: number, flags: string) => {
      const schedule = flags === 'YYYYYYY' ? daily(timeOf(minute)) : weekly(flags, timeOf(minute));
      const found = [];
      let at = nextDue(schedule, zone, scanned.first) as number;
      while (at <= scanned.last && found.length < 20) {
        found.push(at);
        at = nextDue(schedule, zone, at) as number;
      }
      expect([minute, flags, ...found]).toEqual([minute, flags, ...ticks(scanned, minute, flags)]);
    };
    for (let minute = 0; minute < 1440; minute += 15) check(minute, 'YYYYYYY');
    for (const minute of [1, 89, 91, 119, 121, 179, 181, 1379, 1381, 1439]) check(minute, 'YYYYYYY');
    fc.assert(fc.property(fc.nat(1439), flags, check), { numRuns: 50, seed: 4 });
  });
});

describe('any schedule in any zone at any time', () => {
  const zone = fc.constantFrom(...Intl.supportedValuesOf('timeZone'));
  const time = fc.integer({ min: Date.UTC(1972, 1), max: Date.UTC(2060, 0) });
  const minute = fc.nat(1439).map(timeOf);
  const interval = fc.integer({ min: 1, max: 40 * 86_400 });
  const schedule = fc.oneof(
    minute.map(daily),
    fc.tuple(flags, minute).map(([days, at]) => weekly(days, at)),
    fc
      .tuple(interval, fc.nat(1000), fc.nat(59))
      .map(([s, days, m]) => periodic(intervalOf(s), `${days}d07h${two(m)}m`)),
  );
  const due = (one: Schedule, where: string, at: number) => nextDue(one, where, at) as number;
  const settings = { numRuns: 3000, seed: 5 };

  it('is strictly after, and the first: just before it nothing else is due, and from between it is the same', () => {
    fc.assert(
      fc.property(schedule, zone, time, fc.double({ min: 0, max: 1, noNaN: true }), (one, where, at, part) => {
        const next = due(one, where, at);
        expect(next).toBeGreaterThan(at);
        expect(due(one, where, next - 1)).toBe(next);
        expect(due(one, where, at + Math.floor((next - 1 - at) * part))).toBe(next);
      }),
      settings,
    );
  });

  it('never goes back as time goes on', () => {
    fc.assert(
      fc.property(schedule, zone, time, fc.nat(30 * DAY), (one, where, at, more) => {
        expect(due(one, where, at + more)).toBeGreaterThanOrEqual(due(one, where, at));
      }),
      settings,
    );
  });

  it('periodic ticks are exactly the interval apart in elapsed time', () => {
    fc.assert(
      fc.property(interval, zone, time, (s, where, at) => {
        const one = periodic(intervalOf(s));
        const next = due(one, where, at);
        expect(next - at).toBeLessThanOrEqual(s * 1000);
        expect(due(one, where, next) - next).toBe(s * 1000);
      }),
      settings,
    );
  });

  it('daily and weekly ticks are on flagged days at the asked time, but for times that do not exist', () => {
    let moved = 0;
    fc.assert(
      fc.property(flags, fc.nat(1439), zone, time, (days, asked, where, at) => {
        const one = weekly(days, timeOf(asked));
        const next = due(one, where, at);
        const read = localMinutes(where);
        const shown = read(next);
        if (shown % 1440 === asked) expect(days[new Date(Math.floor(shown / 1440) * DAY).getUTCDay()]).toBe('Y');
        else {
          moved++;
          // The clock jumps over the asked time here.
          const [before, after] = [read(next - MINUTE), shown];
          expect(after - before).toBeGreaterThan(1);
          expect((after - asked + 1440) % 1440).toBeLessThan(after - before);
        }
      }),
      settings,
    );
    expect(moved).toBeLessThan(30);
  });
});
