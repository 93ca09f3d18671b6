import { describe, expect, it } from 'vitest';
import { sourceCodes } from '../../src/codes.ts';
import { connection, type Harness, harness } from './harness.ts';
import { documentedPorts, documentedTypes, type Exchange, reference } from './reference/parse.ts';

const named = (title: string): Exchange => {
  const found = reference.find((one) => one.title === title);
  if (found === undefined) throw new Error(`the reference has no "${title}"`);
  return found;
};

/** Sends a documented sample exactly as printed. */
async function sample(api: Harness, exchange: Exchange, index = 0) {
  const request = exchange.requests[index];
  if (request === undefined) throw new Error('no such sample');
  return api.send(request.method, request.url, request.body, request.headers);
}

const compact = (body: unknown) => JSON.stringify(body);
const message = (answer: unknown) =>
  (answer as { messageList: [{ topic: string | null; message: string }] }).messageList[0];

describe('the reference, sample by sample', () => {
  it('was read whole', () => {
    expect(reference.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'PATCH /conn-src',
      'POST /conn-src/test',
      'GET /conn-src',
      'PATCH /conn-dst',
      'POST /conn-dst/test',
      'GET /conn-dst',
      'PATCH /config-var/licence',
      'GET /config-var/licence',
      'PATCH /config-sched',
      'GET /config-sched',
      'PATCH /config-tab/{database}/{schema}/{table}',
      'GET /list-db/{database}/{schema}',
      'POST /ops/extract/{operation}',
    ]);
    expect(reference.flatMap(({ requests }) => requests)).toHaveLength(14);
    expect(reference.flatMap(({ answers }) => answers)).toHaveLength(22);
  });

  describe.each(reference.filter(({ method }) => method === 'PATCH'))('$title', (exchange) => {
    it.each(exchange.requests.map((_, index) => index))('sample %i is 204 with nothing', async (index) => {
      const api = harness();
      await api.configure([]);
      const answer = await sample(api, exchange, index);
      expect([answer.status, answer.text, answer.headers.get('content-type')]).toEqual([204, '', null]);
    });
  });

  describe.each([
    { title: 'Test Source Database Connection', side: 'src' },
    { title: 'Test Destination Database Connection', side: 'dst' },
  ] as const)('$title', ({ title, side }) => {
    it.each(named(title).answers)('answers as documented: $title', async ({ title: outcome, body }) => {
      const api = harness();
      const documented = compact(body);
      if (outcome.startsWith('Invalid type')) {
        const answer = await api.send('POST', `conn-${side}/test`, connection(side, { type: 'rds.' }));
        expect([answer.status, answer.text]).toEqual([200, documented]);
        return;
      }
      const fails = outcome !== 'Success';
      api.world.connects = () => (fails ? { ok: false, messages: [message(body)] } : { ok: true, messages: [] });
      const answer = await sample(api, named(title));
      expect([answer.status, answer.text]).toEqual([200, documented]);
      expect(answer.headers.get('content-type')).toBe('application/json');
    });
  });

  it.each([
    { title: 'Get Source Database Details', side: 'src' },
    { title: 'Get Destination Database Details', side: 'dst' },
  ] as const)('$title gives the documented bytes', async ({ title, side }) => {
    const api = harness();
    const documented = named(title).answers[0]?.body as { name: string; value: string }[];
    const host = documented.find(({ name }) => name === 'host')?.value as string;
    await api.send('PATCH', `conn-${side}`, connection(side, { host }));
    await api.send('POST', `conn-${side}/test`, connection(side, { host }));
    expect((await sample(api, named(title))).text).toBe(compact(documented));
  });

  it('Get License Information has the documented shape, and never an expiry', async () => {
    const api = harness();
    await sample(api, named('Save a New License Key'));
    const answer = (await sample(api, named('Get License Information'))).json();
    const documented = named('Get License Information').answers[0]?.body as { name: string; value: string }[];
    expect(answer.map(Object.keys)).toEqual(documented.map(Object.keys));
    expect(answer.map(({ name }: { name: string }) => name)).toEqual(documented.map(({ name }) => name));
    expect(answer[0].value).toBe('No licence required');
    expect(answer[1].value).toBe(documented[1]?.value);
    expect((await sample(api, named('Get License Information'))).json()).toEqual(answer);
  });

  it.each(named('Get Schedule Settings').answers)(
    'Get Schedule Settings gives the documented bytes: $body.type',
    async ({ body }) => {
      const api = harness();
      expect((await api.send('PATCH', 'config-sched', body)).status).toBe(204);
      expect((await sample(api, named('Get Schedule Settings'))).text).toBe(compact(body));
    },
  );

  it('List Available Tables gives the documented bytes', async () => {
    const api = harness();
    await api.configure([]);
    await sample(api, named('Select a Table for Ingestion'));
    const answer = await sample(api, named('List Available Tables with Selection Status'));
    expect(answer.text).toBe(compact(named('List Available Tables with Selection Status').answers[0]?.body));
  });

  it('Execute an Operation gives the documented bytes, refusals with a reason beside them', async () => {
    const operation = named('Execute an Operation in Ingest');
    const [accepted, structure, refused] = operation.answers.map(({ body }) => body as Record<string, unknown>);
    const api = harness();
    const early = await sample(api, operation);
    expect([early.status, early.json()]).toEqual([
      200,
      { ...refused, reason: { code: 'no_connection', text: expect.any(String) } },
    ]);
    expect(early.text.startsWith(compact(refused).slice(0, -1))).toBe(true);
    await api.configure();
    expect((await sample(api, operation)).text).toBe(compact(accepted));
    expect((await api.send('POST', 'ops/extract/syncstruct')).json().message).toBe(structure?.['message']);
  });
});

describe('the reference’s tables', () => {
  it('hold the 23 types that we know', () => {
    const ours = sourceCodes.map(({ product, extract, code }) => ({ product, extract, code }));
    expect(ours).toEqual(documentedTypes);
    expect(ours).toHaveLength(23);
  });

  it.each(documentedTypes)('type $code can be saved', async ({ code }) => {
    const api = harness();
    const jdbc = code === 'rds.jdbcfe' ? { drv: 'org.x.Driver', url: 'jdbc:x://h/d' } : {};
    expect((await api.send('PATCH', 'conn-src', connection('src', { type: code, ...jdbc }))).status).toBe(204);
    const test = (await api.send('POST', 'conn-src/test', connection('src', { type: code, ...jdbc }))).json();
    expect(test).toEqual({ success: true });
  });

  it('hold the default ports', () => {
    for (const { product, port } of documentedPorts) {
      const codes = sourceCodes.filter((code) => code.product.startsWith(product));
      expect(codes.length, product).toBeGreaterThan(0);
      expect(new Set(codes.map((code) => code.port)), product).toEqual(new Set([port]));
    }
  });
});
