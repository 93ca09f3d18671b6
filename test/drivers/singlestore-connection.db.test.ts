import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Params } from '../../src/drivers/model.ts';
import { open, openObserved } from '../../src/drivers/singlestore/destination.ts';
import { startSingleStoreProxy } from '../fakes/singlestore/proxy.ts';
import { copy, type Place, planOf, simpleTable, startPlace, thrown } from './singlestore-fixture.ts';

const never = () => new AbortController().signal;

describe('opening a destination', () => {
  let place: Place;
  let mysql: Params;
  beforeAll(async () => {
    place = await startPlace('MariaDB');
    const server = inject('mysql9');
    mysql = {
      type: 'rds.sstorem',
      host: server.host,
      port: String(server.port),
      uid: server.user,
      pwd: server.password,
    };
  });
  afterAll(() => place.stop());

  /** A user with a random name, who is dropped at the end of the test. */
  async function withUser(grants: readonly string[], body: (params: Params) => Promise<void>): Promise<void> {
    const user = `u_${randomBytes(5).toString('hex')}`;
    await place.query(`create user '${user}'@'%' identified by 'pw'`);
    try {
      for (const grant of grants) await place.query(`grant ${grant} to '${user}'@'%'`);
      await body({ ...place.params, uid: user, pwd: 'pw' });
    } finally {
      await place.query(`drop user '${user}'@'%'`);
    }
  }

  test('tells the servers apart', async () => {
    await using mariadb = await open(place.params, never());
    expect(mariadb.server).toMatchObject({ product: 'MariaDB', version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
    await using other = await open(mysql, never());
    expect(other.server).toMatchObject({ product: 'MySQL', version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
  });

  test('a refused login is permanent and shows no secret', async () => {
    const error = await thrown(open({ ...place.params, pwd: 'wrong-secret' }, never()));
    expect(error).toMatchObject({ name: 'AccessDenied' });
    expect(error.message).toBe(`The destination refused the login of user "${place.params['uid']}".`);
    expect(JSON.stringify([error, error.stack, error.cause])).not.toContain('wrong-secret');
  });

  test('an unreachable server is transient, in the documented words', async () => {
    const error = await thrown(open({ ...place.params, host: '127.0.0.1', port: '1' }, never()));
    expect(error.name).toBe('Error');
    expect(error.message).toBe('Socket fail to connect to host:address=(host=127.0.0.1)(port=1). 127.0.0.1');
    const nowhere = await thrown(open({ ...place.params, host: 'nowhere.invalid' }, never()));
    expect(nowhere.message).toMatch(/^Socket fail to connect to host:address=\(host=nowhere\.invalid\)/);
  });

  test('a server that hangs up is transient', async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    expect((await thrown(open({ ...place.params, port: String(port) }, never()))).name).toBe('Error');
    server.close();
  });

  test.each([
    ['host', { host: '' }],
    ['port', { port: 'x' }],
    ['port', { port: '70000' }],
    ['uid', { uid: '' }],
    ['ssl_mode', { ssl_mode: 'sometimes' }],
    ['ssl_ca', { ssl_ca: '/does/not/exist.pem' }],
  ])('a malformed %s is named', async (parameter, change) => {
    expect(await thrown(open({ ...place.params, ...change }, never()))).toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining(`\`${parameter}\``),
    });
  });

  test('TLS as asked: required where there is none, verified where the certificate is not known', async () => {
    const none = await thrown(open({ ...place.params, ssl_mode: 'require' }, never()));
    expect(none).toMatchObject({ name: 'AccessDenied', message: expect.stringContaining('no TLS') });
    await using encrypted = await open({ ...mysql, ssl_mode: 'REQUIRED' }, never());
    expect(encrypted.server.product).toBe('MySQL');
    const unknown = await thrown(open({ ...mysql, ssl_mode: 'verify_full' }, never()));
    expect(unknown).toMatchObject({ name: 'AccessDenied', message: expect.stringContaining('certificate') });
  });

  test('an aborted opening and an aborted destination end at once', async () => {
    const stop = new AbortController();
    const destination = await open(place.params, stop.signal);
    const waiting = thrown(destination.prepare(place.database()));
    stop.abort(new Error('Enough.'));
    expect((await waiting).message).toBe('Enough.');
    expect((await thrown(destination.scopes('x', 'p'))).message).toBe('Enough.');
    expect((await thrown(open(place.params, stop.signal))).message).toBe('Enough.');
  });

  test('connections that the server closed while idle are not used', async () => {
    const destination = await place.open();
    const db = place.database();
    await destination.prepare(db);
    const mine = `select id from information_schema.processlist where command = 'Sleep' and user = '${place.params['uid']}' and id <> connection_id()`;
    const seen: string[] = [];
    const observed = await openObserved(place.params, never(), (sql) => seen.push(sql));
    await observed.scopes(db, 'p');
    const before = await place.query(mine);
    await observed.scopes(db, 'p');
    expect((await place.query(mine)).length).toBeLessThanOrEqual(before.length + 1);
    expect(seen.filter((sql) => sql.includes('isolation level')).length).toBe(2);
    await observed[Symbol.asyncDispose]();
  });

  describe('preflight', () => {
    test('is content with a user who has what is needed on the database alone, and that is enough to load', async () => {
      const db = place.database();
      await withUser([`select, insert, update, delete, create, drop, alter on \`${db}\`.*`], async (params) => {
        for (const more of [{}, { db }]) {
          await using destination = await open({ ...params, ...more }, never());
          expect(await destination.preflight([db])).toEqual([]);
          await destination.prepare(db);
          await copy(
            destination,
            planOf(db, simpleTable('t'), { run: more === undefined ? 1 : 2 + Object.keys(more).length }),
            '1\ta\n',
            1,
          );
        }
      });
    });

    test('names what is missing and the statement that gives it', async () => {
      const db = place.database();
      await withUser([`select, insert on \`${db}\`.*`], async (params) => {
        await using destination = await open(params, never());
        const [finding, ...more] = await destination.preflight([db]);
        expect(more).toEqual([]);
        expect(finding).toMatchObject({ severity: 'error', code: 'grant' });
        expect(finding?.message).toContain(`lacks UPDATE, DELETE, CREATE, DROP, ALTER on ${db}`);
        expect(finding?.message).toContain(`ON \`${db}\`.* TO '${params['uid']}'@'%'`);
        const error = await thrown(destination.prepare(db));
        expect(error).toMatchObject({ name: 'AccessDenied', message: expect.stringContaining(db) });
      });
    });

    test('warns of silent conversions, small packets and rowstore tables on SingleStore', async () => {
      const proxy = await startSingleStoreProxy({
        backend: inject('destination'),
        variables: { data_conversion_compatibility_level: '6.0', default_table_type: 'rowstore' },
      });
      try {
        await using destination = await open({ ...place.params, host: proxy.host, port: String(proxy.port) }, never());
        expect(destination.server.product).toBe('SingleStore');
        const findings = await destination.preflight(['any']);
        expect(findings.map(({ code, severity }) => `${severity} ${code}`)).toEqual([
          'warning data_conversion_compatibility_level',
          'warning default_table_type',
        ]);
      } finally {
        await proxy.close();
      }
    });
  });
});
