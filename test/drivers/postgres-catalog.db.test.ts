import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Described, TableOptions } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne, readAll, readRange } from './source-suite.ts';

describe.each(postgresServers())('catalog of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let version: number;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
    version = Number((await ground.sql('show server_version_num')).flat()[0]);
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });
  const described = (name: string, options: TableOptions = {}) => describeOne(source, 'public', name, options);
  const refused = async (name: string, options: TableOptions = {}) => {
    const [one] = (await source.describe([{ ref: { schema: 'public', name }, options }])) as [Described];
    if (!('error' in one)) throw new Error(`${name} was described`);
    return one.error;
  };

  describe('keys', () => {
    test.each<[string, string, string[], RegExp | null]>([
      ['the primary key', 'create table %t (a int, b int primary key, c int unique not null)', ['b'], null],
      ['in its own order', 'create table %t (a int, b int, c int, primary key (c, a))', ['c', 'a'], null],
      ['without included columns', 'create table %t (a int, b int, primary key (a) include (b))', ['a'], null],
      [
        'a NOT NULL unique index',
        'create table %t (a int unique, b int not null, c int not null); create unique index on %t (b, c)',
        ['b', 'c'],
        /replica identity/,
      ],
      [
        'the shortest of them',
        'create table %t (a int not null, b int not null, c int not null); create unique index on %t (a, b); create unique index on %t (c)',
        ['c'],
        /replica identity/,
      ],
      [
        'the replica identity before the primary key, when deletes carry only that',
        'create table %t (a int primary key, b int not null); create unique index %t_b on %t (b); alter table %t replica identity using index %t_b',
        ['b'],
        null,
      ],
      [
        'the primary key under full identity',
        'create table %t (a int primary key, b int); alter table %t replica identity full',
        ['a'],
        null,
      ],
      [
        'none: partial index',
        'create table %t (a int not null); create unique index on %t (a) where a > 0',
        [],
        /no primary key/,
      ],
      [
        'none: expression',
        'create table %t (a int not null); create unique index on %t ((a + 1))',
        [],
        /no primary key/,
      ],
      ['none: nullable', 'create table %t (a int unique)', [], /no primary key/],
      ['none: deferrable unique', 'create table %t (a int not null unique deferrable)', [], /no primary key/],
      [
        'a deferrable primary key, with a warning',
        'create table %t (a int primary key deferrable)',
        ['a'],
        /replica identity/,
      ],
      [
        'a primary key under identity nothing, with a warning',
        'create table %t (a int primary key); alter table %t replica identity nothing',
        ['a'],
        /replica identity/,
      ],
    ])('%s', async (name, ddl, key, warning) => {
      if (/include/.test(ddl) && version < 110000) return;
      const table = `key_${name.replace(/\W+/g, '_')}`.slice(0, 50).toLowerCase();
      await ground.sql(ddl.replaceAll('%t', table));
      const found = await described(table);
      expect(found.key).toEqual(key);
      if (warning === null) expect(found.warnings).toEqual([]);
      else expect(found.warnings.join()).toMatch(warning);
      expect(found.columns.filter((column) => key.includes(column.name)).every((column) => !column.nullable)).toBe(
        true,
      );
    });

    test("a user's key needs an index, and its columns must be copied", async () => {
      await ground.sql('create table own_key (a int primary key, b int not null, c int, d text not null)');
      await ground.sql('create unique index on own_key (b, d)');
      expect((await described('own_key', { key: ['d', 'b'] })).key).toEqual(['d', 'b']);
      expect((await described('own_key', { key: ['b', 'a'] })).key).toEqual(['b', 'a']);
      expect(await refused('own_key', { key: ['c'] })).toMatchObject({
        action: expect.stringContaining('create unique index'),
      });
      expect(await refused('own_key', { key: ['b'] })).toMatchObject({ class: 'UnsupportedValue' });
      expect(await refused('own_key', { key: ['nope'] })).toMatchObject({ message: expect.stringContaining('nope') });
      expect(await refused('own_key', { key: ['a', 'a'] })).toMatchObject({
        message: expect.stringContaining('twice'),
      });
    });

    test('types of keys: text and bytes with room, no floats, no mask, nothing narrower', async () => {
      await ground.sql(`
        create table text_key (k text primary key); create table bytes_key (k bytea primary key); create table json_key (k jsonb primary key);
        create table long_key (k text primary key); insert into long_key values (repeat('ä', 1100));
        create table float_key (k float8 primary key, other int not null unique);
        create table uuid_key (k uuid primary key); create table array_key (k int[] primary key);
        create table both_key (a text, b varchar(20), c int, primary key (a, b, c)); create table wide_key (k varchar(5000) primary key);
        create table num_key (k numeric(5) primary key);
      `);
      const typeOf = async (name: string, options: TableOptions = {}) =>
        (await described(name, options)).columns[0]?.type;
      expect(await typeOf('text_key')).toEqual({ kind: 'varchar', length: 767 });
      expect(await typeOf('long_key')).toEqual({ kind: 'varchar', length: 2200 });
      expect(await typeOf('bytes_key')).toEqual({ kind: 'binary', length: 3070 });
      expect(await typeOf('json_key')).toEqual({ kind: 'varchar', length: 767 });
      expect(await typeOf('wide_key')).toEqual({ kind: 'varchar', length: 767 });
      expect(await typeOf('both_key')).toEqual({ kind: 'varchar', length: 745 });
      expect(await typeOf('text_key', { types: { k: 'VARCHAR(100)' } })).toEqual({ kind: 'varchar', length: 100 });
      expect((await refused('float_key')).action).toMatch(/`key`/);
      expect((await described('float_key', { key: ['other'] })).key).toEqual(['other']);
      expect(await typeOf('float_key', { types: { k: 'VARCHAR(32)' } })).toEqual({ kind: 'varchar', length: 32 });
      expect(await refused('num_key', { types: { k: 'DECIMAL(4)' } })).toMatchObject({ class: 'UnsupportedValue' });
      expect(await refused('text_key', { mask: ['k'] })).toMatchObject({ class: 'UnsupportedValue' });
      const loose = async (name: string) => (await described(name)).textKey;
      expect(await Promise.all(['text_key', 'json_key', 'both_key', 'array_key'].map(loose))).toEqual([
        true,
        true,
        true,
        true,
      ]);
      expect(await Promise.all(['uuid_key', 'bytes_key', 'num_key'].map(loose))).toEqual([false, false, false]);
      await ground.sql(
        "insert into array_key values ('{2,1}'); insert into json_key values ('{\"b\": 1}'); insert into bytes_key values ('\\x00ff')",
      );
      expect(await readAll(source, await described('array_key'))).toEqual([['{2,1}']]);
      expect(await readAll(source, await described('json_key'))).toEqual([['{"b": 1}']]);
      expect(await readAll(source, await described('bytes_key'))).toEqual([['00ff']]);
    });
  });

  describe('tables', () => {
    test('dropped columns are gone; a table without columns is refused; columns that differ only in case too', async () => {
      await ground.sql(
        'create table dropping (a int primary key, b int, c text); insert into dropping values (1, 2, $$x$$)',
      );
      await ground.sql('alter table dropping drop column b; alter table dropping add d int default 7');
      expect(await readAll(source, await described('dropping'))).toEqual([['1', 'x', '7']]);
      await ground.sql('create table bare ()');
      expect((await refused('bare')).message).toMatch(/no column/);
      await ground.sql('create table cased (id int primary key, "Id" int)');
      expect((await refused('cased')).message).toMatch(/case/);
    });

    test('generated columns are copied only where the log carries them', async () => {
      if (version < 120000) return;
      await ground.sql('create table made (id int primary key, doubled int generated always as (id * 2) stored)');
      if (version >= 180000) await ground.sql('alter table made add tripled int generated always as (id * 3) virtual');
      await ground.sql('insert into made (id) values (4)');
      const table = await described('made');
      const rows = await readAll(source, table);
      if (version >= 180000) {
        expect(rows).toEqual([['4', '8']]);
        expect(table.leftOut).toEqual([
          { name: 'tripled', sourceType: 'integer', reason: expect.stringContaining('virtual') },
        ]);
      } else {
        expect(rows).toEqual([['4']]);
        expect(table.leftOut).toEqual([
          { name: 'doubled', sourceType: 'integer', reason: expect.stringContaining('18') },
        ]);
      }
    });

    test('a parent by inheritance is copied without its children', async () => {
      await ground.sql('create table elder (id int primary key); create table younger (x int) inherits (elder)');
      await ground.sql('insert into elder values (1); insert into younger values (2, 9)');
      const table = await described('elder');
      expect(table.warnings.join()).toMatch(/child tables/);
      expect(await readAll(source, table)).toEqual([['1']]);
    });

    test('partitions are read one by one, whatever their columns look like inside', async () => {
      await ground.sql(`
        create table tree (id int not null, kind int not null, note text) partition by list (kind);
        create table tree_1 partition of tree for values in (1);
        create table tree_2 (gone int, note text, kind int not null, id int not null);
        alter table tree_2 drop column gone; alter table tree attach partition tree_2 for values in (2);
        create table tree_3 partition of tree for values in (3, 4) partition by list (kind);
        create table "Tree 3.a" partition of tree_3 for values in (3);
      `);
      for (const leaf of ['tree_1', 'tree_2', '"Tree 3.a"'])
        await ground.sql(`alter table ${leaf} add primary key (id, kind)`);
      await ground.sql("insert into tree select i, 1 + i % 3, 'n' || i from generate_series(1, 3000) i");
      if (version >= 110000) await ground.sql('create unique index on tree (id, kind)');
      const table = await described('tree', version >= 110000 ? { key: ['id', 'kind'] } : {});
      expect(table.kind).toBe('partitioned');
      const split = await source.split(table, undefined, 30_000);
      if (version >= 140000) expect(split.replace).toBe(true);
      const rows = await readAll(source, table, { chunkBytes: 30_000 });
      expect(rows.map((row) => Number(row[0])).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 3000 }, (_, i) => i + 1),
      );
      expect(rows.find((row) => row[0] === '4')).toEqual(['4', '2', 'n4']);
      expect((await source.tables('public'))?.filter((one) => /tree/i.test(one.name)).map((one) => one.name)).toEqual([
        'tree',
      ]);
    });

    test('views, materialised views and temporary tables', async () => {
      await ground.sql('create table base (id int primary key, v text); insert into base values (1, $$a$$), (2, null)');
      await ground.sql(
        'create view seen as select v, id from base; create materialized view kept as select * from base',
      );
      for (const [name, rows] of [
        [
          'seen',
          [
            ['a', '1'],
            [null, '2'],
          ],
        ],
        [
          'kept',
          [
            ['1', 'a'],
            ['2', null],
          ],
        ],
      ] as const) {
        const table = await described(name);
        expect(table).toMatchObject({ kind: 'view', key: [], warnings: [expect.stringContaining('no delta')] });
        expect(await readAll(source, table)).toEqual(rows);
      }
      const keyed = await described('seen', { key: ['id'] });
      expect(keyed).toMatchObject({ key: ['id'], textKey: true });
      expect((await source.tables('public'))?.map((one) => one.name)).not.toContain('seen');
    });

    test('storage changes with a rewrite, and a range of the old files is refused', async () => {
      await ground.sql(
        'create table moved (id int primary key, v int); insert into moved select i, i from generate_series(1, 100) i',
      );
      const before = await described('moved');
      const split = await source.split(before, undefined, 1000);
      await ground.sql('vacuum full moved');
      const after = await described('moved');
      expect(after.storage).not.toBe(before.storage);
      expect(after.structure).toBe(before.structure);
      if (split.replace)
        await expect(readRange(source, before, split.ranges[0] as string)).rejects.toMatchObject({
          name: 'StructureChanged',
        });
      expect(await readAll(source, after)).toHaveLength(100);
      await ground.sql('drop table moved; create table moved (id int primary key, v int)');
      expect((await described('moved')).structure).not.toBe(before.structure);
    });

    test('a table dropped or a column renamed under a reader is StructureChanged', async () => {
      await ground.sql('create table fading (id int primary key, v int)');
      const table = await described('fading');
      const [range] = (await source.split(table, undefined, 1000)).ranges as [string];
      await ground.sql('alter table fading rename column v to w');
      await expect(readRange(source, table, range)).rejects.toMatchObject({ name: 'StructureChanged' });
      await ground.sql('drop table fading');
      await expect(readRange(source, table, range)).rejects.toMatchObject({ name: 'StructureChanged' });
    });

    test('text keys are cut in the order of their own collation', async () => {
      await ground.sql('create table words (w text collate "C" not null, n int not null, primary key (w, n))');
      await ground.sql(
        "insert into words select case i % 4 when 0 then 'Z' when 1 then 'a' when 2 then 'É' else 'ß' end || md5(i::text) || repeat('x', i % 300), i from generate_series(1, 4000) i",
      );
      await ground.sql('analyze words');
      const table = await described('words');
      const split = await source.split(table, undefined, 60_000);
      expect(split).toMatchObject({ replace: false });
      expect(split.ranges.length).toBeGreaterThan(5);
      expect(Math.max(...split.ranges.map((range) => Buffer.byteLength(range)))).toBeLessThanOrEqual(4096);
      const rows = await readAll(source, table, { chunkBytes: 60_000 });
      expect(new Set(rows.map((row) => row[1])).size).toBe(4000);
      expect(rows).toHaveLength(4000);
    });

    test('without a log only keys are sure to find rows that move meanwhile', async () => {
      await using plain = await ground.open({ capture: 'none' });
      await ground.sql(
        'create table wandering (id int primary key, pad text); insert into wandering select i, repeat($$x$$, 100) from generate_series(1, 3000) i',
      );
      await ground.sql('analyze wandering');
      const table = await describeOne(plain, 'public', 'wandering');
      const split = await plain.split(table, undefined, 40_000);
      expect(split.replace).toBe(false);
      expect(split.ranges.length).toBeGreaterThan(5);
      const seen: number[] = [];
      for (const range of split.ranges) {
        seen.push(...(await readRange(plain, table, range)).rows.map((row) => Number(row[0])));
        // Frees the pages that were read and moves the rows behind into them.
        await ground.sql('vacuum wandering');
        await ground.sql('update wandering set pad = pad where id > $1', [String(Math.max(...seen))]);
      }
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1));
    });

    test('a publication of a whole schema needs no owner', async () => {
      if (version < 150000) return;
      await ground.sql('create schema whole; create table whole.t (id int primary key)');
      const publication = `${ground.database}_schema`;
      await ground.sql(
        `create publication ${publication} for tables in schema whole with (publish_via_partition_root = true)`,
      );
      if (version >= 180000)
        await ground.sql(`alter publication ${publication} set (publish_generated_columns = stored)`);
      const start = await source.begin(
        publication,
        `${publication}_1`,
        [{ schema: 'whole', name: 't' }],
        () => {},
        new AbortController().signal,
      );
      expect(start.slot).toBe(`${publication}_1`);
      expect((await ground.sql('select count(*) from pg_publication_rel')).flat()).toEqual(['0']);
      await source.remove(publication);
    });

    test('keys too long to be written down are no place to cut', async () => {
      await ground.sql('create table endless (k text primary key)');
      await ground.sql(
        'insert into endless select md5(i::text) || repeat(md5(i::text), 65) from generate_series(1, 300) i',
      );
      const table = await described('endless');
      const split = await source.split(table, undefined, 20_000);
      expect(split.ranges).toHaveLength(1);
      expect(await readAll(source, table, { chunkBytes: 20_000 })).toHaveLength(300);
    });

    test('a condition that the server refuses is an error of its table', async () => {
      await ground.sql('create table conditional (id int primary key)');
      for (const where of [
        'no_such_column = 1',
        'id =',
        "id = 'x'",
        'id = 1) or (true',
        'id',
        'id = 1; drop table conditional',
      ])
        expect(await refused('conditional', { where })).toMatchObject({
          class: 'Misconfigured',
          message: expect.stringContaining('where'),
        });
      for (const where of ['id = 1 or id = 2', 'id = 1 -- one', '(id = 1) or (true)', "'a)' <> '('"])
        await described('conditional', { where });
    });

    test('1,000 tables are described in less than 5 seconds', { timeout: 120_000 }, async () => {
      await ground.sql('create schema many');
      for (let from = 0; from < 1000; from += 100)
        await ground.sql(
          Array.from(
            { length: 100 },
            (_, i) =>
              `create table many.t${from + i} (k ${i % 2 === 0 ? 'text' : 'int'} primary key, a int, b numeric(10,2), c timestamptz, d varchar(50), e jsonb, f bool)`,
          ).join(';'),
        );
      const start = Date.now();
      const all = await source.describe(
        Array.from({ length: 1000 }, (_, i) => ({ ref: { schema: 'many', name: `t${i}` }, options: {} })),
      );
      const took = Date.now() - start;
      expect(all.every((one) => 'table' in one && one.table.columns.length === 7)).toBe(true);
      expect(took).toBeLessThan(5000);
    });
  });

  describe('grants', () => {
    let limited: Source;
    const user = () => `u_${ground.database}`;
    beforeAll(async () => {
      await ground.sql(`create role ${user()} login password 'limited' nosuperuser`);
      await ground.sql(
        'create schema closed; create table closed.t (id int primary key); grant select on closed.t to public',
      );
      await ground.sql(`
        create table granted (id int primary key); create table hidden (id int primary key);
        create table guarded (id int primary key); insert into guarded values (1), (2);
        alter table guarded enable row level security; create policy part on guarded using (id = 1);
      `);
      await ground.sql(`grant select on granted, guarded to ${user()}`);
      limited = await ground.open({ uid: user(), pwd: 'limited' });
    });
    afterAll(async () => {
      await limited[Symbol.asyncDispose]();
      await ground.sql(`drop owned by ${user()}`);
      await ground.sql(`drop role ${user()}`);
    });
    const messages = async (schema: string, name: string) =>
      (await limited.preflight([{ schema, name }]))
        .filter((finding) => finding.severity === 'error')
        .map((finding) => finding.message);

    test('preflight names what to grant', async () => {
      expect((await messages('public', 'granted')).join('\n')).toMatch(
        /alter role .* replication[\s\S]*owner[\s\S]*grant create on database/,
      );
      expect((await messages('public', 'hidden')).join('\n')).toMatch(/grant select on "public"\."hidden" to "u_/);
      expect((await messages('closed', 't')).join('\n')).toMatch(/grant usage on schema "closed" to "u_/);
      expect((await messages('public', 'guarded')).join('\n')).toMatch(/bypassrls/);
      expect(await limited.schemas()).not.toContain('closed');
    });

    test('reading without a grant is AccessDenied; row security is an error, never a part of the rows', async () => {
      const read = async (name: string) => readAll(limited, await describeOne(limited, 'public', name));
      expect(await read('granted')).toEqual([]);
      await expect(read('hidden')).rejects.toMatchObject({
        name: 'AccessDenied',
        message: expect.stringContaining('hidden'),
      });
      await expect(read('guarded')).rejects.toMatchObject({
        name: 'AccessDenied',
        action: expect.stringContaining('BYPASSRLS'),
      });
    });

    test('a publication by an administrator is enough to begin', async () => {
      const publication = `${ground.database}_admin`;
      await ground.sql(`alter role ${user()} replication`);
      const signal = new AbortController().signal;
      await expect(
        limited.begin(publication, `${publication}_1`, [{ schema: 'public', name: 'granted' }], () => {}, signal),
      ).rejects.toMatchObject({
        name: 'AccessDenied',
        action: expect.stringContaining('grant create on database'),
      });
      await ground.sql(
        `create publication ${publication} for table granted${version >= 130000 ? ' with (publish_via_partition_root = true)' : ''}`,
      );
      if (version >= 180000)
        await ground.sql(`alter publication ${publication} set (publish_generated_columns = stored)`);
      const own = (await limited.preflight([{ schema: 'public', name: 'granted' }])).filter(
        (finding) => finding.severity === 'error',
      );
      expect(own).toEqual([]);
      const start = await limited.begin(
        publication,
        `${publication}_1`,
        [{ schema: 'public', name: 'granted' }],
        () => {},
        signal,
      );
      expect(start.slot).toBe(`${publication}_1`);
      await source.remove(publication);
    });

    test('partitions that the user may not read are read through their root', async () => {
      await ground.sql(
        `create table rooted (id int not null, k int not null) partition by list (k); create table rooted_1 partition of rooted for values in (1)`,
      );
      await ground.sql(`alter table rooted_1 add primary key (id, k); grant select on rooted to ${user()}`);
      if (version >= 110000) await ground.sql('create unique index on rooted (id, k)');
      await ground.sql('insert into rooted select i, 1 from generate_series(1, 2000) i; analyze rooted');
      const table = await describeOne(limited, 'public', 'rooted');
      const split = await limited.split(table, undefined, 20_000);
      expect(split.replace).toBe(false);
      expect(await readAll(limited, table, { chunkBytes: 20_000 })).toHaveLength(2000);
    });
  });
});
