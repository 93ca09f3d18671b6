import { BSON, type Document } from 'mongodb';
import { describe, expect, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Position } from '../../src/drivers/model.ts';
import { CommandError, Raw } from '../fakes/mongodb/wire.ts';
import {
  capture,
  captured,
  describeOne,
  folded,
  isRow,
  type MongoGround,
  mongoGround,
  shown,
  snapshot,
  startOf,
} from './mongodb-fixture.ts';

/** Change streams of a fake server, written to by the official client. */

async function following(ground: MongoGround, ...names: string[]) {
  const db = ground.client.db(ground.database);
  for (const name of names) await db.collection<Document>(name).insertOne({ _id: 'first' as never, n: 0 });
  const source = await ground.open();
  const tables = await Promise.all(names.map((name) => describeOne(source, ground.database, name)));
  const start = await startOf(source, tables);
  return { source, tables, start, db, at: (name: string) => db.collection<Document>(name) };
}

const lines = (events: readonly LogEvent[]) => events.filter((event) => event.kind !== 'progress').map(shown);
const lastPosition = (events: readonly LogEvent[]): Position => {
  const last = events.findLast((event) => event.kind === 'progress' || event.kind === 'commit');
  if (last?.kind !== 'progress' && last?.kind !== 'commit') throw new Error('no position');
  return last.position;
};

