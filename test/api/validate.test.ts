import { describe, expect, it } from 'vitest';
import { harness } from './harness.ts';

const path = 'ops/extract/validate';

describe('ops/extract/validate', () => {
  it('asks for all tables without a body, and for some with one', async () => {
    const api = harness();
    await api.configure();
    const asked = () => api.world.calls.filter((call) => call.name === 'request').map((call) => call.argument);
    // Nothing has been copied yet: a refusal is 200, with its reason.
    const refused = (await api.send('POST', path)).json();
    expect(refused).toMatchObject({ success: false, message: 'Validate requested', reason: { code: 'needs_full' } });
    const name = 'classicmodels.customers';
    expect((await api.send('POST', path, { repair: true, tables: [name] })).status).toBe(200);
    expect(asked()).toMatchObject([
      { operation: 'validate', validate: { repair: false, tables: null } },
      { operation: 'validate', validate: { repair: true, tables: [name] } },
    ]);
  });

  it.each([
    [{ tables: ['public.nothing'] }, 'tables[0]'],
    [{ tables: [] }, 'tables'],
    [{ tables: 'public.a' }, 'tables'],
    [{ repair: 'yes' }, 'repair'],
    [{ fix: true }, 'fix'],
  ])('refuses %j', async (body, field) => {
    const api = harness();
    await api.configure();
    const answer = await api.send('POST', path, body);
    expect(answer.status).toBe(400);
    expect(answer.json().errors).toMatchObject([{ field }]);
  });

  it('is told of by its run: totals, and what each table’s comparison found', async () => {
    const api = harness();
    await api.configure();
    const check = { checked: 10, different: 2, repaired: 2, unsettled: 1, examples: ['id=1', 'id=2'] };
    const found = { ...tableOf('customers'), check };
    api.world.pipelines.report = async () => ({ tables: [], runTables: [found] });
    await api.send('POST', 'ops/extract/full');
    const [run] = (await api.send('GET', 'runs')).json().runs;
    const shown = (await api.send('GET', `runs/${run.id}`)).json();
    expect(shown.tables).toMatchObject([{ name: 'customers', state: 'checked', ...check }]);
  });
});

function tableOf(name: string) {
  return {
    ref: { schema: 'classicmodels', name },
    target: { database: 'classicmodels', table: name },
    state: 'checked' as const,
    rows: 10,
    bytes: 0,
    startedAt: null,
    endedAt: null,
    error: null,
  };
}
