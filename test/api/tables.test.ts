import { describe, expect, it } from 'vitest';
import { Problem } from '../../src/api/problem.ts';
import { connection, type Harness, harness } from './harness.ts';

const table = 'config-tab/mydb/classicmodels/customers';
const calls = (api: Harness, name: string) => api.world.calls.filter((call) => call.name === name).length;
const saved = (api: Harness, name = 'customers') => api.world.known('default').tables.find((one) => one.name === name);

async function ready(options = {}): Promise<Harness> {
  const api = harness(options);
  await api.configure([]);
  return api;
}

async function postgres(): Promise<Harness> {
  const api = harness();
  await api.send('PATCH', 'conn-src', connection('src', { type: 'rds.pgres', port: '5432' }));
  await api.send('PATCH', 'conn-dst', connection('dst'));
  return api;
}

describe('PATCH config-tab', () => {
  it('selects and deselects', async () => {
    const api = await ready();
    expect((await api.send('PATCH', table, { select: 'Y' })).status).toBe(204);
    expect(saved(api)).toMatchObject({ database: 'default', schema: 'classicmodels', selected: true });
    expect((await api.send('PATCH', table, { select: 'N' })).status).toBe(204);
    expect(saved(api)?.selected).toBe(false);
  });

  it('keeps options apart from selection, merges them, unsets by null', async () => {
    const api = await ready();
    const all = { history: 'Y', skipInitial: 'N', redoInitial: 'Y', adopt: 'Y', paused: 'N' };
    await api.send('PATCH', table, {
      ...all,
      where: "a = 'b'",
      key: ['id'],
      mask: ['name'],
      types: { id: 'BIGINT' },
      sapMode: 'x',
    });
    expect(saved(api)?.selected).toBe(false);
    expect(saved(api)?.options).toEqual({
      ...{ history: true, skipInitial: false, redoInitial: true, adopt: true, paused: false },
      ...{ where: "a = 'b'", key: ['id'], mask: ['name'], types: { id: 'BIGINT' } },
    });
    const shown = (await api.send('GET', table)).json().options;
    expect(shown).toEqual({
      ...all,
      where: "a = 'b'",
      key: ['id'],
      mask: ['name'],
      types: { id: 'BIGINT' },
      sapMode: 'x',
    });
    await api.send('PATCH', table, {
      history: null,
      where: null,
      key: null,
      mask: [],
      types: {},
      sapMode: null,
      adopt: null,
    });
    expect(saved(api)?.options).toEqual({ skipInitial: false, redoInitial: true, paused: false });
    expect((await api.send('GET', table)).json().options).toEqual({ skipInitial: 'N', redoInitial: 'Y', paused: 'N' });
  });

  it('takes back its own options', async () => {
    const api = await ready();
    await api.send('PATCH', table, { select: 'Y', history: 'Y', key: ['id'], sapMode: 'x' });
    const { options } = (await api.send('GET', table)).json();
    const before = saved(api);
    expect((await api.send('PATCH', table, options)).status).toBe(204);
    expect(saved(api)).toEqual(before);
  });

  it.each([
    [{}, 'body'],
    [[], 'body'],
    [null, 'body'],
    ['Y', 'body'],
    [{ select: 'y' }, 'select'],
    [{ select: true }, 'select'],
    [{ select: null }, 'select'],
    [{ history: true }, 'history'],
    [{ skipInitial: 'yes' }, 'skipInitial'],
    [{ redoInitial: 1 }, 'redoInitial'],
    [{ adopt: '' }, 'adopt'],
    [{ paused: [] }, 'paused'],
    [{ where: 5 }, 'where'],
    [{ where: 'WHERE a = 1' }, 'where'],
    [{ where: 'x'.repeat(10_001) }, 'where'],
    [{ where: 'a = \0' }, 'where'],
    [{ where: 'a = \ud800' }, 'where'],
    [{ key: 'id' }, 'key'],
    [{ key: [5] }, 'key[0]'],
    [{ key: [''] }, 'key[0]'],
    [{ key: ['id', 'id'] }, 'key'],
    [{ key: ['nope'] }, 'key'],
    [{ mask: { a: 1 } }, 'mask'],
    [{ mask: ['nope'] }, 'mask'],
    [{ types: ['id'] }, 'types'],
    [{ types: { id: 5 } }, 'types.id'],
    [{ types: { nope: 'INT' } }, 'types'],
    [{ types: { id: 'NONSENSE' } }, 'types'],
    [{ mystery: 5 }, 'mystery'],
    [{ mystery: {} }, 'mystery'],
    [{ mystery: 'x'.repeat(10_001) }, 'mystery'],
  ])('refuses case %#, naming the field', async (body, field) => {
    const api = await ready();
    const answer = await api.send('PATCH', table, JSON.stringify(body));
    expect([answer.status, answer.json().errors[0].field]).toEqual([400, field]);
    expect(calls(api, 'setTable')).toBe(0);
  });

  it('refuses a cursor that is none, though the table can not be copied without one either', async () => {
    const api = await ready();
    api.world.catalog['classicmodels']?.push('needs_cursor');
    const path = table.replace(/[^/]+$/, 'needs_cursor');
    const wrong = await api.send('PATCH', path, { cursor: ['id'] });
    expect([wrong.status, wrong.json().errors[0]]).toMatchObject([400, { field: 'cursor' }]);
    expect((await api.send('PATCH', path, { mask: ['name'] })).status).toBe(204);
    expect((await api.send('PATCH', path, { cursor: ['name'] })).status).toBe(204);
  });

  it('refuses a table that the source doesn’t have, on every level', async () => {
    const api = await postgres();
    for (const path of [
      'config-tab/shop/classicmodels/nope',
      'config-tab/shop/nope/customers',
      'config-tab/nope/classicmodels/customers',
    ]) {
      const answer = await api.send('PATCH', path, { select: 'Y' });
      expect([path, answer.status, answer.json().success]).toEqual([path, 404, false]);
      expect((await api.send('GET', path)).status).toBe(404);
    }
  });

  it('takes the database by name or as default where it names one, anything where it names nothing', async () => {
    const api = await postgres();
    expect((await api.send('PATCH', 'config-tab/shop/classicmodels/customers', { select: 'Y' })).status).toBe(204);
    expect((await api.send('PATCH', 'config-tab/default/classicmodels/orders', { select: 'Y' })).status).toBe(204);
    expect(api.world.known('default').tables.map((one) => one.database)).toEqual(['shop', 'shop']);
    const mysql = await ready();
    expect((await mysql.send('PATCH', 'config-tab/any%20thing/classicmodels/customers', { select: 'Y' })).status).toBe(
      204,
    );
  });

  it('asks the source once for many tables, again on a miss, a stale entry or another connection', async () => {
    const api = await ready({ catalogTtlMs: 80 });
    await Promise.all(
      ['customers', 'orders', 'offices'].map((name) =>
        api.send('PATCH', `config-tab/mydb/classicmodels/${name}`, { select: 'Y' }),
      ),
    );
    expect(calls(api, 'catalog')).toBe(1);
    api.world.catalog['classicmodels']?.push('brandnew');
    expect((await api.send('PATCH', 'config-tab/mydb/classicmodels/brandnew', { select: 'Y' })).status).toBe(204);
    expect(calls(api, 'catalog')).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await api.send('PATCH', 'config-tab/mydb/classicmodels/payments', { select: 'Y' });
    expect(calls(api, 'catalog')).toBe(3);
    await api.send('PATCH', 'conn-src', connection('src', { host: 'other' }));
    await api.send('PATCH', 'config-tab/mydb/classicmodels/products', { select: 'Y' });
    expect(calls(api, 'catalog')).toBe(4);
  });

  it('selects a view by name', async () => {
    const api = await ready();
    api.world.views = ['big_customers'];
    expect((await api.send('PATCH', 'config-tab/mydb/classicmodels/big_customers', { select: 'Y' })).status).toBe(204);
    expect((await api.send('GET', 'list-db/mydb/classicmodels')).json()[0]).toEqual({
      name: 'big_customers',
      selected: true,
      id: 'big_customers',
    });
  });

  it('still deselects a table that the source no longer has, or while the source is away', async () => {
    const api = await ready();
    await api.send('PATCH', table, { select: 'Y' });
    api.world.catalog['classicmodels'] = [];
    api.world.sourceProblem = new Problem(502, 'connection refused');
    expect((await api.send('PATCH', table, { select: 'N' })).status).toBe(204);
    expect(saved(api)?.selected).toBe(false);
  });

  it.each(['PATCH', 'GET'])('%s is 409 without a source, 502 when it can’t be reached', async (method) => {
    const body = method === 'PATCH' ? { select: 'Y' } : undefined;
    const early = await harness().send(method, table, body);
    expect([early.status, early.json().message]).toEqual([
      409,
      expect.stringContaining('host, port, uid, pwd, type missing'),
    ]);
    const api = await ready();
    api.world.sourceProblem = new Problem(502, 'connection refused');
    expect((await api.send(method, table, body)).status).toBe(502);
  });
});