describe('changes', () => {
  test('of each kind are the bytes that a snapshot reads, and the copy ends as its source', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    const rows = await snapshot(source, tables[0] as never);
    const c = at('c');
    await c.insertMany([
      { _id: 1 as never, long: BSON.Long.fromString('9007199254740993'), text: 'a\tb\n\\"' },
      { a: [1, { b: null }] },
    ]);
    await c.updateOne({ _id: 1 as never }, { $set: { when: new Date(0) }, $unset: { text: '' } });
    await c.replaceOne({ _id: 'first' as never }, { replaced: true });
    await c.insertOne({ _id: 2 as never });
    await c.deleteOne({ _id: 2 as never });
    const events = await captured(source, tables, start.position);
    expect(folded(events, rows)).toEqual(await snapshot(source, tables[0] as never));
    expect(events.at(-1)).toMatchObject({ kind: 'progress', atEnd: true });
    expect(source.reached(lastPosition(events), await source.written())).toBe(true);
    await source[Symbol.asyncDispose]();
  });

  test('of a transaction come whole, over several collections and batches, and an aborted one never', async () => {
    await using ground = await mongoGround({ batch: 7 });
    const { source, tables, start, at } = await following(ground, 'a', 'b');
    for (const end of ['abortTransaction', 'commitTransaction'] as const) {
      const session = ground.client.startSession();
      session.startTransaction();
      await at('a').insertMany(
        Array.from({ length: 20 }, (_, i) => ({ _id: `a${i}` as never })),
        { session },
      );
      await at('b').insertMany(
        Array.from({ length: 20 }, (_, i) => ({ _id: `b${i}` as never })),
        { session },
      );
      await at('a').deleteOne({ _id: 'first' as never }, { session });
      await session[end]();
      await session.endSession();
    }
    await at('b').insertOne({ _id: 'alone' as never });
    const events = await captured(source, tables, start.position);
    const kinds = events
      .filter((event) => event.kind !== 'progress')
      .map((event) => (isRow(event) ? event.kind : event.kind.toUpperCase()));
    expect(kinds).toEqual([...Array(40).fill('insert'), 'delete', 'COMMIT', 'insert', 'COMMIT']);
    // No position inside it is ever named.
    const inside = events.findIndex(
      (event) => event.kind === 'progress' && kinds.length > 0 && events.indexOf(event) < 41,
    );
    expect(
      inside === -1 ||
        !isRow(events[inside + 1] as LogEvent) ||
        events.slice(0, inside).every((event) => !isRow(event)),
    ).toBe(true);
    await source[Symbol.asyncDispose]();
  });

  test('go on from any position that was named, without a gap and without one twice', async () => {
    await using ground = await mongoGround({ batch: 3 });
    const { source, tables, start, at } = await following(ground, 'c');
    for (let i = 0; i < 6; i++) await at('c').insertOne({ _id: i as never });
    const session = ground.client.startSession();
    session.startTransaction();
    await at('c').insertMany([{ _id: 't1' as never }, { _id: 't2' as never }], { session });
    await session.commitTransaction();
    await session.endSession();
    const events = await captured(source, tables, start.position);
    const all = lines(events);
    for (const [index, event] of events.entries()) {
      if (event.kind !== 'commit' && event.kind !== 'progress') continue;
      const rest = await captured(source, tables, event.position);
      expect(lines(rest)).toEqual(lines(events.slice(index + 1)));
    }
    expect(all).toHaveLength(15);
    await source[Symbol.asyncDispose]();
  });

  test('of other collections move the position, and idle time too', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    await at('other').insertOne({});
    ground.fake.store.noop();
    const events = await captured(source, tables, start.position);
    expect(lines(events)).toEqual([]);
    const position = lastPosition(events);
    expect(source.reached(position, start.position)).toBe(true);
    expect(source.reached(start.position, position)).toBe(false);
    await source[Symbol.asyncDispose]();
  });

  test('of several databases come over one stream of the cluster; a position of the other kind of stream is taken over', async () => {
    await using ground = await mongoGround();
    const second = `${ground.database}_2`;
    const { source, tables, start, at } = await following(ground, 'c');
    await ground.client
      .db(second)
      .collection<Document>('d')
      .insertOne({ _id: 'first' as never });
    const both = [...tables, await describeOne(source, second, 'd')];
    const from = (await startOf(source, both)).position;
    await at('c').insertOne({ _id: 1 as never });
    await ground.client
      .db(second)
      .collection<Document>('d')
      .insertOne({ _id: 2 as never });
    const events = await captured(source, both, from);
    expect(lines(events)).toEqual(['insert {"$numberInt":"1"} {}', 'commit', 'insert {"$numberInt":"2"} {}', 'commit']);
    await at('c').insertOne({ _id: 3 as never });
    const commit = events.find((event) => event.kind === 'commit');
    // Behind an event of the other database, and in front of one.
    expect(lines(await captured(source, tables, lastPosition(events)))).toEqual([
      'insert {"$numberInt":"3"} {}',
      'commit',
    ]);
    expect(lines(await captured(source, tables, (commit as { position: Position }).position))).toEqual([
      'insert {"$numberInt":"3"} {}',
      'commit',
    ]);
    expect(start.identity).toMatch(/^set:rs0:/);
    await source[Symbol.asyncDispose]();
  });

  test('larger than an event may be come in parts that are joined', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    ground.fake.store.largestEvent = 900;
    await at('c').insertOne({ _id: 1 as never, big: 'x'.repeat(2_000) });
    await at('c').updateOne({ _id: 1 as never }, { $set: { more: 1 } });
    await at('c').insertOne({ _id: 2 as never });
    const events = await captured(source, tables, start.position);
    expect(lines(events)).toEqual(
      [
        ...Array(2).fill(`@ {"$numberInt":"1"} {"big":"${'x'.repeat(2_000)}","more":1}`),
        'insert {"$numberInt":"2"} {}',
      ].flatMap((line, i) => [
        i === 0 ? line.replace('@', 'insert').replace(',"more":1', '') : line.replace('@', 'update'),
        'commit',
      ]),
    );
    await using old = await mongoGround({ version: '6.0.8' });
    const before = await following(old, 'c');
    old.fake.store.largestEvent = 900;
    await before.at('c').insertOne({ _id: 1 as never, big: 'x'.repeat(2_000) });
    await expect(captured(before.source, before.tables, before.start.position)).rejects.toMatchObject({
      name: 'UnsupportedValue',
      action: expect.stringContaining('7.0'),
    });
    await source[Symbol.asyncDispose]();
    await before.source[Symbol.asyncDispose]();
  });

  test('of a document that has gone when it is looked up are a delete, of one that is there again what it is', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    await at('c').updateOne({ _id: 'first' as never }, { $set: { n: 1 } });
    await at('c').deleteOne({ _id: 'first' as never });
    expect(lines(await captured(source, tables, start.position))).toEqual([
      'delete first',
      'commit',
      'delete first',
      'commit',
    ]);
    // The server's look-up finds nothing (as after a change of the shard key), a read by _id does.
    const { store } = ground.fake;
    await at('c').insertOne({ _id: 'k' as never, n: 1 });
    const from = (await startOf(source, tables)).position;
    await at('c').updateOne({ _id: 'k' as never }, { $set: { n: 2 } });
    const find = store.find;
    Object.assign(store, { find: () => null });
    try {
      expect(lines(await captured(source, tables, from))).toEqual(['update k {"n":2}', 'commit']);
    } finally {
      Object.assign(store, { find });
    }
    await source[Symbol.asyncDispose]();
  });

  test('that a copy holds already are left out by table', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'a', 'b');
    await at('a').insertOne({ _id: 1 as never });
    await at('b').insertOne({ _id: 1 as never });
    const middle = await source.written();
    await at('a').insertOne({ _id: 2 as never });
    const events = await captured(source, tables, start.position, {
      tables: tables.map((table, i) => ({ table, skip: i === 0 ? [middle] : [] })),
    });
    expect(events.filter(isRow).map((event) => [event.table, event.key])).toEqual([
      [1, '{"$numberInt":"1"}'],
      [0, '{"$numberInt":"2"}'],
    ]);
    await source[Symbol.asyncDispose]();
  });
});

