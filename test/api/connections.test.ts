import { describe, expect, it } from 'vitest';
import { openParams } from '../../src/secrets.ts';
import type { SetConnection } from '../../src/workflows/messages.ts';
import { base, connection, type Harness, harness, testKey } from './harness.ts';

const stored = (api: Harness, side: 'source' | 'destination' = 'source') =>
  openParams(testKey, api.world.known('default')[side].params);
const shown = async (api: Harness) =>
  Object.fromEntries(
    (await api.send('GET', 'conn-src')).json().map(({ name, value }: { name: string; value: string }) => [name, value]),
  );
const pairs = (params: Record<string, unknown>) => Object.entries(params).map(([name, value]) => ({ name, value }));

describe('PATCH conn-src', () => {
  it('merges by name and keeps what is not sent', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src', { db: 'shop' }));
    expect((await api.send('PATCH', 'conn-src', pairs({ host: 'other' }))).status).toBe(204);
    expect(stored(api)).toEqual({
      host: 'other',
      port: '3306',
      uid: 'admin',
      pwd: 'topsecret1',
      pwd2: 'topsecret1',
      type: 'rds.mysqlc',
      db: 'shop',
    });
  });

  it('takes back its own GET: nothing changes', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src', { db: 'shop', ssl_mode: 'require', mystery: 'kept' }));
    await api.send('POST', 'conn-src/test', connection('src', { db: 'shop', ssl_mode: 'require', mystery: 'kept' }));
    const before = (await api.send('GET', 'conn-src')).text;
    const clear = stored(api);
    expect((await api.send('PATCH', 'conn-src', before)).status).toBe(204);
    expect((await api.send('GET', 'conn-src')).text).toBe(before);
    expect(stored(api)).toEqual(clear);
  });

  it('unsets an optional value by ""', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src', { db: 'shop', ssl_mode: 'require', mystery: 'x' }));
    await api.send('PATCH', 'conn-src', pairs({ db: '', ssl_mode: '', mystery: '' }));
    expect(Object.keys(stored(api)).sort()).toEqual(['host', 'port', 'pwd', 'pwd2', 'type', 'uid']);
    expect(Object.keys(await shown(api))).not.toContain('db');
  });

  it.each(['host', 'port', 'uid', 'type'])('refuses an empty %s', async (field) => {
    const answer = await harness().send('PATCH', 'conn-src', connection('src', { [field]: '' }));
    expect([answer.status, answer.json().errors]).toEqual([400, [{ field, message: 'must not be empty' }]]);
  });

  it('takes a MongoDB server without users, and unsets a user there', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src', { type: 'rds.mongo', pwd2: undefined }));
    expect((await api.send('PATCH', 'conn-src', pairs({ uid: '', pwd: '' }))).status).toBe(204);
    expect(stored(api)).not.toHaveProperty('uid');
    expect((await api.send('PATCH', 'conn-src', pairs({ uid: '', type: 'rds.pgres' }))).status).toBe(400);
  });

  describe('passwords', () => {
    it('keeps the stored one for ***', async () => {
      const api = harness();
      await api.send('PATCH', 'conn-src', connection('src'));
      expect((await api.send('PATCH', 'conn-src', pairs({ host: 'h2', pwd: '***', pwd2: '***' }))).status).toBe(204);
      expect(stored(api)).toMatchObject({ host: 'h2', pwd: 'topsecret1', pwd2: 'topsecret1' });
    });

    it.each([
      ['different', { pwd: 'one', pwd2: 'two' }],
      ['a new one confirmed by the masked old one', { pwd: 'one', pwd2: '***' }],
      ['only the confirmation, wrong', { pwd2: 'two' }],
      ['the stored one confirmed wrong', { pwd: '***', pwd2: 'two' }],
    ])('refuses %s, and stores nothing', async (_, params) => {
      const api = harness();
      await api.send('PATCH', 'conn-src', connection('src'));
      const answer = await api.send('PATCH', 'conn-src', pairs({ host: 'elsewhere', ...params }));
      expect([answer.status, answer.json().errors[0].field]).toEqual([400, 'pwd2']);
      expect(answer.json()).toMatchObject({ success: false, message: expect.stringContaining('pwd2') });
      expect(stored(api)).toMatchObject({ host: '127.0.0.1', pwd: 'topsecret1' });
    });

    it('accepts a missing confirmation, and a later masked round trip', async () => {
      const api = harness();
      expect((await api.send('PATCH', 'conn-src', connection('src', { pwd2: undefined }))).status).toBe(204);
      expect(await shown(api)).not.toHaveProperty('pwd2');
      expect((await api.send('PATCH', 'conn-src', pairs({ pwd: '***', pwd2: '***' }))).status).toBe(204);
      expect(stored(api)['pwd']).toBe('topsecret1');
    });

    it('a new password alone replaces the confirmation too', async () => {
      const api = harness();
      await api.send('PATCH', 'conn-src', connection('src'));
      await api.send('PATCH', 'conn-src', pairs({ pwd: 'newer' }));
      expect(stored(api)).toMatchObject({ pwd: 'newer', pwd2: 'newer' });
    });

    it('*** with nothing stored stores nothing', async () => {
      const api = harness();
      expect((await api.send('PATCH', 'conn-src', pairs({ pwd: '***', pwd2: '***' }))).status).toBe(204);
      expect(stored(api)).toEqual({});
    });

    it('never leave the process in clear: sealed towards Temporal, masked towards clients', async () => {
      const api = harness();
      await api.send('PATCH', 'conn-src', connection('src', { api_token: 'tok-en-12345' }));
      await api.send('POST', 'conn-src/test', connection('src'));
      expect(JSON.stringify(api.world.calls)).not.toMatch(/topsecret1|tok-en-12345/);
      expect(await shown(api)).toMatchObject({ pwd: '***', pwd2: '***', api_token: '***' });
      expect(api.logged.join('')).not.toMatch(/topsecret1|tok-en-12345/);
    });

    it('inside a JDBC URL are masked, and survive the round trip', async () => {
      const api = harness();
      const url = 'jdbc:sqlserver://h;user=a;password=hidden99;x=y';
      await api.send('PATCH', 'conn-src', connection('src', { type: 'rds.jdbcfe', drv: 'x.Driver', url }));
      expect((await shown(api))['url']).toBe('jdbc:sqlserver://h;user=a;password=***;x=y');
      await api.send('PATCH', 'conn-src', (await api.send('GET', 'conn-src')).text);
      expect(stored(api)['url']).toBe(url);
      expect(JSON.stringify(api.world.calls)).not.toContain('hidden99');
    });
  });

  it('accepts a numeric port and stores a string', async () => {
    const api = harness();
    expect((await api.send('PATCH', 'conn-src', connection('src', { port: 3307 }))).status).toBe(204);
    expect((await shown(api))['port']).toBe('3307');
  });

  it('stores, returns and warns of unknown names', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src', { 'Log file catchup count': '3' }));
    expect(await shown(api)).toMatchObject({ 'Log file catchup count': '3' });
    expect((await api.send('GET', 'events')).json().events).toMatchObject([
      { level: 'warning', message: 'Log file catchup count' },
    ]);
  });

  it('sorts by name and shows no unset value', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', pairs({ zeta: '1', Alpha: '2', beta: '3' }));
    const names = (await api.send('GET', 'conn-src')).json().map(({ name }: { name: string }) => name);
    expect(names).toEqual([...names].sort());
    expect(names).toEqual(['Alpha', 'beta', 'id', 'status', 'zeta']);
  });

  it('merges again when someone else saved meanwhile', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src'));
    api.world.beforeSave = () => {
      const known = api.world.known('default');
      known.source = {
        ...known.source,
        params: { ...known.source.params, db: 'theirs' },
        revision: known.source.revision + 1,
      };
    };
    expect((await api.send('PATCH', 'conn-src', pairs({ host: 'ours' }))).status).toBe(204);
    expect(stored(api)).toMatchObject({ host: 'ours', db: 'theirs' });
  });

  it('gives up with 409 when the connection keeps changing', async () => {
    const api = harness();
    const bump = () => {
      const known = api.world.known('default');
      known.source = { ...known.source, revision: known.source.revision + 1 };
      api.world.beforeSave = bump;
    };
    api.world.beforeSave = bump;
    expect((await api.send('PATCH', 'conn-src', connection('src'))).status).toBe(409);
  });

  it.each([
    ['host', 'two words'],
    ['host', 'a\u0007b'],
    ['port', '0'],
    ['port', '65536'],
    ['port', 'abc'],
    ['port', 3306.5],
    ['port', -1],
    ['uid', 'a\nb'],
    ['db', 'x'.repeat(256)],
    ['type', 'rds.nope'],
    ['type', 'RDS.MYSQL'],
    ['type', 'rds.sstorem'],
    ['drv', 'x'.repeat(256)],
    ['url', 'http://x'],
    ['ssl_mode', 'maybe'],
    ['ssl_ca', 'two\nlines'],
    ['extract_threads', '0'],
    ['extract_threads', '65'],
    ['extract_threads', 'four'],
    ['keyless_delta', 'drop'],
    ['ddl_policy', 'yes'],
    ['ddl_policy', 'ignore'],
    ['on_unrepresentable', 'null'],
    ['load_threads', '4'],
    ['on_row_error', 'park'],
    ['max_updates', '4'],
    ['mystery', 'nul\0'],
    ['mystery', 'half \ud800'],
    ['mystery', 'x'.repeat(65_537)],
    ['mystery', 5],
  ])('refuses a wrong %s, naming the field (%#)', async (field, value) => {
    const api = harness();
    const answer = await api.send('PATCH', 'conn-src', connection('src', { [field]: value }));
    expect(answer.status).toBe(400);
    expect(answer.json().errors).toEqual([{ field, message: expect.any(String) }]);
    expect(answer.json().message).toContain(field);
    expect(api.world.calls).toEqual([]);
  });

  it.each([
    ['not an array', {}, 'body'],
    ['null', null, 'body'],
    ['a text', '"x"', 'body'],
    ['an array of texts', ['x'], '[0]'],
    ['an item without a value', [{ name: 'host' }], '[0].value'],
    ['an item without a name', [{ value: 'x' }], '[0].name'],
    ['a value that is null', [{ name: 'host', value: null }], '[0].value'],
    ['a value that is a list', [{ name: 'host', value: [] }], '[0].value'],
    ['a flag as value', [{ name: 'host', value: true }], '[0].value'],
    ['a name that is a number', [{ name: 5, value: 'x' }], '[0].name'],
    ['an empty name', [{ name: '', value: 'x' }], '[0].name'],
    ['a name with a line end', [{ name: 'a\nb', value: 'x' }], '[0].name'],
    ['the prototype', [{ name: '__proto__', value: 'x' }], '[0].name'],
    [
      'a name twice',
      [
        { name: 'host', value: 'x' },
        { name: 'host', value: 'y' },
      ],
      'host',
    ],
    ['too many', Array.from({ length: 501 }, (_, index) => ({ name: `n${index}`, value: 'x' })), 'body'],
    ['too many names', Array.from({ length: 201 }, (_, index) => ({ name: `n${index}`, value: 'x' })), 'body'],
  ])('refuses %s', async (_, body, field) => {
    const api = harness();
    for (const path of ['conn-src', 'conn-src/test', 'conn-dst', 'conn-dst/test']) {
      const answer = await api.send(path.endsWith('test') ? 'POST' : 'PATCH', path, body);
      expect([path, answer.status, answer.json().errors[0].field]).toEqual([path, 400, field]);
    }
    expect(api.world.calls).toEqual([]);
  });
});

