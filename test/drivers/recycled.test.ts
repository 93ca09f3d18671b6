import { describe, expect, it } from 'vitest';
import { recycled } from '../../src/drivers/recycled.ts';

describe('recycled buffers', () => {
  it('are taken again once they were given back, and only once for each time', () => {
    const buffers = recycled(16);
    const first = buffers.take();
    const give = buffers.giver(first);
    expect(buffers.take()).not.toBe(first);
    give();
    give();
    expect(buffers.take()).toBe(first);
    expect(buffers.take()).not.toBe(first);
    buffers.giver(first)();
    expect(buffers.take()).toBe(first);
  });

  it('of another size are dropped', () => {
    const buffers = recycled(16);
    const large = Buffer.alloc(17);
    buffers.giver(large)();
    expect(buffers.take()).toHaveLength(16);
  });
});
