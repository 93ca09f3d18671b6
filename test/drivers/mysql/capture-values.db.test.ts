import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RowChange } from '../../../src/drivers/changes.ts';
import type { Table } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne, type Playground, playground } from '../mysql-fixture.ts';
import { changesSince, isRow, readLines, rowText, startAt } from './capture-fixture.ts';

/** Inserts rows, reads them both ways, and says whether every byte is the same. Rows without an order come in that of their key. */
async function bothWays(
  ground: Playground,
  source: Source,
  name: string,
  fill: () => Promise<unknown>,
): Promise<string[]> {
  const table = await describeOne(source, ground.database, name);
  const start = await startAt(source, [table]);
  await fill();
  const events = await changesSince(source, [table], start);
  const changes = events.filter((event): event is RowChange => isRow(event));
  const read = await readLines(source, table);
  expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
  expect(differences(table, changes.map(rowText), read)).toEqual([]);
  expect(read.length).toBeGreaterThan(0);
  return read;
}

/** Cells that differ, cut to what is around the first difference. */
function differences(table: Table, got: readonly string[], wanted: readonly string[]): string[] {
  const found = got.length === wanted.length ? [] : [`${got.length} rows instead of ${wanted.length}`];
  for (const [i, row] of wanted.entries()) {
    const cells = row.split('\t');
    for (const [j, cell] of (got[i] ?? '').split('\t').entries()) {
      const other = cells[j] ?? '';
      if (cell === other) continue;
      let at = 0;
      while (cell[at] === other[at]) at++;
      const shown = (text: string) => Buffer.from(text.slice(Math.max(0, at - 4), at + 8), 'latin1').toString('hex');
      found.push(`row ${i}, ${table.columns[j]?.name} at ${at}: ${shown(cell)} instead of ${shown(other)}`);
    }
  }
  return found.slice(0, 10);
}

