import type { ServerName } from '../mysql-fixture.ts';

/** A column, SQL literals put into it, and the texts that must arrive; a number of digits or a charset is never rounded on the way. */
export type Case = {
  readonly type: string;
  readonly values: readonly (readonly [sql: string, text: string | Buffer | null])[];
  readonly only?: ServerName;
};
const HEX = (bytes: string | Buffer) => Buffer.from(bytes).toString('hex').toUpperCase();
const controls = Buffer.from(Array.from({ length: 128 }, (_, i) => i));
const allBytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const x = (bytes: Buffer) => `x'${bytes.toString('hex')}'`;

export const CASES: readonly Case[] = [
  {
    type: 'tinyint(1)',
    values: [
      ['-128', '-128'],
      ['127', '127'],
      ['null', null],
    ],
  },
  {
    type: 'tinyint unsigned',
    values: [
      ['255', '255'],
      ['0', '0'],
    ],
  },
  {
    type: 'smallint',
    values: [
      ['-32768', '-32768'],
      ['32767', '32767'],
    ],
  },
  {
    type: 'mediumint',
    values: [
      ['-8388608', '-8388608'],
      ['8388607', '8388607'],
    ],
  },
  { type: 'mediumint unsigned', values: [['16777215', '16777215']] },
  { type: 'int unsigned', values: [['4294967295', '4294967295']] },
  {
    type: 'int(8) unsigned zerofill',
    values: [
      ['42', '42'],
      ['4294967295', '4294967295'],
      ['null', null],
    ],
  },
  {
    type: 'bigint',
    values: [
      ['-9223372036854775808', '-9223372036854775808'],
      ['9223372036854775807', '9223372036854775807'],
      ['9007199254740993', '9007199254740993'],
    ],
  },
  {
    type: 'bigint unsigned',
    values: [
      ['18446744073709551615', '18446744073709551615'],
      ['9223372036854775808', '9223372036854775808'],
    ],
  },
  {
    type: 'bigint(20) unsigned zerofill',
    values: [
      ['18446744073709551615', '18446744073709551615'],
      ['7', '7'],
    ],
  },
  {
    type: 'decimal(65,30)',
    values: [
      [`${'9'.repeat(35)}.${'9'.repeat(30)}`, `${'9'.repeat(35)}.${'9'.repeat(30)}`],
      [`-${'9'.repeat(35)}.${'9'.repeat(30)}`, `-${'9'.repeat(35)}.${'9'.repeat(30)}`],
      [`0.${'0'.repeat(29)}1`, `0.${'0'.repeat(29)}1`],
      ['0', `0.${'0'.repeat(30)}`],
    ],
  },
  { type: 'decimal(65,0)', values: [['9'.repeat(65), '9'.repeat(65)].slice(0, 2) as [string, string]] },
  {
    type: 'decimal(20,4) unsigned zerofill',
    values: [
      ['1.5', '1.5000'],
      ['9999999999999999.9999', '9999999999999999.9999'],
    ],
  },
  {
    type: 'double',
    values: [
      ['1.7976931348623157e308', '1.7976931348623157e308'],
      ['-2.2250738585072014e-308', '-2.2250738585072014e-308'],
      ['0.1', '0.1'],
      ['9007199254740993', '9007199254740992'],
      ['1e15', '1e15'],
      ['3.3333333333333335', '3.3333333333333335'],
      ['5e-324', '5e-324'],
    ],
  },
  {
    type: 'double(20,2)',
    values: [
      ['123456789012345.67', '123456789012345.67'],
      ['0.1', '0.1'],
    ],
  },
  {
    type: 'float',
    values: [
      ['16777215', '16777215'],
      ['3.4028234663852886e38', '3.4028234663852886e38'],
      ['0.1', '0.10000000149011612'],
      ['1.17549435e-38', '1.1754943508222875e-38'],
    ],
  },
  { type: 'float(7,4)', values: [['123.4567', '123.45670318603516']] },
  {
    type: 'bit(1)',
    values: [
      ["b'1'", '1'],
      ["b'0'", '0'],
      ['null', null],
    ],
  },
  { type: 'bit(12)', values: [["b'101000001010'", '2570']] },
  {
    type: 'bit(64)',
    values: [
      ["b'1111111111111111111111111111111111111111111111111111111111111111'", '18446744073709551615'],
      ["b'1000000000000000000000000000000000000000000000000000000000000000'", '9223372036854775808'],
    ],
  },
  {
    type: 'char(10)',
    values: [
      ["''", ''],
      ["'a  '", 'a'],
      ["'  a'", '  a'],
      ["'😀é'", '😀é'],
      ["'\\\\N'", '\\N'],
      ["'NULL'", 'NULL'],
      ['null', null],
    ],
  },
  {
    type: 'varchar(300)',
    values: [
      ["''", ''],
      ["'a  '", 'a  '],
      [`convert(${x(controls)} using utf8mb4)`, controls],
      ["repeat('ü', 300)", 'ü'.repeat(300)],
      ["repeat('𝄞', 251)", '𝄞'.repeat(251)],
      ["'\\n'", '\n'],
      ["'\\t\\t'", '\t\t'],
      ["'\\\\'", '\\'],
    ],
  },
  {
    type: 'tinytext',
    values: [
      ["''", ''],
      ["repeat('x', 255)", 'x'.repeat(255)],
    ],
  },
  {
    type: 'text',
    values: [
      ["repeat('\\\\', 65535)", '\\'.repeat(65535)],
      ["repeat('y', 250)", 'y'.repeat(250)],
      ["repeat('y', 251)", 'y'.repeat(251)],
    ],
  },
  { type: 'mediumtext', values: [["repeat('z\\n', 100000)", 'z\n'.repeat(100000)]] },
  {
    type: 'longtext',
    values: [
      ['null', null],
      ["'x'", 'x'],
    ],
  },
  {
    type: "enum('a','b,c','d''e','','ü')",
    values: [
      ["'b,c'", 'b,c'],
      ["'d''e'", "d'e"],
      ["'ü'", 'ü'],
      ["''", ''],
      ["'nonsense'", ''],
      ['null', null],
    ],
  },
  {
    type: "set('a','b c','ü')",
    values: [
      ["'a,ü'", 'a,ü'],
      ["''", ''],
      ["'a,b c,ü'", 'a,b c,ü'],
    ],
  },
  {
    type: 'binary(6)',
    values: [
      ["x'0001'", '000100000000'],
      ["x'ff00ff00ff00'", 'FF00FF00FF00'],
      ["''", '000000000000'],
    ],
  },
  {
    type: 'varbinary(300)',
    values: [
      [x(allBytes), HEX(allBytes)],
      ["''", ''],
      ["x'00'", '00'],
      ["x'5c4e'", '5C4E'],
      ['null', null],
    ],
  },
  { type: 'tinyblob', values: [["x'5c0a0900'", '5C0A0900']] },
  { type: 'blob', values: [[`repeat(${x(allBytes)}, 255)`, HEX(Buffer.concat(Array(255).fill(allBytes)))]] },
  { type: 'longblob', values: [["repeat(x'80', 300000)", '80'.repeat(300000)]] },
  {
    type: 'date',
    values: [
      ["'1000-01-01'", '1000-01-01'],
      ["'9999-12-31'", '9999-12-31'],
      ["'2020-02-29'", '2020-02-29'],
      ['null', null],
    ],
  },
  {
    type: 'time',
    values: [
      ["'-838:59:59'", '-838:59:59'],
      ["'838:59:59'", '838:59:59'],
      ["'00:00:00'", '00:00:00'],
    ],
  },
  {
    type: 'time(6)',
    values: [
      ["'-00:00:00.000001'", '-00:00:00.000001'],
      ["'12:34:56.789012'", '12:34:56.789012'],
    ],
  },
  { type: 'time(2)', values: [["'12:34:56.78'", '12:34:56.78']] },
  {
    type: 'datetime',
    values: [
      ["'1000-01-01 00:00:00'", '1000-01-01 00:00:00'],
      ["'9999-12-31 23:59:59'", '9999-12-31 23:59:59'],
    ],
  },
  { type: 'datetime(3)', values: [["'2020-01-01 00:00:00.123'", '2020-01-01 00:00:00.123']] },
  { type: 'datetime(6)', values: [["'9999-12-31 23:59:59.999999'", '9999-12-31 23:59:59.999999']] },
  // The writing session stands at +05:30.
  {
    type: 'timestamp(6) null',
    values: [
      ["'1970-01-01 05:30:01.000001'", '1970-01-01 00:00:01.000001'],
      ["'2038-01-19 08:44:07.999999'", '2038-01-19 03:14:07.999999'],
      ['null', null],
    ],
  },
  {
    type: 'year',
    values: [
      ['1901', '1901'],
      ['2155', '2155'],
      ["'0000'", '0000'],
    ],
  },
  {
    type: 'varchar(50) character set latin1',
    values: [
      ["'é€Ÿ'", 'é€Ÿ'],
      ["x'80'", '€'],
      ["x'81'", '\u0081'],
    ],
  },
  { type: 'varchar(50) character set cp1251', values: [["'Привет'", 'Привет']] },
  {
    type: 'varchar(50) character set sjis',
    values: [
      ["'表示ソ'", '表示ソ'],
      ["x'955c'", '表'],
    ],
  },
  { type: 'varchar(50) character set gbk', values: [["'誠\\\\實'", '誠\\實']] },
  { type: 'varchar(50) character set utf16', values: [["'a😀'", 'a😀']] },
  { type: 'varchar(50) character set utf8mb3', values: [["'€'", '€']] },
  { type: 'char(4) character set ucs2', values: [["'ab'", 'ab']] },
  { type: 'tinytext character set latin1', values: [["repeat('é', 255)", 'é'.repeat(255)]] },
  {
    type: 'json',
    only: 'mysql9',
    values: [
      [
        `'{"b": 1, "a": [1.5, "\\\\u00e9\\\\n", null, 12345678901234567890]}'`,
        '{"a": [1.5, "é\\n", null, 12345678901234567890], "b": 1}',
      ],
      ["'null'", 'null'],
      ['null', null],
    ],
  },
  {
    type: 'json',
    only: 'mariadb',
    values: [
      [`'{"b": 1, "a": [1.50, null]}'`, '{"b": 1, "a": [1.50, null]}'],
      ['null', null],
    ],
  },
  {
    type: 'point',
    values: [
      ["st_geomfromtext('POINT(0.1 -2.5)')", 'POINT(0.1 -2.5)'],
      ['null', null],
    ],
  },
  {
    type: 'geometry',
    values: [
      ["st_geomfromtext('LINESTRING(0 0,1 1,2 2)')", 'LINESTRING(0 0,1 1,2 2)'],
      [
        "st_geomfromtext('POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))')",
        'POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))',
      ],
      ["st_geomfromtext('MULTIPOINT(1 1,2 2)')", 'MULTIPOINT((1 1),(2 2))'],
      ["st_geomfromtext('MULTILINESTRING((0 0,1 1),(2 2,3 3))')", 'MULTILINESTRING((0 0,1 1),(2 2,3 3))'],
      ["st_geomfromtext('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')", 'MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'],
      [
        "st_geomfromtext('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))')",
        'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))',
      ],
      ["st_geomfromtext('POINT(1 2)', 3857)", 'SRID=3857;POINT(1 2)'],
    ],
  },
  // Stored longitude first, whatever order the reference system reads.
  {
    type: 'point',
    only: 'mysql9',
    values: [["st_geomfromtext('POINT(52.5 13.25)', 4326)", 'SRID=4326;POINT(13.25 52.5)']],
  },
  {
    type: 'vector(3)',
    only: 'mysql9',
    values: [
      ["to_vector('[0.1, -2, 1e10]')", '[0.1,-2,10000000000]'],
      ['null', null],
    ],
  },
  {
    type: 'uuid',
    only: 'mariadb',
    values: [
      ["'123e4567-e89b-12d3-a456-426655440000'", '123e4567-e89b-12d3-a456-426655440000'],
      ['null', null],
    ],
  },
  {
    type: 'inet6',
    only: 'mariadb',
    values: [
      ["'2001:db8::ff00:42:8329'", '2001:db8::ff00:42:8329'],
      ["'::ffff:255.255.255.255'", '::ffff:255.255.255.255'],
    ],
  },
  { type: 'inet4', only: 'mariadb', values: [["'255.255.255.255'", '255.255.255.255']] },
  {
    type: 'varchar(100) compressed',
    only: 'mariadb',
    values: [
      ["repeat('ab', 50)", 'ab'.repeat(50)],
      ["''", ''],
    ],
  },
  { type: 'blob compressed', only: 'mariadb', values: [["repeat(x'00ff', 50)", '00FF'.repeat(50)]] },
];
