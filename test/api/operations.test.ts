import { describe, expect, it } from 'vitest';
import { Problem } from '../../src/api/problem.ts';
import type { Run } from '../../src/workflows/messages.ts';
import type { Progress } from '../../src/workflows/progress.ts';
import { base, connection, harness } from './harness.ts';

const at = '2026-01-02T03:04:05.000Z';
const rows = (loaded: number) => ({ loaded, inserted: 0, updated: 0, deleted: 0, parked: 0 });

describe('ops/extract', () => {
  it.each([
    ['full', 'Full Extract requested'],
    ['syncnew', 'Sync New Tables requested'],
    ['syncstruct', 'Synchronize Structure requested'],
    ['delta', 'Manual Delta requested'],
  ])('%s says "%s", also when refused', async (operation, message) => {
    const api = harness();
    expect((await api.send('POST', `ops/extract/${operation}`)).json()).toMatchObject({
      success: false,
      message,
      reason: { code: 'no_connection' },
    });
    await api.configure([]);
    expect((await api.send('POST', `ops/extract/${operation}`)).json()).toMatchObject({
      success: false,
      message,
      reason: { code: 'no_tables' },
    });
    await api.configure();
    const answer = await api.send('POST', `ops/extract/${operation}`);
    expect(answer.status).toBe(200);
    if (operation === 'full') expect(answer.text).toBe(`{"success":true,"message":"${message}"}`);
    else
      expect(answer.json()).toMatchObject({
        success: false,
        message,
        reason: { code: 'needs_full', text: expect.any(String) },
      });
  });

  it('needs no body and takes any content type and body', async () => {
    for (const [body, type] of [
      [undefined, ''],
      ['', 'text/plain'],
      ['{', 'application/json'],
      ['a=b', 'application/x-www-form-urlencoded'],
      ['[]', ''],
    ] as const) {
      const api = harness();
      await api.configure();
      expect(
        (await api.send('POST', 'ops/extract/full', body, type === '' ? {} : { 'Content-Type': type })).json().success,
      ).toBe(true);
    }
  });

  it('carries the run only when asked', async () => {
    const api = harness();
    await api.configure();
    const answer = await api.send('POST', 'ops/extract/full', undefined, {
      Prefer: 'respond-async, return=representation',
    });
    expect(Object.keys(answer.json())).toEqual(['success', 'message', 'run']);
    expect(answer.json().run).toMatchObject({ id: 1, operation: 'full', state: 'queued' });
    expect(answer.headers.get('preference-applied')).toBe('return=representation');
    const refused = await api.send('POST', 'ops/extract/full', undefined, { Prefer: 'return=representation' });
    expect(Object.keys(refused.json())).toEqual(['success', 'message', 'reason']);
    const minimal = harness();
    await minimal.configure();
    expect(
      (await minimal.send('POST', 'ops/extract/full', undefined, { Prefer: 'return=minimal' })).json(),
    ).not.toHaveProperty('run');
  });
});

describe('Idempotency-Key', () => {
  const key = { 'Idempotency-Key': 'order-66' };

  it('answers a repeated request with the first answer', async () => {
    const api = harness();
    await api.configure();
    const prefer = { ...key, Prefer: 'return=representation' };
    const first = await api.send('POST', 'ops/extract/full', undefined, prefer);
    const again = await api.send('POST', 'ops/extract/full', undefined, prefer);
    expect(again.text).toBe(first.text);
    expect(api.world.known('default').queue).toHaveLength(1);
    const other = await api.send('POST', 'ops/extract/full', undefined, { 'Idempotency-Key': 'order-67' });
    expect(other.json()).toMatchObject({ success: false, reason: { code: 'already_queued' } });
  });

  it('makes a repeated PATCH harmless after someone else’s', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src', { host: 'first' }), key);
    await api.send('PATCH', 'conn-src', [{ name: 'host', value: 'second' }]);
    expect((await api.send('PATCH', 'conn-src', connection('src', { host: 'first' }), key)).status).toBe(204);
    expect((await api.send('GET', 'conn-src')).json()[0].value).toBe('second');
  });

  it('does not answer another request with it', async () => {
    const api = harness();
    await api.configure();
    await api.send('PATCH', 'config-sched', { type: 'auto' }, key);
    expect((await api.send('POST', 'ops/extract/full', undefined, key)).json()).toEqual({
      success: true,
      message: 'Full Extract requested',
    });
    await api.send('PATCH', 'config-sched', { type: 'manual' }, key);
    expect((await api.send('GET', 'config-sched')).json().type).toBe('manual');
  });

  it('is stored as a keyed digest, so that it gives no password away', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src'), key);
    await api.send('PATCH', 'conn-src', connection('src'));
    const keys = api.world.calls.map(({ argument }) => (argument as { idempotencyKey: string }).idempotencyKey);
    expect(keys.every((one) => /^[\w-]{43}$/.test(one))).toBe(true);
    expect(new Set(keys).size).toBe(2);
  });

  it.each(['', ' ', 'x'.repeat(256), 'ü'])('refuses %j', async (bad) => {
    const answer = await harness().send('PATCH', 'config-sched', { type: 'manual' }, { 'Idempotency-Key': bad });
    expect([answer.status, answer.json().errors[0].field]).toEqual([400, 'Idempotency-Key']);
  });

  it('makes a pipeline once', async () => {
    const api = harness();
    expect((await api.send('POST', '/pipelines', { name: 'sales' }, key)).status).toBe(201);
    expect((await api.send('POST', '/pipelines', { name: 'sales' }, key)).status).toBe(201);
    expect((await api.send('POST', '/pipelines', { name: 'sales' })).status).toBe(409);
  });
});

