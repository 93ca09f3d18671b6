import { describe, expect, it } from 'vitest';
import type { DeltaInput, DeltaResult, FullResult } from '../../src/workflows/children.ts';
import type { Run } from '../../src/workflows/messages.ts';
import { details, overview } from '../../src/workflows/overview.ts';
import type { Sight } from '../../src/workflows/progress.ts';
import { deltaInput, end, fullInput } from '../../src/workflows/runs.ts';
import { endRollback } from '../../src/workflows/set-back.ts';
import { newRun, newState, type PipelineState } from '../../src/workflows/state.ts';
import { endStream, noteStream } from '../../src/workflows/stream-runs.ts';

const now = Date.UTC(2026, 10, 21);
const counts = (inserted: number) => ({ inserted, updated: 2, deleted: 1, parked: 0 });
const sight = (inserted: number): Sight => ({
  total: counts(inserted),
  applied: { ...counts(inserted + 100), changedAt: '2026-11-20T10:00:00.000Z', writtenAt: '2026-11-20T10:00:01.000Z' },
  clockOffset: 250,
  log: { bytes: 5, hoursLeft: 12.25, at: now },
  tables: [{ schema: 's', name: 't', ...counts(inserted), changedAt: null, writtenAt: null }],
});
const answer = (more: Partial<DeltaResult>): DeltaResult => ({
  ...{ state: 'succeeded', rows: counts(1), position: 'p', at: now - 5_000, completeAt: now - 1_000 },
  ...{ left: [], behind: [], error: null },
  ...more,
});
const running = (continuous: boolean): [PipelineState, Run, DeltaInput] => {
  const state = newState('p', 'UTC');
  const run = { ...newRun(state, 'delta', now), state: 'running' as const };
  return [{ ...state, lastRun: 1, streaming: run }, run, { ...deltaInput(state, run), continuous }];
};

describe('what a pipeline keeps of its stream', () => {
  it.each([true, false])(
    'are the counts of the destination, however often the stream made room; continuous: %s',
    (continuous) => {
      const [state, run, input] = running(continuous);
      // Every attempt counts from its own beginning; the destination from the run's.
      let next = endStream(state, run, input, answer({ state: 'yielded', ...sight(10) }), now);
      const again = next.queue[0] ?? next.runs[0];
      expect(again?.rows).toEqual({ ...counts(10), loaded: 0 });
      if (!continuous) {
        next = endStream({ ...next, streaming: again as Run }, again as Run, input, answer(sight(25)), now);
        expect(next.runs[0]?.rows).toEqual({ ...counts(25), loaded: 0 });
      }
      expect(overview(next)).toMatchObject({ applied: { inserted: continuous ? 110 : 125 }, clockOffset: 250 });
    },
  );

  it('adds up what children of an older version tell', () => {
    const [state, run, input] = running(false);
    const next = endStream(state, run, input, answer({ state: 'yielded' }), now);
    const again = next.queue[0] as Run;
    expect(endStream({ ...next, streaming: again }, again, input, answer({}), now).runs[0]?.rows).toEqual({
      ...{ loaded: 0, inserted: 2, updated: 4, deleted: 2, parked: 0 },
    });
  });

  it('moves with each note of a stream, and is shown', () => {
    const [state] = running(true);
    const first = noteStream(state, { ...answer(sight(3)), run: 1, behind: [] }, now);
    const second = noteStream(first, { ...answer(sight(8)), run: 1, behind: [] }, now);
    expect([first, second].map(({ streaming }) => streaming?.rows.inserted)).toEqual([3, 8]);
    expect([first, second].map(({ sight: kept }) => kept.applied?.inserted)).toEqual([103, 108]);
    expect(second.sight).not.toHaveProperty('total');
    expect(second.sight).not.toHaveProperty('tables');
    const text = details(second);
    expect(text).toContain('* changes in all: 108 inserted, 2 updated, 1 deleted');
    expect(text).toContain('* last change of the source: 2026-11-20T10:00:00.000Z, written 2026-11-20T10:00:01.000Z');
    expect(text).toContain(`* holds everything up to: ${new Date(now - 1_000).toISOString()}`);
    expect(text).toContain('kept for: 12.3 hours more');
  });

  it('keeps the last change when a slice brings none, and forgets how far it had come when it is set back', () => {
    const [state, run, input] = running(false);
    const ended = endStream(state, run, input, answer(sight(3)), now);
    const idle = endStream(
      { ...ended, streaming: run },
      run,
      input,
      answer({ at: null, completeAt: now + 9_000, ...sight(3), total: { ...counts(0), updated: 0, deleted: 0 } }),
      now,
    );
    expect(idle).toMatchObject({ streamedAt: now - 5_000, completeAt: now + 9_000 });
    expect(idle.sight.applied).toEqual(ended.sight.applied);
    const back = endRollback(idle, run, { state: 'succeeded', position: 'q', error: null }, now);
    expect(back).toMatchObject({ streamedAt: null, completeAt: null });
    expect(back.sight.applied).toEqual(ended.sight.applied);
  });

  it('counts what a full extract has caught up with, and asks for the log of its own scope only', () => {
    const state = { ...newState('p', 'UTC'), lastRun: 1, sight: { log: { bytes: 1, hoursLeft: 1, at: 1 } } };
    const run = { ...newRun(newState('p', 'UTC'), 'full', now), state: 'running' as const };
    const result: FullResult = {
      ...{ state: 'succeeded', rows: 40, bytes: 1, position: 'p', scope: 1, loaded: 1, failed: [], findings: [] },
      ...{ error: null, follows: true, databases: ['d'] },
    };
    const ended = end({ ...state, running: run }, run, fullInput(state, run), { ...result, sight: sight(6) }, now);
    expect(ended.runs[0]?.rows).toEqual({ ...counts(6), loaded: 40 });
    expect(ended.sight.log?.hoursLeft).toBe(12.25);
    expect(end({ ...state, running: run }, run, fullInput(state, run), result, now).sight.log).toBe(null);
  });
});
