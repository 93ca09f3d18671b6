// A trading company's database, much like the well-known classicmodels, with the values that copies get wrong: NULL
// beside empty text, emoji, control characters, bytes of every value, large decimals, microseconds, far dates.
import { makeRandom } from './random.ts';

export type Value = string | number | null | Buffer;

export type SampleColumn = { name: string; postgres: string; mysql: string };

export type SampleTable = { name: string; columns: SampleColumn[]; key: string[]; rows: Value[][] };

type ColumnSpec = readonly [name: string, postgres: string, mysql: string];

const int = 'integer';
const text = (length: number) => [`varchar(${length})`, `varchar(${length})`] as const;
const moment = ['timestamp(6)', 'datetime(6)'] as const;

function table(name: string, key: string[], columns: readonly ColumnSpec[], rows: Value[][]): SampleTable {
  return { name, key, rows, columns: columns.map(([column, postgres, mysql]) => ({ name: column, postgres, mysql })) };
}

const cities = [
  ['Nantes', 'France'],
  ['São Paulo', 'Brazil'],
  ['München', 'Germany'],
  ['東京', 'Japan'],
  ['Kraków', 'Poland'],
  ['Αθήνα', 'Greece'],
  ['San Francisco', 'USA'],
  ['Reykjavík', 'Iceland'],
  ['القاهرة', 'Egypt'],
  ['Montréal', 'Canada'],
] as const;
const givenNames = [
  'Zoë',
  'Jürgen',
  'Mary',
  'Łukasz',
  'Siobhán',
  'Hélène',
  '花子',
  'Diego',
  'Ἀλέξανδρος',
  'Anna',
] as const;
const familyNames = ["O'Hara", 'Müller', 'da Silva', 'Nowak', 'Schmidt', 'Brown', '山田', 'Berglund', 'King'] as const;
const lines = ['Classic Cars', 'Motorcycles', 'Planes', 'Ships', 'Trains', 'Trucks and Buses', 'Vintage Cars'] as const;
const notes = [
  '',
  'call back ☎️',
  'it\'s "urgent"',
  'tab\there',
  'two\nlines\r\nthree',
  'back\\slash \\N',
  '🚚💨 on its way',
  '  ',
];

