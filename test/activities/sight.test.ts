import { describe, expect, it } from 'vitest';
import { liveSight, lookAtLog, measureOffset, type Seen } from '../../src/activities/sight.ts';

const HOUR = 3_600_000;

/** A clock that only answers move: each takes so long. */
function clocks(ahead: number, tooks: readonly number[]) {
  let now = 1_000_000;
  let asked = 0;
  const clock = async () => {
    const took = tooks[asked++] as number;
    // The answer is made half-way.
    const answer = now + took / 2 + ahead;
    now += took;
    return answer;
  };
  return { source: { clock }, now: () => now };
}

describe('the clock of a source', () => {
  it.each([HOUR, -HOUR, 0, 250])('is found to be %i ms ahead', async (ahead) => {
    const { source, now } = clocks(ahead, [40, 2, 300]);
    expect(await measureOffset(source, now)).toBe(ahead);
  });

  it('is read off the quickest answer', async () => {
    let asked = 0;
    let now = 0;
    // The first answer was made at once and came late.
    const source = {
      clock: async () => {
        const answer = now + 5_000;
        now += asked++ === 0 ? 800 : 2;
        return answer;
      },
    };
    expect(await measureOffset(source, () => now)).toBe(4_999);
  });

  it('may be missing', async () => expect(await measureOffset({})).toBe(null));
});

const counts = { inserted: 1, updated: 2, deleted: 3, parked: 0 };
const all = {
  inserted: 100,
  updated: 0,
  deleted: 0,
  parked: 7,
  changedAt: '2026-01-01T00:00:00.000Z',
  writtenAt: '2026-01-01T00:00:01.000Z',
};
const seen = (): Seen => ({
  clockOffset: 12,
  before: { ...counts, changedAt: null, writtenAt: null, tables: [], all },
  log: null,
  askedAt: 0,
});

describe('what a stream shows', () => {
  it('goes on from what the destination held when the attempt began', () => {
    const rows = { inserted: 10, updated: 0, deleted: 1, parked: 1 };
    const [durableAt, writtenAt] = [Date.UTC(2026, 1, 1), Date.UTC(2026, 1, 1, 0, 0, 2)];
    expect(liveSight(seen(), rows, { durableAt, writtenAt })).toEqual({
      clockOffset: 12,
      log: null,
      total: { inserted: 11, updated: 2, deleted: 4, parked: 1 },
      applied: {
        ...{ inserted: 110, updated: 0, deleted: 1, parked: 8 },
        ...{ changedAt: '2026-02-01T00:00:00.000Z', writtenAt: '2026-02-01T00:00:02.000Z' },
      },
    });
  });

  it('keeps the last change of long ago while the stream is idle, and when older changes are replayed', () => {
    const none = { inserted: 0, updated: 0, deleted: 0, parked: 0 };
    expect(liveSight(seen(), none, { durableAt: null, writtenAt: null }).applied).toEqual(all);
    // Transactions that change no table of ours move the stream, and are no change.
    expect(liveSight(seen(), none, { durableAt: Date.UTC(2026, 1, 1), writtenAt: null }).applied).toEqual(all);
    const old = liveSight(seen(), counts, { durableAt: Date.UTC(2025, 0, 1), writtenAt: null });
    expect(old.applied?.changedAt).toBe(all.changedAt);
  });

  it('asks for the state of the log now and then, and keeps it when an answer fails', async () => {
    const now = seen();
    let asked = 0;
    const ask = (hoursLeft: number) => async () => {
      asked++;
      return { bytes: 1, hoursLeft, lost: null };
    };
    await lookAtLog(now, ask(5));
    await lookAtLog(now, ask(4));
    expect([asked, now.log?.state.hoursLeft]).toEqual([1, 5]);
    now.askedAt -= 11_000;
    await lookAtLog(now, async () => Promise.reject(new Error('no')));
    expect(now.log?.state.hoursLeft).toBe(5);
    now.askedAt -= 11_000;
    await lookAtLog(now, ask(3));
    expect(now.log?.state.hoursLeft).toBe(3);
  });
});
