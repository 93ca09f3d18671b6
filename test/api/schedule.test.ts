import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { harness } from './harness.ts';

const save = async (body: unknown) => {
  const api = harness();
  const answer = await api.send('PATCH', 'config-sched', body);
  const now = (await api.send('GET', 'config-sched')).json();
  return { answer, now };
};

describe('config-sched', () => {
  it('is fresh as API.md says', async () => {
    expect((await harness().send('GET', 'config-sched')).text).toBe(
      '{"duration":null,"offset":"0d00h00m","isScheduled":false,"type":"manual","weekFlags":null}',
    );
  });

  it.each([
    [
      { type: 'periodic', duration: '0d00h05m00s', offset: '0d00h01m' },
      { duration: '0d00h05m00s', offset: '0d00h01m' },
    ],
    [
      { type: 'periodic', duration: '1d02h05m10s' },
      { duration: '1d02h05m10s', offset: '0d00h00m' },
    ],
    [{ type: 'periodic', duration: '5m' }, { duration: '0d00h05m00s' }],
    [{ type: 'periodic', duration: '1s' }, { duration: '0d00h00m01s' }],
    [{ type: 'periodic', duration: '02h' }, { duration: '0d02h00m00s' }],
    [
      { type: 'periodic', duration: '7d', offset: '1d' },
      { duration: '7d00h00m00s', offset: '1d00h00m' },
    ],
    [
      { type: 'periodic', duration: '2h', offset: '5m' },
      { duration: '0d02h00m00s', offset: '0d00h05m' },
    ],
    [{ type: 'daily', duration: '14h46m' }, { duration: '14h46m' }],
    [{ type: 'daily', duration: '4h' }, { duration: '04h00m' }],
    [{ type: 'daily', duration: '30m', offset: '0d00h00m' }, { duration: '00h30m' }],
    [
      { type: 'weekly', duration: '04h00m', weekFlags: 'NYYYYYN' },
      { duration: '04h00m', weekFlags: 'NYYYYYN' },
    ],
    [
      { type: 'auto', duration: null, offset: null, weekFlags: null, isScheduled: null },
      { duration: null, isScheduled: true },
    ],
    [{ type: 'manual' }, { isScheduled: false }],
    [{ type: 'periodic', duration: '1h', isScheduled: false }, { isScheduled: false }],
    [{ type: 'manual', isScheduled: true }, { isScheduled: true }],
  ])('takes %j', async (body, expected) => {
    const { answer, now } = await save(body);
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(now).toMatchObject({ type: body.type, ...expected });
  });

  it.each([
    [{}, 'type'],
    [{ type: 'monthly', duration: '1h' }, 'type'],
    [{ type: null }, 'type'],
    [{ type: 'Manual' }, 'type'],
    [{ type: 'periodic' }, 'duration'],
    [{ type: 'daily' }, 'duration'],
    [{ type: 'weekly', weekFlags: 'YNNNNNN' }, 'duration'],
    [{ type: 'manual', duration: '1h' }, 'duration'],
    [{ type: 'auto', duration: '1h' }, 'duration'],
    [{ type: 'periodic', duration: '' }, 'duration'],
    [{ type: 'periodic', duration: 'soon' }, 'duration'],
    [{ type: 'periodic', duration: '5m1h' }, 'duration'],
    [{ type: 'periodic', duration: '-5m' }, 'duration'],
    [{ type: 'periodic', duration: ' 5m' }, 'duration'],
    [{ type: 'periodic', duration: '5M' }, 'duration'],
    [{ type: 'periodic', duration: '5' }, 'duration'],
    [{ type: 'periodic', duration: '0d00h00m00s' }, 'duration'],
    [{ type: 'periodic', duration: '24h' }, 'duration'],
    [{ type: 'periodic', duration: '60m' }, 'duration'],
    [{ type: 'periodic', duration: '60s' }, 'duration'],
    [{ type: 'periodic', duration: '36501d' }, 'duration'],
    [{ type: 'periodic', duration: 300 }, 'duration'],
    [{ type: 'daily', duration: '24h00m' }, 'duration'],
    [{ type: 'daily', duration: '04h60m' }, 'duration'],
    [{ type: 'daily', duration: '04h00m00s' }, 'duration'],
    [{ type: 'daily', duration: '0d04h00m' }, 'duration'],
    [{ type: 'periodic', duration: '1h', offset: '1s' }, 'offset'],
    [{ type: 'periodic', duration: '1h', offset: '24h' }, 'offset'],
    [{ type: 'periodic', duration: '1h', offset: '' }, 'offset'],
    [{ type: 'periodic', duration: '1h', offset: 5 }, 'offset'],
    [{ type: 'daily', duration: '1h', offset: '0d00h01m' }, 'offset'],
    [{ type: 'manual', offset: '1m' }, 'offset'],
    [{ type: 'weekly', duration: '1h' }, 'weekFlags'],
    [{ type: 'weekly', duration: '1h', weekFlags: 'NNNNNNN' }, 'weekFlags'],
    [{ type: 'weekly', duration: '1h', weekFlags: 'YYYYYY' }, 'weekFlags'],
    [{ type: 'weekly', duration: '1h', weekFlags: 'YYYYYYYY' }, 'weekFlags'],
    [{ type: 'weekly', duration: '1h', weekFlags: 'yyyyyyy' }, 'weekFlags'],
    [{ type: 'weekly', duration: '1h', weekFlags: ['Y'] }, 'weekFlags'],
    [{ type: 'daily', duration: '1h', weekFlags: 'YYYYYYY' }, 'weekFlags'],
    [{ type: 'manual', isScheduled: 'Y' }, 'isScheduled'],
    [{ type: 'manual', extra: 1 }, 'extra'],
    [[], 'body'],
    ['manual', 'body'],
    [null, 'body'],
  ])('refuses %j and keeps what it had', async (body, field) => {
    const { answer, now } = await save(JSON.stringify(body));
    expect(answer.status).toBe(400);
    expect(answer.json().errors.map((error: { field: string }) => error.field)).toEqual([field]);
    expect(answer.json().message).toContain(field);
    expect(now.type).toBe('manual');
  });

  it('names all wrong fields at once', async () => {
    const { answer } = await save({ type: 'weekly', offset: '1m' });
    expect(
      answer
        .json()
        .errors.map((error: { field: string }) => error.field)
        .sort(),
    ).toEqual(['duration', 'offset', 'weekFlags']);
  });

  it('takes back every GET body: nothing changes', async () => {
    const two = (most: number) => fc.integer({ min: 0, max: most }).map((value) => String(value).padStart(2, '0'));
    const interval = fc.tuple(fc.nat(99), two(23), two(59), two(59)).map(([d, h, m, s]) => `${d}d${h}h${m}m${s}s`);
    const time = fc.tuple(two(23), two(59)).map(([h, m]) => `${h}h${m}m`);
    const flags = fc
      .string({ unit: fc.constantFrom('Y', 'N'), minLength: 7, maxLength: 7 })
      .filter((text) => text.includes('Y'));
    const isScheduled = fc.boolean();
    const schedule = fc.oneof(
      fc.record({ type: fc.constantFrom('manual', 'auto'), isScheduled }),
      fc.record({
        type: fc.constant('periodic'),
        duration: interval.filter((text) => /[1-9]/.test(text)),
        isScheduled,
      }),
      fc.record({ type: fc.constant('daily'), duration: time, isScheduled }),
      fc.record({ type: fc.constant('weekly'), duration: time, weekFlags: flags, isScheduled }),
    );
    await fc.assert(
      fc.asyncProperty(schedule, async (body) => {
        const { answer, now } = await save(body);
        expect(answer.status).toBe(204);
        expect(now).toMatchObject(body);
        expect((await save(now)).now).toEqual(now);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the scheduler’s switch', () => {
  it('is the same as isScheduled, with a reason', async () => {
    const api = harness();
    expect((await api.send('POST', 'scheduler/on', { reason: 'maintenance over' })).status).toBe(204);
    expect((await api.send('GET', 'config-sched')).json().isScheduled).toBe(true);
    expect((await api.send('GET', 'status')).json().scheduler).toMatchObject({ on: true, reason: 'maintenance over' });
    expect((await api.send('POST', 'scheduler/off')).status).toBe(204);
    expect((await api.send('GET', 'status')).json().scheduler).toMatchObject({ on: false, reason: 'Manual off' });
  });

  it.each([
    ['scheduler/on', { reason: 5 }, 400],
    ['scheduler/on', { reason: 'x'.repeat(201) }, 400],
    ['scheduler/on', { because: 'x' }, 400],
    ['scheduler/on', [], 400],
    ['scheduler/maybe', {}, 404],
  ])('refuses %s (%#)', async (path, body, status) => {
    expect((await harness().send('POST', path, body)).status).toBe(status);
  });
});
