import { BSON, type Document } from 'mongodb';
import { expect, test } from 'vitest';
import type { Params, Table } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { captured, describeOne, folded, type MongoGround, mongoGround, snapshot, startOf } from './mongodb-fixture.ts';
import { parseLoadText } from './source-suite.ts';

/** Top-level fields of documents as columns: what each row holds, and that loads and changes say the same. */

const id = (n: number) => `{"$numberInt":"${n}"}`;
const decimal = (text: string) => BSON.Decimal128.fromString(text);
const long = (text: string) => BSON.Long.fromString(text);

async function filled(ground: MongoGround, documents: readonly Document[]) {
  const c = ground.client.db(ground.database).collection<Document>('c');
  await c.insertMany(documents as Document[]);
  return c;
}

/** Rows by column, as LOAD DATA stores them; a column of NULL is left out. */
function shown(table: Table, rows: ReadonlyMap<string, string>): Record<string, Record<string, string>> {
  const named = [...rows].map(([, line]) => {
    const [row = []] = parseLoadText(Buffer.from(line, 'latin1'));
    expect(row).toHaveLength(table.columns.length);
    const cells = table.columns.map(({ name }, i) => [name, row[i]] as const).filter(([, cell]) => cell !== null);
    return [row[0], Object.fromEntries(cells.filter(([name]) => name !== '_id'))] as const;
  });
  return Object.fromEntries(named);
}

const kinds = (table: Table) =>
  Object.fromEntries(table.columns.map(({ name, sourceType, type }) => [name, [sourceType, type.kind].join(' ')]));

async function opened(ground: MongoGround, more: Params = {}): Promise<{ source: Source; table: Table }> {
  const source = await ground.open({ document_fields: 'sampled', ...more });
  return { source, table: await describeOne(source, ground.database, 'c') };
}

const first: Document[] = [
  {
    _id: 1,
    int: 7,
    long: long('9007199254740993'),
    either: 1,
    double: 0.1,
    bool: true,
    date: new Date(1),
    oid: new BSON.ObjectId('0123456789abcdef01234567'),
    text: 'a\tb\n\\"\0é😀',
    money: decimal('12.50'),
    amount: decimal('1.0'),
    mixed: 1,
    list: [1, { a: null }],
    nothing: null,
  },
  {
    _id: 2,
    int: -(2 ** 31),
    either: long('2147483648'),
    double: 1e300,
    bool: false,
    date: new Date('1000-01-01T00:00:00Z'),
    text: '',
    money: decimal('-99999999999999999999999999999999.99'),
    amount: decimal('1E+3'),
    mixed: 'one',
    list: 'none',
  },
];

test('each field has the narrowest column that holds all values of the sample', async () => {
  await using ground = await mongoGround();
  await filled(ground, [
    ...first,
    { _id: 3, İnt: 1, Text: 1, '': 1, 'a.b': 1, [`${'x'.repeat(65)}`]: 1, 'end ': 1, '😀': 1 },
  ]);
  const { source, table } = await opened(ground);
  await using _ = source;
  expect(kinds(table)).toEqual({
    _id: 'any varchar',
    'a.b': 'int int',
    amount: 'decimal varchar',
    bool: 'bool int',
    date: 'date datetime',
    double: 'double double',
    either: 'long int',
    int: 'int int',
    list: 'any json',
    long: 'long int',
    mixed: 'any json',
    money: 'decimal(2) decimal',
    nothing: 'any json',
    oid: 'objectId char',
    text: 'string text',
    _more: 'document sampled json',
  });
  // `Text` is rarer than `text`, from which it differs in case only, and other names can't be those of columns.
  expect(table.warnings).toEqual([expect.stringContaining(`, Text, end , ${'x'.repeat(65)}, İnt, 😀`)]);
  expect(table.columns.map(({ nullable }) => nullable)).toEqual([false, ...Array(14).fill(true), false]);
});

test('where there are too many fields, those that most documents have are columns: as many as MariaDB takes', async () => {
  await using ground = await mongoGround();
  const wide = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, new BSON.ObjectId()]));
  await filled(ground, [
    { _id: 1, ...wide(100) },
    { _id: 2, ...wide(60), z: 1 },
    { _id: 3, z: 2 },
  ]);
  const { source, table } = await opened(ground);
  await using _ = source;
  const names = table.columns.map(({ name }) => name);
  // 97 bytes for each ObjectId, 40 for the number, of 6,500.
  expect(names).toHaveLength(2 + 66 + 1);
  expect(names).toEqual(expect.arrayContaining(['z', ...Object.keys(wide(60))]));
  expect(table.warnings).toEqual([expect.stringMatching(/Fields without a column.*: f66, f67/)]);
});

