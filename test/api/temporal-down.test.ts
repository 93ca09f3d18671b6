import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/api/app.ts';
import { temporalPipelines } from '../../src/api/temporal.ts';
import { connectTemporal, type Link } from '../../src/api/temporal-link.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { base, connection, testKey } from './harness.ts';

const log = createLog({ level: 'error', format: 'json' }, () => {});

/** Accepts connections and never says a word, as a hanging server does. */
function silentServer(): Promise<{ server: Server; port: number }> {
  return new Promise((resolve) => {
    const server = createServer(() => {});
    server.listen(0, '127.0.0.1', () => resolve({ server, port: (server.address() as { port: number }).port }));
  });
}

const requests: { method: string; path: string; body?: unknown }[] = [
  { method: 'GET', path: `${base}/conn-src` },
  { method: 'PATCH', path: `${base}/conn-src`, body: connection('src') },
  { method: 'POST', path: `${base}/conn-src/test`, body: connection('src') },
  { method: 'PATCH', path: `${base}/config-sched`, body: { type: 'manual' } },
  { method: 'PATCH', path: `${base}/config-tab/a/b/c`, body: { select: 'Y' } },
  { method: 'GET', path: `${base}/list-db/a/b` },
  { method: 'POST', path: `${base}/ops/extract/full` },
  { method: 'GET', path: `${base}/events` },
  { method: 'GET', path: '/pipelines' },
  { method: 'POST', path: '/pipelines', body: { name: 'x' } },
  { method: 'DELETE', path: '/pipelines/x' },
  { method: 'GET', path: '/readyz' },
];

describe.each(['closed', 'silent'] as const)('a %s port instead of Temporal', (kind) => {
  let server: Server | undefined;
  let address = '';
  const links: Link[] = [];

  beforeAll(async () => {
    const silent = await silentServer();
    server = silent.server;
    address = `127.0.0.1:${silent.port}`;
    if (kind === 'closed') await new Promise((resolve) => silent.server.close(resolve));
  });
  afterAll(async () => {
    await Promise.all(links.map((link) => link.close()));
    server?.close();
  });

  /** An application of its own, which remembers no failure of another. */
  function fresh(): ReturnType<typeof createApp> {
    const link = connectTemporal(loadConfig({ TEMPORAL_ADDRESS: address }));
    links.push(link);
    return createApp(temporalPipelines(link, 'UTC'), { key: testKey, log });
  }

  it.concurrent.each(requests)(
    '$method $path is 503 with a hint within five seconds',
    async ({ method, path, body }) => {
      const app = fresh();
      const began = performance.now();
      const init = { method, headers: { 'Content-Type': 'application/json' } };
      const response = await app.request(path, body === undefined ? init : { ...init, body: JSON.stringify(body) });
      expect(performance.now() - began).toBeLessThan(5_000);
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
      expect(await response.json()).toMatchObject({ success: false, hint: expect.stringContaining(address) });
    },
  );

  it('answers what follows at once, lives on, and says so in its metrics', async () => {
    const app = fresh();
    await app.request(`${base}/status`);
    const began = performance.now();
    expect((await app.request(`${base}/status`)).status).toBe(503);
    expect(performance.now() - began).toBeLessThan(500);
    expect((await app.request('/healthz')).status).toBe(200);
    expect(await (await app.request('/metrics')).text()).toContain('flow_ingest_up 0');
  });
});
