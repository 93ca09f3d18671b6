import fc from 'fast-check';
import { BSON } from 'mongodb';
import { describe, expect, test } from 'vitest';
import { appendRow, type RowForm } from '../../src/drivers/mongodb/document-row.ts';
import { idOfKey } from '../../src/drivers/mongodb/id-text.ts';
import { jsonForm } from '../../src/drivers/mongodb/json-text.ts';
import { createKeptRows } from '../../src/drivers/mongodb/row-text.ts';
import { parseLoadText } from './source-suite.ts';

/** Documents as cells of rows, compared with the client library's own Extended JSON. */

const form = (canonical: boolean, unique = true): RowForm => ({
  canonical,
  whole: false,
  sampled: false,
  json: jsonForm(canonical, unique),
  masked: false,
  keyLength: 10_000_000,
  view: false,
  fields: [],
  places: new Map(),
  kept: new Map(),
});
const canonical = form(true);
const relaxed = form(false);

function textOf(bytes: Buffer, of: RowForm = relaxed): string {
  const out = createKeptRows();
  appendRow(out, of, bytes, 0, bytes.length);
  return `${out.data.toString('latin1', out.start, out.at)}\n`;
}

/** The two cells, as LOAD DATA stores them. */
function cells(document: BSON.Document | Buffer, of: RowForm = relaxed): [string, string] {
  const bytes = Buffer.isBuffer(document)
    ? document
    : Buffer.from(BSON.serialize(document, { ignoreUndefined: false }));
  const [row] = parseLoadText(Buffer.from(textOf(bytes, of), 'latin1'));
  return row as [string, string];
}

const ejson = (document: BSON.Document) => BSON.EJSON.stringify(document, { relaxed: false });

const name = fc
  .oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom('', 'a.b', '$x', '1', '0', '__proto__', 'é', 'a"b', 'a\\b', 'tab\t'),
  )
  .filter((one) => !one.includes('\0') && one !== '__proto__' && one !== 'toBSON' && !one.startsWith('$'));
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
  fc.constantFrom('\0', '\\N', '\t\n\r\b\f\v\x7f', '"', '\u2028', '😀'),
);
const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const scalar = fc.oneof(
  text,
  fc.integer().map((n) => new BSON.Int32(n | 0)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) => BSON.Long.fromBigInt(n)),
  fc
    .constantFrom(2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n))
    .map((n) => BSON.Long.fromBigInt(n)),
  fc.double().map((n) => new BSON.Double(n)),
  fc
    .constantFrom(0, -0, 1, 1e21, 1e22, 1.5, 5e-324, Number.MAX_VALUE, Number.NaN, Infinity, -Infinity)
    .map((n) => new BSON.Double(n)),
  bytes16.map((raw) => new BSON.Decimal128(raw)),
  fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** 34n - 1n }), fc.integer({ min: -6176, max: 6111 }), fc.boolean())
    .map(([n, e, minus]) => BSON.Decimal128.fromString(`${minus ? '-' : ''}${n}E${e}`)),
  fc
    .tuple(fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: -12, max: 5 }))
    .map(([n, e]) => BSON.Decimal128.fromString(`${n}E${e}`)),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ minLength: 12, maxLength: 12 }).map((raw) => new BSON.ObjectId(raw)),
  fc
    .tuple(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(0, 1, 3, 4, 5, 6, 128, 255))
    .filter(([raw, type]) => type !== 4 || raw.length === 16)
    .map(([raw, type]) => new BSON.Binary(raw, type)),
  fc.boolean(),
  fc.constant(null),
  fc.tuple(fc.nat(), fc.nat()).map(([t, i]) => new BSON.Timestamp({ t, i })),
  fc
    .tuple(text, fc.constantFrom('', 'i', 'im'))
    .filter(([pattern]) => !pattern.includes('\0'))
    .map(([pattern, options]) => new BSON.BSONRegExp(pattern, options)),
  text.map((code) => new BSON.Code(code)),
  text.map((symbol) => new BSON.BSONSymbol(symbol)),
  fc.constant(new BSON.MinKey()),
  fc.constant(new BSON.MaxKey()),
);
const { tree } = fc.letrec<{ tree: unknown; object: unknown }>((tie) => ({
  tree: fc.oneof({ depthSize: 'small' }, scalar, fc.array(tie('tree'), { maxLength: 5 }), tie('object')),
  object: fc.dictionary(name, tie('tree'), { maxKeys: 6 }),
}));
const fields = fc.dictionary(
  name.filter((one) => one !== '_id'),
  tree,
  { maxKeys: 8 },
);

