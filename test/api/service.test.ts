import { describe, expect, it } from 'vitest';
import { base, harness } from './harness.ts';

const event = (seq: number) =>
  ({
    seq,
    at: '2026-01-01T00:00:00.000Z',
    level: 'info',
    group: 'Others',
    code: 'scheduler',
    message: `event ${seq}\nsecond line`,
    run: null,
    table: null,
  }) as const;

describe('events', () => {
  it('are read from where the last call ended', async () => {
    const api = harness();
    api.world.known('default').events.push(event(1), event(2));
    expect((await api.send('GET', 'events')).json()).toEqual({ events: [event(1), event(2)], next: 2 });
    expect((await api.send('GET', 'events?since=1')).json()).toEqual({ events: [event(2)], next: 2 });
    expect((await api.send('GET', 'events?since=9')).json()).toEqual({ events: [], next: 9 });
  });

  it.each(['-1', 'x', '1.5', '99999999999999999999', ''])('refuse since=%s', async (since) => {
    const answer = await harness().send('GET', `events?since=${since}`);
    expect([answer.status, answer.json().errors[0].field]).toEqual([400, 'since']);
  });

  it('stream: those kept first, then new ones, continued by Last-Event-ID', async () => {
    const api = harness();
    const { events } = api.world.known('default');
    events.push(event(1), event(2));
    const follow = async (headers: Record<string, string>, count: number, meanwhile: () => void) => {
      const abort = new AbortController();
      const request = new Request(`http://localhost${base}/events`, {
        headers: { Accept: 'text/event-stream', ...headers },
        signal: abort.signal,
      });
      const response = await api.app.request(request);
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
      let text = '';
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      while (text.split('\n\n').length <= count) {
        const { value, done } = await reader.read();
        if (done) break;
        text += new TextDecoder().decode(value);
        if (text.split('\n\n').length === count) meanwhile();
      }
      await reader.cancel();
      abort.abort();
      return text.trim().split('\n\n');
    };
    const first = await follow({}, 3, () => events.push(event(3)));
    expect(first.map((part) => /^id: (\d+)$/m.exec(part)?.[1])).toEqual(['1', '2', '3']);
    expect(first[0]).toContain('event: scheduler');
    expect(JSON.parse(/^data: (.*)$/m.exec(first[0] ?? '')?.[1] ?? '')).toEqual(event(1));
    const second = await follow({ 'Last-Event-ID': '2' }, 1, () => {});
    expect(second.map((part) => /^id: (\d+)$/m.exec(part)?.[1])).toEqual(['3']);
  });

  it('refuse a Last-Event-ID that is none', async () => {
    const answer = await harness().send('GET', 'events', undefined, {
      'Last-Event-ID': 'abc',
      Accept: 'text/event-stream',
    });
    expect([answer.status, answer.json().errors[0].field]).toEqual([400, 'Last-Event-ID']);
  });
});

describe('health', () => {
  it('tells living from being ready', async () => {
    const api = harness();
    expect((await api.send('GET', '/healthz')).text).toBe('{"status":"ok"}');
    expect((await api.send('GET', '/readyz')).text).toBe('{"status":"ready","workers":1}');
    api.world.health = { ok: false, temporal: true, hint: 'Start a worker.' };
    const answer = await api.send('GET', '/readyz');
    expect([answer.status, answer.json().hint, answer.headers.get('retry-after')]).toEqual([
      503,
      'Start a worker.',
      '5',
    ]);
    expect((await api.send('GET', '/healthz')).status).toBe(200);
  });
});

describe('/metrics', () => {
  /** Lines of one metric, help and type checked. */
  const lines = (text: string, name: string) => {
    expect(text).toMatch(new RegExp(`^# HELP ${name} .+\n# TYPE ${name} gauge$`, 'm'));
    return text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  };

  it('tell each pipeline’s tables, runs and queue', async () => {
    const api = harness();
    await api.configure(['customers', 'orders']);
    await api.send('POST', '/pipelines', { name: 'sales' });
    const at = '2026-01-01T00:00:10.000Z';
    const rows = { loaded: 7, inserted: 0, updated: 0, deleted: 0, parked: 2 };
    api.world.addRun('default', { state: 'failed', rows, startedAt: '2026-01-01T00:00:00.000Z', endedAt: at });
    api.world.addRun('default', { state: 'running', rows: { ...rows, loaded: 3 } });
    await api.send('POST', 'ops/extract/full');
    const answer = await api.send('GET', '/metrics');
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const of = (name: string) => lines(answer.text, `flow_ingest_${name}`);
    expect(of('up')).toEqual(['flow_ingest_up 1']);
    expect(of('pipelines')).toEqual(['flow_ingest_pipelines 2']);
    expect(of('tables')).toEqual(['flow_ingest_tables{pipeline="default",state="new"} 2']);
    expect(of('queue_length')).toEqual([
      'flow_ingest_queue_length{pipeline="default"} 1',
      'flow_ingest_queue_length{pipeline="sales"} 0',
    ]);
    expect(of('run_open_rows')).toEqual(['flow_ingest_run_open_rows{pipeline="default",operation="full"} 3']);
    expect(of('last_run_state')).toEqual([
      'flow_ingest_last_run_state{pipeline="default",operation="full",state="failed"} 1',
    ]);
    expect(of('last_run_rows')).toEqual(['flow_ingest_last_run_rows{pipeline="default",operation="full"} 7']);
    expect(of('last_run_parked_rows')).toEqual([
      'flow_ingest_last_run_parked_rows{pipeline="default",operation="full"} 2',
    ]);
    expect(of('last_run_duration_seconds')).toEqual([
      'flow_ingest_last_run_duration_seconds{pipeline="default",operation="full"} 10',
    ]);
    expect(of('lag_seconds')).toEqual([]);
    for (const line of answer.text.trimEnd().split('\n')) {
      expect(line).toMatch(
        /^(# (HELP|TYPE) flow_ingest_\w+ .+|flow_ingest_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+]+)$/,
      );
    }
  });

  it('say that nothing answers instead of failing', async () => {
    const api = harness();
    api.world.health = { ok: false, temporal: false, hint: 'Start Temporal.' };
    const answer = await api.send('GET', '/metrics');
    expect([answer.status, lines(answer.text, 'flow_ingest_up')]).toEqual([200, ['flow_ingest_up 0']]);
  });
});

describe('/docs', () => {
  it('shows every operation and needs nothing from elsewhere', async () => {
    const api = harness();
    const page = await api.send('GET', '/docs');
    expect(page.headers.get('content-type')).toContain('text/html');
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.text).not.toMatch(/<script|<link|<img|@import|url\(|src=/);
    const { paths } = (await api.send('GET', '/openapi.json')).json();
    const shown = Object.keys(paths).filter((path) => !path.startsWith('/pipelines/{name}/'));
    for (const path of shown) expect(page.text).toContain(`<code>${path}</code>`);
    for (const [, id] of page.text.matchAll(/href="#(\w+)"/g)) expect(page.text).toContain(`id="${id}"`);
  });
});