describe('status', () => {
  const status = async (api: Harness) => (await shown(api))['status'];

  it('is Y only after a test of exactly the saved parameters', async () => {
    const api = harness();
    await api.send('POST', 'conn-src/test', connection('src'));
    expect(await status(api)).toBe('N');
    await api.send('PATCH', 'conn-src', connection('src'));
    await api.send('POST', 'conn-src/test', connection('src', { host: 'elsewhere' }));
    expect(await status(api)).toBe('N');
    await api.send('POST', 'conn-src/test', connection('src', { pwd: '***', pwd2: undefined, port: 3306 }));
    expect(await status(api)).toBe('Y');
    await api.send('PATCH', 'conn-src', connection('src'));
    expect(await status(api)).toBe('Y');
    await api.send('PATCH', 'conn-src', [{ name: 'host', value: 'new' }]);
    expect(await status(api)).toBe('N');
  });

  it('becomes N when the saved parameters no longer connect, also by a listing', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src'));
    await api.send('GET', 'list-db');
    expect(await status(api)).toBe('Y');
    api.world.connects = () => ({ ok: false, messages: [{ topic: null, message: 'refused' }] });
    await api.send('POST', 'conn-src/test', connection('src'));
    expect(await status(api)).toBe('N');
  });
});

describe('POST conn-src/test', () => {
  const refusal = async (api: Harness, body: unknown) => {
    const answer = await api.send('POST', 'conn-src/test', body);
    expect(answer.status).toBe(200);
    expect(Object.keys(answer.json())).toEqual(['messageList', 'success', 'status']);
    expect(answer.json()).toMatchObject({ success: false, status: 'N' });
    return answer.json().messageList as { topic: string | null; message: string; status: string }[];
  };

  it('stores nothing and tests the body, not what is saved', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src'));
    const before = stored(api);
    await api.send('POST', 'conn-src/test', connection('src', { host: 'other' }));
    expect(stored(api)).toEqual(before);
    const { argument } = api.world.calls.at(-1) as { argument: SetConnection };
    expect(openParams(testKey, argument.params)).toMatchObject({ host: 'other' });
  });

  it.each(['host', 'port', 'uid', 'pwd', 'type'])('names a missing %s', async (field) => {
    const api = harness();
    expect(
      (await refusal(api, connection('src', { [field]: undefined, pwd2: undefined }))).map(({ topic }) => topic),
    ).toEqual([field]);
    expect(api.world.calls).toEqual([]);
  });

  it('names what rds.jdbcfe needs beyond', async () => {
    expect((await refusal(harness(), connection('src', { type: 'rds.jdbcfe' }))).map(({ topic }) => topic)).toEqual([
      'drv',
      'url',
    ]);
  });

  it('answers the empty list, unequal passwords and malformed values as messages', async () => {
    expect((await refusal(harness(), [])).length).toBe(5);
    expect(await refusal(harness(), connection('src', { pwd2: 'other' }))).toMatchObject([
      { topic: 'pwd2', status: 'E' },
    ]);
    expect(await refusal(harness(), connection('src', { port: '99999' }))).toMatchObject([{ topic: 'port' }]);
    expect(await refusal(harness(), connection('src', { pwd: '***', pwd2: '***' }))).toMatchObject([
      { topic: 'pwd', message: expect.stringContaining('none is saved') },
    ]);
  });

  it('says so when what is saved was sealed with another key', async () => {
    const api = harness();
    await api.send('PATCH', 'conn-src', connection('src'));
    const known = api.world.known('default');
    known.source = { ...known.source, params: { ...known.source.params, pwd: 'sealed:00000000:AAAA' } };
    expect((await refusal(api, connection('src', { pwd: '***', pwd2: undefined })))[0]?.message).toContain(
      'SECRET_KEY_FILE',
    );
    const save = await api.send('PATCH', 'conn-src', [{ name: 'host', value: 'h' }]);
    expect([save.status, save.json().message]).toEqual([409, expect.stringContaining('SECRET_KEY_FILE')]);
    expect((await api.send('PATCH', 'conn-src', connection('src'))).status).toBe(204);
  });
});

describe('the destination', () => {
  it('takes only rds.sstorem', async () => {
    const api = harness();
    expect((await api.send('PATCH', 'conn-dst', connection('dst', { type: 'rds.mysql' }))).json().errors[0].field).toBe(
      'type',
    );
    const tested = (await api.send('POST', 'conn-dst/test', connection('dst', { type: 'rds.mysql' }))).json();
    expect(tested.messageList[0].message).toBe('Error: Driver not found for rds.mysql');
  });

  it('has options of its own, and its own pipeline’s', async () => {
    const api = harness();
    expect((await api.send('PATCH', 'conn-dst', connection('dst', { load_threads: 8, db: 'target' }))).status).toBe(
      204,
    );
    expect(
      (await api.send('PATCH', 'conn-dst', connection('dst', { extract_threads: '8' }))).json().errors[0].field,
    ).toBe('extract_threads');
    await api.send('POST', '/pipelines', { name: 'sales' });
    expect((await api.send('GET', `/pipelines/sales${base}/conn-dst`)).json()).toHaveLength(2);
  });
});
