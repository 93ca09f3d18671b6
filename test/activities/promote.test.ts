import { describe, expect, it } from 'vitest';
import type { Connections, Ends } from '../../src/activities/connections.ts';
import { slotName } from '../../src/activities/names.ts';
import { promoteActivities } from '../../src/activities/promote.ts';

/** Ends that only remember what is dropped; `rows`: scopes at the destination with the runs that own them. */
function remember(rows: readonly { scope: number; run: number }[]) {
  const dropped: string[] = [];
  const ends = {
    source: { end: async (slot: string) => void dropped.push(slot) },
    destination: {
      scopes: async () => rows,
      abandon: async (database: string) => void dropped.push(`loads in ${database}`),
      dropScope: async (_database: string, _pipeline: string, scope: number) => void dropped.push(`scope ${scope}`),
    },
  } as unknown as Ends;
  const withEnds: Connections['withEnds'] = (_sealed, use) => use(ends);
  return { dropped, abandonFull: promoteActivities({ withEnds } as Connections).abandonFull };
}

const input = { source: {}, destination: {}, pipeline: 'p', run: 3, databases: ['d'] };

describe('taking a run back', () => {
  it('drops the scope that the run names', async () => {
    const { dropped, abandonFull } = remember([{ scope: 1, run: 1 }]);
    await abandonFull({ ...input, scope: 2 });
    expect(dropped).toEqual(['loads in d', slotName('p', 2), 'scope 2']);
  });

  it('finds the scope of a run that died after its row was made', async () => {
    const { dropped, abandonFull } = remember([
      { scope: 4, run: 2 },
      { scope: 5, run: 3 },
    ]);
    await abandonFull({ ...input, scope: null });
    expect(dropped).toEqual(['loads in d', slotName('p', 5), 'scope 5']);
  });

  it('drops the slot of a run that died before its row was made, and no other', async () => {
    const { dropped, abandonFull } = remember([{ scope: 4, run: 2 }]);
    await abandonFull({ ...input, scope: null });
    expect(dropped).toEqual(['loads in d', slotName('p', 5), 'scope 5']);
  });
});