describe('what ends a table', () => {
  test.each<[string, (ground: MongoGround) => Promise<unknown>, RegExp]>([
    ['drop', (ground) => ground.client.db(ground.database).collection('c').drop(), /dropped/],
    [
      'rename',
      (ground) =>
        ground.client.db('admin').command({ renameCollection: `${ground.database}.c`, to: `${ground.database}.z` }),
      /renamed to/,
    ],
    [
      'rename to it',
      async (ground) => {
        await ground.client.db(ground.database).collection('y').insertOne({});
        await ground.client
          .db('admin')
          .command({ renameCollection: `${ground.database}.y`, to: `${ground.database}.c` });
      },
      /another collection/,
    ],
  ])('%s: the table leaves, the other goes on', async (_name, act, reason) => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c', 'd');
    await at('c').insertOne({ _id: 1 as never });
    await act(ground);
    await at('c').insertOne({ _id: 2 as never });
    await at('d').insertOne({ _id: 3 as never });
    const events = await captured(source, tables, start.position);
    // Noticed at the opening already when the collection is another one now.
    const told = events.filter((event) => event.kind === 'structure');
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({
      table: 0,
      now: null,
      reason: expect.stringMatching(new RegExp(`${reason.source}|made again`)),
    });
    const after = events.slice(events.indexOf(told[0] as LogEvent)).filter(isRow);
    expect(after.map(({ table, key }) => [table, key])).toEqual([[1, '{"$numberInt":"3"}']]);
    await source[Symbol.asyncDispose]();
  });

  test('a database that is dropped takes all its tables, and the stream goes on behind the invalidate', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at, db } = await following(ground, 'c', 'd');
    await at('c').insertOne({ _id: 1 as never });
    await db.dropDatabase();
    await at('c').insertOne({ _id: 2 as never });
    const events = await captured(source, tables, start.position);
    expect(
      events
        .filter((event) => event.kind === 'structure')
        .map((event) => event.kind === 'structure' && event.table)
        .sort(),
    ).toEqual([0, 1]);
    // Once more from there, for the collection that is there now.
    const fresh = [await describeOne(source, ground.database, 'c')];
    await at('c').insertOne({ _id: 3 as never });
    expect(lines(await captured(source, fresh, lastPosition(events)))).toEqual([
      'insert {"$numberInt":"3"} {}',
      'commit',
    ]);
    await source[Symbol.asyncDispose]();
  });

  test('a document that no JSON column can hold takes its table out, and no other', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c', 'd');
    const twice = Buffer.from(BSON.serialize({ _id: 1, ab: 1, ac: 2 }));
    twice[twice.indexOf('ac\0') + 1] = 0x62;
    ground.fake.store.commit([
      { operation: 'insert', db: ground.database, coll: 'c', id: new BSON.Int32(1), document: new Raw(twice) },
    ]);
    await at('d').insertOne({ _id: 2 as never });
    const events = await captured(source, tables, start.position);
    expect(events.find((event) => event.kind === 'structure')).toMatchObject({
      table: 0,
      now: null,
      reason: expect.stringContaining('two fields "ab"'),
    });
    expect(events.filter(isRow).map(({ table }) => table)).toEqual([1]);
    // One that has gone, under an _id that no client can ask for.
    const from = (await startOf(source, tables)).position;
    const bad = Buffer.from(BSON.serialize({ _id: 'ab' }));
    bad[bad.indexOf('ab')] = 0xff;
    const key = new Raw(bad);
    ground.fake.store.noop();
    ground.fake.store.entries.push({
      time: ground.fake.store.now,
      at: new Date(),
      changes: [{ operation: 'update', db: ground.database, coll: 'c', key }],
    });
    Object.assign(ground.fake.store, { find: () => null });
    await at('d').insertOne({ _id: 3 as never });
    const later = await captured(source, tables, from);
    expect(later.find((event) => event.kind === 'structure')).toMatchObject({ table: 0, now: null });
    expect(later.filter(isRow).map(({ table }) => table)).toEqual([1]);
    await source[Symbol.asyncDispose]();
  });
});

