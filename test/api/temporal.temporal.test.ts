import { ApplicationFailure } from '@temporalio/activity';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createApp } from '../../src/api/app.ts';
import { temporalPipelines } from '../../src/api/temporal.ts';
import { connectTemporal, type Link } from '../../src/api/temporal-link.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { openParams } from '../../src/secrets.ts';
import type { CatalogInput, RemovalInput, ReportInput, TestInput } from '../../src/workflows/messages.ts';
import { fakeActivities, newWorld, type World } from '../fakes/activities.ts';
import { type Harness, startHarness, until } from '../workflows/harness.ts';
import { type Answer, base, connection, testKey } from './harness.ts';

const world: World = newWorld();
const asked = { tests: [] as TestInput[], removals: [] as RemovalInput[] };
let quick = {
  test: async (_: TestInput) => ({ ok: true, messages: [] as { topic: null; message: string }[] }),
  removal: async () => {},
};
let workers: Harness;
let link: Link;
let app: ReturnType<typeof createApp>;

const activities = {
  ...fakeActivities(world),
  testConnection: async (input: TestInput) => {
    asked.tests.push(input);
    return quick.test(input);
  },
  readCatalog: async ({ database, schema, table }: CatalogInput) => {
    if (schema === 'broken')
      throw ApplicationFailure.nonRetryable('Login refused.', 'AccessDenied', { action: 'Grant it.', side: 'source' });
    const detail = {
      columns: [],
      leftOut: [],
      key: [],
      destination: { db: 'd', table: 't' },
      warnings: [],
      error: null,
    };
    if (table) return { database: 'shop', names: [], table: detail };
    if (database === null) return { database: 'shop', names: ['shop'] };
    return { database: 'shop', names: schema === null ? ['public'] : ['a', 'b', 'c'] };
  },
  readReport: async (_: ReportInput) => ({ tables: [], runTables: [] }),
  removePipeline: async (input: RemovalInput) => {
    asked.removals.push(input);
    await quick.removal();
    return { warnings: ['a warning'] };
  },
};

async function send(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer & { ms: number }> {
  const began = performance.now();
  const init = {
    method,
    headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
  };
  const response = await app.request(path.startsWith('/') ? path : `${base}/${path}`, {
    ...init,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: () => JSON.parse(text),
    ms: performance.now() - began,
  };
}

async function configured(name: string, tables: readonly string[] = []): Promise<string> {
  const at = `/pipelines/${name}${base}`;
  expect((await send('POST', '/pipelines', { name })).status).toBe(201);
  expect((await send('PATCH', `${at}/conn-src`, connection('src', { type: 'rds.pgres' }))).status).toBe(204);
  expect((await send('PATCH', `${at}/conn-dst`, connection('dst'))).status).toBe(204);
  for (const table of tables)
    expect((await send('PATCH', `${at}/config-tab/shop/public/${table}`, { select: 'Y' })).status).toBe(204);
  return at;
}

beforeAll(async () => {
  workers = await startHarness({ address: inject('temporal').address, bundlePath: inject('bundlePath') }, activities);
  const env = { TEMPORAL_ADDRESS: inject('temporal').address, TEMPORAL_NAMESPACE: workers.namespace };
  link = connectTemporal(loadConfig(env));
  app = createApp(temporalPipelines(link, 'Europe/Berlin'), {
    key: testKey,
    log: createLog({ level: 'error', format: 'text' }),
  });
  await until(
    () => send('GET', '/readyz'),
    ({ status }) => status === 200,
  );
});
afterAll(async () => {
  await link?.close();
  await workers?.stop();
});
beforeEach(() => {
  Object.assign(world, newWorld());
  quick = { test: async () => ({ ok: true, messages: [] }), removal: async () => {} };
});

describe('the pipeline default', () => {
  it('is made on first use, by many at once, in the zone of the settings', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => send('GET', 'config-sched')));
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
      new Set(['200 {"duration":null,"offset":"0d00h00m","isScheduled":false,"type":"manual","weekFlags":null}']),
    );
    expect(await workers.client.workflow.getHandle('pipeline/default').query('config')).toMatchObject({
      zone: 'Europe/Berlin',
    });
  });

  it('keeps what ten clients save at the same time', async () => {
    const saved = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        send('PATCH', 'conn-src', [{ name: `option${index}`, value: `${index}` }]),
      ),
    );
    const kept = saved.filter(({ status }) => status === 204).length;
    expect(saved.every(({ status }) => status === 204 || status === 409)).toBe(true);
    expect(kept).toBeGreaterThanOrEqual(5);
    const names = (await send('GET', 'conn-src'))
      .json()
      .filter(({ name }: { name: string }) => name.startsWith('option'));
    expect(names).toHaveLength(kept);
  });
});

