import { describe, expect, it } from 'vitest';
import { Problem } from '../../src/api/problem.ts';
import { base, connection, harness } from './harness.ts';

const bodied: readonly (readonly [string, string])[] = [
  ['PATCH', 'conn-src'],
  ['POST', 'conn-src/test'],
  ['PATCH', 'conn-dst'],
  ['POST', 'conn-dst/test'],
  ['PATCH', 'config-var/licence'],
  ['PATCH', 'config-sched'],
  ['PATCH', 'config-tab/mydb/classicmodels/customers'],
  ['POST', '/pipelines'],
];

const json = { 'Content-Type': 'application/json' };

/** RFC 9457, and what clients of the documented API look for. */
function expectProblem(answer: { status: number; headers: Headers; json(): unknown }, status: number): void {
  expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json']);
  expect(answer.json()).toMatchObject({
    type: 'about:blank',
    title: expect.any(String),
    status,
    detail: expect.any(String),
    success: false,
    message: expect.any(String),
  });
}

describe.each(bodied)('%s %s', (method, path) => {
  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/jsonp', 'json', ''])(
    'refuses content type %j',
    async (type) => {
      const api = harness();
      const answer = await api.send(method, path, '{}', { 'Content-Type': type });
      expectProblem(answer, 415);
      expect(answer.json()).toMatchObject({ errors: [{ field: 'Content-Type' }] });
      expect(api.world.calls).toEqual([]);
    },
  );

  it.each(['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/merge-patch+json'])(
    'takes content type %j',
    async (type) => {
      expect((await harness().send(method, path, '7', { 'Content-Type': type })).status).toBe(400);
    },
  );

  it.each(['', '{', '[1,]', "{'a':1}", 'undefined', '{"a":1}x', '\u0000'])(
    'refuses malformed JSON %j',
    async (body) => {
      const answer = await harness().send(method, path, body, json);
      expectProblem(answer, 400);
      expect(answer.json()).toMatchObject({ errors: [{ field: 'body' }] });
    },
  );

  it('refuses bytes that are not UTF-8', async () => {
    const { app } = harness();
    const url = path.startsWith('/') ? path : `${base}/${path}`;
    const response = await app.request(url, { method, headers: json, body: new Uint8Array([0x22, 0xff, 0xfe, 0x22]) });
    expect([response.status, await response.json()]).toEqual([
      400,
      expect.objectContaining({ errors: [{ field: 'body', message: 'is not valid UTF-8' }] }),
    ]);
  });

  it('refuses a body over the limit, announced or not', async () => {
    const api = harness({ bodyLimit: 1000 });
    const long = JSON.stringify('x'.repeat(1001));
    expectProblem(await api.send(method, path, long, { 'Content-Length': '1003' }), 413);
    expectProblem(await api.send(method, path, long), 413);
    const chunks = new ReadableStream({
      start(controller) {
        for (let index = 0; index < 20; index += 1) controller.enqueue(new TextEncoder().encode(' '.repeat(100)));
        controller.close();
      },
    });
    const url = path.startsWith('/') ? path : `${base}/${path}`;
    const response = await api.app.request(url, { method, headers: json, body: chunks, duplex: 'half' } as RequestInit);
    expect(response.status).toBe(413);
    expect((await api.send(method, path, `"${'x'.repeat(900)}"`)).status).toBe(400);
  });

  it('passes a missing pipeline, an absent Temporal and a late answer on', async () => {
    const api = harness();
    await api.configure([]);
    if (path !== '/pipelines') expectProblem(await api.send(method, `/pipelines/nope${base}/${path}`, good(path)), 404);
    for (const status of [503, 504]) {
      api.world.down = new Problem(status, 'not now', { more: { hint: 'wait' } });
      const answer = await api.send(method, path, good(path));
      expectProblem(answer, status);
      expect(answer.json()).toMatchObject({ hint: 'wait' });
    }
  });
});

function good(path: string): unknown {
  if (path.startsWith('conn')) return connection(path.includes('src') ? 'src' : 'dst');
  if (path.includes('licence')) return [{ name: '_lic_key', value: 'A' }];
  if (path.includes('sched')) return { type: 'manual' };
  return path.includes('tab') ? { select: 'Y' } : { name: 'sales' };
}

describe('licence', () => {
  it.each([
    [[], '_lic_key'],
    [[{ name: 'other', value: 'x' }], '[0].name'],
    [[{ name: '_lic_key', value: 5 }], '_lic_key'],
    [
      [
        { name: '_lic_key', value: 'a' },
        { name: '_lic_key', value: 'b' },
      ],
      '_lic_key',
    ],
    [[{ name: '_lic_key', value: 'x'.repeat(1001) }], '_lic_key'],
    [[{ name: '_lic_key', value: 'a\nb' }], '_lic_key'],
    [[{ name: '_lic_key', value: '\udc00' }], '_lic_key'],
  ])('refuses case %#', async (body, field) => {
    const answer = await harness().send('PATCH', 'config-var/licence', body);
    expect([answer.status, answer.json().errors[0].field]).toEqual([400, field]);
  });

  it('takes its own GET back', async () => {
    const api = harness();
    await api.send('PATCH', 'config-var/licence', [{ name: '_lic_key', value: 'KEY' }]);
    const shown = await api.send('GET', 'config-var/licence');
    expect((await api.send('PATCH', 'config-var/licence', shown.text)).status).toBe(204);
    expect((await api.send('GET', 'config-var/licence')).text).toBe(shown.text);
  });
});

