// Reads one collection of mongo-java-server by the driver's reader and by the client library's plain API, in turns: node bench/mongodb.ts documents rounds
import { BSON, MongoClient } from 'mongodb';
import { startJavaMongo } from '../scripts/servers/mongodb.ts';
import { open } from '../src/drivers/mongodb/source.ts';
import { type Reading, timed } from './reader-figure.ts';
import type { Readings } from './readers.ts';

const documents = Number(process.argv[2]);
const rounds = Number(process.argv[3]);
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

async function loadText(): Promise<number> {
  let rows = 0;
  for await (const batch of source.read(table, undefined, '{}', new AbortController().signal)) {
    rows += batch.rows;
    batch.release?.();
  }
  return rows;
}

async function objects(): Promise<number> {
  let [rows, bytes] = [0, 0];
  for await (const document of collection.find({}, { promoteValues: false })) {
    bytes += Buffer.byteLength(BSON.EJSON.stringify(document, { relaxed: false }));
    rows++;
  }
  return bytes > 0 ? rows : 0;
}

const own: Reading[] = [];
const plain: Reading[] = [];
for (let round = 0; round < rounds; round++) {
  own.push(await timed(loadText, documents));
  plain.push(await timed(objects, documents));
}
const beside = 'MongoDB (mongo-java-server): objects of mongodb as EJSON';
const all: Readings[] = [
  { name: 'MongoDB (mongo-java-server): load text', beside, runs: own },
  { name: beside, runs: plain },
];
console.log(JSON.stringify(all));
await source[Symbol.asyncDispose]();
await client.close();
await server.stop();

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