describe.each(['mysql9', 'mariadb'] as const)('odd values on %s', (server) => {
  let ground: Playground;
  let source: Source;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test('doubles, floats and decimals', async () => {
    await ground.sql(
      'create table numbers (id int primary key, d double, f float, n decimal(40,20), s decimal(9,9), w decimal(27,0), u double unsigned)',
    );
    await bothWays(ground, source, 'numbers', async () => {
      const rows: string[] = [];
      const doubles = [
        0,
        -0,
        1,
        1e14,
        999999999999999,
        1e15,
        1234567890123456,
        1234567890123456.5,
        1e16,
        1e21,
        1e22,
        1.5e300,
        1e-5,
        1e-6,
        1e-7,
        1.25e-7,
        1e-14,
        1e-15,
        1e-16,
        123456789012345680,
        4.35,
        2 / 3,
        1e-300,
        5e-324,
        1.7976931348623157e308,
      ];
      for (const [i, double] of doubles.entries())
        rows.push(
          `(${i}, ${double.toExponential()}, ${Math.abs(double) < 3e38 ? double.toExponential() : 0}, ${i % 2 ? -i : i}.${'1'.repeat((i % 20) + 1)}, 0.${'12345678'.slice(0, i % 9)}1, ${'7'.repeat((i % 27) + 1)}, ${Math.abs(double).toExponential()})`,
        );
      for (let i = 100; i < 3_000; i++) {
        const bits = Buffer.from(Array.from({ length: 8 }, () => Math.floor(Math.random() * 256)));
        const double = bits.readDoubleLE(0);
        const float = bits.readFloatLE(0);
        const small = Math.random() * 10 ** Math.floor(Math.random() * 40 - 20);
        const value = i % 2 ? small : Number.isFinite(double) ? double : i;
        rows.push(
          `(${i}, ${value.toExponential()}, ${(Number.isFinite(float) ? float : i).toExponential()}, ${bits.readBigInt64LE(0)}.${String(bits.readUInt32LE(0)).padStart(20, '0')}, -0.${String(bits.readUInt32LE(4) % 1_000_000_000).padStart(9, '0')}, ${bits.readBigInt64LE(0)}, ${Math.abs(value).toExponential()})`,
        );
      }
      for (let from = 0; from < rows.length; from += 500)
        await ground.sql(`insert into numbers values ${rows.slice(from, from + 500).join(',')}`);
    });
  });

  test('dates that the rules repair, times and timestamps', async () => {
    await ground.sql(
      'create table dates (id int primary key, d date, t datetime(3), s timestamp(2) null, v time(4), w time, y year, x timestamp null)',
    );
    const table = await describeOne(source, ground.database, 'dates');
    const start = await startAt(source, [table]);
    await ground.sql(
      `insert into dates values (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '-00:00:00.0001', '-00:00:01', 0, '0000-00-00'),
       (2, '2020-00-15', '2020-05-00 10:11:12.5', null, '-838:59:59', '100:00:00', 1901, '2001-09-09 01:46:40'),
       (3, '2021-02-31', '0999-01-01', '2021-01-01 05:30:00.25', '-12:34:56.7891', '-99:59:59', 2155, '2021-12-31 23:59:59'),
       (4, '9999-12-31', '9999-12-31 23:59:59.999', '2038-01-19 08:44:07.99', '838:59:59', null, 2000, null)`,
    );
    const { changes, rules } = await (async () => {
      const { openAt, collect } = await import('./capture-fixture.ts');
      await using capture = await openAt(source, [table], start);
      const list = (await collect(capture)).filter((event): event is RowChange => isRow(event));
      const taken = capture.takeRules();
      expect(capture.takeRules()).toEqual([]);
      return { changes: list, rules: taken };
    })();
    expect(changes.map(rowText)).toEqual(await readLines(source, table));
    expect(
      rules.map(({ rules }) => rules.map(({ rule, column, count, examples }) => [rule, column, count, examples])),
    ).toEqual([
      [
        ['date_repair', 'd', 3, ['d: 0000-00-00 (id=1)', 'd: 2020-00-15 (id=2)', 'd: 2021-02-31 (id=3)']],
        [
          'date_repair',
          't',
          3,
          [
            't: 0000-00-00 00:00:00.000 (id=1)',
            't: 2020-05-00 10:11:12.500 (id=2)',
            't: 0999-01-01 00:00:00.000 (id=3)',
          ],
        ],
        ['date_repair', 's', 1, ['s: 0000-00-00 00:00:00.00 (id=1)']],
        ['date_repair', 'x', 1, ['x: 0000-00-00 00:00:00 (id=1)']],
      ],
    ]);
  });

  test('labels with quotes, commas, backslashes and other charsets', async () => {
    await ground.sql(
      `create table labels (id int primary key, e enum('a,b','c''d','e\\\\f','g\\th','ü','(x)') character set latin1, s set('a''b','c','d\\\\e','€','f'), b enum('é','x') character set cp1250)`,
    );
    await bothWays(ground, source, 'labels', async () => {
      for (let i = 1; i <= 6; i++) await ground.sql(`insert into labels values (${i}, ${i}, ${i * 5}, ${(i % 2) + 1})`);
      await ground.sql("insert into labels values (7, 0, 0, 0), (8, null, null, null), (9, 'c''d', 'c,€', 'é')");
    });
  });

  test('every byte of every charset of single bytes', async () => {
    const charsets = (
      await ground.sql(
        "select CHARACTER_SET_NAME from information_schema.CHARACTER_SETS where MAXLEN = 1 and CHARACTER_SET_NAME <> 'binary'",
      )
    ).map((row) => String(row[0]));
    expect(charsets.length).toBeGreaterThan(15);
    await ground.sql(
      `create table singles (id int primary key, ${charsets.map((name) => `${name} varchar(10) character set ${name}`).join(', ')})`,
    );
    await bothWays(ground, source, 'singles', async () => {
      for (let byte = 0; byte < 256; byte++) {
        const hex = byte.toString(16).padStart(2, '0');
        // ASCII takes no byte above 127.
        const values = charsets.map((name) => (name === 'ascii' && byte > 127 ? "'?'" : `_${name} x'61${hex}62'`));
        await ground.sql(`insert into singles values (${byte}, ${values.join(', ')})`);
      }
    });
  });

  test('many characters of every charset of more bytes', async () => {
    const charsets = (
      await ground.sql('select CHARACTER_SET_NAME from information_schema.CHARACTER_SETS where MAXLEN > 1')
    ).map((row) => String(row[0]));
    await ground.sql(
      `create table multis (id int primary key, ${charsets.map((name) => `${name} text character set ${name}`).join(', ')})`,
    );
    await bothWays(ground, source, 'multis', async () => {
      for (let i = 0; i < 60; i++) {
        const codes = Array.from({ length: 300 }, () => {
          const block = [
            [0x20, 0x7e],
            [0xa0, 0x5ff],
            [0x3040, 0x30ff],
            [0x4e00, 0x9fff],
            [0xac00, 0xd7a3],
            [0xff00, 0xffef],
            [0x2000, 0x26ff],
            [0x1f300, 0x1f9ff],
            [0x20000, 0x2a6df],
            [0xe000, 0xf8ff],
          ][Math.floor(Math.random() * 10)] as [number, number];
          return block[0] + Math.floor(Math.random() * (block[1] - block[0]));
        });
        const text = String.fromCodePoint(...codes).replaceAll('?', '!');
        const hex = Buffer.from(text).toString('hex');
        await ground.sql(
          `insert into multis values (${i}, ${charsets.map((name) => `convert(_utf8mb4 x'${hex}' using ${name})`).join(', ')})`,
        );
      }
    });
  });

  test('generated, invisible, masked and left-out columns, and other places of the key', async () => {
    await ground.sql(
      `create table mixed (a int, v int ${server === 'mysql9' ? 'generated always' : ''} as (a + 1) virtual, s int as (a * 2) stored, hidden int default 5 ${server === 'mysql9' ? 'invisible' : 'invisible'}, k2 varchar(10) not null, secret text, k1 int not null, last varchar(5), primary key (k1, k2))`,
    );
    const table = await describeOne(source, ground.database, 'mixed', { mask: ['secret'] });
    expect(table.leftOut.map((column) => column.name)).toEqual(['v']);
    const start = await startAt(source, [table]);
    await ground.sql(
      "insert into mixed (a, k2, secret, k1, last) values (1, 'x\\ty', 'hush', 7, 'z'), (null, '', null, 8, null)",
    );
    await ground.sql("update mixed set k2 = 'new' where k1 = 7");
    await ground.sql('delete from mixed where k1 = 8');
    const changes = (await changesSince(source, [table], start)).filter((event): event is RowChange => isRow(event));
    expect(changes.map(({ kind, key, oldKey }) => [kind, key, oldKey])).toEqual([
      ['insert', '7\tx\\ty', null],
      ['insert', '8\t', null],
      ['update', '7\tnew', '7\tx\\ty'],
      ['delete', '8\t', null],
    ]);
    expect(rowText(changes[2] as RowChange)).toBe((await readLines(source, table))[0]);
    expect(rowText(changes[0] as RowChange)).toBe('1\t2\t5\tx\\ty\t\\N\t7\tz\n');
  });

  if (server === 'mysql9')
    test('JSON of every kind', async () => {
      await ground.sql('create table json (id int primary key, j json)');
      await bothWays(ground, source, 'json', async () => {
        const texts = [
          'null',
          'true',
          '[]',
          '{}',
          '""',
          '0',
          '-1',
          '32767',
          '32768',
          '-32769',
          '65535',
          '65536',
          '2147483647',
          '2147483648',
          '-2147483649',
          '4294967296',
          '9223372036854775807',
          '9223372036854775808',
          '18446744073709551615',
          '1.0',
          '-0.0',
          '1e15',
          '1e16',
          '1.5e-10',
          '1e-20',
          '1e300',
          '3.14',
          '123456789012345678901234567890',
          '"a\\"b\\\\c\\/d\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\\u00e9😀"',
          '[[[[[1]]]]]',
          '{"b":1,"a":{"c":[null,false,{"":"x"}]},"aa":2,"é":3}',
        ];
        for (const [i, text] of texts.entries()) await ground.sql('insert into json values (?, ?)', [i, text]);
        const made = [
          'cast(1.50 as json)',
          "json_array(cast('2020-01-02' as date), cast('10:11:12.5' as time(3)), cast('-838:00:01' as time), cast('2020-01-02 03:04:05.678' as datetime(6)), timestamp'2020-01-02 03:04:05')",
          "json_array(x'00ff', repeat(x'61', 100), b'101', 1.23456789012345678901234567890, -5.00)",
          `json_object('k', repeat('long', 20000), 'l', json_array(${Array.from({ length: 3000 }, (_, i) => i * 37).join(',')}))`,
          'json_array(cast(4294967295 as unsigned), cast(-3000000000 as signed), 1e0, 2.5e0)',
          "json_array(st_geomfromtext('POINT(1 2)'), cast('x' as binary))",
          'json_array(year(now()) > 0, null)',
        ];
        for (const [i, expression] of made.entries())
          await ground.sql(`insert into json values (${100 + i}, ${expression})`);
      });
    });
  else
    test('UUIDs of every version, addresses, and JSON as text', async () => {
      await ground.sql('create table ids (id int primary key, u uuid, a inet6, b inet4, j json)');
      const uuids = [
        '00000000-0000-0000-0000-000000000000',
        'ffffffff-ffff-ffff-ffff-ffffffffffff',
        ...[1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((version) =>
          ['0', '8', 'b', 'c', 'f'].map((variant) => `6ccd780c-baba-${version}026-${variant}564-5b8c656024db`),
        ),
        '123e4567-e89b-02d3-0456-426655440000',
        'ffffffff-ffff-1fff-8fff-000000000000',
      ];
      const addresses = [
        '::',
        '::1',
        '::1.2.3.4',
        '::ffff:1.2.3.4',
        '1::',
        '1:0:0:2::',
        '1:0:0:2:0:0:0:3',
        '0:0:1::',
        '2001:db8::1:0:0:1',
        '1:2:3:4:5:6:7:8',
        '::ffff:0:1.2.3.4',
        '0:0:0:0:0:0:1:2',
        '1:2:3:4:5:6:7:0',
        '0:2:3:4:5:6:7:8',
        'fe80::1',
        '::ffff',
        '::fffe:1.2.3.4',
        '64:ff9b::1.2.3.4',
      ];
      await bothWays(ground, source, 'ids', async () => {
        for (let i = 0; i < Math.max(uuids.length, addresses.length); i++)
          await ground.sql(`insert into ids values (${i}, ?, ?, ?, ?)`, [
            uuids[i % uuids.length],
            addresses[i % addresses.length],
            `${i}.0.${i * 3}.255`,
            i % 2 ? '{"a": "\\u00e9\\n"}' : null,
          ]);
      });
    });
});