describe('path segments', () => {
  const odd = [
    'with space',
    'sla/sh',
    'per%cent',
    'do.t',
    '...',
    'ünï',
    '漢字',
    '🙂',
    'a?b',
    'a#b',
    'a&b=c',
    'quo"te',
    "it's",
    'back\\slash',
    '+plus',
    'a%2Fb',
    'semi;colon',
    'back`tick',
    'ta\tb',
  ];

  it.each(odd)('%j goes through every level as it is', async (name) => {
    const api = await postgres();
    api.world.database = name;
    api.world.catalog = { [name]: [name] };
    const part = encodeURIComponent(name);
    expect((await api.send('PATCH', `config-tab/${part}/${part}/${part}`, { select: 'Y' })).status).toBe(204);
    expect(saved(api, name)).toMatchObject({ database: name, schema: name, name });
    expect((await api.send('GET', `list-db/${part}/${part}`)).json()).toEqual([{ name, selected: true, id: name }]);
    expect((await api.send('GET', `list-db/${part}`)).json()).toEqual([{ name, selected: true, id: name }]);
    expect((await api.send('GET', `config-tab/${part}/${part}/${part}`)).json()).toMatchObject({
      db: name,
      schema: name,
      name,
    });
    expect((await api.send('GET', 'tables')).json().tables).toMatchObject([{ db: name, schema: name, name }]);
  });

  it('that are not UTF-8 are refused', async () => {
    const api = await ready();
    for (const path of ['config-tab/a/b/%ff', 'list-db/%c3%28/b', 'list-db/%e0%80%80', 'config-tab/%zz/b/c']) {
      const answer = await api.send('GET', path);
      expect([path, answer.status, answer.json().errors[0].field]).toEqual([path, 400, 'path']);
    }
  });

  it.each(['config-tab/a/b', 'config-tab/a//c', 'config-tab/a/b/c/d', 'list-db/a/b/c'])('%s is 404', async (path) => {
    expect((await (await ready()).send('GET', path)).status).toBe(404);
  });
});