/** All small tables, in the order in which they can be made; the same rows on every call. */
export function sampleTables(): SampleTable[] {
  const random = makeRandom(20_240_229);
  const date = (from: number, to: number) =>
    `${random.number(from, to)}-${two(random.number(1, 12))}-${two(random.number(1, 28))}`;
  const instant = () =>
    `${date(2003, 2025)} ${two(random.number(0, 23))}:${two(random.number(0, 59))}:${two(random.number(0, 59))}.${String(random.number(0, 999_999)).padStart(6, '0')}`;
  const money = (most: number) => `${random.number(0, most)}.${two(random.number(0, 99))}`;
  const maybe = (percent: number, value: Value) => (random.chance(percent) ? null : value);
  const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
  const bytes = (length: number) => Buffer.from(range(length).map((at) => (at * 37 + length) % 256));

  const productlines = lines.map((name, at): Value[] => [
    name,
    `${name}: scale models for collectors. `.repeat(20 + at),
    maybe(40, `<h1>${name} 🏁</h1>\n<p>${'&amp; '.repeat(500)}</p>`),
    maybe(20, bytes(1024 * (at + 1))),
  ]);
  const products = range(420).map((n): Value[] => [
    `S${10 + (n % 90)}_${1000 + n}`,
    `${random.number(1903, 2024)} ${random.pick(familyNames)} ${random.pick(['Roadster', 'Coupé', 'Ⅲ', 'Type-Ω'])}`,
    random.pick(lines),
    random.pick(['1:10', '1:18', '1:24', '1:700']),
    random.pick(notes),
    random.number(0, 9_999),
    money(199),
    maybe(10, `${random.number(0, 99)}.${String(random.number(0, 999_999)).padStart(6, '0')}`),
    random.number(0, 1),
    JSON.stringify({ colour: random.pick(['red', 'grün', '藍']), parts: range(random.number(0, 4)), weight: null }),
  ]);
  const offices = range(10).map((n): Value[] => [
    String(n),
    ...(cities[n - 1] as readonly string[]),
    `+${random.number(1, 99)} ${random.number(1_000_000, 9_999_999)}`,
    maybe(50, `Floor ${n}, "East" wing`),
    `${two(random.number(6, 9))}:30:00`,
  ]);
  const employees = range(120).map((n): Value[] => [
    1000 + n,
    random.pick(familyNames),
    random.pick(givenNames),
    `x${random.number(100, 9999)}`,
    String(random.number(1, 10)),
    n === 1 ? null : 1000 + Math.ceil(n / 4),
    date(1950, 2004),
    maybe(80, bytes(random.number(0, 64))),
  ]);
  const customers = range(640).map((n): Value[] => {
    const [city, country] = random.pick(cities);
    return [
      n,
      `${random.pick(familyNames)} & ${random.pick(['Söhne', 'Co.', 'Sons, Ltd', '株式会社', 'GmbH'])} ${n}`,
      random.pick(givenNames),
      city,
      country,
      maybe(25, String(random.number(1000, 99_999))),
      maybe(15, 1000 + random.number(1, 120)),
      maybe(10, money(9_999_999)),
      maybe(30, random.pick(notes)),
      instant(),
    ];
  });
  const orders = range(1_600).map((n): Value[] => [
    10_000 + n,
    date(2003, 2025),
    maybe(30, date(2003, 2025)),
    random.pick(['Shipped', 'Resolved', 'Cancelled', 'On Hold', 'Disputed', 'In Process']),
    maybe(40, random.pick(notes)),
    random.number(1, 640),
    instant(),
  ]);
  const orderdetails = orders.flatMap((order): Value[][] =>
    range(random.number(1, 5)).map((line) => [
      order[0] ?? 0,
      products[random.number(0, products.length - 1)]?.[0] ?? '',
      line,
      random.number(1, 97),
      money(214),
    ]),
  );
  const seen = new Set<string>();
  const distinctDetails = orderdetails.filter(([order, product]) => {
    const key = `${order}/${product}`;
    return seen.has(key) ? false : seen.add(key);
  });
  const payments = range(1_500).map((n): Value[] => [
    random.number(1, 640),
    `${random.pick(['HQ', 'JM', 'ÅÄ'])}${100_000 + n}`,
    date(2003, 2025),
    `${random.number(0, 1) === 0 ? '-' : ''}${random.number(0, 999_999_999)}${String(random.number(0, 999_999_999)).padStart(9, '0')}.${two(random.number(0, 99))}`,
    maybe(60, random.number(-1_000_000, 1_000_000) / 1024),
  ]);

  return [
    table(
      'productlines',
      ['productLine'],
      [
        ['productLine', ...text(50)],
        ['textDescription', ...text(4000)],
        ['htmlDescription', 'text', 'mediumtext'],
        ['image', 'bytea', 'mediumblob'],
      ],
      productlines,
    ),
    table(
      'products',
      ['productCode'],
      [
        ['productCode', ...text(15)],
        ['productName', ...text(70)],
        ['productLine', ...text(50)],
        ['productScale', 'char(10)', 'char(10)'],
        ['productDescription', 'text', 'text'],
        ['quantityInStock', 'smallint', 'smallint'],
        ['buyPrice', 'numeric(10,2)', 'decimal(10,2)'],
        ['weightKg', 'numeric(20,6)', 'decimal(20,6)'],
        ['discontinued', 'boolean', 'tinyint(1)'],
        ['attributes', 'jsonb', 'json'],
      ],
      products,
    ),
    table(
      'offices',
      ['officeCode'],
      [
        ['officeCode', ...text(10)],
        ['city', ...text(50)],
        ['country', ...text(50)],
        ['phone', ...text(50)],
        ['addressLine2', ...text(50)],
        ['opensAt', 'time', 'time(6)'],
      ],
      offices,
    ),
    table(
      'employees',
      ['employeeNumber'],
      [
        ['employeeNumber', int, 'int'],
        ['lastName', ...text(50)],
        ['firstName', ...text(50)],
        ['extension', ...text(10)],
        ['officeCode', ...text(10)],
        ['reportsTo', int, 'int'],
        ['birthDate', 'date', 'date'],
        ['badge', 'bytea', 'varbinary(64)'],
      ],
      employees,
    ),
    table(
      'customers',
      ['customerNumber'],
      [
        ['customerNumber', int, 'int'],
        ['customerName', ...text(80)],
        ['contactFirstName', ...text(50)],
        ['city', ...text(50)],
        ['country', ...text(50)],
        ['postalCode', ...text(15)],
        ['salesRepEmployeeNumber', int, 'int'],
        ['creditLimit', 'numeric(12,2)', 'decimal(12,2)'],
        ['note', 'text', 'text'],
        ['createdAt', ...moment],
      ],
      customers,
    ),
    table(
      'orders',
      ['orderNumber'],
      [
        ['orderNumber', int, 'int'],
        ['orderDate', 'date', 'date'],
        ['shippedDate', 'date', 'date'],
        ['status', ...text(15)],
        ['comments', 'text', 'text'],
        ['customerNumber', int, 'int'],
        ['updatedAt', 'timestamptz', 'datetime(6)'],
      ],
      orders,
    ),
    table(
      'orderdetails',
      ['orderNumber', 'productCode'],
      [
        ['orderNumber', int, 'int'],
        ['productCode', ...text(15)],
        ['orderLineNumber', 'smallint', 'smallint'],
        ['quantityOrdered', int, 'int'],
        ['priceEach', 'numeric(10,2)', 'decimal(10,2)'],
      ],
      distinctDetails,
    ),
    table(
      'payments',
      ['customerNumber', 'checkNumber'],
      [
        ['customerNumber', int, 'int'],
        ['checkNumber', ...text(50)],
        ['paymentDate', 'date', 'date'],
        ['amount', 'numeric(20,2)', 'decimal(20,2)'],
        ['exchangeRate', 'double precision', 'double'],
      ],
      payments,
    ),
  ];
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}