describe('connections', () => {
  it('are tested on a worker, sealed on the way, and noted', async () => {
    const at = await configured('tested');
    expect((await send('POST', `${at}/conn-src/test`, connection('src', { type: 'rds.pgres' }))).text).toBe(
      '{"success":true}',
    );
    const input = asked.tests.at(-1) as TestInput;
    expect(JSON.stringify(input)).not.toContain('topsecret1');
    expect(openParams(testKey, input.params)).toMatchObject({ pwd: 'topsecret1' });
    expect((await send('GET', `${at}/conn-src`)).json()).toContainEqual({ name: 'status', value: 'Y' });
    quick.test = async () => ({ ok: false, messages: [{ topic: null, message: 'refused' }] });
    expect((await send('POST', `${at}/conn-src/test`, connection('src', { type: 'rds.pgres' }))).json()).toMatchObject({
      messageList: [{ message: 'refused' }],
    });
    expect((await send('GET', `${at}/conn-src`)).json()).toContainEqual({ name: 'status', value: 'N' });
  });

  it('that cannot be listed are 502 in the driver’s words', async () => {
    const at = await configured('broken');
    const answer = await send('GET', `${at}/list-db/shop/broken`);
    expect([answer.status, answer.json().message]).toEqual([502, 'Login refused. Grant it.']);
  });
});

describe('runs', () => {
  it('are requested once per key, seen live, and cancelled', async () => {
    const at = await configured('runs', ['a', 'b']);
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    world.onChunk = () => gate;
    const headers = { 'Idempotency-Key': 'k1', Prefer: 'return=representation' };
    const first = await send('POST', `${at}/ops/extract/full`, undefined, headers);
    const again = await send('POST', `${at}/ops/extract/full`, undefined, headers);
    expect(first.json()).toMatchObject({ success: true, run: { id: 1, operation: 'full' } });
    expect(again.text).toBe(first.text);
    const live = await until(
      () => send('GET', `${at}/status`),
      (answer) => answer.json().current.load?.progress?.phase === 'loading',
    );
    expect(live.json().current.load).toMatchObject({ id: 1, state: 'running', progress: { tablesTotal: 2 } });
    expect((await send('GET', `${at}/runs/1`)).json()).toMatchObject({
      id: 1,
      tables: [{ schema: 'public' }, { schema: 'public' }],
    });
    expect((await send('GET', `${at}/runs/2`)).status).toBe(404);
    expect((await send('POST', `${at}/ops/cancel`)).json()).toEqual({ success: true, cancelled: [1], refused: [] });
    open();
    const ended = await until(
      () => send('GET', `${at}/runs`),
      (answer) => answer.json().runs[0].endedAt !== null,
    );
    expect(ended.json().runs).toMatchObject([{ id: 1, state: 'cancelled' }]);
    const metrics = (await send('GET', '/metrics')).text;
    expect(metrics).toContain('flow_ingest_last_run_state{pipeline="runs",operation="full",state="cancelled"} 1');
  });

  it('show rows that are still in flight', async () => {
    const at = await configured('flight', ['a']);
    world.chunks = 4;
    world.rowsPerChunk = 1000;
    let chunk = 0;
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    world.onChunk = async () => {
      chunk += 1;
      if (chunk > 2) await gate;
    };
    await send('POST', `${at}/ops/extract/full`);
    const seen = await until(
      () => send('GET', `${at}/status`),
      (answer) => (answer.json().current.load?.rows.loaded ?? 0) >= 1000,
    );
    expect(seen.json().current.load.rows.loaded).toBeLessThan(4000);
    expect((await send('GET', `${at}/tables`)).json().tables[0]).toMatchObject({
      state: 'loading',
      rows: seen.json().current.load.rows.loaded,
    });
    open();
    await until(
      () => send('GET', `${at}/runs`),
      (answer) => answer.json().runs[0].endedAt !== null,
    );
  });
});

