// Reads one collection of mongo-java-server by the driver's reader and by the client library's plain API, in turns, and prints rows per second and per
// CPU-second of this process: node bench/mongodb-reader.ts [documents] [rounds]
import { BSON, MongoClient } from 'mongodb';
import { startJavaMongo } from '../scripts/servers/mongodb.ts';
import { open } from '../src/drivers/mongodb/source.ts';

const documents = Number(process.argv[2] ?? 200_000);
const rounds = Number(process.argv[3] ?? 5);
const server = await startJavaMongo();
const client = new MongoClient(`mongodb://127.0.0.1:${server.port}/?directConnection=true`);
const collection = client.db('bench').collection('rows');
for (let from = 0; from < documents; from += 5_000)
  await collection.insertMany(Array.from({ length: Math.min(5_000, documents - from) }, (_, i) => row(from + i)));

const params = { host: '127.0.0.1', port: String(server.port), uid: '', pwd: '', type: 'rds.mongo', capture: 'none' };
const source = await open(params, new AbortController().signal);
const [described] = await source.describe([{ ref: { schema: 'bench', name: 'rows' }, options: {} }]);
if (!described || 'error' in described) throw new Error('the collection is not there');
const { table } = described;

const readers: Readonly<Record<string, () => Promise<{ rows: number; bytes: number }>>> = {
  'driver, load text': async () => {
    let [rows, bytes] = [0, 0];
    for await (const batch of source.read(table, undefined, '{}', new AbortController().signal)) {
      rows += batch.rows;
      bytes += batch.data.length;
      batch.release?.();
    }
    return { rows, bytes };
  },
  'client, objects and EJSON': async () => {
    let [rows, bytes] = [0, 0];
    for await (const document of collection.find({}, { promoteValues: false })) {
      bytes += Buffer.byteLength(BSON.EJSON.stringify(document, { relaxed: false }));
      rows++;
    }
    return { rows, bytes };
  },
  'client, objects only': async () => {
    let rows = 0;
    for await (const _ of collection.find({})) rows++;
    return { rows, bytes: 0 };
  },
};

const results = new Map<string, { wall: number; cpu: number }[]>();
for (let round = 0; round < rounds; round++)
  for (const [name, read] of Object.entries(readers)) {
    const [began, used] = [performance.now(), process.cpuUsage()];
    const { rows } = await read();
    const { user, system } = process.cpuUsage(used);
    if (rows !== documents) throw new Error(`${name} read ${rows} of ${documents}`);
    results.set(name, [
      ...(results.get(name) ?? []),
      { wall: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 },
    ]);
  }
console.log(
  `${documents} documents, medians of ${rounds} rounds\n\n| reader | rows/s | rows per CPU-second |\n|---|---|---|`,
);
for (const [name, list] of results)
  console.log(`| ${name} | ${rate(list.map(({ wall }) => wall))} | ${rate(list.map(({ cpu }) => cpu))} |`);
await source[Symbol.asyncDispose]();
await client.close();
await server.stop();

function rate(seconds: readonly number[]): string {
  const median = seconds.toSorted((a, b) => a - b)[Math.floor(seconds.length / 2)] as number;
  return Math.round(documents / median).toLocaleString('en');
}

function row(i: number): BSON.Document {
  return {
    n: i,
    name: `Customer number ${i}`,
    email: `customer${i}@example.com`,
    big: BSON.Long.fromString('9007199254740993').add(i),
    price: BSON.Decimal128.fromString(`${i}.25`),
    ratio: i / 7,
    at: new Date(1_600_000_000_000 + i * 1_000),
    active: i % 2 === 0,
    address: { street: `Street ${i % 1000}`, city: 'Town', zip: String(10_000 + (i % 90_000)) },
    tags: ['a', 'b', `t${i % 50}`],
  };
}
