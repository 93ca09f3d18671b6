import { describe, expect, it } from 'vitest';
import { leadsOn, leaveUnlogged } from '../../src/activities/cascades.ts';
import type { Ends } from '../../src/activities/connections.ts';
import type { ClaimedScope, Followed, LeavingTable } from '../../src/drivers/apply.ts';
import type { Cascade, Column, Position, Table } from '../../src/drivers/model.ts';

const INT: Column = {
  name: '',
  type: { kind: 'int', bytes: 4, unsigned: false },
  nullable: true,
  sourceType: 'int',
  masked: false,
};

/** A followed table `name (id, up)`; `parents`: its foreign keys. */
function followed(name: string, parents: readonly string[], more: Partial<Followed> = {}, table: Partial<Table> = {}) {
  const ref = { schema: 's', name };
  const cascades = parents.map(
    (parent): Cascade => ({
      name: `fk_${parent}`,
      parent: { schema: 's', name: parent },
      columns: ['up'],
      references: ['id'],
    }),
  );
  const columns = ['id', 'up'].map((column) => ({ ...INT, name: column }));
  return {
    id: name,
    ref,
    target: { database: 'd', table: name },
    place: name,
    followFrom: null,
    table: { ref, columns, key: ['id'], ...(cascades.length > 0 ? { cascades } : {}), ...table },
    ...more,
  } as unknown as Followed;
}

async function stays(tables: readonly Followed[], cascade?: string) {
  const left: LeavingTable[] = [];
  const ends = {
    params: { source: cascade === undefined ? {} : { cascade }, destination: {} },
    destination: { leave: async (_: ClaimedScope, leaving: readonly LeavingTable[]) => void left.push(...leaving) },
  } as unknown as Ends;
  const staying = await leaveUnlogged(ends, {} as ClaimedScope, tables);
  return { staying: staying.map(({ id }) => id), left };
}

describe('tables whose rows foreign keys change below the log', () => {
  const parent = followed('p', []);
  const child = followed('c', ['p']);

  it('stay with their parents', async () => {
    expect(await stays([child, parent], 'reload')).toEqual({ staying: ['c', 'p'], left: [] });
  });

  it('leave without them, and take their own children along', async () => {
    const { staying, left } = await stays([followed('grandchild', ['c']), child, followed('other', [])], 'reload');
    expect(staying).toEqual(['other']);
    expect(left.map(({ id, state }) => [id, state])).toEqual([
      ['c', 'reload'],
      ['grandchild', 'reload'],
    ]);
    expect(left[0]?.error?.message).toMatch(/fk_p.*s\.c.*s\.p is not followed/s);
    expect(left[0]?.error?.action).toMatch(/s\.c and s\.p.*redoInitial/s);
  });

  it.each<[string, Followed]>([
    ['is copied to another database', followed('p', [], { target: { database: 'e', table: 'p' } })],
    ['whose key at the destination', followed('p', [], {}, { key: ['up'] })],
    [
      'is not copied as the key',
      followed('p', [], {}, { columns: [{ ...INT, name: 'id', type: { kind: 'varchar', length: 20 } }] }),
    ],
  ])('leave if the parent %s', async (why, other) => {
    const { staying, left } = await stays([child, other], 'reload');
    expect(staying).toEqual(['p']);
    expect(left[0]?.error?.message).toContain(why);
  });

  it('leave if their rows can’t be found', async () => {
    const refused = { message: 'It can’t be.', action: 'Drop it.' };
    const [cascade] = child.table.cascades as [Cascade];
    const other = followed('c', [], {}, { cascades: [{ ...cascade, refused }] });
    const { left } = await stays([other, parent], 'reload');
    expect(left[0]?.error).toMatchObject({ class: 'UnsupportedValue', action: 'Drop it.' });
    expect(left[0]?.error?.message).toContain('It can’t be.');
  });

  it('leave where the option refuses it, but for loads that wait to be put in place', async () => {
    const load = followed('c2', ['p'], { place: 'shadow' });
    for (const option of [undefined, 'refuse']) {
      const { staying, left } = await stays([child, load, parent], option);
      expect(staying).toEqual(['c2', 'p']);
      expect(left[0]?.error?.action).toMatch(/`cascade` = reload/);
    }
  });

  it('ask for all changes of a parent that joined the stream another time', () => {
    const at = (position: string) => ({ followFrom: position as Position });
    expect(leadsOn(followed('p', [], at('9')), [child])).toBe(true);
    expect(leadsOn(followed('p', [], at('9')), [followed('c', ['p'], at('9'))])).toBe(false);
    expect(leadsOn(followed('q', [], at('9')), [child])).toBe(false);
  });
});