describe('positions', () => {
  test('that the oplog no longer reaches are lost, and another cluster is told', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    await at('c').insertOne({ _id: 1 as never });
    const events = await captured(source, tables, start.position);
    ground.fake.store.lost = [Math.floor(Date.now() / 1000) + 60, 0];
    for (const from of [start.position, lastPosition(events)])
      await expect(captured(source, tables, from)).rejects.toMatchObject({
        name: 'PositionLost',
        action: expect.stringContaining('oplog'),
      });
    expect(await source.logState('', start.position)).toMatchObject({
      lost: expect.stringContaining('oplog'),
      hoursLeft: 0,
    });
    ground.fake.store.lost = [0, 0];
    await expect(
      captured(source, tables, start.position, { identity: 'set:rs0:0123456789abcdef01234567' }),
    ).rejects.toMatchObject({ name: 'PositionLost' });
    await expect(captured(source, tables, start.position, { identity: 'set:other:' })).rejects.toMatchObject({
      name: 'PositionLost',
    });
    expect(lines(await captured(source, tables, start.position, { identity: 'set:rs0:' }))).toHaveLength(2);
    for (const code of [260, 280, 286]) {
      ground.fake.fail = (command) =>
        command['aggregate'] === undefined ? undefined : new CommandError(code, 'x', 'no');
      await expect(captured(source, tables, start.position)).rejects.toMatchObject({ name: 'PositionLost' });
    }
    await source[Symbol.asyncDispose]();
  });

  test('a connection that is cut is an error that passes, and the next reader goes on from what was named', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    const seen: LogEvent[] = [];
    await using reader = await capture(source, tables, start.position, { until: 'forever' });
    const reading = (async () => {
      for await (const piece of reader.events()) seen.push(...piece);
    })();
    reading.catch(() => {});
    await at('c').insertOne({ _id: 1 as never });
    await expect.poll(() => lines(seen), { timeout: 20_000 }).toHaveLength(2);
    ground.fake.cut();
    await expect(reading).rejects.toThrow();
    await expect(reading).rejects.not.toMatchObject({ action: expect.anything() });
    // A client may hold connections that it has not missed yet.
    await using again = await ground.open();
    ground.fake.store.commit([{ operation: 'delete', db: ground.database, coll: 'c', id: new BSON.Int32(1) }]);
    expect(lines(await captured(again, tables, lastPosition(seen)))).toEqual(['delete {"$numberInt":"1"}', 'commit']);
    await source[Symbol.asyncDispose]();
  });

  test('a reader ends with its signal, reads again for a while, and leaves no cursor behind', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'c');
    await at('c').insertMany([
      { _id: 1 as never, n: 1 },
      { _id: 1.5 as never, n: 2 },
    ]);
    const stop = new AbortController();
    const reader = await capture(source, tables, start.position, { until: 'forever' }, stop.signal);
    const seen: LogEvent[] = [];
    const reading = (async () => {
      for await (const piece of reader.events()) seen.push(...piece);
    })();
    reading.catch(() => {});
    await expect
      .poll(() => seen.some((event) => event.kind === 'progress' && event.atEnd), { timeout: 20_000 })
      .toBe(true);
    stop.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    const keys = ['{"$numberInt":"1"}', 'first', 'nobody', '{"$numberDouble":"1.5"}'];
    let text = '';
    for await (const batch of reader.reread(0, keys)) text += Buffer.from(batch.data).toString();
    expect(text.split('\n').sort()).toEqual(
      ['', 'first\t{"n":0}', '{"$numberDouble":"1.5"}\t{"n":2}', '{"$numberInt":"1"}\t{"n":1}'].sort(),
    );
    const asked = ground.fake.seen.findLast((command) => command['find'] === 'c');
    expect(asked?.['readConcern']).toMatchObject({ level: 'majority', afterClusterTime: expect.anything() });
    await reader[Symbol.asyncDispose]();
    await expect.poll(() => ground.fake.cursors(), { timeout: 5_000 }).toBe(0);
    await source[Symbol.asyncDispose]();
  });
});