describe('named pipelines', () => {
  it('are made once, listed, and removed with what they made', async () => {
    const at = await configured('short-lived', ['a']);
    expect((await send('POST', '/pipelines', { name: 'short-lived' })).status).toBe(409);
    await until(
      () => send('GET', '/pipelines'),
      (answer) => answer.json().pipelines.some((one: { name: string }) => one.name === 'short-lived'),
    );
    const removed = await send('DELETE', '/pipelines/short-lived');
    expect([removed.status, removed.json()]).toEqual([200, { success: true, warnings: ['a warning'] }]);
    expect(asked.removals.at(-1)).toMatchObject({
      pipeline: 'short-lived',
      databases: ['shop_public'],
      source: { host: '127.0.0.1' },
    });
    expect((await send('GET', `${at}/status`)).status).toBe(404);
    expect((await send('PATCH', `${at}/config-sched`, { type: 'auto' })).status).toBe(404);
    expect((await send('DELETE', '/pipelines/short-lived')).status).toBe(404);
    expect((await send('POST', '/pipelines', { name: 'short-lived' })).status).toBe(201);
    expect((await send('GET', `${at}/conn-src`)).json()).toHaveLength(2);
  });

  it('are made once by a repeated request', async () => {
    const key = { 'Idempotency-Key': 'make' };
    expect((await send('POST', '/pipelines', { name: 'again' }, key)).status).toBe(201);
    expect((await send('POST', '/pipelines', { name: 'again' }, key)).status).toBe(201);
    expect((await send('POST', '/pipelines', { name: 'again' }, { 'Idempotency-Key': 'other' })).status).toBe(409);
  });

  it('whose removal failed are removed by a second request', async () => {
    await configured('stubborn');
    quick.removal = async () => {
      throw ApplicationFailure.nonRetryable('not yet', 'AccessDenied');
    };
    expect((await send('DELETE', '/pipelines/stubborn')).status).toBe(502);
    quick.removal = async () => {};
    expect((await send('DELETE', '/pipelines/stubborn')).status).toBe(200);
    expect((await send('DELETE', '/pipelines/stubborn')).status).toBe(404);
  });
});

describe('events', () => {
  it('stream while they happen', async () => {
    const at = await configured('streamed');
    const response = await app.request(`${at}/events`, {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': '2' },
    });
    await send('PATCH', `${at}/config-sched`, { type: 'auto' });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toMatch(/^id: 3$/m);
    await reader.cancel();
  });
});

describe('without a worker', () => {
  it('every route is 503 within five seconds', async () => {
    const gone = await startHarness(
      { address: inject('temporal').address, bundlePath: inject('bundlePath') },
      activities,
    );
    const env = { TEMPORAL_ADDRESS: inject('temporal').address, TEMPORAL_NAMESPACE: gone.namespace };
    const log = createLog({ level: 'error', format: 'text' });
    const links = [connectTemporal(loadConfig(env))];
    /** Each an application of its own, which remembers no failure of another. */
    const fresh = () => {
      const own = connectTemporal(loadConfig(env));
      links.push(own);
      return createApp(temporalPipelines(own, 'UTC'), { key: testKey, log });
    };
    const at = `/pipelines/orphan${base}`;
    const headers = { 'Content-Type': 'application/json' };
    const before = fresh();
    await before.request('/pipelines', { method: 'POST', headers, body: '{"name":"orphan"}' });
    const save = { method: 'PATCH', headers, body: JSON.stringify(connection('src', { type: 'rds.pgres' })) };
    expect((await before.request(`${at}/conn-src`, save)).status).toBe(204);
    await gone.stop();
    const requests: readonly (readonly [string, string, unknown?])[] = [
      ['GET', 'conn-src'],
      ['PATCH', 'config-sched', { type: 'auto' }],
      ['POST', 'ops/extract/full'],
      ['POST', 'conn-src/test', connection('src', { type: 'rds.pgres' })],
      ['GET', 'list-db'],
      ['GET', 'events'],
    ];
    const answers = requests.map(async ([method, path, body]) => {
      const began = performance.now();
      const init = { method, headers };
      const response = await fresh().request(
        `${at}/${path}`,
        body === undefined ? init : { ...init, body: JSON.stringify(body) },
      );
      return { path, status: response.status, inTime: performance.now() - began < 5_000, text: await response.text() };
    });
    for (const answer of await Promise.all(answers)) {
      expect(answer).toMatchObject({ status: 503, inTime: true, text: expect.stringContaining('No worker') });
    }
    await Promise.all(links.map((one) => one.close()));
  });
});

describe('an unknown namespace', () => {
  it('is 503 and says what to check', async () => {
    const other = connectTemporal(
      loadConfig({ TEMPORAL_ADDRESS: inject('temporal').address, TEMPORAL_NAMESPACE: 'nowhere' }),
    );
    const lost = createApp(temporalPipelines(other, 'UTC'), {
      key: testKey,
      log: createLog({ level: 'error', format: 'text' }),
    });
    const response = await lost.request(`${base}/status`);
    const { message } = (await response.json()) as { message: string };
    expect([response.status, message]).toEqual([503, expect.stringContaining('TEMPORAL_NAMESPACE')]);
    expect((await lost.request('/readyz')).status).toBe(503);
    await other.close();
  });
});
