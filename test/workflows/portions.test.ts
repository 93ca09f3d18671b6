import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PlannedTable } from '../../src/activities/plan.ts';
import { clip, title } from '../../src/workflows/labels.ts';
import { portions } from '../../src/workflows/portions.ts';

function table(name: string, open: number, bytes: number): PlannedTable {
  return {
    ref: { schema: 's', name },
    options: {},
    target: { database: 'd', table: name },
    id: name,
    load: 1,
    chunks: Math.max(1, open),
    open: Array.from({ length: open }, (_, chunk) => chunk),
    rowsDone: 0,
    bytes,
    replace: false,
    structure: '',
    storage: '',
  };
}

describe('portions', () => {
  it('takes every open chunk of every table exactly once, and seals a table in one place only when all its chunks are there', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ open: fc.nat(60), bytes: fc.nat(200_000_000) }), { maxLength: 120 }),
        fc.integer({ min: 1, max: 16 }),
        (sizes, threads) => {
          const tables = sizes.map(({ open, bytes }, index) => table(`t${index}`, open, bytes));
          const items = portions(tables, threads).flatMap((portion) => portion.items);
          for (const one of tables) {
            const mine = items.filter((item) => item.id === one.id);
            expect(mine.flatMap((item) => item.take).sort((a, b) => a - b)).toEqual(one.open);
            expect(mine.length).toBeGreaterThanOrEqual(1);
            expect(mine.every((item) => item.seal)).toBe(mine.length === 1);
          }
        },
      ),
    );
  });

  it('gives each thread a share of one big table, and of many small ones', () => {
    expect(portions([table('big', 4, 2e8)], 4)).toHaveLength(4);
    expect(portions([table('big', 4, 2e8)], 1)).toHaveLength(1);
    const small = Array.from({ length: 1000 }, (_, index) => table(`t${index}`, 1, 8192));
    expect(portions(small, 4)).toHaveLength(20);
    expect(portions(small.slice(0, 8), 4)).toHaveLength(4);
  });

  it('puts the biggest tables first', () => {
    const [first] = portions([table('small', 1, 10), table('big', 9, 1e9)], 4);
    expect(first?.items[0]?.id).toBe('big');
  });
});

describe('summaries', () => {
  it('fit what the server takes, in bytes, without cutting a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        const cut = clip(text);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(200);
        expect(cut.isWellFormed()).toBe(true);
      }),
    );
    const long = table('表'.repeat(64), 9, 1e9);
    for (const portion of portions([long], 2)) expect(Buffer.byteLength(title(portion))).toBeLessThanOrEqual(200);
  });
});