describe('places where a stream must not be left', () => {
  test('a batch that ends between the parts of an event names no place inside it', async () => {
    await using ground = await mongoGround({ batch: 1 });
    const { source, tables, start, at } = await following(ground, 'c');
    ground.fake.store.largestEvent = 900;
    const events = await (async () => {
      await using reader = await capture(source, tables, start.position);
      // Later than the end that is read up to: each place behind it would do for the reader.
      for (const _id of [1, 2]) await at('c').insertOne({ _id: _id as never, big: 'x'.repeat(2_000) });
      const read: LogEvent[] = [];
      for await (const piece of reader.events()) read.push(...piece);
      return read;
    })();
    const all = [...events, ...(await captured(source, tables, lastPosition(events)))];
    expect(all.filter(isRow).map(({ key }) => key)).toEqual(['{"$numberInt":"1"}', '{"$numberInt":"2"}']);
    for (const [index, event] of all.entries())
      if (event.kind === 'commit' || event.kind === 'progress')
        expect(lines(await captured(source, tables, event.position))).toEqual(lines(all.slice(index + 1)));
    await source[Symbol.asyncDispose]();
  });

  test('nothing has been written since a database was dropped', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at, db } = await following(ground, 'c');
    await db.dropDatabase();
    let position = start.position;
    // Behind the `invalidate` again and again, with nothing new.
    for (let round = 0; round < 3; round++) position = lastPosition(await captured(source, tables, position));
    await at('c').insertOne({ _id: 3 as never });
    const fresh = [await describeOne(source, ground.database, 'c')];
    expect(lines(await captured(source, fresh, position))).toEqual(['insert {"$numberInt":"3"} {}', 'commit']);
    await source[Symbol.asyncDispose]();
  });

  test('the last event was one of a collection that is not followed any more', async () => {
    await using ground = await mongoGround();
    const { source, tables, start, at } = await following(ground, 'a', 'b');
    await at('a').insertOne({ _id: 1 as never });
    await at('b').insertOne({ _id: 2 as never });
    const commit = (await captured(source, tables, start.position)).findLast((event) => event.kind === 'commit');
    const { position } = commit as { position: Position };
    await at('a').insertOne({ _id: 3 as never });
    ground.fake.store.strictTokens = true;
    expect(lines(await captured(source, tables.slice(0, 1), position))).toEqual([
      'insert {"$numberInt":"3"} {}',
      'commit',
    ]);
    // An event that is nowhere any more is another matter.
    ground.fake.store.entries.splice(0, ground.fake.store.entries.length - 1);
    await expect(captured(source, tables.slice(0, 1), position)).rejects.toMatchObject({ name: 'PositionLost' });
    await source[Symbol.asyncDispose]();
  });
});

