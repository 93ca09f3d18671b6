import { describe, expect, it } from 'vitest';
import { addStream } from '../../src/api/temporal-runs.ts';
import type { Progress, StreamHeartbeat } from '../../src/workflows/progress.ts';
import { harness } from './harness.ts';

const idle: Progress = {
  ...{ phase: 'streaming', rows: 0, bytes: 0 },
  ...{ tablesDone: 0, tablesFailed: 0, tablesTotal: 0, tables: [] },
};
const HOUR = 3_600_000;
const counts = (inserted: number) => ({ inserted, updated: 2, deleted: 1, parked: 0 });
const changes = (inserted: number, at: number) => ({
  ...counts(inserted),
  changedAt: new Date(at).toISOString(),
  writtenAt: new Date(at + 250).toISOString(),
});

/** What a capture tells by heartbeat. */
const beat = (inserted: number, at: number, more: Partial<StreamHeartbeat['stream']> = {}): Progress =>
  addStream(idle, {
    rows: counts(inserted),
    position: `p${inserted}`,
    at,
    completeAt: null,
    pending: 0,
    behindBytes: 10 * inserted,
    logHoursLeft: 100 - inserted,
    total: counts(inserted + 1000),
    applied: changes(inserted + 5000, at),
    clockOffset: HOUR,
    log: null,
    ...more,
  });

describe('what a stream has applied', () => {
  it('moves in status and metrics with each word of the capture', async () => {
    const api = harness();
    await api.configure();
    api.world.addRun('default', { operation: 'delta', state: 'running', endedAt: null });
    for (const inserted of [5, 9]) {
      // A source whose clock is an hour ahead, and which is a minute ahead of us.
      const at = Date.now() + HOUR - 60_000 * inserted;
      api.world.progress = beat(inserted, at);
      const status = (await api.send('GET', 'status')).json();
      expect(status).toMatchObject({
        position: `p${inserted}`,
        changes: counts(inserted + 5000),
        lastChangeAt: new Date(at).toISOString(),
        lastWrittenAt: new Date(at + 250).toISOString(),
        lag: { bytes: 10 * inserted, logHoursLeft: 100 - inserted },
        current: { stream: { rows: { inserted: inserted + 1000, updated: 2 } } },
      });
      expect(status.lag.seconds).toBeGreaterThanOrEqual(60 * inserted);
      expect(status.lag.seconds).toBeLessThan(60 * inserted + 30);
      const { text } = await api.send('GET', '/metrics');
      for (const line of [
        `flow_ingest_changes_total{pipeline="default",operation="inserted"} ${inserted + 5000}`,
        'flow_ingest_changes_total{pipeline="default",operation="updated"} 2',
        'flow_ingest_changes_total{pipeline="default",operation="deleted"} 1',
        'flow_ingest_changes_total{pipeline="default",operation="parked"} 0',
        `flow_ingest_last_change_timestamp_seconds{pipeline="default"} ${at / 1000}`,
        `flow_ingest_last_write_timestamp_seconds{pipeline="default"} ${(at + 250) / 1000}`,
        `flow_ingest_lag_bytes{pipeline="default"} ${10 * inserted}`,
        `flow_ingest_log_hours_left{pipeline="default"} ${100 - inserted}`,
      ])
        expect(text.split('\n')).toContain(line);
      expect(text).toContain('# TYPE flow_ingest_changes_total counter');
      const lag = Number(/^flow_ingest_lag_seconds\{pipeline="default"\} (.+)$/m.exec(text)?.[1]);
      expect(Math.abs(lag - status.lag.seconds)).toBeLessThan(10);
    }
  });

  it('stays when no stream is open; the log that is left grows less by itself', async () => {
    const api = harness();
    await api.configure();
    const at = Date.now() - 10 * HOUR;
    api.world.told = {
      applied: changes(7, at),
      streamedAt: at,
      clockOffset: 0,
      completeAt: Date.now() - 2 * HOUR,
      log: { bytes: 0, hoursLeft: 24, at: Date.now() - 2 * HOUR },
    };
    const status = (await api.send('GET', 'status')).json();
    expect(status).toMatchObject({ changes: counts(7), lastChangeAt: new Date(at).toISOString() });
    expect(status.lag.logHoursLeft).toBeCloseTo(22, 2);
    expect(status.lag.bytes).toBe(null);
    expect(status.lag.seconds / 3600).toBeCloseTo(2, 2);
    expect((await api.send('GET', '/metrics')).text).toMatch(
      /^flow_ingest_log_hours_left\{pipeline="default"\} 2[12]/m,
    );
    api.world.told = { ...api.world.told, log: { bytes: 0, hoursLeft: 1, at: Date.now() - 2 * HOUR } };
    expect((await api.send('GET', 'status')).json().lag.logHoursLeft).toBe(0);
  });

  it('shows no lag as long as the clocks were not compared', async () => {
    const api = harness();
    await api.configure();
    api.world.told = { streamedAt: Date.now() - HOUR };
    expect((await api.send('GET', 'status')).json().lag.seconds).toBe(null);
    api.world.told = { streamedAt: Date.now() - HOUR, clockOffset: 0 };
    expect((await api.send('GET', 'status')).json().lag.seconds).toBeGreaterThanOrEqual(3600);
  });

  it('gives consistent tables the lag of the stream', async () => {
    const api = harness();
    await api.configure(['customers', 'orders']);
    const { tables } = api.world.known('default');
    api.world.known('default').tables = tables.map((table) =>
      table.name === 'customers' ? { ...table, state: 'consistent' } : table,
    );
    api.world.addRun('default', { operation: 'delta', state: 'running', endedAt: null });
    for (const seconds of [40, 900]) {
      api.world.progress = beat(1, Date.now() + HOUR - seconds * 1000);
      const [customers, orders] = (await api.send('GET', 'tables')).json().tables;
      expect(Math.round(customers.lagSeconds / 10)).toBe(seconds / 10);
      expect(orders.lagSeconds).toBe(null);
    }
  });

  it('is read page by page where there are many tables', async () => {
    const api = harness();
    const names = ['a', 'b', 'c'];
    await api.configure([]);
    api.world.catalog = { classicmodels: names };
    for (const name of names) await api.send('PATCH', `config-tab/mydb/classicmodels/${name}`, { select: 'Y' });
    const record = (name: string, page: number) => ({
      ...{ id: name, ref: { schema: 'classicmodels', name }, target: { database: 'd', table: name } },
      ...{ state: 'consistent' as const, load: 1, rows: page, bytes: 0, rules: {} },
      ...{ startedAt: null, lastLoadedAt: null, error: null, changes: changes(page, 0) },
    });
    api.world.report = (_run, page) => ({
      tables: [record(names[page] as string, page)],
      runTables: [],
      more: page < 2,
    });
    const { tables } = (await api.send('GET', 'tables')).json();
    expect(tables.map((table: { changes: object }) => table.changes)).toEqual([0, 1, 2].map(counts));
  });
});