describe('ops/cancel', () => {
  it('says what was cancelled', async () => {
    const api = harness();
    await api.configure();
    await api.send('POST', 'ops/extract/full');
    expect((await api.send('POST', 'ops/cancel', { lane: 'queue' })).json()).toEqual({
      success: true,
      cancelled: [1],
      refused: [],
    });
    expect((await api.send('POST', 'ops/cancel')).json()).toEqual({ success: true, cancelled: [], refused: [] });
  });

  it.each([{ lane: 'fast' }, { lane: 5 }, { other: 1 }, []])('refuses %j', async (body) => {
    expect((await harness().send('POST', 'ops/cancel', body)).status).toBe(400);
  });
});

describe('runs, status and tables', () => {
  const running = { state: 'running', requestedAt: at, startedAt: at } as const;
  const progress: Progress = {
    phase: 'loading',
    rows: 1234,
    bytes: 99,
    tablesDone: 1,
    tablesFailed: 0,
    tablesTotal: 2,
    tables: [{ schema: 'classicmodels', name: 'customers', state: 'loading', rows: 1000, chunksDone: 1, chunks: 3 }],
  };

  it('show an open run with the numbers of this moment', async () => {
    const api = harness();
    await api.configure(['customers', 'orders']);
    api.world.addRun('default', { state: 'succeeded', rows: rows(5), endedAt: at });
    api.world.addRun('default', running);
    api.world.progress = progress;
    const runs = (await api.send('GET', 'runs')).json().runs as Run[];
    expect(runs.map(({ id }) => id)).toEqual([2, 1]);
    expect(runs[0]).toMatchObject({ rows: { loaded: 1234 }, progress: { phase: 'loading', tablesTotal: 2 } });
    const status = (await api.send('GET', 'status')).json();
    expect(status.current.load).toMatchObject({ id: 2, rows: { loaded: 1234 } });
    expect(status.current.stream).toEqual(status.current.load);
    expect(Object.keys(status)).toEqual([
      'pipeline',
      'state',
      'consistent',
      'scheduler',
      'current',
      'queue',
      'lag',
      'lastChangeAt',
      'lastWrittenAt',
      'changes',
      'position',
      'tables',
      'notice',
    ]);
    const tables = (await api.send('GET', 'tables')).json().tables;
    expect(tables).toMatchObject([
      { name: 'customers', state: 'loading', rows: 1000 },
      { name: 'orders', state: 'new', rows: null },
    ]);
    const detail = (await api.send('GET', 'runs/2')).json();
    expect(detail.tables).toEqual([
      {
        db: 'default',
        schema: 'classicmodels',
        name: 'customers',
        state: 'loading',
        rows: 1000,
        bytes: null,
        changes: null,
        startedAt: null,
        endedAt: null,
        lastChangeAt: null,
        lastWrittenAt: null,
        error: null,
      },
    ]);
  });

  it('keep what they know when a run’s worker doesn’t answer', async () => {
    const api = harness();
    api.world.addRun('default', { ...running, rows: rows(7) });
    api.world.pipelines.progress = async () => {
      throw new Problem(503, 'no worker');
    };
    expect((await api.send('GET', 'runs')).json().runs[0]).toMatchObject({ rows: { loaded: 7 }, progress: null });
  });

  it('add what the destination recorded, and say when it can’t be read', async () => {
    const api = harness();
    await api.configure();
    const ref = { schema: 'classicmodels', name: 'customers' };
    const target = { database: 'classicmodels', table: 'customers' };
    const error = { class: 'UnsupportedValue', message: 'm', action: 'a' };
    const counts = { inserted: 5, updated: 4, deleted: 3, parked: 2 };
    const changes = { ...counts, changedAt: '2026-02-01T00:00:00.000Z', writtenAt: '2026-02-01T00:00:01.000Z' };
    const times = { lastChangeAt: changes.changedAt, lastWrittenAt: changes.writtenAt };
    api.world.report = () => ({
      tables: [
        {
          id: 't1',
          ref,
          target,
          state: 'loaded',
          load: 1,
          rows: 122,
          bytes: 9,
          rules: { date_repair: 2 },
          changes,
          startedAt: at,
          lastLoadedAt: at,
          error,
        },
      ],
      runTables: [
        { ref, target, state: 'streamed', rows: 0, bytes: 0, startedAt: at, endedAt: at, error: null, changes },
      ],
    });
    expect((await api.send('GET', 'tables')).json()).toEqual({
      tables: [
        {
          ...{
            db: 'default',
            schema: 'classicmodels',
            name: 'customers',
            state: 'new',
            destination: { db: 'classicmodels', table: 'customers' },
          },
          ...{
            rows: 122,
            changes: counts,
            lastLoadedAt: at,
            ...times,
            lagSeconds: null,
            parked: 0,
            rules: { date_repair: 2 },
            error,
          },
        },
      ],
      unavailable: null,
    });
    api.world.addRun('default', { state: 'succeeded' });
    expect((await api.send('GET', 'runs/1')).json().tables).toEqual([
      {
        ...{ db: 'default', ...ref, state: 'streamed', rows: 0, bytes: 0, changes: counts },
        ...{ startedAt: at, endedAt: at, ...times, error: null },
      },
    ]);
    api.world.report = () => {
      throw new Problem(502, 'The destination refused the login.');
    };
    const without = (await api.send('GET', 'tables')).json();
    expect([without.unavailable, without.tables[0].rows]).toEqual(['The destination refused the login.', null]);
    expect((await api.send('GET', 'runs/1')).json()).toMatchObject({ id: 1, tables: [] });
  });

  it('find a run that the pipeline forgot', async () => {
    const api = harness();
    const past: Run = {
      id: 77,
      operation: 'full',
      state: 'succeeded',
      requestedAt: at,
      startedAt: at,
      endedAt: at,
      rows: rows(0),
      error: null,
    };
    api.world.pipelines.pastRun = async (_, id) => (id === 77 ? past : null);
    expect((await api.send('GET', 'runs/77')).json()).toMatchObject({ id: 77, state: 'succeeded' });
    expect((await api.send('GET', 'runs/78')).status).toBe(404);
  });
});

