import { setTimeout as sleep } from 'node:timers/promises';
import { BSON, type Document, MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PipelineOverview, queries, type SetSchedule, updates } from '../../src/workflows/messages.ts';
import { databaseName, type FakeMongo, startFakeMongo } from '../fakes/mongodb/server.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  makeDestination,
  runFull,
  runOperation,
  selection,
  startPipeline,
  startWorker,
} from './run.ts';
import type { SeededSource } from './sources.ts';

/** Whole runs from a fake MongoDB, by its change streams, compared by content with a reader that shares no code with the product. */

let harness: Harness;
let fake: FakeMongo;
let client: MongoClient;
beforeAll(async () => {
  harness = await startWorker();
  fake = await startFakeMongo({ users: { flow: 'fl:o/w@1' } });
  client = new MongoClient(`mongodb://127.0.0.1:${fake.port}/?directConnection=true`, {
    auth: { username: 'flow', password: 'fl:o/w@1' },
    promoteValues: false,
    bsonRegExp: true,
  });
});
afterAll(async () => {
  await client?.close();
  await fake?.[Symbol.asyncDispose]();
  await harness?.stop();
});

const auto: SetSchedule = { schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } };
const names = ['big', 'mixed', 'empty', 'Odd "name" é.t-表'];

describe('MongoDB', { timeout: 240_000 }, () => {
  it('copies collections, follows them by deltas and in auto, and says when one is dropped', async () => {
    const database = databaseName();
    const db = client.db(database);
    const target = await makeDestination('singlestore');
    await db.createCollection('empty');
    await db.collection('big').insertMany(Array.from({ length: 1_100 }, (_, i) => document(i)));
    await db.collection<Document>('mixed').insertMany(ids.map((_id, i) => ({ _id: _id as never, i })));
    await db.collection(names[3] as string).insertMany(Array.from({ length: 50 }, (_, i) => ({ 'a.b': i })));
    const params = { host: '127.0.0.1', port: String(fake.port), uid: 'flow', pwd: 'fl:o/w@1', type: 'rds.mongo' };
    const source = { params, database: 'default', schema: database } as unknown as SeededSource;
    const handle = await startPipeline(
      harness,
      source,
      target,
      names.map((name) => ({ name })),
    );
    try {
      await expectGood(handle, await runFull(handle));
      for (const name of names) await expectSame(database, name, target);

      await change(database, 0);
      const run = await runOperation(handle, 'delta');
      await expectGood(handle, run);
      expect(run.rows.inserted + run.rows.updated + run.rows.deleted).toBeGreaterThan(50);
      for (const name of names) await expectSame(database, name, target);
      const idle = await runOperation(handle, 'delta');
      expect(idle.rows).toEqual({ loaded: 0, inserted: 0, updated: 0, deleted: 0, parked: 0 });

      await handle.executeUpdate(updates.setSchedule, { args: [auto] });
      await until(
        () => handle.query<PipelineOverview>(queries.overview),
        ({ current }) => current.stream !== null,
      );
      await change(database, 2);
      fake.cut();
      // The test's own client must have missed its connections before it writes in a transaction.
      await until(
        () =>
          client
            .db('admin')
            .command({ ping: 1 })
            .then(
              () => true,
              () => false,
            ),
        (answers) => answers,
      );
      await change(database, 3);
      await until(
        async () => {
          // A look costs the fake server and this process more than the changes do.
          await sleep(500);
          return (await Promise.all(names.map((name) => differences(database, name, target)))).flat().length;
        },
        (different) => different === 0,
        120_000,
      );
      await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
      await until(
        () => handle.query<PipelineOverview>(queries.overview),
        ({ current }) => current.stream === null,
      );

      await db.collection('mixed').drop();
      await db.collection<Document>('mixed').insertOne({ _id: 'after' as never, i: 1 });
      await db.collection('big').deleteMany({ n: { $lt: new BSON.Int32(10) } });
      await runOperation(handle, 'delta');
      const dropped = (await selection(handle)).find(({ name }) => name === 'mixed');
      expect(dropped?.error?.message ?? 'dropped').toContain('dropped');
      // It is loaded again by itself.
      await until(
        async () => {
          // A look costs the fake server and this process more than the changes do.
          await sleep(500);
          return (await Promise.all(names.map((name) => differences(database, name, target)))).flat().length;
        },
        (different) => different === 0,
        120_000,
      );
      await until(
        () => selection(handle),
        (tables) => tables.every(({ state }) => state === 'consistent'),
        120_000,
      );
      await expectClean(target);
      expect(target.rejections()).toEqual([]);
    } finally {
      await handle.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
      await target.drop();
    }
  });
});