describe('routes', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/ingest'],
    ['GET', `${base}`],
    ['GET', `${base}/nope`],
    ['POST', `${base}/ops`],
    ['POST', `${base}/ops/extract`],
    ['POST', `${base}/ops/extract/`],
    ['POST', `${base}/ops/extract/FULL`],
    ['POST', `${base}/ops/extract/constructor`],
    ['POST', `${base}/ops/extract/full/now`],
    ['GET', `${base}/config-var/other`],
    ['GET', `${base}/runs/0`],
    ['GET', `${base}/runs/-1`],
    ['GET', `${base}/runs/abc`],
    ['GET', `${base}/runs/99999999999999999999`],
    ['POST', `${base}/tables/a/b/c/explode`],
    ['GET', `/pipelines/UPPER${base}/status`],
    ['GET', `/pipelines/-x${base}/status`],
    ['GET', `/pipelines/${'x'.repeat(64)}${base}/status`],
    ['GET', `/pipelines/a%2Fb${base}/status`],
    ['DELETE', '/pipelines/No'],
    ['DELETE', '/pipelines/unknown'],
  ])('%s %s is 404', async (method, path) => {
    expectProblem(await harness().send(method, path), 404);
  });

  it.each([
    ['POST', `${base}/conn-src`, 'PATCH, GET, HEAD'],
    ['PUT', `${base}/conn-dst`, 'PATCH, GET, HEAD'],
    ['GET', `${base}/conn-src/test`, 'POST'],
    ['GET', `${base}/ops/extract/full`, 'POST'],
    ['DELETE', `${base}/config-tab/a/b/c`, 'PATCH, GET, HEAD'],
    ['POST', `${base}/list-db`, 'GET, HEAD'],
    ['PATCH', '/pipelines', 'GET, POST, HEAD'],
    ['GET', '/pipelines/x', 'DELETE'],
    ['POST', '/healthz', 'GET, HEAD'],
  ])('%s %s is 405 and says what is allowed', async (method, path, allow) => {
    const answer = await harness().send(method, path);
    expectProblem(answer, 405);
    expect(answer.headers.get('allow')).toBe(allow);
  });

  it('answer with a trailing slash and to HEAD', async () => {
    const api = harness();
    expect((await api.send('GET', 'conn-src/')).status).toBe(200);
    expect(await api.send('HEAD', 'conn-src')).toMatchObject({ status: 200, text: '' });
    await api.configure();
    expect((await api.send('GET', 'list-db/mydb/classicmodels/')).json()).toHaveLength(8);
  });
});

describe('every answer', () => {
  it('has a request id: the caller’s, or one of ours', async () => {
    const api = harness();
    expect((await api.send('GET', 'status', undefined, { 'X-Request-Id': 'abc-1' })).headers.get('x-request-id')).toBe(
      'abc-1',
    );
    for (const bad of ['', 'has space', 'x'.repeat(129), 'a"b']) {
      expect((await api.send('GET', '/nope', undefined, { 'X-Request-Id': bad })).headers.get('x-request-id')).toMatch(
        /^[0-9a-f-]{36}$/,
      );
    }
    expect((await api.send('POST', 'ops/extract/full', 'x'.repeat(2_000_000))).headers.get('x-request-id')).toMatch(
      /^[0-9a-f-]{36}$/,
    );
  });

  it('is logged by path, without query and body', async () => {
    const api = harness();
    await api.send('GET', 'events?since=0&token=query-secret', undefined, { 'X-Request-Id': 'r1' });
    await api.send('PATCH', 'conn-src', connection('src', { pwd: 'body-secret', pwd2: 'body-secret' }));
    const lines = api.logged.map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({
      message: 'request',
      method: 'GET',
      path: `${base}/events`,
      status: 200,
      requestId: 'r1',
      ms: expect.any(Number),
    });
    expect(api.logged.join('')).not.toMatch(/query-secret|body-secret/);
  });

  it('tells no internals when something breaks', async () => {
    const api = harness();
    api.world.pipelines.config = async () => {
      throw new Error('secret internals at /some/path');
    };
    const answer = await api.send('GET', 'conn-src', undefined, { 'X-Request-Id': 'broken-1' });
    expectProblem(answer, 500);
    expect(answer.text).not.toMatch(/internals|path|\.ts/);
    expect(answer.text).toContain('broken-1');
    expect(api.logged.join('')).toContain('secret internals');
  });
});

describe('other web sites', () => {
  it.each([{ Origin: 'https://evil.example' }, { Origin: 'null' }, { 'Sec-Fetch-Site': 'cross-site' }])(
    'cannot start anything: %j',
    async (headers) => {
      const api = harness();
      expectProblem(await api.send('POST', 'ops/extract/full', undefined, headers), 403);
      expect(api.world.calls).toEqual([]);
      expect((await api.send('GET', 'status', undefined, headers)).status).toBe(200);
    },
  );

  it('pages of this server can', async () => {
    expect((await harness().send('POST', 'ops/extract/full', undefined, { Origin: 'http://localhost' })).status).toBe(
      200,
    );
  });
});