test('a row holds every value once, exactly: in its column, or where that can not hold it in the document', async () => {
  await using ground = await mongoGround();
  const c = await filled(ground, first);
  const { source, table } = await opened(ground);
  await using _ = source;
  const { position } = await startOf(source, [table]);
  const rows = await snapshot(source, table);
  expect(shown(table, rows)).toEqual({
    [id(1)]: {
      int: '7',
      long: '9007199254740993',
      either: '1',
      double: '0.1',
      bool: '1',
      date: '1970-01-01 00:00:00.001000',
      oid: '0123456789abcdef01234567',
      text: 'a\tb\n\\"\0é😀',
      money: '12.50',
      amount: '1.0',
      mixed: '1',
      list: '[1,{"a":null}]',
      nothing: 'null',
      _more: '{}',
    },
    [id(2)]: {
      int: '-2147483648',
      either: '2147483648',
      double: '1e+300',
      bool: '0',
      date: '1000-01-01 00:00:00.000000',
      text: '',
      money: '-99999999999999999999999999999999.99',
      amount: '1E+3',
      mixed: '"one"',
      list: '"none"',
      _more: '{}',
    },
  });

  const misfits: Document = {
    int: 7.5,
    long: new BSON.Double(1),
    double: new BSON.Double(-0),
    bool: 1,
    date: new Date('0999-12-31T23:59:59.999Z'),
    oid: '0123456789abcdef01234567',
    text: 5,
    money: decimal('12.5'),
    amount: 3,
  };
  await c.insertOne({ _id: 3 as never, late: { field: 1 }, ...misfits, mixed: null });
  await c.insertOne({ _id: 4 as never, double: Number.NaN, money: decimal('-0.00'), date: null, either: 1.5 });
  await c.updateOne(
    { _id: 1 as never },
    { $set: { int: 8, date: new Date(8.64e15), text: null }, $unset: { list: '' } },
  );
  const events = await captured(source, [table], position);
  const after = folded(events, new Map(rows));
  expect(after).toEqual(await snapshot(source, table));
  expect(shown(table, after)).toMatchObject({
    [id(3)]: {
      mixed: 'null',
      _more:
        '{"late":{"field":1},"int":7.5,"long":1.0,"double":-0.0,"bool":1,"date":{"$date":{"$numberLong":"-30610224000001"}},' +
        '"oid":"0123456789abcdef01234567","text":5,"money":{"$numberDecimal":"12.5"},"amount":3}',
    },
    [id(4)]: {
      _more: '{"double":{"$numberDouble":"NaN"},"money":{"$numberDecimal":"-0.00"},"date":null,"either":1.5}',
    },
    [id(1)]: { int: '8', _more: '{"date":{"$date":{"$numberLong":"8640000000000000"}},"text":null}' },
  });
  for (const [key, names] of [
    [id(3), ['mixed', '_more']],
    [id(4), ['_more']],
  ] as const)
    expect(Object.keys(shown(table, after)[key] ?? {})).toEqual(names);
});

test('fields that come later stay in the document, are told, and have a column from the next load on', async () => {
  await using ground = await mongoGround();
  const c = await filled(ground, [{ _id: 1, a: 1 }]);
  const { source, table } = await opened(ground);
  await using _ = source;
  const { position } = await startOf(source, [table]);
  await c.insertMany([
    { _id: 2 as never, a: 'text', b: 1 },
    { _id: 3 as never, a: null, b: 2, é: 3 },
  ]);
  await using reader = await (source.capture as NonNullable<Source['capture']>)(
    {
      pipeline: 'p',
      name: 'p_1',
      slot: '',
      identity: '',
      from: position,
      tables: [{ table, skip: [] }],
      until: 'written',
    },
    new AbortController().signal,
  );
  for await (const _piece of reader.events());
  const rule = 'kept_in_document';
  const told = [
    { rule, column: 'a', count: 1, examples: [] },
    { rule, column: 'b', count: 2, examples: [] },
    { rule, column: 'é', count: 1, examples: [] },
  ];
  const sorted = (rules: readonly { column: string }[]) => rules.toSorted((a, b) => (a.column < b.column ? -1 : 1));
  const [uses] = reader.takeRules();
  expect(sorted(uses?.rules ?? [])).toEqual(told);
  expect(reader.takeRules()).toEqual([]);
  const read = source.read(table, undefined, '{}', new AbortController().signal);
  let next = await read.next();
  while (!next.done) next = await read.next();
  expect(sorted(next.value.rules)).toEqual(told);
  const now = await describeOne(source, ground.database, 'c');
  expect(kinds(now)).toMatchObject({ a: 'any json', b: 'int int', é: 'int int' });
  expect(now.structure).not.toBe(table.structure);
  // What a load was planned with is what it reads with, whatever has come since.
  const again = async (like: string) => {
    const [described] = await source.describe([{ ref: table.ref, options: {}, like }]);
    return described && 'table' in described ? described.table : undefined;
  };
  expect(await again(table.structure)).toMatchObject({ structure: table.structure, columns: table.columns });
  expect(await again(now.structure)).toMatchObject({ structure: now.structure, columns: now.columns });
  // Only where it is asked for does a table leave the stream for it, and it is loaded again.
  const looked = await captured(source, [table], position, { look: true });
  expect(looked.filter(({ kind }) => kind !== 'progress')).toMatchObject([
    { kind: 'structure', table: 0, now: null, reason: expect.stringMatching(/ask for other columns.*: a, b, é\./) },
  ]);
  expect((await captured(source, [now], position, { look: true })).some(({ kind }) => kind === 'structure')).toBe(
    false,
  );
  expect(shown(now, await snapshot(source, now))[id(3)]).toEqual({ a: 'null', b: '2', é: '3', _more: '{}' });
});