describe('a document as JSON', () => {
  test('is the client library’s canonical Extended JSON, byte for byte', () => {
    fc.assert(
      fc.property(fields, (document) => {
        expect(cells({ _id: 1, ...document }, canonical)[1]).toBe(ejson(document));
      }),
      { numRuns: 250 },
    );
  });

  test('keeps every number in its plain form too', () => {
    fc.assert(
      fc.property(fields, (document) => {
        const text = cells({ _id: 1, ...document })[1];
        const exact = text
          // Plain numbers outside of strings, each as the type that its form says.
          .replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
            token.startsWith('"') ? token : /[.eE]/.test(token) ? `{"$numberDouble":"${token}"}` : `{"n":"${token}"}`,
          );
        const same = (json: string) =>
          json
            .replace(/\{"\$number(?:Int|Long)":("-?\d+")\}/g, '{"n":$1}')
            .replace(/\{"\$date":\{"n":"(-?\d+)"\}\}/g, (_, ms) => `{"$date":${JSON.stringify(new Date(Number(ms)))}}`);
        const wanted = same(ejson(document))
          .replace(/(\{"\$timestamp":)\{"t":(\d+),"i":(\d+)\}/g, '$1{"t":{"n":"$2"},"i":{"n":"$3"}}')
          .replaceAll('Key":1}', 'Key":{"n":"1"}}');
        expect(
          same(exact).replace(/\{"\$date":"([^"]*)"\}/g, (_, iso) => `{"$date":${JSON.stringify(new Date(iso))}}`),
        ).toBe(wanted);
      }),
      { numRuns: 250 },
    );
  });

  test.each([
    [{ n: BSON.Long.fromString('9007199254740993') }, '{"n":9007199254740993}'],
    [{ n: new BSON.Double(5) }, '{"n":5.0}'],
    [{ n: new BSON.Double(-0) }, '{"n":-0.0}'],
    [{ n: new BSON.Double(Number.NaN) }, '{"n":{"$numberDouble":"NaN"}}'],
    [{ n: new BSON.Double(-Infinity) }, '{"n":{"$numberDouble":"-Infinity"}}'],
    [{ n: BSON.Decimal128.fromString('12.340') }, '{"n":{"$numberDecimal":"12.340"}}'],
    [{ d: new Date(0) }, '{"d":{"$date":"1970-01-01T00:00:00Z"}}'],
    [{ d: new Date('2024-02-29T23:59:59.007Z') }, '{"d":{"$date":"2024-02-29T23:59:59.007Z"}}'],
    [{ d: new Date(-1) }, '{"d":{"$date":{"$numberLong":"-1"}}}'],
    [{ d: new Date(253402300800000) }, '{"d":{"$date":{"$numberLong":"253402300800000"}}}'],
    [
      { b: new BSON.UUID('00112233-4455-6677-8899-aabbccddeeff') },
      '{"b":{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}}}',
    ],
    [{ c: new BSON.Code('f', { x: 1 }) }, '{"c":{"$code":"f","$scope":{"x":1}}}'],
    [{ a: [[], {}, [null]] }, '{"a":[[],{},[null]]}'],
    [{ '': 1, 'a.b': { $odd: 2 } }, '{"":1,"a.b":{"$odd":2}}'],
  ])('%#: %s', (document, json) => {
    expect(cells({ _id: 1, ...document })[1]).toBe(json);
  });

  test('keeps fields in their order, also those named like numbers, and takes _id from anywhere', () => {
    const bytes = raw([
      [0x10, 'b', int(1)],
      [0x10, '1', int(2)],
      [0x02, '_id', string('k')],
      [0x10, '0', int(3)],
    ]);
    expect(cells(bytes)).toEqual(['k', '{"b":1,"1":2,"0":3}']);
  });

  test('writes undefined and pointers as the specification says', () => {
    const bytes = raw([
      [0x10, '_id', int(1)],
      [0x06, 'u', Buffer.alloc(0)],
      [0x0c, 'p', Buffer.concat([string('c'), Buffer.alloc(12, 0xab)])],
    ]);
    expect(cells(bytes)[1]).toBe(
      `{"u":{"$undefined":true},"p":{"$dbPointer":{"$ref":"c","$id":{"$oid":"${'ab'.repeat(12)}"}}}}`,
    );
  });

  test('a string that is not UTF-8 loses no byte; a field name that is not is refused', () => {
    const bad = Buffer.from([0x61, 0xff, 0xed, 0xa0, 0x80]);
    expect(
      cells(
        raw([
          [0x10, '_id', int(1)],
          [0x02, 's', string(bad)],
        ]),
      )[1],
    ).toBe(`{"s":{"$invalidUtf8":"${bad.toString('base64')}"}}`);
    expect(() =>
      cells(
        raw([
          [0x10, '_id', int(1)],
          [0x10, bad, int(1)],
        ]),
      ),
    ).toThrow(/not UTF-8/);
  });

  test('two fields of one name are refused where a JSON column would lose one, and kept as text', () => {
    const twice = raw([
      [0x10, '_id', int(1)],
      [0x10, 'a', int(1)],
      [0x10, 'a', int(2)],
    ]);
    expect(() => cells(twice)).toThrow(/two fields "a"/);
    expect(cells(twice, form(false, false))[1]).toBe('{"a":1,"a":2}');
    const deep = raw([
      [0x10, '_id', int(1)],
      [
        0x04,
        'l',
        raw([
          [
            0x03,
            '0',
            raw([
              [0x10, 'é', int(1)],
              [0x10, 'é', int(2)],
            ]),
          ],
        ]),
      ],
    ]);
    expect(() => cells(deep)).toThrow(/two fields "é"/);
    // The same again, behind a document that was fine: a shape that was seen must not hide it.
    const one = form(false);
    expect(cells({ _id: 1, a: 1, b: 2 }, one)[1]).toBe('{"a":1,"b":2}');
    expect(() => cells(twice, one)).toThrow(/two fields/);
  });
});

