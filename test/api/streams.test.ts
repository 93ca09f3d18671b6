import { describe, expect, it } from 'vitest';
import { addStream } from '../../src/api/temporal-runs.ts';
import type { Position } from '../../src/drivers/model.ts';
import type { Progress } from '../../src/workflows/progress.ts';
import { harness } from './harness.ts';

const stream: Progress = {
  phase: 'streaming',
  rows: 0,
  bytes: 0,
  tablesDone: 0,
  tablesFailed: 0,
  tablesTotal: 0,
  tables: [],
};
const applied = { inserted: 5, updated: 3, deleted: 2, parked: 1 };

describe('tables/{db}/{schema}/{table}/{action}', () => {
  it('acts on a selected table and says what will happen', async () => {
    const api = harness();
    await api.configure();
    const [table] = (await api.send('GET', 'tables')).json().tables;
    const path = `tables/${table.db}/${table.schema}/${table.name}`;
    expect((await api.send('POST', `${path}/pause`)).json()).toEqual({ success: true, message: 'Done.' });
    const [paused] = (await api.send('GET', 'tables')).json().tables;
    expect(paused).toMatchObject({ name: table.name, state: 'paused' });
    expect((await api.send('POST', `${path}/reload`)).json().success).toBe(true);
  });

  it('refuses what is not selected, and words that are no action', async () => {
    const api = harness();
    await api.configure();
    const unknown = await api.send('POST', 'tables/x/nowhere/nothing/pause');
    expect(unknown.status).toBe(404);
    expect(unknown.json().errors).toEqual([{ field: 'table', message: 'is not selected' }]);
    const word = await api.send('POST', 'tables/x/nowhere/nothing/destroy');
    expect(word.status).toBe(404);
    expect(word.json().errors[0]).toMatchObject({ field: 'action' });
  });
});

describe('a stream that goes on', () => {
  it('adds what its open slice has applied to what its run knows', () => {
    const before = { rows: applied, position: 'p1', at: 1, completeAt: 2 };
    const slice = {
      rows: applied,
      position: 'p2',
      at: null,
      completeAt: null,
      pending: 4,
      behindBytes: 9,
      logHoursLeft: 7,
    };
    expect(addStream({ ...stream, stream: before }, slice).stream).toEqual({
      rows: { inserted: 10, updated: 6, deleted: 4, parked: 2 },
      position: 'p2',
      at: 1,
      completeAt: 2,
      behindBytes: 9,
      logHoursLeft: 7,
    });
    expect(addStream(stream, undefined)).toBe(stream);
  });

  it('shows lag, position and rows of this moment in status and metrics', async () => {
    const api = harness();
    await api.configure();
    api.world.addRun('default', { operation: 'delta', state: 'running', endedAt: null });
    const at = Date.now() - 90_000;
    api.world.progress = {
      ...stream,
      stream: { rows: applied, position: '0/77', at, completeAt: at, behindBytes: 512, logHoursLeft: 3.5 },
    };
    const status = (await api.send('GET', 'status')).json();
    expect(status).toMatchObject({ position: '0/77', current: { stream: { rows: { inserted: 5, deleted: 2 } } } });
    expect(status.lag).toMatchObject({ bytes: 512, logHoursLeft: 3.5 });
    expect(status.lag.seconds).toBeGreaterThanOrEqual(90);
    expect(status.lag.seconds).toBeLessThan(100);
    const metrics = (await api.send('GET', '/metrics')).text;
    expect(metrics).toContain('flow_ingest_lag_bytes{pipeline="default"} 512');
    expect(metrics).toContain('flow_ingest_log_hours_left{pipeline="default"} 3.5');
    api.world.progress = {
      ...stream,
      stream: { rows: applied, position: '0/78', at, completeAt: Date.now(), behindBytes: 0, logHoursLeft: null },
    };
    expect((await api.send('GET', 'status')).json().lag.seconds).toBeLessThan(5);
  });
});

describe('rollback', () => {
  it('lists what can be reached, and says why there is nothing', async () => {
    const api = harness();
    await api.configure();
    const point = {
      id: 7,
      run: 3,
      position: 'p' as Position,
      sourceTime: null,
      recordedAt: '2026-01-01T00:00:00.000Z',
    };
    api.world.points = { points: [point], unreachableReason: 'Older ones are gone.' };
    expect((await api.send('GET', 'rollback-points')).json()).toMatchObject({
      points: [],
      unreachableReason: expect.any(String),
    });
    api.world.main = { scope: 1, databases: ['d'] };
    expect((await api.send('GET', 'rollback-points')).json()).toEqual({
      points: [point],
      unreachableReason: 'Older ones are gone.',
    });
  });

  it('takes the id of a point or a position, and names what is wrong with others', async () => {
    const api = harness();
    await api.configure();
    for (const bad of ['0', 'x', '-1', '1.5']) expect((await api.send('POST', `ops/rollback/${bad}`)).status).toBe(404);
    for (const [body, field] of [
      [{}, 'position'],
      [{ position: '' }, 'position'],
      [{ position: 7 }, 'position'],
      [{ position: 'p', more: 1 }, 'more'],
    ] as const) {
      const answer = await api.send('PATCH', 'position', body);
      expect(answer.status).toBe(400);
      expect(answer.json().errors[0].field).toBe(field);
    }
    const refused = await api.send('POST', 'ops/rollback/7');
    expect(refused.json()).toMatchObject({
      success: false,
      message: 'Rollback requested',
      reason: { code: 'needs_full' },
    });
  });
});
