import { describe, expect, it } from 'vitest';
import { eachLimit } from '../../src/workflows/each-limit.ts';

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('eachLimit', () => {
  it('works on all items in order, never more than the limit at a time', async () => {
    const started: number[] = [];
    let open = 0;
    let most = 0;
    await eachLimit([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
      started.push(item);
      most = Math.max(most, ++open);
      await tick();
      open--;
    });
    expect(started).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(3);
  });

  it('stops starting after a failure, awaits what is under way, then throws it', async () => {
    const finished: number[] = [];
    const work = eachLimit([1, 2, 3, 4], 2, async (item) => {
      await tick();
      if (item === 1) throw new Error('one');
      await tick();
      finished.push(item);
    });
    await expect(work).rejects.toThrow('one');
    expect(finished).toEqual([2]);
  });

  it('stops starting when told to', async () => {
    const done: number[] = [];
    await eachLimit(
      [1, 2, 3],
      1,
      async (item) => void done.push(item),
      () => done.length < 2,
    );
    expect(done).toEqual([1, 2]);
  });

  it('takes an empty list', () => expect(eachLimit([], 4, async () => {})).resolves.toBeUndefined());
});
