export type Case = readonly [
  sourceType: string,
  destination: string,
  values: readonly (readonly [sql: string, expected: string | null])[],
];

const LAST = '9999-12-31 23:59:59.999999';
const nines = (n: number): string => '9'.repeat(n);

/** Every type, its documented type at the destination, and what its extremes must arrive as. Expectations are written by hand. */
export const CASES: readonly Case[] = [
  [
    'boolean',
    'TINYINT',
    [
      ['true', '1'],
      ['false', '0'],
    ],
  ],
  [
    'smallint',
    'SMALLINT',
    [
      ['-32768', '-32768'],
      ['32767', '32767'],
    ],
  ],
  [
    'integer',
    'INT',
    [
      ['-2147483648', '-2147483648'],
      ['2147483647', '2147483647'],
    ],
  ],
  [
    'bigint',
    'BIGINT',
    [
      ['-9223372036854775808', '-9223372036854775808'],
      ['9223372036854775807', '9223372036854775807'],
      ['9007199254740993', '9007199254740993'],
    ],
  ],
  [
    'numeric(12,2)',
    'DECIMAL(12,2)',
    [
      ['-9999999999.99', '-9999999999.99'],
      ['0', '0.00'],
      ["'NaN'", null],
    ],
  ],
  ['numeric(65,30)', 'DECIMAL(65,30)', [[`-${nines(35)}.${nines(30)}`, `-${nines(35)}.${nines(30)}`]]],
  [
    'numeric(66,30)',
    'LONGTEXT',
    [
      [`${nines(36)}.${nines(30)}`, `${nines(36)}.${nines(30)}`],
      ["'NaN'", 'NaN'],
    ],
  ],
  ['numeric(40,31)', 'LONGTEXT', [[`1.${nines(31)}`, `1.${nines(31)}`]]],
  [
    'numeric',
    'DECIMAL(65,30)',
    [
      [`${nines(35)}.${nines(30)}`, `${nines(35)}.${nines(30)}`],
      ['0.10', '0.10'],
      ['12345678901234567890.123', '12345678901234567890.123'],
      ["'NaN'", null],
    ],
  ],
  [
    'money',
    'DECIMAL(19,2)',
    [
      ["'-92233720368547758.08'", '-92233720368547758.08'],
      ["'92233720368547758.07'", '92233720368547758.07'],
      ["'1,234.5'", '1234.50'],
    ],
  ],
  [
    'real',
    'FLOAT',
    [
      ['1.1', '1.1'],
      ['16777217', '1.6777216e+07'],
      ['3.4028235e38', '3.4028235e+38'],
      ['1e-45', '1e-45'],
      ["'-0'", '-0'],
      ["'NaN'", null],
      ["'Infinity'", null],
    ],
  ],
  [
    'double precision',
    'DOUBLE',
    [
      ['0.1', '0.1'],
      ['1.7976931348623157e308', '1.7976931348623157e+308'],
      ['5e-324', '5e-324'],
      ['0.30000000000000004', '0.30000000000000004'],
      ["'-Infinity'", null],
    ],
  ],
  [
    'char(5)',
    'CHAR(5)',
    [
      ["'ab'", 'ab   '],
      ["''", '     '],
      ["'漢字'", '漢字   '],
    ],
  ],
  ['char(300)', 'VARCHAR(300)', [["'ab'", `ab${' '.repeat(298)}`]]],
  ['bpchar', 'LONGTEXT', [["'ab  '", 'ab  ']]],
  [
    'varchar(10)',
    'VARCHAR(10)',
    [
      ["'a  '", 'a  '],
      ["''", ''],
      ["'😀😀😀😀😀😀😀😀😀😀'", '😀😀😀😀😀😀😀😀😀😀'],
    ],
  ],
  ['varchar(20000)', 'LONGTEXT', [["repeat('x', 20000)", 'x'.repeat(20000)]]],
  ['varchar', 'LONGTEXT', [["'any'", 'any']]],
  [
    'text',
    'LONGTEXT',
    [
      ["''", ''],
      ["E'\\t\\n\\r\\\\\\b\\f\\x0b\\x01\\x02\\x1a\\x1f\\x7f'", '\t\n\r\\\b\f\v\x01\x02\x1a\x1f\x7f'],
      ["'\\N'", '\\N'],
      ["'NaN Infinity'", 'NaN Infinity'],
      ["E'\\x02infinity'", '\x02infinity'],
    ],
  ],
  [
    'bytea',
    'LONGBLOB',
    [
      ["''", ''],
      ["'\\x00ff5c0a'", '00ff5c0a'],
    ],
  ],
  ['uuid', 'VARCHAR(36)', [["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']]],
  [
    'date',
    'DATE',
    [
      ["'2024-02-29'", '2024-02-29'],
      ["'1000-01-01'", '1000-01-01'],
      ["'9999-12-31'", '9999-12-31'],
      ["'10000-01-01'", '9999-12-31'],
      ["'infinity'", '9999-12-31'],
      ["'-infinity'", '1000-01-01'],
      ["'0044-03-15 BC'", '1000-01-01'],
      ["'0999-12-31'", '1999-12-31'],
      ["'0001-01-01'", '1001-01-01'],
      ["'0400-02-29'", '1400-02-28'],
      ["'5874897-12-31'", '9999-12-31'],
    ],
  ],
  [
    'time',
    'TIME(6)',
    [
      ["'24:00:00'", '24:00:00'],
      ["'00:00:00.000001'", '00:00:00.000001'],
      ["'23:59:59.999999'", '23:59:59.999999'],
    ],
  ],
  [
    'time with time zone',
    'VARCHAR(24)',
    [
      ["'24:00:00-15:59:59'", '24:00:00-15:59:59'],
      ["'12:00:00.5+05:30'", '12:00:00.5+05:30'],
    ],
  ],
  [
    'timestamp',
    'DATETIME(6)',
    [
      ["'2024-06-01 12:34:56.123456'", '2024-06-01 12:34:56.123456'],
      ["'1000-01-01'", '1000-01-01 00:00:00'],
      [`'${LAST}'`, LAST],
      ["'10000-01-01'", LAST],
      ["'infinity'", LAST],
      ["'-infinity'", '1000-01-01 00:00:00'],
      ["'4713-01-01 BC'", '1000-01-01 00:00:00'],
      ["'0025-05-06 07:08:09.5'", '1025-05-06 07:08:09.5'],
      ["'294276-12-31 23:59:59.999999'", LAST],
    ],
  ],
  [
    'timestamp with time zone',
    'DATETIME(6)',
    [
      ["'2024-06-01 12:34:56.123456+05:30'", '2024-06-01 07:04:56.123456'],
      ["'9999-12-31 23:59:59.999999+00'", LAST],
      ["'9999-12-31 23:59:59.999999-01'", LAST],
      ["'1000-01-01 00:00:00+00'", '1000-01-01 00:00:00'],
      ["'1000-01-01 00:00:00+01'", '1999-12-31 23:00:00'],
      ["'infinity'", LAST],
      ["'-infinity'", '1000-01-01 00:00:00'],
    ],
  ],
  [
    'interval',
    'VARCHAR(80)',
    [
      ["'1 year 2 mons 3 days 04:05:06.7'", 'P1Y2M3DT4H5M6.7S'],
      ["'0'", 'PT0S'],
      [
        "'-178956970 years -8 mons -2147483648 days -2147483647:59:59.999999'",
        'P-178956970Y-8M-2147483648DT-2147483647H-59M-59.999999S',
      ],
    ],
  ],
  [
    'json',
    'JSON',
    [
      ['\' {"a" :  1.10, "a": 2}\'', ' {"a" :  1.10, "a": 2}'],
      ["'null'", 'null'],
      ["'12345678901234567890.123'", '12345678901234567890.123'],
    ],
  ],
  [
    'jsonb',
    'JSON',
    [
      ['\'{"b":1.10,"a":"\\u0001\\n"}\'', '{"a": "\\u0001\\n", "b": 1.10}'],
      ["'9007199254740993'", '9007199254740993'],
    ],
  ],
  ['bit', 'BIGINT UNSIGNED', [["B'1'", '1']]],
  ['bit(8)', 'BIGINT UNSIGNED', [["B'00000101'", '5']]],
  ['bit(63)', 'BIGINT UNSIGNED', [["repeat('1', 63)::bit(63)", '9223372036854775807']]],
  [
    'bit(64)',
    'BIGINT UNSIGNED',
    [
      ["repeat('1', 64)::bit(64)", '18446744073709551615'],
      ["('1' || repeat('0', 63))::bit(64)", '9223372036854775808'],
      ["repeat('0', 64)::bit(64)", '0'],
    ],
  ],
  ['bit(65)', 'VARCHAR(65)', [["repeat('10', 33)::bit(65)", `${'10'.repeat(32)}1`]]],
  [
    'bit varying(8)',
    'VARCHAR(8)',
    [
      ["B'0001'", '0001'],
      ["B''", ''],
    ],
  ],
  ['bit varying', 'LONGTEXT', [["B'0'", '0']]],
  [
    'inet',
    'VARCHAR(50)',
    [
      ["'10.0.0.1'", '10.0.0.1'],
      ["'::ffff:1.2.3.4/128'", '::ffff:1.2.3.4'],
      ["'2001:DB8::1/64'", '2001:db8::1/64'],
    ],
  ],
  ['cidr', 'VARCHAR(50)', [["'10.1.0.0/16'", '10.1.0.0/16']]],
  ['macaddr', 'VARCHAR(17)', [["'08-00-2B-01-02-03'", '08:00:2b:01:02:03']]],
  ['macaddr8', 'VARCHAR(23)', [["'08:00:2b:ff:fe:01:02:03'", '08:00:2b:ff:fe:01:02:03']]],
  ['oid', 'VARCHAR(10)', [['4294967295', '4294967295']]],
  ['xid', 'VARCHAR(10)', [["'4294967295'", '4294967295']]],
  ['tid', 'VARCHAR(18)', [["'(4294967295,65535)'", '(4294967295,65535)']]],
  ['pg_lsn', 'VARCHAR(17)', [["'FFFFFFFF/FFFFFFFF'", 'FFFFFFFF/FFFFFFFF']]],
  ['name', 'VARCHAR(63)', [[`'${'n'.repeat(63)}'`, 'n'.repeat(63)]]],
  [
    '"char"',
    'VARCHAR(4)',
    [
      ["'x'", 'x'],
      ["''", ''],
    ],
  ],
  [
    'regclass',
    'LONGTEXT',
    [
      ["'pg_class'", 'pg_class'],
      ["'public.named'", 'public.named'],
    ],
  ],
  [
    'point',
    'VARCHAR(64)',
    [
      ["'(1.5,-2)'", 'POINT(1.5 -2)'],
      ["'(0.1,1e300)'", 'POINT(0.1 1e+300)'],
    ],
  ],
  ['box', 'LONGTEXT', [["'(2,2),(0,0)'", '(2,2),(0,0)']]],
  ['polygon', 'LONGTEXT', [["'((0,0),(1,1),(2,0))'", '((0,0),(1,1),(2,0))']]],
  ['circle', 'LONGTEXT', [["'<(1,2),3>'", '<(1,2),3>']]],
  ['xml', 'LONGTEXT', []],
  ['tsvector', 'LONGTEXT', [["'a:1 fat:2A'", "'a':1 'fat':2A"]]],
  ['tsquery', 'LONGTEXT', [["'fat & rat'", "'fat' & 'rat'"]]],
  ['jsonpath', 'LONGTEXT', [["'$.a'", '$."a"']]],
  [
    'mood',
    'VARCHAR(256)',
    [
      ["'so so'", 'so so'],
      ["'it''s, \"ok\"'", `it's, "ok"`],
    ],
  ],
  ['positive', 'INT', [['5', '5']]],
  ['short_text', 'VARCHAR(7)', [["'1234567'", '1234567']]],
  ['nested_domain', 'VARCHAR(7)', [["'abc'", 'abc']]],
  ['citext', 'LONGTEXT', [["'AbC'", 'AbC']]],
  ['ltree', 'LONGTEXT', [["'Top.Science'", 'Top.Science']]],
  ['cube', 'LONGTEXT', [["'(1,2)'", '(1, 2)']]],
  ['hstore', 'JSON', [['\'a=>1, b=>NULL, "c\\""=>"x\ny"\'', '{"a": "1", "b": null, "c\\"": "x\\ny"}']]],
  [
    'pair',
    'JSON',
    [
      [
        "row(1, 'a\"b', '2024-01-01 00:00:00+00', 12345678901234567890.10, '\\x00ff')",
        '{"n":1,"t":"a\\"b","at":"2024-01-01T00:00:00+00:00","big":12345678901234567890.10,"raw":"\\\\x00ff"}',
      ],
      ['row(null, null, null, null, null)', '{"n":null,"t":null,"at":null,"big":null,"raw":null}'],
    ],
  ],
  [
    'integer[]',
    'JSON',
    [
      ["'{1,NULL,-3}'", '[1,null,-3]'],
      ["'{}'", '[]'],
      ["'{{1,2},{3,4}}'", '[[1,2],[3,4]]'],
      ["'[5:6]={7,8}'", '[7,8]'],
    ],
  ],
  ['bigint[]', 'JSON', [["'{9223372036854775807}'", '[9223372036854775807]']]],
  [
    'text[]',
    'JSON',
    [["array['a\"b', '', NULL, 'NULL', E'\\t\\n\\\\', '😀']", '["a\\"b","",null,"NULL","\\t\\n\\\\","😀"]']],
  ],
  ['numeric[]', 'JSON', [["'{1.10,12345678901234567890.123,NaN}'", '[1.10,12345678901234567890.123,"NaN"]']]],
  ['double precision[]', 'JSON', [["'{0.1,Infinity,5e-324}'", '[0.1,"Infinity",5e-324]']]],
  ['boolean[]', 'JSON', [["'{t,f}'", '[true,false]']]],
  ['bytea[]', 'JSON', [["array['\\x00ff'::bytea]", '["\\\\x00ff"]']]],
  ['date[]', 'JSON', [["'{2024-01-01,infinity}'", '["2024-01-01","infinity"]']]],
  ['timestamp[]', 'JSON', [["'{2024-01-01 01:02:03.5}'", '["2024-01-01T01:02:03.5"]']]],
  ['timestamp with time zone[]', 'JSON', [["'{2024-01-01 01:02:03+05:30}'", '["2023-12-31T19:32:03+00:00"]']]],
  ['money[]', 'JSON', [["'{1.5,-2}'", '[1.50,-2.00]']]],
  ['jsonb[]', 'JSON', [['array[\'{"a":1}\'::jsonb]', '[{"a": 1}]']]],
  ['mood[]', 'JSON', [["array['so so']::mood[]", '["so so"]']]],
  ['positive[]', 'JSON', [['array[5]::positive[]', '[5]']]],
  [
    'pair[]',
    'JSON',
    [["array[row(1,'x',null,null,null)]::pair[]", '[{"n":1,"t":"x","at":null,"big":null,"raw":null}]']],
  ],
  ['hstore[]', 'JSON', [["array['a=>1'::hstore]", '[{"a": "1"}]']]],
  [
    'int4range',
    'JSON',
    [
      ["'[1,5]'", '"[1,6)"'],
      ["'empty'", '"empty"'],
      ["'(,)'", '"(,)"'],
    ],
  ],
  ['tstzrange', 'JSON', [["'[2024-01-01 00:00:00+01,)'", '"[\\"2023-12-31 23:00:00+00\\",)"']]],
  ['int4multirange', 'JSON', [["'{[1,2),[5,7)}'", '"{[1,2),[5,7)}"']]],
  ['floatrange', 'JSON', [["'[0.1,0.2)'", '"[0.1,0.2)"']]],
];

/** The first version that has a type at all. */
export const SINCE: Readonly<Record<string, number>> = {
  'positive[]': 110000,
  jsonpath: 120000,
  int4multirange: 140000,
};
/** Types and extensions that the cases use. */
export const SETUP = `
  create extension hstore; create extension citext; create extension ltree; create extension cube;
  create type mood as enum ('sad', 'so so', 'it''s, "ok"');
  create type pair as (n int, t text, at timestamptz, big numeric, raw bytea);
  create domain positive as int check (value > 0);
  create domain short_text as varchar(7);
  create domain nested_domain as short_text check (value <> 'x');
  create type floatrange as range (subtype = float8);
  create table named (id int primary key);
`;
