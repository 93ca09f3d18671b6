import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sourceCodes } from '../../src/codes.ts';
import { connection, type Harness, harness } from './harness.ts';
import { reference } from './reference/parse.ts';

type Schema = Record<string, unknown>;
type Content = Record<string, { schema: Schema }>;
type Operation = {
  operationId: string;
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[];
  requestBody?: { content: Content };
  responses: Record<string, { content?: Content }>;
};
type Document = {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

const document = (await harness().send('GET', '/openapi.json')).json() as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
);

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ $id: 'doc', ...document });

function judge(schema: Schema) {
  const local = JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"doc#/components'));
  return ajv.compile(local);
}

const secret = 'S3cr3t-pass-word';
const evil = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom(
    '',
    '__proto__',
    'constructor',
    'toString',
    '../..',
    "' or 1=1 --",
    '***',
    'Y',
    'null',
    '0',
    secret,
    '\ud800',
    'x'.repeat(300),
  ),
  fc.constantFrom(
    'full',
    'delta',
    'default',
    'sales',
    'classicmodels',
    'customers',
    'mydb',
    'rds.mysql',
    'rds.pgres',
    'manual',
    'periodic',
    '1d',
    'on',
    'off',
  ),
);

/** Values of a schema's shape, now and then of another. */
function anyOf(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
  const ref = schema['$ref'];
  if (typeof ref === 'string') return anyOf(document.components.schemas[ref.split('/').at(-1) as string] ?? {}, depth);
  const choices = (schema['anyOf'] ?? schema['oneOf'] ?? schema['allOf']) as Schema[] | undefined;
  if (choices !== undefined) return fc.oneof(...choices.map((one) => anyOf(one, depth)));
  if (Array.isArray(schema['enum']))
    return fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...schema['enum']) }, { weight: 1, arbitrary: evil });
  const types = Array.isArray(schema['type']) ? schema['type'] : [schema['type']];
  return fc.oneof(
    { weight: 12, arbitrary: fc.oneof(...types.map((type) => typed(type, schema, depth))) },
    { weight: 1, arbitrary: fc.jsonValue() },
  );
}

function typed(type: unknown, schema: Schema, depth: number): fc.Arbitrary<unknown> {
  switch (type) {
    case 'object': {
      const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
      const known = fc.record(
        Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, anyOf(one, depth + 1)])),
        { requiredKeys: [] },
      );
      const more = fc.dictionary(evil, fc.oneof(evil, fc.jsonValue()), { maxKeys: 2 });
      return fc.tuple(known, more).map(([one, two]) => ({ ...one, ...two }));
    }
    case 'array':
      return fc.array(anyOf((schema['items'] ?? {}) as Schema, depth + 1), { maxLength: 8 });
    case 'string':
      return evil;
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer(), fc.double());
    case 'boolean':
      return fc.boolean();
    default:
      return fc.constant(null);
  }
}

const segment = evil.map((text) => encodeURIComponent(text.toWellFormed()) || 'x');

async function expectAsDescribed(
  api: Harness,
  what: (typeof operations)[number],
  path: string,
  body: string | undefined,
  headers: Record<string, string>,
) {
  const answer = await api.send(what.method, path, body, headers);
  const about = `${what.method} ${path} ${body?.slice(0, 300)} -> ${answer.status} ${answer.text.slice(0, 300)}`;
  expect(answer.status, about).toBeLessThan(500);
  expect(answer.text, about).not.toMatch(/\n\s+at |\.ts:\d|node_modules/);
  const described = what.operation.responses[answer.status] ?? what.operation.responses['default'];
  const type = (answer.headers.get('content-type') ?? '').split(';')[0] as string;
  if (described?.content === undefined) return expect(answer.text, about).toBe('');
  expect(Object.keys(described.content), about).toContain(type);
  if (!type.endsWith('json')) return;
  const check = judge(described.content[type]?.schema ?? {});
  expect(check(answer.json()), `${about}\n${JSON.stringify(check.errors)}`).toBe(true);
}

describe('the OpenAPI document', () => {
  it('is 3.1, with unique operations and every path value declared', () => {
    expect(document.openapi).toBe('3.1.0');
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations) {
      const declared = (operation.parameters ?? [])
        .filter((one) => one.in === 'path' && one.required)
        .map(({ name }) => name);
      expect([path, declared.sort()]).toEqual([path, [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort()]);
    }
  });

  it('describes every documented route at both bases, and nothing that is not in this version', () => {
    for (const { method, path } of reference) {
      for (const base of ['/ingest/api/ingest', '/pipelines/{name}/ingest/api/ingest']) {
        expect(document.paths[base + path]?.[method.toLowerCase()], `${method} ${base}${path}`).toBeDefined();
      }
    }
  });

  it('declares Idempotency-Key on every mutating operation', () => {
    for (const { method, path, operation } of operations) {
      const declared = (operation.parameters ?? []).some(
        (one) => one.name === 'Idempotency-Key' && one.in === 'header',
      );
      expect([method, path, declared]).toEqual([method, path, method !== 'GET']);
    }
  });

  it('has schemas that a validator of its dialect accepts', () => {
    for (const [name, schema] of Object.entries(document.components.schemas))
      expect(() => judge(schema), name).not.toThrow();
  });
});

