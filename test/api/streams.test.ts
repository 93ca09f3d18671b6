import { describe, expect, it } from 'vitest';
import { addStream } from '../../src/api/temporal-runs.ts';
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
