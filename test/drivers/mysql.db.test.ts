import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Described } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { describeOne, type Playground, playground, readRows } from './mysql-fixture.ts';

const ODD_NAMES = [
  'back`tick',
  "quo'te",
  'dou"ble',
  'dot.ted',
  'hyphen-ated',
  'two words',
  'select',
  'Ünïcode表',
  'per%cent_',
  'back\\slash',
  '$dollar',
  'semi;colon',
  '/*comment*/',
  'a'.repeat(64),
  'ü'.repeat(64),
  '123',
];

describe.each(['mysql9', 'mariadb'] as const)('%s', (server) => {
  let ground: Playground;
  let source: Source;
  const refused = async (name: string, options = {}): Promise<{ class: string; message: string }> => {
    const [described] = (await source.describe([{ ref: { schema: ground.database, name }, options }])) as [Described];
    if (!('error' in described)) throw new Error(`${name} was described`);
    return described.error;
  };
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  describe('catalog', () => {
    test('lists schemas and tables; no system schema, view, sequence; null for no schema', async () => {
      await ground.sql('create table listed (a int primary key)');
      await ground.sql('create table parted (a int primary key) partition by hash (a) partitions 3');
      await ground.sql('create view viewed as select * from listed');
      const schemas = await source.schemas();
      expect(schemas).toContain(ground.database);
      expect(schemas).toEqual([...schemas].sort());
      expect(schemas.filter((name) => /^(mysql|sys|information_schema|performance_schema)$/i.test(name))).toEqual([]);
      const tables = await source.tables(ground.database);
      expect(tables?.map(({ name, kind }) => [name, kind])).toEqual([
        ['listed', 'table'],
        ['parted', 'partitioned'],
      ]);
      expect(await source.tables('no such schema')).toBeNull();
      expect(await source.tables('mysql')).toBeNull();
      expect(source.database).toBe('default');
    });

    test('a view is found by name and read whole; a missing table is an error entry beside the others', async () => {
      await ground.sql('create table behind (a int primary key, b varchar(5))');
      await ground.sql("insert into behind values (1, 'x'), (2, null)");
      await ground.sql('create view shown as select b, a from behind');
      const described = await source.describe([
        { ref: { schema: ground.database, name: 'missing' }, options: {} },
        { ref: { schema: ground.database, name: 'shown' }, options: {} },
        { ref: { schema: 'nowhere', name: 'x' }, options: {} },
      ]);
      expect(described.map((one) => ('error' in one ? one.error.class : one.table.kind))).toEqual([
        'Misconfigured',
        'view',
        'Misconfigured',
      ]);
      const view = await describeOne(source, ground.database, 'shown', { key: ['a'] });
      expect(view.key).toEqual(['a']);
      expect(await source.split(view, undefined, 1)).toEqual({ ranges: ['{}'], replace: false });
      const { rows } = await readRows(source, view);
      expect(rows.map((row) => row.map((field) => field && String(field)))).toEqual([
        ['x', '1'],
        [null, '2'],
      ]);
    });

    test.each(ODD_NAMES)('names with anything in them: %s', async (name) => {
      const quoted = `\`${name.replaceAll('`', '``')}\``;
      await ground.sql(`create table ${quoted} (${quoted} int, \`k\` varchar(9) not null primary key)`);
      await ground.sql(`insert into ${quoted} values (7, 'seven'), (8, 'eight')`);
      const table = await describeOne(source, ground.database, name);
      expect(table.columns.map((column) => column.name)).toEqual([name, 'k']);
      const { rows } = await readRows(source, table, '{}', `${quoted} = 7 -- a comment`);
      expect(rows.map((row) => row.map(String))).toEqual([['7', 'seven']]);
      await ground.sql(`drop table ${quoted}`);
    });

    test('a schema with an odd name', async () => {
      const name = `${ground.database} ü-\`.'`;
      const quoted = `\`${name.replaceAll('`', '``')}\``;
      await ground.sql(`create database ${quoted}`);
      try {
        await ground.sql(`create table ${quoted}.t (a int primary key)`);
        await ground.sql(`insert into ${quoted}.t values (1)`);
        expect(await source.schemas()).toContain(name);
        expect((await source.tables(name))?.map((table) => table.name)).toEqual(['t']);
        expect((await readRows(source, await describeOne(source, name, 't'))).rows).toHaveLength(1);
      } finally {
        await ground.sql(`drop database ${quoted}`);
      }
    });

    test('upper and lower case make two tables where the file system says so', async () => {
      await ground.sql('create table Cased (upper_one int primary key)');
      await ground.sql('create table cased (lower_one int primary key)');
      expect((await describeOne(source, ground.database, 'Cased')).columns[0]?.name).toBe('upper_one');
      expect((await describeOne(source, ground.database, 'cased')).columns[0]?.name).toBe('lower_one');
    });

    test('generated columns: stored ones are copied, virtual ones shown as left out; invisible ones are copied', async () => {
      await ground.sql(
        'create table made (a int primary key, v int generated always as (a + 1) virtual, s int generated always as (a * 2) stored, h int default 5 invisible)',
      );
      await ground.sql('insert into made (a) values (3)');
      const table = await describeOne(source, ground.database, 'made');
      expect(table.columns.map((column) => column.name)).toEqual(['a', 's', 'h']);
      expect(table.leftOut.map((column) => column.name)).toEqual(['v']);
      expect((await readRows(source, table)).rows.map((row) => row.map(String))).toEqual([['3', '6', '5']]);
    });

    test('the structure changes with the columns and the key, and with nothing else', async () => {
      await ground.sql('create table shaped (a int primary key, b varchar(5))');
      const structure = async () => (await describeOne(source, ground.database, 'shaped')).structure;
      const first = await structure();
      await ground.sql("insert into shaped values (1, 'x')");
      await ground.sql('alter table shaped add index (b), comment = "said"');
      expect(await structure()).toBe(first);
      const seen = new Set([first]);
      for (const change of [
        'modify b varchar(6)',
        'add c int',
        'modify c bigint',
        'drop primary key, add primary key (a, b)',
        'rename column c to d',
        'modify b varchar(6) character set latin1 not null',
      ]) {
        await ground.sql(`alter table shaped ${change}`);
        seen.add(await structure());
      }
      expect(seen.size).toBe(7);
    });

    test.runIf(server === 'mysql9')('a generated invisible primary key is copied and is the key', async () => {
      await ground.sql('set session sql_generate_invisible_primary_key = on');
      await ground.sql('create table hidden_key (a int)');
      await ground.sql('set session sql_generate_invisible_primary_key = off');
      await ground.sql('insert into hidden_key values (7), (8)');
      const table = await describeOne(source, ground.database, 'hidden_key');
      expect(table.key).toEqual(['my_row_id']);
      expect((await readRows(source, table)).rows.map((row) => row.map(String))).toEqual([
        ['1', '7'],
        ['2', '8'],
      ]);
    });

    test.runIf(server === 'mariadb')(
      'system-versioned tables are read as they are now; sequences are no tables',
      async () => {
        await ground.sql('create table versioned (a int primary key, b int) with system versioning');
        await ground.sql(
          'create table periods (a int primary key, b int, s timestamp(6) generated always as row start, e timestamp(6) generated always as row end, period for system_time (s, e)) with system versioning',
        );
        await ground.sql('create sequence counting');
        for (const name of ['versioned', 'periods']) {
          await ground.sql(`insert into ${name} (a, b) values (1, 1), (2, 2)`);
          await ground.sql(`update ${name} set b = 5 where a = 1`);
          await ground.sql(`delete from ${name} where a = 2`);
          const table = await describeOne(source, ground.database, name);
          expect(table.key).toEqual(['a']);
          const { rows } = await readRows(source, table);
          expect(rows.map((row) => row.slice(0, 2).map(String))).toEqual([['1', '5']]);
        }
        const listed = (await source.tables(ground.database))?.map((table) => table.name);
        expect(listed).toEqual(expect.arrayContaining(['versioned', 'periods']));
        expect(listed).not.toContain('counting');
        expect(await refused('counting')).toMatchObject({ class: 'UnsupportedValue' });
      },
    );

    test.runIf(server === 'mariadb')('JSON is what a column declared as JSON is, and LONGTEXT otherwise', async () => {
      await ground.sql('create table jsons (id int primary key, j json, `o``dd` json, t longtext)');
      const table = await describeOne(source, ground.database, 'jsons');
      expect(table.columns.map((column) => column.type.kind)).toEqual(['int', 'json', 'json', 'text']);
    });

    const MANY = process.env['FLOW_MATRIX'] === undefined ? 200 : 1000;
    test(`${MANY} tables are described at once`, { timeout: 240_000 }, async () => {
      await using many = await playground(server);
      const names = Array.from({ length: MANY }, (_, i) => `t${i}`);
      for (const name of names)
        await many.sql(
          `create table ${name} (id int primary key, a varchar(20) not null unique, b json, c datetime(6))`,
        );
      const started = performance.now();
      const described = await source.describe(
        names.map((name) => ({ ref: { schema: many.database, name }, options: {} })),
      );
      const seconds = (performance.now() - started) / 1000;
      expect(
        described.filter((one) => 'table' in one && one.table.columns.length === 4 && one.table.key[0] === 'id'),
      ).toHaveLength(MANY);
      expect((await source.tables(many.database))?.length).toBe(MANY);
      console.log(`${server}: ${MANY} tables described in ${seconds.toFixed(2)} s`);
    });
  });

  describe('keys', () => {
    test.each([
      ['a int, b int, primary key (b, a)', ['b', 'a'], false],
      ['a int not null unique, b int unique', ['a'], false],
      ['a int unique, b int not null, c int not null, unique (b, c)', ['b', 'c'], false],
      ['a varchar(20) primary key', ['a'], true],
      ['a varchar(200), primary key (a(10))', ['a'], true],
      ["a enum('x','y') primary key", ['a'], true],
      ['a varbinary(16) primary key', ['a'], false],
      ['a decimal(20,3) primary key', ['a'], false],
      ['a bit(40) primary key', ['a'], false],
      ['a text not null, b int not null, unique (a(20)), unique (b)', ['b'], false],
      ['a text not null, unique (a(20))', [], false],
      ['a int', [], false],
      ['a float primary key, b int not null unique', ['b'], false],
    ])('%s', async (columns, key, textKey) => {
      await ground.sql('drop table if exists keyed');
      await ground.sql(`create table keyed (${columns})`);
      const table = await describeOne(source, ground.database, 'keyed');
      expect(table.key).toEqual(key);
      expect(table.textKey).toBe(textKey);
      expect(table.warnings.length).toBe(key.length === 0 ? 1 : 0);
    });

    test('FLOAT and DOUBLE keys are refused with the way out', async () => {
      await ground.sql('create table floating (f double primary key, a int not null, b int, index (a))');
      expect(await refused('floating')).toMatchObject({
        class: 'UnsupportedValue',
        message: expect.stringContaining('FLOAT or DOUBLE'),
      });
      expect((await describeOne(source, ground.database, 'floating', { key: ['a'] })).key).toEqual(['a']);
      expect(await refused('floating', { key: ['b'] })).toMatchObject({ message: expect.stringContaining('NULL') });
      expect(await refused('floating', { key: ['f'] })).toMatchObject({ message: expect.stringContaining('FLOAT') });
      expect(await refused('floating', { key: ['zz'] })).toMatchObject({ class: 'Misconfigured' });
      await ground.sql('create table unindexed (a int not null, b int not null)');
      expect(await refused('unindexed', { key: ['a'] })).toMatchObject({ message: expect.stringContaining('index') });
    });

    test('options types and mask, and their refusal on keys', async () => {
      await ground.sql(
        'create table opted (id int primary key, a varchar(20), secret varchar(20) not null, d datetime)',
      );
      await ground.sql("insert into opted values (1, '12.50', 'hush', '0000-00-00 00:00:00')");
      const options = { types: { id: 'BIGINT', a: 'DECIMAL(10,2)', d: 'VARCHAR(30)' }, mask: ['secret'] };
      const table = await describeOne(source, ground.database, 'opted', options);
      expect(table.columns.map(({ type, masked, nullable }) => [type.kind, masked, nullable])).toEqual([
        ['int', false, false],
        ['decimal', false, true],
        ['varchar', true, true],
        ['varchar', false, true],
      ]);
      const { rows } = await readRows(source, table);
      expect(rows).toEqual([[Buffer.from('1'), Buffer.from('12.50'), null, Buffer.from('0000-00-00 00:00:00')]]);
      expect(await refused('opted', { mask: ['id'] })).toMatchObject({ class: 'UnsupportedValue' });
      expect(await refused('opted', { types: { id: 'TINYINT' } })).toMatchObject({ class: 'UnsupportedValue' });
      expect(await refused('opted', { types: { d: 'BLOB' } })).toMatchObject({ class: 'UnsupportedValue' });
      expect(await refused('opted', { types: { nope: 'INT' } })).toMatchObject({ class: 'Misconfigured' });
    });
  });

  describe('chunks', () => {
    beforeAll(async () => {
      await ground.sql('create table digits (i int)');
      await ground.sql('insert into digits values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)');
      // 10,000 numbers.
      await ground.sql(
        'create view n as select a.i + b.i*10 + c.i*100 + d.i*1000 as n from digits a, digits b, digits c, digits d',
      );
    });

    /** Fills a table of 10,000 rows, cuts it into many ranges and reads each: every key exactly once, and not all in one. */
    async function covers(definition: string, values: string, ranges: number, suffix: string): Promise<void> {
      await ground.sql('drop table if exists cut');
      await ground.sql(`create table cut (${definition}) ${suffix}`);
      await ground.sql(`insert into cut select ${values} from n`);
      await ground.sql('analyze table cut');
      const table = await describeOne(source, ground.database, 'cut');
      const split = await source.split(table, undefined, Math.ceil(table.approxBytes / 12));
      expect(split.replace).toBe(false);
      expect(split.ranges.length).toBeGreaterThanOrEqual(ranges);
      expect(Math.max(...split.ranges.map((range) => Buffer.byteLength(range)))).toBeLessThanOrEqual(4096);
      const seen: string[] = [];
      let largest = 0;
      for (const range of split.ranges) {
        const { rows } = await readRows(source, table, range);
        largest = Math.max(largest, rows.length);
        seen.push(...rows.map((row) => row.map(String).join('|')));
      }
      const whole = (await readRows(source, table)).rows.map((row) => row.map(String).join('|'));
      expect(whole).toHaveLength(10_000);
      expect(seen.sort()).toEqual(whole.sort());
      if (ranges > 1) expect(largest).toBeLessThan(6_000);
    }

    const filler = "f varchar(100) default 'some text that makes the row wide enough for several pages of the index'";
    test.each([
      ['dense integers', `id int primary key, ${filler}`, 'n, n', 8],
      ['negative and large integers', `id bigint primary key, ${filler}`, '(n - 5000) * 1000000000000, n', 4],
      ['unsigned beyond 2^63', `id bigint unsigned primary key, ${filler}`, '18446744073709551615 - n, n', 6],
      [
        'two clusters with a gulf',
        `id bigint primary key, ${filler}`,
        'if(n < 5000, n, n + 4000000000000000000), n',
        4,
      ],
      ['composite, few first values', `a int, b int, ${filler}, primary key (a, b)`, 'n % 2, n, n', 6],
      [
        'composite, text and number',
        `a varchar(20) collate utf8mb4_general_ci, b int, ${filler}, primary key (a, b)`,
        "concat('Key ', n % 7), n, n",
        6,
      ],
      [
        'text, case-insensitive collation',
        `a varchar(80) collate utf8mb4_unicode_ci primary key, ${filler}`,
        "concat(if(n % 2, 'ä', 'A'), if(n % 3, 'ß', 'z'), n), n",
        6,
      ],
      [
        'text, binary order, quotes and backslashes',
        `a varchar(80) collate utf8mb4_bin primary key, ${filler}`,
        "concat('''\\\\\"%', n), n",
        6,
      ],
      [
        'latin1 text',
        `a varchar(80) character set latin1 collate latin1_german1_ci primary key, ${filler}`,
        "concat('é', n, 'ü'), n",
        6,
      ],
      [
        'char of a double-byte charset',
        `a char(30) character set sjis primary key, ${filler}`,
        "concat('表', n), n",
        6,
      ],
      [
        'long texts that agree in their first 60 characters',
        `a varchar(300) character set ascii primary key, ${filler}`,
        "concat(repeat('same', 15), n), n",
        1,
      ],
      [
        'long texts that differ early',
        `a varchar(300) character set ascii primary key, ${filler}`,
        "concat(n, repeat('long', 60)), n",
        6,
      ],
      ['binary', `a varbinary(20) primary key, ${filler}`, 'left(unhex(sha2(n, 224)), 20), n', 6],
      ['fixed binary', `a binary(16) primary key, ${filler}`, 'left(unhex(sha2(n, 224)), 16), n', 6],
      ['decimal', `a decimal(20,4) primary key, ${filler}`, '(n - 5000) / 7, n', 6],
      ['date-time', `a datetime(6) primary key, ${filler}`, "'2020-01-01 00:00:00.000001' + interval n minute, n", 6],
      [
        'date and number',
        `a date, b int, ${filler}, primary key (a, b)`,
        "'2020-01-01' + interval (n % 50) day, n, n",
        6,
      ],
      ['time, negative too', `a time(3) primary key, ${filler}`, 'sec_to_time(n * 300 - 1500000), n', 6],
      ['enum first', `a enum('z','a','m'), b int, ${filler}, primary key (a, b)`, 'n % 3 + 1, n, n', 1],
      ['unique key that stands in for a primary one', `a int not null, ${filler}, unique key (a)`, 'n * 3, n', 4],
      ['partitioned', `id int primary key, ${filler}`, 'n, n', 4, 'partition by hash (id) partitions 4'],
    ])('%s', async (_, definition, values, ranges, suffix = '') => {
      await covers(definition, values, ranges as number, suffix as string);
    });

    test('an empty table, a small one and a keyless one are one range', async () => {
      await ground.sql('create table nothing (id int primary key, b text)');
      const empty = await describeOne(source, ground.database, 'nothing');
      expect(await source.split(empty, undefined, 1)).toEqual({ ranges: ['{}'], replace: false });
      expect((await readRows(source, empty)).read).toEqual({ rows: 0, rules: [] });
      await ground.sql('create table bare (a int, b int)');
      await ground.sql('insert into bare values (1, 1), (1, 1), (null, null)');
      const bare = await describeOne(source, ground.database, 'bare');
      expect((await source.split(bare, undefined, 1)).ranges).toEqual(['{}']);
      expect((await readRows(source, bare)).rows).toHaveLength(3);
    });

    test('a table that was filled this moment is cut too', async () => {
      await ground.sql(`create table fresh (id int primary key, f varchar(200))`);
      await ground.sql("insert into fresh select n, repeat('x', 200) from n");
      const table = await describeOne(source, ground.database, 'fresh');
      const split = await source.split(table, undefined, 400_000);
      expect(split.ranges.length).toBeGreaterThan(2);
    });

    test("a user's key on an index whose further columns are NULL", async () => {
      await ground.sql(
        'create table loose (a int not null, b varchar(20) not null, c int, f varchar(100), index (a, b, c))',
      );
      await ground.sql("insert into loose select n % 3, concat('b', n), if(n % 2, null, n), repeat('x', 100) from n");
      await ground.sql('analyze table loose');
      const table = await describeOne(source, ground.database, 'loose', { key: ['b', 'a'] });
      const { ranges } = await source.split(table, undefined, Math.ceil(table.approxBytes / 10));
      expect(ranges.length).toBeGreaterThan(5);
      const seen: string[] = [];
      for (const range of ranges)
        seen.push(...(await readRows(source, table, range)).rows.map((row) => String(row[1])));
      expect(seen).toHaveLength(10_000);
      expect(new Set(seen).size).toBe(10_000);
    });

    test('ranges use the index', async () => {
      await ground.sql('create table planned (a varchar(20), b int, c varchar(50), primary key (a, b))');
      await ground.sql("insert into planned select concat('k', n % 100), n, 'x' from n");
      await ground.sql('analyze table planned');
      const table = await describeOne(source, ground.database, 'planned');
      const { ranges } = await source.split(table, undefined, Math.ceil(table.approxBytes / 10));
      const { chunkSelect } = await import('../../src/drivers/mysql/read.ts');
      const explain = server === 'mariadb' ? 'explain ' : 'explain format=traditional ';
      for (const range of ranges.slice(1, 3)) {
        const [plan] = await ground.sql(explain + chunkSelect(table, undefined, range));
        expect(plan).toContain('range');
        expect(plan).toContain('PRIMARY');
      }
    });
  });
});