describe.each(operations)('$method $path', (what) => {
  it('answers anything as described', async () => {
    const api = harness();
    await api.configure(['customers', 'orders']);
    await api.send('POST', '/pipelines', { name: 'sales' });
    await api.send('PATCH', 'conn-dst', [{ name: 'pwd', value: secret }]);
    api.world.addRun('default', { state: 'succeeded' });
    const schema = what.operation.requestBody?.content['application/json']?.schema;
    const body =
      schema === undefined
        ? fc.constant(undefined)
        : fc.oneof(
            { weight: 8, arbitrary: anyOf(schema).map((value) => JSON.stringify(value)) },
            { weight: 1, arbitrary: fc.json() },
            { weight: 1, arbitrary: evil },
          );
    const values = fc.array(segment, { minLength: 4, maxLength: 4 });
    const type = fc.oneof(
      { weight: 9, arbitrary: fc.constant('application/json') },
      { weight: 1, arbitrary: fc.constantFrom('text/plain', '') },
    );
    const query = what.operation.parameters?.some((one) => one.in === 'query')
      ? fc.oneof(
          fc.constant(''),
          segment.map((one) => `?since=${one}`),
        )
      : fc.constant('');
    await fc.assert(
      fc.asyncProperty(body, values, type, query, async (sent, parts, contentType, search) => {
        const filled = what.path.replaceAll(/\{\w+\}/g, () => parts.shift() ?? 'x') + search;
        const headers = sent === undefined ? {} : { 'Content-Type': contentType };
        await expectAsDescribed(api, what, filled, what.method === 'GET' ? undefined : sent, headers);
      }),
      { numRuns: 25 },
    );
    expect((await api.send('GET', 'status')).status).toBe(200);
    expect(api.logged.join('')).not.toContain(secret);
  });
});

describe('the reference’s own words', () => {
  const names = ['host', 'port', 'uid', 'pwd', 'pwd2', 'type', 'db', 'drv', 'url', 'id', 'status'];
  const words = fc.oneof(
    fc.constantFrom(
      '127.0.0.1',
      '3306',
      'admin',
      '<password>',
      '***',
      '',
      'rds.sstorem',
      'rds.',
      'jdbc:x://h/d',
      'localhost',
      'mydb',
      ...sourceCodes.map(({ code }) => code),
    ),
    evil,
  );
  const samples = reference.flatMap(({ requests }) => requests);

  it('in any mix: every answer is one of the documented kinds', async () => {
    const item = fc.record({
      name: fc.oneof(fc.constantFrom(...names), evil),
      value: fc.oneof(words, fc.integer({ min: -5, max: 70_000 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 9 }), fc.constantFrom('src', 'dst'), async (items, side) => {
        const api = harness();
        const saved = await api.send('PATCH', `conn-${side}`, items);
        expect([204, 400]).toContain(saved.status);
        const tested = await api.send('POST', `conn-${side}/test`, items);
        expect([200, 400]).toContain(tested.status);
        if (tested.status === 200 && !tested.json().success) {
          expect(Object.keys(tested.json())).toEqual(['messageList', 'success', 'status']);
          expect(tested.json().messageList.length).toBeGreaterThan(0);
        }
        const shown = await api.send('GET', `conn-${side}`);
        const listed = shown.json().map(({ name }: { name: string }) => name);
        expect(listed).toEqual([...listed].sort());
        // What GET shows can always be sent back, and changes nothing.
        expect((await api.send('PATCH', `conn-${side}`, shown.text)).status).toBe(204);
        expect((await api.send('GET', `conn-${side}`)).text).toBe(shown.text);
      }),
      { numRuns: 100 },
    );
  });

  it('sampled in any order never break anything', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(samples.length - 1), { maxLength: 12 }), async (order) => {
        const api = harness();
        for (const index of order) {
          const { method, url, body, headers } = samples[index] as (typeof samples)[number];
          const { status } = await api.send(method, url, body, headers);
          expect([200, 204, 409]).toContain(status);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('with one character changed are taken or refused, never a failure', async () => {
    const bodies = samples.filter(({ body }) => body !== undefined);
    await fc.assert(
      fc.asyncProperty(fc.nat(bodies.length - 1), fc.nat(600), fc.string({ maxLength: 2 }), async (index, at, text) => {
        const { method, url, body = '', headers } = bodies[index] as (typeof bodies)[number];
        const cut = at % (body.length + 1);
        const api = harness();
        await api.send('PATCH', 'conn-src', connection('src'));
        const { status } = await api.send(method, url, body.slice(0, cut) + text + body.slice(cut + 1), headers);
        expect(status).toBeLessThan(500);
      }),
      { numRuns: 300 },
    );
  });
});