describe('fields of documents as columns', { timeout: 240_000 }, () => {
  it('hold what full and delta bring, and syncstruct gives those a column that came since', async () => {
    const database = databaseName();
    const docs = client.db(database).collection<Document>('docs');
    const target = await makeDestination('singlestore');
    await docs.insertMany(Array.from({ length: 40 }, (_, i) => ({ ...typed(i), _id: i as never })));
    const params = { host: '127.0.0.1', port: String(fake.port), uid: 'flow', pwd: 'fl:o/w@1', type: 'rds.mongo' };
    const source = { params: { ...params, document_fields: 'sampled' }, database: 'default', schema: database };
    const handle = await startPipeline(harness, source as unknown as SeededSource, target, [{ name: 'docs' }]);
    const rows = async (columns: readonly string[]) => {
      const list = columns.map((name) => `cast(\`${name}\` as char) as \`${name}\``).join(', ');
      const found = await target.query<Record<string, string | null>>(`select ${list} from \`${target.db}\`.docs`);
      return new Map(found.map(({ _id, ...row }) => [_id, row]));
    };
    const wanted = (i: number, more = '{}') => ({
      bool: String(i % 2),
      date: `${new Date(1e12 + i).toISOString().slice(0, 23).replace('T', ' ')}000`,
      double: String(i + 0.1),
      int: String(i),
      long: String(9007199254740993n + BigInt(i)),
      mixed: i % 2 === 0 ? String(i) : `"${i}"`,
      money: `${i}.50`,
      oid: `${i}`.padStart(24, '0'),
      text: `${i}\t\n\\ 😀`,
      _more: more,
    });
    const columns = ['_id', ...Object.keys(wanted(0))];
    const key = (i: number) => `{"$numberInt":"${i}"}`;
    try {
      await expectGood(handle, await runFull(handle));
      const all = new Map(Array.from({ length: 40 }, (_, i) => [key(i), wanted(i)]));
      expect(await rows(columns)).toEqual(all);

      await docs.insertOne({ ...typed(40), _id: 40 as never, came: 'later' });
      await docs.updateOne({ _id: 3 as never }, { $set: { int: 'no number', long: null } });
      await docs.deleteOne({ _id: 4 as never });
      await expectGood(handle, await runOperation(handle, 'delta'));
      all.set(key(40), wanted(40, '{"came":"later"}'));
      all.set(key(3), { ...wanted(3, '{"int":"no number","long":null}'), int: null as never, long: null as never });
      all.delete(key(4));
      expect(await rows(columns)).toEqual(all);

      await runOperation(handle, 'syncstruct');
      // `int` has values of two types now, and the new field a column; the table was loaded again by itself.
      for (const [name, row] of all) all.set(name, { ...row, came: null } as never);
      all.set(key(40), { ...wanted(40), came: 'later' } as never);
      all.set(key(3), { ...wanted(3, '{"long":null}'), int: '"no number"', long: null as never, came: null } as never);
      const seen = async () => JSON.stringify([...(await rows([...columns, 'came']).catch(() => []))].sort());
      const now = new Map([...all].sort());
      await until(seen, (text) => text.includes('"came":"later"'), 60_000);
      expect(new Map([...(await rows([...columns, 'came']))].sort())).toEqual(now);
      expect(target.rejections()).toEqual([]);
    } finally {
      await handle.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
      await target.drop();
    }
  });
});