describe('_id as text', () => {
  const oid = '0123456789abcdef01234567';
  const ids: [unknown, string][] = [
    [new BSON.ObjectId(oid), oid],
    [oid, `"${oid}"`],
    [oid.toUpperCase(), oid.toUpperCase()],
    ['plain é\t\n\\', 'plain é\t\n\\'],
    ['', ''],
    ['{"$numberInt":"1"}', '"{\\"$numberInt\\":\\"1\\"}"'],
    ['"quoted"', '"\\"quoted\\""'],
    ['[1]', '"[1]"'],
    ['null', '"null"'],
    [null, 'null'],
    ['true', '"true"'],
    [true, 'true'],
    ['1', '1'],
    [new BSON.Int32(1), '{"$numberInt":"1"}'],
    [BSON.Long.fromString('2147483648'), '{"$numberLong":"2147483648"}'],
    [new BSON.Double(0.1), '{"$numberDouble":"0.1"}'],
    [BSON.Decimal128.fromString('0.1'), '{"$numberDecimal":"1E-1"}'],
    [new Date(0), '{"$date":{"$numberLong":"0"}}'],
    [
      new BSON.UUID('00112233-4455-6677-8899-aabbccddeeff'),
      '{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}}',
    ],
    [
      new Map([
        ['b', new BSON.Int32(1)],
        ['1', new Map([['x', 'y']])],
      ] as [string, unknown][]),
      '{"b":{"$numberInt":"1"},"1":{"x":"y"}}',
    ],
  ];

  test.each(ids)('%s is %s', (id, wanted) => {
    expect(cells({ _id: id } as BSON.Document)[0]).toBe(wanted);
  });

  test('no two are the same text', () => {
    expect(new Set(ids.map(([id]) => cells({ _id: id } as BSON.Document)[0])).size).toBe(ids.length);
  });

  test.each<[string, unknown[]]>([
    [
      '{"$numberInt":"1"}',
      [new BSON.Int32(1), BSON.Long.fromInt(1), new BSON.Double(1), ...decimals('1', '1.0', '10E-1')],
    ],
    [
      '{"$numberInt":"0"}',
      [new BSON.Int32(0), new BSON.Double(0), new BSON.Double(-0), ...decimals('0', '-0.00', '0E+3')],
    ],
    [
      '{"$numberInt":"-2147483648"}',
      [new BSON.Int32(-(2 ** 31)), new BSON.Double(-(2 ** 31)), ...decimals('-2147483648')],
    ],
    [
      '{"$numberLong":"9007199254740993"}',
      [BSON.Long.fromString('9007199254740993'), ...decimals('9007199254740993.0')],
    ],
    [
      '{"$numberLong":"-9223372036854775808"}',
      [BSON.Long.MIN_VALUE, new BSON.Double(-(2 ** 63)), ...decimals('-9223372036854775808')],
    ],
    ['{"$numberDouble":"9223372036854775808.0"}', [new BSON.Double(2 ** 63), ...decimals('9223372036854775808')]],
    ['{"$numberDouble":"-1.5"}', [new BSON.Double(-1.5), ...decimals('-1.5', '-1.50', '-15E-1')]],
    ['{"$numberDouble":"1e+22"}', [new BSON.Double(1e22), ...decimals('1E+22', '10000000000000000000000')]],
    ['{"$numberDecimal":"1E+23"}', decimals('1E+23', '1.0E23')],
    ['{"$numberDouble":"NaN"}', [new BSON.Double(Number.NaN), ...decimals('NaN')]],
    ['{"$numberDouble":"-Infinity"}', [new BSON.Double(-Infinity), ...decimals('-Infinity')]],
    ['{"$numberDecimal":"1E+6144"}', decimals('1E+6144', '1.000E+6144')],
    ['a', ['a', new BSON.BSONSymbol('a')]],
    ['{"a":{"$numberInt":"1"}}', [{ a: new BSON.Int32(1) }, { a: new BSON.Double(1) }]],
  ])('%s is all that MongoDB takes for it', (wanted, same) => {
    for (const id of same) expect(cells({ _id: id } as BSON.Document)[0]).toBe(wanted);
  });

  test('of numbers are equal where these are, by exact fractions', () => {
    const number = fc.oneof(
      fc.integer({ min: -40, max: 40 }).map((n) => new BSON.Double(n / 8)),
      fc.integer({ min: -5, max: 5 }).map((n) => new BSON.Int32(n)),
      fc.bigInt({ min: -5n, max: 5n }).map((n) => BSON.Long.fromBigInt(n)),
      fc
        .tuple(fc.integer({ min: -60_000, max: 60_000 }), fc.integer({ min: -4, max: 1 }))
        .map(([n, e]) => BSON.Decimal128.fromString(`${n}E${e}`)),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 }).map((n) => new BSON.Double(n)),
    );
    fc.assert(
      fc.property(number, number, (a, b) => {
        const same = fraction(a) === fraction(b);
        expect(cells({ _id: a })[0] === cells({ _id: b })[0]).toBe(same);
      }),
      { numRuns: 300 },
    );
  });

  test('is read back to the same value, whatever it is', () => {
    const back = (id: unknown) => {
      const bytes = Buffer.from(BSON.serialize({ _id: id } as BSON.Document));
      const key = textOf(bytes).split('\t')[0] as string;
      const again = Buffer.from(BSON.serialize({ _id: idOfKey(key) } as BSON.Document));
      expect(textOf(again).split('\t')[0]).toBe(key);
    };
    for (const [id] of ids) back(id);
    fc.assert(
      fc.property(
        fc.oneof(scalar, fields).filter((id) => !(id instanceof BSON.BSONRegExp)),
        back,
      ),
      { numRuns: 250 },
    );
  });

  test('texts of strings and of everything else never meet', () => {
    fc.assert(
      fc.property(scalar, text, (id, other) => {
        const [a, b] = [cells({ _id: id } as BSON.Document)[0], cells({ _id: other })[0]];
        if (a === b) expect(String(id)).toBe(other);
        // A string that is written as another value would be.
        if (typeof id !== 'string' && !(id instanceof BSON.BSONSymbol)) expect(cells({ _id: a })[0]).not.toBe(a);
      }),
      { numRuns: 250 },
    );
  });
});