test('a key that the copy has no room for takes its table out, and no other; its delete is none', async () => {
  await using ground = await mongoGround();
  const { source, tables, start, at } = await following(ground, 'c', 'd');
  // Characters count: escapes and bytes of one are one.
  for (const _id of ['k'.repeat(255), '\t'.repeat(255), '😀'.repeat(255)])
    await at('c').insertOne({ _id: _id as never });
  const long = { _id: 'é'.repeat(256) as never };
  await at('c').deleteOne(long);
  const fits = await captured(source, tables, start.position);
  expect(fits.filter(isRow).map(({ kind }) => kind)).toEqual(['insert', 'insert', 'insert']);
  await at('c').insertOne(long);
  await at('d').insertOne(long);
  await at('d').insertOne({ _id: 1 as never });
  const wide = await describeOne(source, ground.database, 'd', { types: { _id: 'VARCHAR(256)' } });
  const events = await captured(source, [tables[0] as never, wide], lastPosition(fits));
  expect(events.find((event) => event.kind === 'structure')).toMatchObject({
    table: 0,
    now: null,
    reason: expect.stringMatching(/_id é+… is longer than VARCHAR\(255\).*"_id":"VARCHAR/),
  });
  expect(events.filter(isRow).map(({ table }) => table)).toEqual([1, 1]);
  await expect(snapshot(source, tables[0] as never)).rejects.toMatchObject({
    name: 'UnsupportedValue',
    message: expect.stringContaining(`${ground.database}.c`),
  });
  await source[Symbol.asyncDispose]();
});

test('a document whose shard key changes is kept, in whichever order its delete and insert come', async () => {
  await using ground = await mongoGround({ sharded: true });
  const { source, tables, start, at } = await following(ground, 'c');
  const { store } = ground.fake;
  const document = new Raw(Buffer.from(BSON.serialize({ _id: 1, shard: 'b' })));
  const one = { db: ground.database, coll: 'c', id: new BSON.Int32(1) };
  await at('c').insertOne({ _id: 1 as never, shard: 'a' });
  const transaction = { lsid: { id: new BSON.UUID() }, txnNumber: BSON.Long.ONE };
  store.commit(
    [
      { operation: 'delete', ...one },
      { operation: 'insert', ...one, document },
      { operation: 'delete', ...one, id: 'first' },
    ],
    transaction,
  );
  (store.entries.at(-1) as unknown as { changes: unknown[] }).changes.splice(
    0,
    2,
    { operation: 'insert', ...one, document },
    { operation: 'delete', ...one },
  );
  setTimeout(() => store.noop(), 300).unref();
  const rows = folded(await captured(source, tables, start.position));
  expect([...rows.values()]).toEqual(['{"$numberInt":"1"}\t{"shard":"b"}\n']);
  await source[Symbol.asyncDispose]();
});

test('a replacement that writes its number as another type is the same row, whatever the event calls it', async () => {
  await using ground = await mongoGround();
  const { source, tables, start, at } = await following(ground, 'c');
  const [table] = tables as [(typeof tables)[number]];
  await at('c').insertOne({ _id: 1 as never, n: 1 });
  const rows = folded(await captured(source, tables, start.position), await snapshot(source, table));
  const from = (await startOf(source, tables)).position;
  // Servers name the document by the new _id.
  for (const id of [new BSON.Double(1), BSON.Long.fromInt(1), BSON.Decimal128.fromString('1.00')]) {
    const document = new Raw(Buffer.from(BSON.serialize({ _id: id, n: 2 })));
    ground.fake.store.commit([{ operation: 'replace', db: ground.database, coll: 'c', id, document }]);
  }
  expect(folded(await captured(source, tables, from), rows)).toEqual(await snapshot(source, table));
  expect(rows.size).toBe(2);
  await source[Symbol.asyncDispose]();
});

test('random histories end as their source, from any position', async () => {
  await using ground = await mongoGround({ batch: 5 });
  const { source, tables, start, at } = await following(ground, 'c');
  const [table] = tables as [(typeof tables)[number]];
  let seed = 12345;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % n;
  };
  let rows = await snapshot(source, table);
  let from = start.position;
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 25; i++) {
      const _id = [random(6), `s${random(4)}`, new BSON.Double(random(3) + 0.5)][random(3)] as never;
      const session = random(4) === 0 ? ground.client.startSession() : undefined;
      session?.startTransaction();
      const options = session ? { session } : {};
      await at('c').deleteOne({ _id }, options);
      if (random(3) > 0)
        await at('c')
          .insertOne({ _id, n: random(1000) }, options)
          .catch(() => {});
      if (random(2) > 0) await at('c').updateOne({ _id }, { $set: { [`f${random(3)}`]: random(100) } }, options);
      if (session) await session[random(3) === 0 ? 'abortTransaction' : 'commitTransaction']();
      await session?.endSession();
    }
    const events = await captured(source, tables, from);
    rows = folded(events, rows);
    expect(rows).toEqual(await snapshot(source, table));
    from = lastPosition(events);
  }
  await source[Symbol.asyncDispose]();
});
