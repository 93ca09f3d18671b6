import { BSON, MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startJavaMongo } from '../../scripts/servers/mongodb.ts';
import type { Server } from '../../scripts/servers/server.ts';
import { open } from '../../src/drivers/mongodb/source.ts';
import type { Source } from '../../src/drivers/source.ts';
import { startFakeMongo } from '../fakes/mongodb/server.ts';
import { describeOne, snapshot } from './mongodb-fixture.ts';
import { parseLoadText } from './source-suite.ts';

/** Full reads from a server that others wrote; where it and our own fake give the same rows, the fake is right. */

let server: Server | undefined;
let why = '';
beforeAll(async () => {
  server = await startJavaMongo().catch((error: unknown) => {
    why = String(error);
    return undefined;
  });
  // Said, never silent: a machine without Java or Maven.
  if (!server) console.warn(`LEFT OUT: reads of MongoDB from mongo-java-server, which can't be had here: ${why}`);
});
afterAll(() => server?.stop());

const pad = 'x'.repeat(60);
/** `_id`s of the types that can be one, several of each; without those whose order mongo-java-server gets wrong (NaN, longs beyond 2^53). */
const ids: unknown[] = [
  ...Array.from({ length: 100 }, (_, i) => i * 3),
  ...Array.from({ length: 100 }, (_, i) => i + 0.5),
  ...Array.from({ length: 50 }, (_, i) => BSON.Long.fromNumber(10_000 + i)),
  ...Array.from({ length: 50 }, (_, i) => BSON.Decimal128.fromString(`-${i}.25`)),
  ...Array.from({ length: 140 }, (_, i) => `s${i}`),
  ...Array.from({ length: 100 }, () => new BSON.ObjectId()),
  ...Array.from({ length: 100 }, (_, i) => new Date(i * 86_400_000 - 1e12)),
  ...Array.from({ length: 100 }, () => new BSON.UUID()),
  ...Array.from({ length: 40 }, (_, i) => ({ a: i % 7, b: String(i) })),
  true,
  false,
  new BSON.MinKey(),
  new BSON.MaxKey(),
];

async function seeded(port: number): Promise<{ source: Source; client: MongoClient }> {
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`);
  const db = client.db('ranges');
  await db.collection('mixed').insertMany(ids.map((_id) => ({ _id: _id as never, pad })));
  await db.collection('same').insertMany(Array.from({ length: 600 }, (_, i) => ({ _id: i as never, pad })));
  const params = { host: '127.0.0.1', port: String(port), uid: '', pwd: '', type: 'rds.mongo', capture: 'none' };
  return { client, source: await open(params, new AbortController().signal) };
}

const values: BSON.Document = {
  _id: 'values',
  long: BSON.Long.fromString('-9223372036854775808'),
  double: new BSON.Double(5),
  zero: new BSON.Double(-0),
  nan: Number.NaN,
  infinity: -Infinity,
  decimal: BSON.Decimal128.fromString('1.20E-30'),
  date: new Date('0001-01-01T00:00:00Z'),
  far: new Date(8.64e15),
  binary: new BSON.Binary(Buffer.from([0, 255, 10]), 0),
  time: new BSON.Timestamp({ t: 4_000_000_000, i: 4_000_000_000 }),
  regex: new BSON.BSONRegExp('a"\\d', 'im'),
  text: '\0\t\n\\"😀\u2028',
  nested: { a: [1, [2, { '': null }]] },
  min: new BSON.MinKey(),
};

describe('MongoDB on mongo-java-server', () => {
  test('ranges over _ids of all types hold each document exactly once, as on the fake', async (context) => {
    if (!server) return context.skip();
    await using fake = await startFakeMongo({ setName: '' });
    const [real, ours] = [await seeded(server.port), await seeded(fake.port)];
    try {
      for (const [name, count] of [
        ['mixed', ids.length],
        ['same', 600],
      ] as const) {
        const table = await describeOne(real.source, 'ranges', name);
        const split = await real.source.split(table, undefined, 6_000);
        expect(split.ranges.length).toBeGreaterThan(4);
        // Twice `snapshot` fails by itself.
        const rows = await snapshot(real.source, table, 6_000);
        expect(rows.size).toBe(count);
        const same = await snapshot(ours.source, await describeOne(ours.source, 'ranges', name), 6_000);
        expect(same.size).toBe(count);
        const random = (key: string) => /^[0-9a-f]{24}$|\$binary/.test(key);
        for (const [key, row] of rows) if (!random(key)) expect(same.get(key)).toBe(row);
        // The fake's own ranges, read on the server that others wrote, and the other way round.
        for (const [from, to] of [
          [ours.source, real.source],
          [real.source, ours.source],
        ] as const) {
          let read = 0;
          for (const range of (await from.split(table, undefined, 6_000)).ranges)
            for await (const batch of to.read(table, undefined, range, new AbortController().signal))
              read += batch.rows;
          expect(read).toBe(count);
        }
      }
    } finally {
      for (const { source, client } of [real, ours]) {
        await source[Symbol.asyncDispose]();
        await client.close();
      }
    }
  });

  test('values of every type arrive, filters select, and a server that stands alone is refused for deltas', async (context) => {
    if (!server) return context.skip();
    await using client = new MongoClient(`mongodb://127.0.0.1:${server.port}/?directConnection=true`);
    await client
      .db('values')
      .collection('all')
      .insertMany([values as never, { _id: 'other' as never, n: 1 }]);
    const params = { host: '127.0.0.1', port: String(server.port), uid: '', pwd: '', type: 'rds.mongo' };
    await using source = await open(
      { ...params, capture: 'none', bson_json: 'canonical' },
      new AbortController().signal,
    );
    expect(await source.schemas()).toContain('values');
    expect(await source.tables('values')).toEqual([{ name: 'all', kind: 'table', approxRows: 0 }]);
    expect(await source.tables('no such database')).toBeNull();
    const table = await describeOne(source, 'values', 'all');
    const { _id, ...rest } = values;
    const row = (await snapshot(source, table)).get('values') ?? '';
    const [[, text] = []] = parseLoadText(Buffer.from(row, 'latin1'));
    expect(text).toBe(BSON.EJSON.stringify(rest, { relaxed: false }));
    let picked = 0;
    for await (const batch of source.read(table, '{"n": {"$gte": 1}}', '{}', new AbortController().signal))
      picked += batch.rows;
    expect(picked).toBe(1);
    await using log = await open(params, new AbortController().signal);
    const findings = await log.preflight([]);
    expect(findings).toMatchObject([
      { severity: 'error', code: 'replica_set', message: expect.stringMatching(/rs\.initiate\(\)/) },
    ]);
  });
});