describe('damage', () => {
  test('bytes cut off or changed are an error with a name, or another whole document: never a hang, never half a row', () => {
    fc.assert(
      fc.property(
        fields,
        fc.nat(),
        fc.nat(),
        fc.uint8Array({ minLength: 1, maxLength: 3 }),
        (document, cut, place, noise) => {
          const bytes = Buffer.from(BSON.serialize({ _id: 1, ...document }));
          expect(() => textOf(bytes.subarray(0, cut % bytes.length))).toThrow(/damaged/);
          const changed = Buffer.from(bytes);
          for (const [i, byte] of noise.entries()) changed[(place + i) % changed.length] = byte;
          let row: string;
          try {
            row = textOf(changed);
          } catch (error) {
            expect((error as Error).message).toMatch(/damaged|not UTF-8|two fields|without an _id/);
            return;
          }
          const [cell] = parseLoadText(Buffer.from(row, 'latin1'));
          expect(cell).toHaveLength(2);
          JSON.parse((cell as string[])[1] as string);
        },
      ),
      { numRuns: 250 },
    );
  });

  test('random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        const bytes = Buffer.concat([int(noise.length + 5), noise, Buffer.alloc(1)]);
        try {
          textOf(bytes);
        } catch (error) {
          expect((error as Error).message).toMatch(/damaged|not UTF-8|two fields|without an _id/);
        }
      }),
      { numRuns: 250 },
    );
  });

  test('nesting without an end is refused', () => {
    let nested = raw([]);
    for (let i = 0; i < 260; i++) nested = raw([[0x03, 'a', nested]]);
    expect(() =>
      cells(
        raw([
          [0x10, '_id', int(1)],
          [0x03, 'a', nested],
        ]),
      ),
    ).toThrow(/levels/);
  });
});