describe('list-db', () => {
  it('lists the three levels with what is selected below', async () => {
    const api = await postgres();
    api.world.catalog = { a: ['one', 'two'], b: ['three'] };
    expect((await api.send('GET', 'list-db')).text).toBe('[{"name":"shop","selected":false,"id":"shop"}]');
    await api.send('PATCH', 'config-tab/shop/a/two', { select: 'Y' });
    expect((await api.send('GET', 'list-db')).json()).toMatchObject([{ name: 'shop', selected: true }]);
    expect((await api.send('GET', 'list-db/default')).json()).toEqual([
      { name: 'a', selected: true, id: 'a' },
      { name: 'b', selected: false, id: 'b' },
    ]);
    expect((await api.send('GET', 'list-db/shop/a')).json().map((one: { selected: boolean }) => one.selected)).toEqual([
      false,
      true,
    ]);
    await api.send('PATCH', 'config-tab/shop/a/two', { select: 'N' });
    expect((await api.send('GET', 'list-db')).json()).toMatchObject([{ selected: false }]);
  });

  it('is 404 for what is not there, 409 unconfigured, 502 unreachable', async () => {
    expect((await harness().send('GET', 'list-db')).status).toBe(409);
    const api = await postgres();
    expect((await api.send('GET', 'list-db/nope')).status).toBe(404);
    expect((await api.send('GET', 'list-db/shop/nope')).status).toBe(404);
    api.world.sourceProblem = new Problem(502, 'connection refused');
    expect((await api.send('GET', 'list-db/shop')).status).toBe(502);
    api.world.sourceProblem = undefined;
    expect((await api.send('GET', 'list-db/shop')).status).toBe(200);
  });
});