describe('pipelines', () => {
  it('are made, listed, apart from each other, and removed', async () => {
    const api = harness();
    const made = await api.send('POST', '/pipelines', { name: 'sales' });
    expect([made.status, made.text]).toEqual([201, `{"name":"sales","base":"/pipelines/sales${base}"}`]);
    expect(made.headers.get('location')).toBe(`/pipelines/sales${base}`);
    await api.send('PATCH', `/pipelines/sales${base}/config-sched`, { type: 'auto' });
    await api.send('GET', 'status');
    expect((await api.send('GET', 'config-sched')).json().type).toBe('manual');
    expect((await api.send('GET', `/pipelines/sales${base}/config-sched`)).json().type).toBe('auto');
    expect((await api.send('GET', '/pipelines')).json().pipelines.map((one: { name: string }) => one.name)).toEqual([
      'default',
      'sales',
    ]);
    expect((await api.send('DELETE', '/pipelines/sales')).text).toBe('{"success":true,"warnings":[]}');
    expect((await api.send('GET', `/pipelines/sales${base}/status`)).status).toBe(404);
    expect((await api.send('DELETE', '/pipelines/sales')).status).toBe(404);
  });

  it.each([
    {},
    { name: '' },
    { name: 'Sales' },
    { name: '-x' },
    { name: 'x'.repeat(64) },
    { name: 'a b' },
    { name: 5 },
    { name: 'x', more: 1 },
    [],
  ])('refuse %j', async (body) => {
    expect((await harness().send('POST', '/pipelines', body)).status).toBe(400);
  });
});