function typed(i: number): Document {
  return {
    bool: i % 2 === 1,
    date: new Date(1e12 + i),
    double: new BSON.Double(i + 0.1),
    int: new BSON.Int32(i),
    long: BSON.Long.fromString('9007199254740993').add(i),
    mixed: i % 2 === 0 ? new BSON.Int32(i) : String(i),
    money: BSON.Decimal128.fromString(`${i}.50`),
    oid: new BSON.ObjectId(`${i}`.padStart(24, '0')),
    text: `${i}\t\n\\ 😀`,
  };
}

const ids: unknown[] = [
  1,
  1.5,
  BSON.Long.fromString('9007199254740993'),
  'text',
  '1',
  '{"a":1}',
  ' padded ',
  'padded',
  new BSON.ObjectId(),
  '0123456789abcdef01234567',
  new Date(0),
  new BSON.UUID('00112233-4455-6677-8899-aabbccddeeff'),
  BSON.Decimal128.fromString('7.50'),
  true,
  null,
  new Map([
    ['b', 1],
    ['1', 2],
  ]),
];

function document(i: number): Document {
  return {
    _id: new BSON.ObjectId(),
    n: new BSON.Int32(i),
    long: BSON.Long.fromString('9007199254740993').add(i),
    double: new BSON.Double(i / 3),
    whole: new BSON.Double(i),
    odd: new BSON.Double([Number.NaN, Infinity, -Infinity, -0, 1e300][i % 5] as number),
    decimal: BSON.Decimal128.fromString(`${i}.50`),
    at: new Date(1_600_000_000_000 + i * 1_001),
    before: new Date(-i * 1e9),
    text: i % 7 === 0 ? '' : `row ${i} \t\n\\ "quoted" \0 😀 \\N`,
    missing: i % 3 === 0 ? null : i % 3 === 1 ? [i, [new BSON.Int32(i)], {}] : { deep: { er: [null, true, 'x'] } },
    bytes: new BSON.Binary(Buffer.from([i & 255, 0, 255]), i % 2),
    time: new BSON.Timestamp({ t: i, i: 1 }),
    regex: new BSON.BSONRegExp('^a"\\\\', 'i'),
    min: new BSON.MinKey(),
  };
}

/** Single writes and transactions over two collections, some of which end where they began. */
async function change(database: string, round: number): Promise<void> {
  const db = client.db(database);
  const big = db.collection<Document>('big');
  const other = db.collection<Document>(names[3] as string);
  await big.insertMany(Array.from({ length: 40 }, (_, i) => document(10_000 + round * 100 + i)));
  for (let i = 0; i < 20; i++)
    await big.updateOne(
      { n: new BSON.Int32(i + round * 20 + 100) },
      { $set: { text: `changed ${round}`, more: { round } }, $unset: { odd: '' } },
    );
  await big.deleteMany({ n: { $gte: new BSON.Int32(1_000 + round * 10), $lt: new BSON.Int32(1_010 + round * 10) } });
  for (const end of ['commitTransaction', 'abortTransaction'] as const) {
    const session = client.startSession();
    session.startTransaction();
    const _id = `${end}${round}` as never;
    await big.insertOne({ _id, n: new BSON.Int32(-1), end }, { session });
    await big.updateOne({ _id }, { $set: { end: `${end} again` } }, { session });
    await other.insertMany(
      Array.from({ length: 150 }, (_, i) => ({ _id: `${end}${round}.${i}` as never, end })),
      { session },
    );
    await session[end]();
    await session.endSession();
  }
  // Gone and back, under the same _id: as another type of number the second time.
  await db.collection<Document>('mixed').deleteOne({ _id: 1 as never });
  await db
    .collection<Document>('mixed')
    .insertOne({ _id: (round % 2 === 0 ? new BSON.Double(1) : new BSON.Int32(1)) as never, round });
  await db.collection<Document>('mixed').replaceOne({ _id: 'text' as never }, { replaced: round });
  // Updated and gone before anybody looks.
  const gone = `gone${round}` as never;
  await big.insertOne({ _id: gone, n: new BSON.Int32(-2) });
  await big.updateOne({ _id: gone }, { $set: { soon: true } });
  await big.deleteOne({ _id: gone });
}

