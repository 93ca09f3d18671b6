import { BSON, type Document } from 'mongodb';
import { describe, expect, test } from 'vitest';
import type { Params, TableRef } from '../../src/drivers/model.ts';
import { rangeFilter } from '../../src/drivers/mongodb/range.ts';
import { CommandError } from '../fakes/mongodb/wire.ts';
import { describeOne, mongoGround, snapshot, startOf } from './mongodb-fixture.ts';
import { authority, serverCertificate, serverKey } from './postgres-certificates.ts';

/** Connecting, listing, describing and reading on a fake server. */

/** A client that gives up soon. */
const soon = { jdbc_options: 'serverSelectionTimeoutMS=600' };
const users = { flow: 's3cret:@/pw' };
const fails = async (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: Error & { action?: string }) => ({
      name: error.name,
      text: `${error.message} ${error.action ?? ''}`,
      all: JSON.stringify([error.message, error.action, error.stack, error.cause]),
    }),
  );

describe('connecting', () => {
  test('logs in, and each way to fail has a message of its own without the password', async () => {
    await using ground = await mongoGround({ users });
    await using source = await ground.open();
    expect(source.server).toEqual({ product: 'MongoDB', version: '7.0.14' });
    const wrong = await fails(ground.open({ pwd: 'wrong' }));
    expect(wrong).toMatchObject({ name: 'AccessDenied', text: expect.stringMatching(/auth_source/) });
    const elsewhere = await fails(ground.open({ auth_source: 'shop' }));
    expect(elsewhere).toMatchObject({
      name: 'AccessDenied',
      text: expect.stringMatching(/login of flow, a user of the database shop.*auth_source/),
    });
    const nobody = await fails((await ground.open({ uid: '', pwd: '' })).schemas());
    expect(nobody).toMatchObject({ name: 'AccessDenied', text: expect.stringMatching(/requires authentication/) });
    const refused = await fails(ground.open({ ...soon, port: '1', ssl_mode: 'disable' }));
    expect(refused?.text).toMatch(/can't be reached.*directConnection/);
    const unknown = await fails(ground.open({ ...soon, host: 'no-such-host.invalid', ssl_mode: 'disable' }));
    expect(unknown?.text).toMatch(/not known to DNS|can't be reached/);
    const srv = await fails(ground.open({ ...soon, host: 'mongodb+srv://cluster0.abcde.invalid' }));
    expect(srv?.text).toMatch(/DNS has no cluster of this name.*mongodb\+srv/);
    const atlas = await fails(ground.open({ ...soon, host: 'cluster0.invalid', type: 'rds.mongoatlas' }));
    expect(atlas?.text).toMatch(/DNS has no cluster/);
    for (const one of [wrong, elsewhere, nobody, refused, unknown, srv, atlas])
      expect(one?.all).not.toContain(users.flow);
    for (const [params, word] of [
      [{ host: 'a b' }, 'host'],
      [{ host: 'one.net:27017', type: 'rds.mongo', port: 'x' }, 'port'],
      [{ host: 'mongodb+srv://a.b.net,c.d.net' }, 'host'],
      [{ jdbc_options: 'readPreference=secondary' }, 'readPreference'],
      [{ ssl_mode: 'maybe' }, 'ssl_mode'],
    ] as const)
      expect(await fails(ground.open(params as never))).toMatchObject({
        name: 'Misconfigured',
        text: expect.stringContaining(word),
      });
  }, 60_000);

  test('speaks TLS where the server does, and says when it should and does not', async () => {
    await using plain = await mongoGround();
    expect(await fails(plain.open({ ...soon, ssl_mode: 'require' }))).toMatchObject({
      name: 'Misconfigured',
      text: expect.stringContaining('ssl_mode'),
    });
    // `prefer`, as everywhere else in these tests, has found out that there is none.
    await using source = await plain.open();
    expect(await source.schemas()).toEqual([]);
    await using ground = await mongoGround({ certificates: { cert: serverCertificate, key: serverKey } });
    const direct = 'directConnection=true&serverSelectionTimeoutMS=600';
    const tls = (ssl_mode: string, host: string, more: Params = {}) =>
      ground.open({ ssl_mode, host, jdbc_options: direct, ...more });
    for (const [mode, host, more] of [
      ['prefer', '127.0.0.1', {}],
      ['require', '127.0.0.1', {}],
      ['verify-ca', '127.0.0.1', { ssl_ca: authority }],
      ['verify-full', 'localhost', { ssl_ca: authority }],
    ] as const) {
      await using over = await tls(mode, host, more);
      expect(await over.schemas()).toEqual([]);
    }
    const refusals = await Promise.all([
      fails(tls('verify-full', 'localhost')),
      fails(tls('verify-full', '127.0.0.1', { ssl_ca: authority })),
      fails(tls('verify-ca', '127.0.0.1', { ssl_ca: serverCertificate })),
      fails(tls('verify-ca', '127.0.0.1', { ssl_ca: 'no such file.pem' })),
      fails(tls('disable', '127.0.0.1')),
    ]);
    expect(refusals.map((one) => one?.name)).toEqual([
      'Misconfigured',
      'Misconfigured',
      'Misconfigured',
      'Misconfigured',
      'Error',
    ]);
    for (const [index, words] of [
      /unable to verify.*ssl_ca/,
      /IP: 127.0.0.1 is not in the cert's list.*host name/,
      /unable to.*ssl_ca/,
      /ssl_ca is missing or malformed/,
      /ssl_mode/,
    ].entries())
      expect(refusals[index]?.text).toMatch(words);
  }, 60_000);

  test('a database that is not there is named, with those that are', async () => {
    await using ground = await mongoGround();
    await ground.client.db(ground.database).collection('c').insertOne({ a: 1 });
    await using source = await ground.open({ db: 'shpo' });
    expect(await source.preflight([])).toMatchObject([
      { severity: 'error', code: 'database', message: expect.stringMatching(`no database shpo.*${ground.database}`) },
    ]);
    await using right = await ground.open({ db: ground.database });
    expect(await right.preflight([])).toEqual([]);
    expect(await right.schemas()).toEqual([ground.database]);
  });

  test('a server that stands alone is read, and refused for deltas with what to run', async () => {
    await using ground = await mongoGround({ setName: '' });
    await ground.client.db(ground.database).collection('c').insertOne({ a: 1 });
    await using source = await ground.open();
    expect(await source.preflight([])).toMatchObject([
      { severity: 'error', code: 'replica_set', message: expect.stringContaining('rs.initiate()') },
    ]);
    await expect(startOf(source, [])).rejects.toMatchObject({ name: 'Misconfigured' });
    await using full = await ground.open({ capture: 'none' });
    expect(full.capture).toBeUndefined();
    expect(await full.preflight([{ schema: ground.database, name: 'c' }])).toEqual([]);
    expect((await startOf(full, [])).position).toBe('');
    expect((await snapshot(full, await describeOne(full, ground.database, 'c'))).size).toBe(1);
  });

  test('a missing right names the role to grant, for a collection and for the stream', async () => {
    await using ground = await mongoGround({ users });
    await ground.client.db(ground.database).collection('c').insertOne({ a: 1 });
    await using source = await ground.open();
    const errors = async (tables: TableRef[]) =>
      (await source.preflight(tables)).filter(({ severity }) => severity === 'error');
    const ref = { schema: ground.database, name: 'c' };
    ground.fake.fail = (command) =>
      Number(command['aggregate']) === 1 ? new CommandError(13, 'Unauthorized', 'not authorized') : undefined;
    expect(await errors([ref])).toMatchObject([
      { code: 'grant', message: expect.stringContaining(`{role: "read", db: "${ground.database}"}`) },
    ]);
    expect(await errors([ref, { schema: 'other', name: 'd' }])).toMatchObject([
      { code: 'grant', message: expect.stringContaining('readAnyDatabase') },
    ]);
    ground.fake.fail = (command) =>
      command['find'] === 'c' ? new CommandError(13, 'Unauthorized', 'not authorized') : undefined;
    expect(await errors([ref])).toMatchObject([
      { code: 'grant', table: ref, message: expect.stringContaining('grantRolesToUser("flow"') },
    ]);
    ground.fake.fail = undefined;
    expect(await errors([ref])).toEqual([]);
  });

  test('a router of a sharded cluster is followed by its tokens alone', async () => {
    await using ground = await mongoGround({ sharded: true });
    const c = ground.client.db(ground.database).collection<Document>('c');
    await c.insertOne({ _id: 1 as never });
    await using source = await ground.open();
    const table = await describeOne(source, ground.database, 'c');
    expect(table.immediate).toBeUndefined();
    const { position, identity } = await startOf(source, [table]);
    expect(identity).toMatch(/^cluster:/);
    await c.insertOne({ _id: 2 as never });
    const goal = await source.written();
    const stop = new AbortController();
    const reader = await source.capture?.(
      {
        pipeline: 'p',
        name: 'p_1',
        slot: '',
        identity,
        from: position,
        tables: [{ table, skip: [] }],
        until: 'written',
      },
      stop.signal,
    );
    let done = false;
    const seen: string[] = [];
    const reading = (async () => {
      for await (const piece of reader?.events() ?? [])
        for (const event of piece) {
          seen.push(event.kind);
          if (event.kind === 'progress') done = source.reached(event.position, goal);
        }
    })();
    // Another shard may still have something of that time, until the cluster's clock has moved on.
    await expect.poll(() => seen.includes('progress'), { timeout: 10_000 }).toBe(true);
    expect(done).toBe(false);
    ground.fake.store.noop();
    await reading;
    expect(done).toBe(true);
    expect(seen.filter((kind) => kind !== 'progress')).toEqual(['insert', 'commit']);
  });
});

describe('collections', () => {
  test('are listed and described; what is missing or refused is an error entry, the others stand', async () => {
    await using ground = await mongoGround();
    const db = ground.client.db(ground.database);
    for (const name of ['b', 'A', 'a', 'odd "x" `y` é.t-表']) await db.collection(name).insertOne({ n: 1 });
    await db.createCollection('capped', { capped: true, size: 1000 });
    await db.createCollection('series', { timeseries: { timeField: 't' } });
    await db.createCollection('seen', { viewOn: 'a', pipeline: [] });
    await using source = await ground.open();
    expect(await source.schemas()).toEqual([ground.database]);
    expect((await source.tables(ground.database))?.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      'A table',
      'a table',
      'b table',
      'capped table',
      'odd "x" `y` é.t-表 table',
      'series view',
    ]);
    expect(await source.tables('no such database')).toBeNull();
    ground.fake.fail = (command) =>
      JSON.stringify(command['filter'] ?? '').includes('$and')
        ? new CommandError(31_249, 'Location31249', 'unknown')
        : undefined;
    const refused = { ref: { schema: ground.database, name: 'a' }, options: { where: '{"n":{"$nope":1}}' } };
    expect(await source.describe([refused])).toMatchObject([{ error: { class: 'Misconfigured' } }]);
    ground.fake.fail = undefined;
    const ask = (name: string, options = {}) => ({ ref: { schema: ground.database, name }, options });
    const answers = await source.describe([
      ask('gone'),
      ask('a'),
      ask('a', { key: ['n'] }),
      ask('a', { mask: ['_id'] }),
      ask('a', { mask: ['n'] }),
      ask('a', { types: { _more: 'INT' } }),
      ask('a', { where: 'status = 1' }),
      ask('a', { types: { _id: 'VARCHAR(700)', _more: 'LONGTEXT' }, where: '{"n": {"$gte": 1}}' }),
      ask('seen'),
      ask('series'),
      ask('capped'),
      ask('capped', { key: ['_id'] }),
      ask('odd "x" `y` é.t-表'),
    ]);
    expect(
      answers.map((answer) =>
        'table' in answer ? `${answer.table.kind} ${answer.table.key.join()}` : answer.error.class,
      ),
    ).toEqual([
      'Misconfigured',
      'table _id',
      'UnsupportedValue',
      'UnsupportedValue',
      'Misconfigured',
      'UnsupportedValue',
      'Misconfigured',
      'table _id',
      'view ',
      'view ',
      'table ',
      'table _id',
      'table _id',
    ]);
    expect(answers[1]).toMatchObject({
      table: {
        columns: [
          { name: '_id', type: { kind: 'varchar', length: 255 }, nullable: false },
          { name: '_more', type: { kind: 'json' }, nullable: false },
        ],
        textKey: true,
        immediate: true,
      },
    });
    expect(answers[10]).toMatchObject({ table: { warnings: [expect.stringContaining('capped')] } });
  });

  test('that are made anew have another structure; rows alone change nothing', async () => {
    await using ground = await mongoGround();
    const c = ground.client.db(ground.database).collection('c');
    await c.insertOne({ n: 1 });
    await using source = await ground.open();
    const first = await describeOne(source, ground.database, 'c');
    await c.insertOne({ other: 'fields' });
    expect((await describeOne(source, ground.database, 'c')).structure).toBe(first.structure);
    await c.drop();
    await c.insertOne({ n: 1 });
    const second = await describeOne(source, ground.database, 'c');
    expect([second.structure === first.structure, second.storage === first.storage]).toEqual([false, false]);
    // Who read with what was known before would take the rows of another collection, or none, for the first one's.
    await expect(snapshot(source, first)).rejects.toMatchObject({ name: 'StructureChanged' });
    expect((await snapshot(source, second)).size).toBe(1);
    const again = async () => {
      for await (const _ of source.reread(first, ['x'], new AbortController().signal));
    };
    await expect(again()).rejects.toMatchObject({ name: 'StructureChanged' });
    await c.drop();
    await expect(snapshot(source, second)).rejects.toMatchObject({ name: 'StructureChanged' });
  });

  test('are read in ranges that an insert and an update between them do not disturb; a masked document leaves nothing', async () => {
    await using ground = await mongoGround();
    const c = ground.client.db(ground.database).collection<Document>('c');
    await c.insertMany(Array.from({ length: 500 }, (_, i) => ({ _id: i as never, pad: 'x'.repeat(100) })));
    await using source = await ground.open();
    const table = await describeOne(source, ground.database, 'c');
    const { ranges, replace } = await source.split(table, undefined, 6_000);
    expect(ranges.length).toBeGreaterThan(5);
    expect(replace).toBe(false);
    const seen: string[] = [];
    for (const [i, range] of ranges.entries()) {
      expect(range.length).toBeLessThanOrEqual(4096);
      await c.insertOne({ _id: (10_000 + i) as never });
      await c.updateMany({ _id: { $lt: 50 as never } }, { $set: { pad: `${i}` } });
      for await (const batch of source.read(table, undefined, range, new AbortController().signal))
        for (const line of Buffer.from(batch.data).toString().split('\n').slice(0, -1))
          seen.push(line.slice(0, line.indexOf('\t')));
    }
    expect(new Set(seen).size).toBe(seen.length);
    for (let i = 0; i < 500; i++) expect(seen).toContain(`{"$numberInt":"${i}"}`);
    const masked = await describeOne(source, ground.database, 'c', { mask: ['_more'] });
    expect([...(await snapshot(source, masked)).values()].every((row) => row.endsWith('\t\\N\n'))).toBe(true);
    // Reads contain what was committed before they began, on a majority; by the index of `_id` no document comes twice.
    expect(ground.fake.seen.findLast((command) => command['find'] === 'c')).toMatchObject({
      readConcern: { level: 'majority', afterClusterTime: expect.anything() },
      hint: { _id: expect.anything() },
    });
  });

  test('of all types of _id lie in exactly one range each, NaN and what compares with nothing too', async () => {
    await using ground = await mongoGround();
    const ids: unknown[] = [
      ...Array.from({ length: 40 }, (_, i) => [
        i - 20,
        i + 0.5,
        `s${i}`,
        new BSON.ObjectId(),
        new Date(i - 20),
        { a: i },
        new BSON.UUID(),
      ]).flat(),
      ...Array.from({ length: 20 }, (_, i) => BSON.Long.fromString('9007199254740993').add(i)),
      ...[
        Number.NaN,
        Infinity,
        -Infinity,
        true,
        false,
        new BSON.MinKey(),
        new BSON.MaxKey(),
        BSON.Decimal128.fromString('-7.5'),
      ],
    ];
    await ground.client
      .db(ground.database)
      .collection('c')
      .insertMany(ids.map((_id) => ({ _id: _id as never })));
    await using source = await ground.open();
    const table = await describeOne(source, ground.database, 'c');
    for (const chunkBytes of [400, 1_500, 4_000])
      expect((await snapshot(source, table, chunkBytes)).size).toBe(ids.length);
  });

  test('a read that is left or aborted ends its cursor', async () => {
    await using ground = await mongoGround();
    await ground.client
      .db(ground.database)
      .collection('c')
      .insertMany(Array.from({ length: 3_000 }, () => ({ pad: 'x'.repeat(1_000) })));
    await using source = await ground.open();
    const table = await describeOne(source, ground.database, 'c');
    for await (const batch of source.read(table, undefined, '{}', new AbortController().signal)) {
      expect(batch.data.length).toBeGreaterThan(0);
      break;
    }
    await expect.poll(() => ground.fake.cursors(), { timeout: 10_000 }).toBe(0);
    const stop = new AbortController();
    const batches = source.read(table, undefined, '{}', stop.signal);
    await batches.next();
    stop.abort(new Error('stop it'));
    await expect(
      (async () => {
        for await (const _ of batches);
      })(),
    ).rejects.toThrow('stop it');
    await expect.poll(() => ground.fake.cursors(), { timeout: 10_000 }).toBe(0);
    expect((await snapshot(source, table)).size).toBe(3_000);
  });

  test('clock, written end and log state', async () => {
    await using ground = await mongoGround();
    await using source = await ground.open();
    expect(Math.abs(((await source.clock?.()) ?? 0) - Date.now())).toBeLessThan(5_000);
    const before = await source.written();
    await ground.client.db(ground.database).collection('c').insertOne({});
    const after = await source.written();
    expect([source.reached(after, before), source.reached(before, after)]).toEqual([true, false]);
    await source.end('x');
    await source.remove('x');
    expect(await source.logState('', before)).toMatchObject({ lost: null });
  });
});

test('a stored range is read by its types, whatever they are', () => {
  const of = (from?: string, to?: string) =>
    JSON.stringify(rangeFilter(JSON.stringify({ ...(from && { from }), ...(to && { to }) })));
  expect(rangeFilter('{}')).toBeNull();
  expect(of('{"_id":{"$numberInt":"1"}}', '{"_id":{"$numberDouble":"2.5"}}')).toBe('{"_id":{"$gte":1,"$lt":2.5}}');
  expect(of('{"_id":"a"}')).toMatch(/"\$gte":"a".*"object".*"maxKey"/);
  expect(of(undefined, '{"_id":{"$numberInt":"1"}}')).toMatch(/"minKey".*"null".*"\$lt":1.*"\$eq":null/);
  expect(() => rangeFilter('{"from":"{\\"_id\\":null}"}')).toThrow(/damaged/);
});
