import { setTimeout as delay } from 'node:timers/promises';
import { BSON, type Document } from 'mongodb';
import { expect, test } from 'vitest';
import { describeOne, mongoGround, startOf } from './mongodb-fixture.ts';
import { hostileTexts, parseLoadText, readAll, readRange } from './source-suite.ts';

/**
 * What `source-suite.ts` asks of every source. It can't run here: it makes tables by SQL, with columns and keys of their own, and a collection has neither (its key is
 * `_id`, its columns are found or named). Its cases, one by one:
 *
 * - time of commits; the written end moves: `mongodb-source`, "clock, written end and log state"
 * - schemas and tables in order, null for none; described in the order asked, with error entries: `mongodb-source`, "are listed and described"
 * - structure changes with the table, not with rows: `mongodb-source`, "that are made anew"; with sampled fields: `mongodb-fields`, "fields that come later"
 * - an empty table; hostile texts; `where` in every range; names; a slow consumer; begin, end and remove again: below
 * - ranges hold every row once, whatever the key; concurrent writes lose none: `mongodb-source`, "are read in ranges", "of all types of _id"; `mongodb-ranges.db`
 * - keys of several columns, none: embedded documents as `_id` there, views below
 * - a masked column: `mongodb-source`, "are read in ranges"; `mongodb-fields`, "what is masked is nowhere"
 * - an abort, leaving early: `mongodb-source`, "a read that is left or aborted"; no session stays: `mongodb-capture`, "leaves no cursor behind"
 * - a wrong password: `mongodb-source`, "logs in"; a preflight that finds nothing: there, "a missing right"
 */

test('a collection without documents and one that is only a view: a range, and the rows that there are', async () => {
  await using ground = await mongoGround();
  const db = ground.client.db(ground.database);
  await db.createCollection('empty');
  await db.createCollection('seen', { viewOn: 'empty', pipeline: [] });
  await using source = await ground.open({ document_fields: 'sampled' });
  for (const name of ['empty', 'seen']) {
    const table = await describeOne(source, ground.database, name);
    expect((await source.split(table, undefined, 1_000)).ranges).toEqual(['{}']);
    expect(await readAll(source, table)).toEqual([]);
  }
});

test('hostile texts arrive as they are, in keys, columns and documents; an empty one is not NULL', async () => {
  const values = [...hostileTexts, '\0'];
  await using ground = await mongoGround();
  const c = ground.client.db(ground.database).collection<Document>('c');
  await c.insertMany([...values.map((text) => ({ _id: text as never, text, o: { text } })), { _id: 99 as never }]);
  await using source = await ground.open({ document_fields: 'named' });
  const table = await describeOne(source, ground.database, 'c', { types: { text: 'LONGTEXT' } });
  const rows = new Map((await readAll(source, table)).map(([id, text, more]) => [id, [text, more]]));
  for (const text of values) expect(rows.get(text)).toEqual([text, JSON.stringify({ o: { text } })]);
  expect(rows.get('{"$numberInt":"99"}')).toEqual([null, '{}']);
  expect(rows.size).toBe(values.length + 1);
});

test('where selects in every range, and names that only quoting makes possible are read', async () => {
  await using ground = await mongoGround();
  const db = ground.client.db(ground.database);
  await using source = await ground.open({ document_fields: 'sampled' });
  const odd = [
    'select',
    'Two Words',
    'dot.ted',
    'quo"te',
    "apo'strophe",
    'back`tick',
    'Ünïcödé',
    'hy-phen',
    'count(*)',
    '表$',
  ];
  for (const name of odd) {
    const documents = Array.from({ length: 60 }, (_, i) => ({ _id: i as never, kind: i % 5, [name]: i }));
    await db.collection<Document>(name).insertMany(documents);
    const where = '{"$or":[{"kind":1},{"kind":{"$gt":3}}]}';
    const table = await describeOne(source, ground.database, name, { where });
    const place = table.columns.findIndex((column) => column.name === name);
    expect(place).toBeGreaterThan(0);
    const rows = await readAll(source, table, { where, chunkBytes: 600 });
    expect(rows.map((row) => Number(row[place])).sort((a, b) => a - b)).toEqual(
      documents.filter(({ kind }) => kind === 1 || kind === 4).map(({ _id }) => _id),
    );
  }
});

test('a slow consumer holds the server back', async () => {
  await using ground = await mongoGround();
  const documents = Array.from({ length: 3_000 }, () => ({ pad: 'y'.repeat(3_000) }));
  await ground.client.db(ground.database).collection('c').insertMany(documents);
  await using source = await ground.open();
  const table = await describeOne(source, ground.database, 'c');
  const asked = () => ground.fake.seen.filter((command) => command['getMore'] !== undefined).length;
  const batches = source.read(table, undefined, '{}', new AbortController().signal);
  let rows = Number((await batches.next()).value?.rows);
  await delay(100);
  // One page is on its way while another is taken apart.
  expect(asked()).toBeLessThanOrEqual(2);
  for (;;) {
    const next = await batches.next();
    if (next.done) break;
    rows += next.value.rows;
    expect(next.value.data.length).toBeLessThan(4_000_000);
  }
  expect(rows).toBe(3_000);
  expect(asked()).toBeGreaterThan(3);
});

test('begin, end and remove can be repeated; a row is read by its key', async () => {
  await using ground = await mongoGround();
  const c = ground.client.db(ground.database).collection<Document>('c');
  const oid = new BSON.ObjectId();
  await c.insertMany([{ _id: oid as never, n: 1 }, { _id: 2 as never }]);
  await using source = await ground.open();
  const table = await describeOne(source, ground.database, 'c');
  const first = await startOf(source, [table]);
  const again = await startOf(source, [table]);
  expect([again.identity, again.slot]).toEqual([first.identity, first.slot]);
  for (const _ of [1, 2]) {
    await source.end('p_1');
    await source.remove('p');
  }
  const parts: Buffer[] = [];
  for await (const { data } of source.reread(table, [oid.toHexString(), 'nobody'], new AbortController().signal))
    parts.push(Buffer.from(data));
  expect(parseLoadText(Buffer.concat(parts))).toEqual([[oid.toHexString(), '{"n":1}']]);
  expect((await readRange(source, table, '{}')).rows).toHaveLength(2);
});