async function expectSame(database: string, name: string, target: Destination): Promise<void> {
  expect(await differences(database, name, target)).toEqual([]);
}

/** What is not the same at both ends, in both directions. */
async function differences(database: string, name: string, target: Destination): Promise<string[]> {
  const rows = await target.query<{ _id: string; _more: string }>(
    `select \`_id\`, cast(\`_more\` as char) as \`_more\` from \`${target.db}\`.\`${name}\``,
  );
  const there = new Map(rows.map((row) => [row._id, row._more]));
  const found: string[] = [];
  const documents = await client.db(database).collection(name).find({}, { raw: true }).toArray();
  for (const bytes of documents as unknown as Uint8Array[]) {
    const { _id, ...rest } = BSON.deserialize(bytes, { promoteValues: false, promoteBuffers: false, bsonRegExp: true });
    const key = idText(_id);
    const more = there.get(key);
    there.delete(key);
    if (more === undefined) found.push(`${name}: ${key} is missing`);
    else if (JSON.stringify(plain(rest)) !== JSON.stringify(JSON.parse(more, exact)))
      found.push(`${name}: ${key} is ${more.slice(0, 200)}`);
  }
  if (rows.length > new Set(rows.map((row) => row._id)).size) found.push(`${name}: keys come twice`);
  return [...found, ...[...there.keys()].map((key) => `${name}: ${key} is too much`)];
}

function idText(id: unknown): string {
  if (id instanceof BSON.ObjectId) return id.toHexString();
  if (typeof id === 'string') return /^([0-9a-f]{24}|null|true|false)$|^[{["]/.test(id) ? JSON.stringify(id) : id;
  // An object of JavaScript has lost the order of such names.
  if (id !== null && typeof id === 'object' && '1' in id) return '{"b":{"$numberInt":"1"},"1":{"$numberInt":"2"}}';
  // Numbers are keys by their value: of those in use here only these have more than one type.
  if (id instanceof BSON.Double && id.value === 1) return '{"$numberInt":"1"}';
  if (id instanceof BSON.Decimal128 && id.toString() === '7.50') return '{"$numberDouble":"7.5"}';
  return BSON.EJSON.stringify(id, { relaxed: false });
}

/** Numbers of JSON by their digits. */
function exact(_name: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' ? `#${context?.source}` : value;
}

/** What a value should have become. */
function plain(value: unknown): unknown {
  if (value instanceof BSON.Timestamp) return { $timestamp: { t: `#${value.t}`, i: `#${value.i}` } };
  if (value instanceof BSON.Int32 || BSON.Long.isLong(value)) return `#${value.toString()}`;
  if (value instanceof BSON.Double) {
    const text = (
      JSON.parse(BSON.EJSON.stringify({ v: value }, { relaxed: false })) as { v: { $numberDouble: string } }
    ).v;
    return Number.isFinite(value.value) ? `#${text.$numberDouble}` : text;
  }
  if (value instanceof Date)
    return {
      $date: value.getTime() < 0 ? { $numberLong: String(value.getTime()) } : value.toISOString().replace('.000Z', 'Z'),
    };
  if (value instanceof BSON.MinKey) return { $minKey: '#1' };
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === 'object' && !('_bsontype' in value))
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  return JSON.parse(BSON.EJSON.stringify({ v: value }, { relaxed: false })).v;
}