test('a large document that grows threefold is one row', () => {
  const text = textOf(Buffer.from(BSON.serialize({ _id: 'k', big: '"'.repeat(1_000_000) })));
  expect(text.length).toBe('k\t{"big":""}\n'.length + 3 * 1_000_000);
  expect(text.slice(-9)).toBe('\\\\"\\\\""}\n');
});

function decimals(...texts: string[]): BSON.Decimal128[] {
  return texts.map((text) => BSON.Decimal128.fromString(text));
}

/** A number as a multiple of 10^-1100, which all of them are. */
function fraction(value: BSON.Double | BSON.Int32 | BSON.Long | BSON.Decimal128): bigint {
  const unit = 10n ** 1_100n;
  if (value instanceof BSON.Decimal128) {
    const [, sign, whole, part = '', power = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:E(.+))?$/.exec(value.toString()) ?? [];
    const exponent = BigInt(1_100 + Number(power) - part.length);
    return BigInt(`${sign}${whole}${part}`) * 10n ** exponent;
  }
  if (!(value instanceof BSON.Double)) return BigInt(value.toString()) * unit;
  let [n, halves] = [value.value, 0n];
  while (!Number.isInteger(n)) [n, halves] = [n * 2, halves + 1n];
  return (BigInt(n) * unit) / 2n ** halves;
}

/** A document from its elements. */
function raw(elements: readonly (readonly [type: number, name: string | Buffer, value: Buffer])[]): Buffer {
  const body = Buffer.concat(
    elements.flatMap(([type, name, value]) => [Buffer.from([type]), Buffer.from(name), Buffer.alloc(1), value]),
  );
  return Buffer.concat([int(body.length + 5), body, Buffer.alloc(1)]);
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function string(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([int(bytes.length + 1), bytes, Buffer.alloc(1)]);
}
