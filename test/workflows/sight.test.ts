import { describe, expect, it } from 'vitest';
import { heldUpTo, type Known, lagSeconds } from '../../src/workflows/sight.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const HOUR = 3_600_000;

describe('lag', () => {
  it.each<readonly [string, Known, number | null]>([
    ['nothing is known', { at: null }, null],
    ['a commit time alone says nothing: the clocks may differ', { at: NOW - 5_000 }, null],
    ['… nor when the source tells no time', { at: NOW - 5_000, clockOffset: null }, null],
    ['clocks that agree', { at: NOW - 5_000, clockOffset: 0 }, 5],
    ['a source that is an hour ahead', { at: NOW + HOUR - 5_000, clockOffset: HOUR }, 5],
    ['a source that is an hour behind', { at: NOW - HOUR - 5_000, clockOffset: -HOUR }, 5],
    ['an hour ahead and ten minutes late', { at: NOW + HOUR - 600_000, clockOffset: HOUR }, 600],
    [
      'idle at the end of the log: the last commit is long ago',
      { at: NOW - HOUR, clockOffset: 0, completeAt: NOW - 900 },
      0.9,
    ],
    ['… also with a clock an hour ahead', { at: NOW, clockOffset: HOUR, completeAt: NOW - 1_500 }, 1.5],
    [
      'catching up: further than when it last was at the end',
      { at: NOW - 60_000, clockOffset: 0, completeAt: NOW - HOUR },
      60,
    ],
    ['only the end of the log is known', { at: null, completeAt: NOW - 2_000 }, 2],
    ['the offset is not known: the end of the log counts', { at: NOW + HOUR, completeAt: NOW - 3_000 }, 3],
    ['a session that sets its own time', { at: NOW + HOUR, clockOffset: 0, writtenAt: NOW - 7_000 }, 7],
    ['a measured offset that is a little too small', { at: NOW + 20, clockOffset: 0 }, 0],
  ])('%s', (_what, known, seconds) => expect(lagSeconds(known, NOW)).toBe(seconds));

  it('grows while nothing is heard of the source, whatever its clock says', () => {
    const known: Known = { at: NOW + HOUR, clockOffset: HOUR, completeAt: NOW };
    expect([0, 10_000, HOUR].map((later) => lagSeconds(known, NOW + later))).toEqual([0, 10, 3600]);
    expect(heldUpTo(known)).toBe(NOW);
  });
});
