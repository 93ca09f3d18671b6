import { BSON, type Collection, type Document, MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { updates } from '../../src/workflows/messages.ts';
import { databaseName, type FakeMongo, startFakeMongo } from '../fakes/mongodb/server.ts';
import { retry } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  makeDestination,
  runFull,
  runOperation,
  startPipeline,
} from './run.ts';
import type { SeededSource } from './sources.ts';
import { startWorkerProcess, type WorkerProcess } from './worker-process.ts';

/**
 * A worker of its own, killed with kill -9 in the middle of a full extract and of a delta; the fake MongoDB lives on in this process. Documents have columns
 * of their fields. Temporal misses a killed worker after half a minute each time, so this runs by `npm run test:matrix` only.
 */
const matrix = Boolean(process.env['FLOW_MATRIX']);
const ROWS = 8_000;
const params = { uid: '', pwd: '', type: 'rds.mongo', document_fields: 'sampled', host: '127.0.0.1' };

describe.runIf(matrix)('MongoDB under kill -9', { timeout: 400_000 }, () => {
  let fake: FakeMongo;
  let client: MongoClient;
  let worker: WorkerProcess;

  beforeAll(async () => {
    worker = await startWorkerProcess('mongodb-kills');
    fake = await startFakeMongo({ batch: 50 });
    client = new MongoClient(`mongodb://127.0.0.1:${fake.port}/?directConnection=true`);
  });
  afterAll(async () => {
    await worker?.stop();
    await client?.close();
    await fake?.[Symbol.asyncDispose]();
  });

  /** Kills the worker when it asks for the nth batch of `collection`, and has it started again. */
  function killAt(collection: string, nth: number): { readonly done: Promise<void>; readonly killed: () => boolean } {
    let batches = 0;
    let killed = false;
    const done = new Promise<void>((resolve, reject) => {
      fake.fail = (command) => {
        if (command['getMore'] === undefined || command['collection'] !== collection || ++batches !== nth)
          return undefined;
        killed = true;
        fake.fail = undefined;
        worker.replace().then(resolve, reject);
        return undefined;
      };
    });
    return { done, killed: () => killed };
  }

  it('a full extract and a delta end with the source’s documents', async () => {
    const database = databaseName();
    const target = await makeDestination('singlestore');
    const docs = client.db(database).collection<Document>('docs');
    await docs.insertMany(Array.from({ length: ROWS }, (_, i) => document(i)));
    const source = { params: { ...params, port: String(fake.port) }, database: 'default', schema: database };
    const handle = await retry(() =>
      startPipeline(worker, source as unknown as SeededSource, target, [{ name: 'docs' }]),
    );
    try {
      const first = killAt('docs', 2);
      const loaded = await runFull(handle, 180_000).catch((error: Error) => {
        throw new Error(`${error.message}\n${worker.logTail()}`);
      });
      await first.done;
      expect(first.killed()).toBe(true);
      await expectGood(handle, loaded);
      await expectSame(docs, target);

      await change(client, docs);
      const second = killAt('$cmd.aggregate', 8);
      const followed = await runOperation(handle, 'delta', 180_000);
      await second.done;
      expect(second.killed()).toBe(true);
      await expectGood(handle, followed);
      await expectSame(docs, target);
      await expectClean(target);
      expect(target.rejections()).toEqual([]);
    } finally {
      await handle.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
      await target.drop();
    }
  });
});

function document(i: number): Document {
  return {
    _id: (i % 3 === 0 ? i : `id ${i}`) as never,
    n: i,
    long: BSON.Long.fromString('9007199254740993').add(i),
    at: new Date(1_600_000_000_000 + i),
    text: `row ${i} \t\n\\ 😀`,
    mixed: i % 2 === 0 ? i : `${i}`,
    pad: 'x'.repeat(1_200),
  };
}

/** More than a thousand changes, each of which shows when it is missed, done twice or out of order. */
async function change(client: MongoClient, docs: Collection<Document>): Promise<void> {
  for (let i = 0; i < 300; i++) {
    await docs.updateOne({ _id: (3 * i) as never }, { $inc: { n: 1 }, $set: { text: `changed ${i}` } });
    await docs.deleteOne({ _id: `id ${3 * i + 1}` as never });
    if (i % 2 === 0) await docs.insertOne({ ...document(3 * i + 1), n: -1 - i, late: i });
  }
  for (const end of ['commitTransaction', 'abortTransaction'] as const) {
    const session = client.startSession();
    session.startTransaction();
    const made = Array.from({ length: 200 }, (_, i) => ({ ...document(100_000 + i), _id: `${end} ${i}` as never }));
    await docs.insertMany(made, { session });
    await session[end]();
    await session.endSession();
  }
}

/** Every row as its document says, in both directions. */
async function expectSame(docs: Collection<Document>, target: Destination): Promise<void> {
  const columns = ['_id', 'at', 'long', 'mixed', 'n', 'pad', 'text', '_more'];
  const list = columns.map((name) => `cast(\`${name}\` as char) as \`${name}\``).join(', ');
  const rows = await target.query<Record<string, string | null>>(`select ${list} from \`${target.db}\`.\`docs\``);
  const key = (id: unknown) => (typeof id === 'string' ? id : `{"$numberInt":"${id}"}`);
  const wanted = (await docs.find({}, { promoteLongs: false }).toArray()).map((one) => ({
    _id: key(one._id),
    at: `${(one['at'] as Date).toISOString().slice(0, -1).replace('T', ' ')}000`,
    long: String(one['long']),
    mixed: JSON.stringify(one['mixed']),
    n: String(one['n']),
    pad: one['pad'],
    text: one['text'],
    _more: one['late'] === undefined ? '{}' : `{"late":${one['late']}}`,
  }));
  const sorted = (list: readonly Record<string, unknown>[]) => list.map((row) => JSON.stringify(row)).sort();
  const [there, here] = [sorted(rows), sorted(wanted)];
  expect(there.filter((row, i) => row !== here[i]).slice(0, 3)).toEqual([]);
  expect(there).toHaveLength(here.length);
}
