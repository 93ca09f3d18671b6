import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { releaser } from '../../src/activities/pump.ts';
import type { Capture } from '../../src/drivers/changes.ts';
import type { Position } from '../../src/drivers/model.ts';

const at = (name: string) => name as Position;

describe('the log of a source', () => {
  const released: string[] = [];
  const capture: Pick<Capture, 'acknowledge'> = {
    acknowledge: async (position) => {
      released.push(position);
    },
  };
  beforeEach(() => {
    released.length = 0;
    vi.useFakeTimers();
  });
  afterEach(() => void vi.useRealTimers());

  it('is let go only behind what has been durable for ten seconds, and from the beginning on', async () => {
    const release = releaser(capture as Capture, at('p0'), undefined);
    await release(at('p1'));
    expect(released).toEqual(['p0']);
    vi.advanceTimersByTime(9_999);
    await release(at('p2'));
    expect(released).toEqual(['p0']);
    vi.advanceTimersByTime(1);
    await release(at('p3'));
    expect(released).toEqual(['p0', 'p1']);
    // What was said last is the latest that may be let go: nothing in between, and never what is only durable by now.
    await release(at('p3'));
    vi.advanceTimersByTime(10_000);
    await release(at('p3'));
    expect(released).toEqual(['p0', 'p1', 'p3']);
    vi.advanceTimersByTime(60_000);
    await release(at('p3'));
    expect(released).toEqual(['p0', 'p1', 'p3']);
  });

  it('is let go once for rollbacks, back to where they may need it', async () => {
    const release = releaser(capture as Capture, at('p5'), at('p2'));
    for (let i = 0; i < 3; i++) {
      vi.advanceTimersByTime(60_000);
      await release(at(`p${6 + i}`));
    }
    expect(released).toEqual(['p2']);
    await releaser(capture as Capture, at('p5'), null)(at('p6'));
    expect(released).toEqual(['p2']);
  });
});