test('the document can stay whole; what is masked is nowhere', async () => {
  await using ground = await mongoGround();
  const c = await filled(ground, [{ _id: new BSON.Double(1), b: 1, a: 'secret' }]);
  for (const fields of ['sampled', 'none']) {
    const { source, table } = await opened(ground, { document_column: 'whole', document_fields: fields });
    const cells = fields === 'none' ? {} : { a: 'secret', b: '1' };
    expect(shown(table, await snapshot(source, table))).toEqual({
      [id(1)]: { ...cells, _more: '{"_id":1.0,"b":1,"a":"secret"}' },
    });
    await source[Symbol.asyncDispose]();
  }
  for (const whole of ['whole', 'rest']) {
    await using source = await ground.open({ document_fields: 'sampled', document_column: whole });
    const table = await describeOne(source, ground.database, 'c', { mask: ['a', 'not yet'] });
    const { position } = await startOf(source, [table]);
    await c.insertOne({ _id: whole as never, a: 5, 'not yet': 'secret' });
    const rows = folded(await captured(source, [table], position), await snapshot(source, table));
    expect(rows).toEqual(await snapshot(source, table));
    expect([...rows.values()].join('')).not.toMatch(/secret|5/);
    expect(await describeOne(source, ground.database, 'c')).not.toMatchObject({ structure: table.structure });
  }
});

test('named fields have columns and no others; a copy goes on as it was loaded when options change', async () => {
  await using ground = await mongoGround();
  const c = await filled(ground, [{ _id: 1, a: 1, b: 2, c: 'x' }]);
  await using source = await ground.open({ document_fields: 'named' });
  const types = { c: 'VARCHAR(50)', later: 'BIGINT', b: 'JSON' };
  const table = await describeOne(source, ground.database, 'c', { types });
  expect(kinds(table)).toEqual({
    _id: 'any varchar',
    b: 'any json',
    c: 'string varchar',
    later: 'long int',
    _more: 'document json',
  });
  const { position } = await startOf(source, [table]);
  const rows = await snapshot(source, table);
  await c.insertOne({ _id: 2 as never, later: 3, a: new BSON.Int32(4) });
  // Other options now: the copy is one of these.
  await using other = await ground.open({ bson_json: 'canonical', document_column: 'whole' });
  expect(shown(table, folded(await captured(other, [table], position), rows))).toEqual({
    [id(1)]: { b: '2', c: 'x', _more: '{"a":1}' },
    [id(2)]: { later: '3', _more: '{"a":4}' },
  });
  // What a shorter column has no room for stays in the document.
  await c.insertMany([
    { _id: 3 as never, c: 'é\t'.repeat(25), d: decimal('12.5'), e: true },
    { _id: 4 as never, c: 'é\t'.repeat(26), d: decimal('123.5'), e: 'long text' },
  ]);
  const short = { c: 'VARCHAR(50)', d: 'DECIMAL(3,1)', e: 'VARCHAR(4)' };
  const narrow = await describeOne(source, ground.database, 'c', { types: short });
  expect(shown(narrow, await snapshot(source, narrow))).toMatchObject({
    [id(3)]: { c: 'é\t'.repeat(25), d: '12.5', _more: '{"e":true}' },
    [id(4)]: { _more: `{"c":"${'é\\t'.repeat(26)}","d":{"$numberDecimal":"123.5"},"e":"long text"}` },
  });
  const refused = async (more: Record<string, string>) =>
    describeOne(source, ground.database, 'c', { types: more }).then(
      () => 'taken',
      (error: Error) => error.message,
    );
  expect(await refused({ d: 'DATE' })).toMatch(/field d .* DATE/);
  expect(await refused({ d: 'INT', D: 'INT' })).toMatch(/field D/);
  expect(await refused({ [`${'x'.repeat(65)}`]: 'INT' })).toMatch(/can't have a column/);
});

test('canonical documents tell int32 from int64 in columns too', async () => {
  await using ground = await mongoGround();
  await filled(ground, [
    { _id: 1, both: 1, one: 1 },
    { _id: 2, both: long('1'), one: 2 },
  ]);
  const { source, table } = await opened(ground, { bson_json: 'canonical' });
  await using _ = source;
  expect(shown(table, await snapshot(source, table))).toEqual({
    [id(1)]: { both: '{"$numberInt":"1"}', one: '1', _more: '{}' },
    [id(2)]: { both: '{"$numberLong":"1"}', one: '2', _more: '{}' },
  });
});
