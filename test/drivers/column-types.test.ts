import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fit as fits, formatColumnType, parseColumnType } from '../../src/drivers/column-types.ts';
import type { ColumnType } from '../../src/drivers/model.ts';

const size = fc.constantFrom('tiny', 'normal', 'medium', 'long');
const anyType: fc.Arbitrary<ColumnType> = fc.oneof(
  fc.record({ kind: fc.constant('int'), bytes: fc.constantFrom(1, 2, 4, 8), unsigned: fc.boolean() }),
  fc
    .tuple(fc.integer({ min: 1, max: 65 }), fc.integer({ min: 0, max: 30 }))
    .filter(([precision, scale]) => scale <= precision)
    .map(([precision, scale]): ColumnType => ({ kind: 'decimal', precision, scale })),
  fc.constantFrom<ColumnType>(
    { kind: 'float' },
    { kind: 'double' },
    { kind: 'date' },
    { kind: 'year' },
    { kind: 'json' },
  ),
  fc.record({ kind: fc.constant('char'), length: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constantFrom('varchar', 'binary'), length: fc.integer({ min: 1, max: 16_383 }) }),
  fc.record({ kind: fc.constantFrom('text', 'blob'), size }),
  fc.record({ kind: fc.constantFrom('time', 'datetime'), fraction: fc.constantFrom(0, 6) }),
) as fc.Arbitrary<ColumnType>;

describe('destination types as text', () => {
  test('what is shown is read back as the same type', () => {
    fc.assert(
      fc.property(anyType, (type) => {
        expect(parseColumnType(formatColumnType(type))).toEqual(type);
      }),
    );
  });

  test.each<[string, ColumnType]>([
    ['  decimal ( 20 , 4 ) ', { kind: 'decimal', precision: 20, scale: 4 }],
    ['NUMERIC(5)', { kind: 'decimal', precision: 5, scale: 0 }],
    ['DECIMAL', { kind: 'decimal', precision: 10, scale: 0 }],
    ['int(11)', { kind: 'int', bytes: 4, unsigned: false }],
    ['mediumint unsigned', { kind: 'int', bytes: 4, unsigned: true }],
    ['Boolean', { kind: 'int', bytes: 1, unsigned: false }],
    ['FLOAT(24)', { kind: 'float' }],
    ['FLOAT(25)', { kind: 'double' }],
    ['double  precision', { kind: 'double' }],
    ['character varying(7)', { kind: 'varchar', length: 7 }],
    ['char', { kind: 'char', length: 1 }],
    ['DATETIME(6)', { kind: 'datetime', fraction: 6 }],
    ['time', { kind: 'time', fraction: 0 }],
    ['YEAR(4)', { kind: 'year' }],
  ])('%s', (text, type) => {
    expect(parseColumnType(text)).toEqual(type);
  });

  test.each([
    ['', 'form'],
    ['VARCHAR', 'length'],
    ['VARCHAR(0)', 'length'],
    ['VARCHAR(16384)', 'length'],
    ['CHAR(256)', 'length'],
    ['DECIMAL(66,2)', '65'],
    ['DECIMAL(5,6)', '65'],
    ['DECIMAL(40,31)', '30'],
    ['DATETIME(3)', '0 or 6'],
    ['TIMESTAMP', '2038'],
    ['VARCHAR(5) UNSIGNED', 'UNSIGNED'],
    ['VARCHAR(5,2)', 'two numbers'],
    ["ENUM('a')", 'form'],
    ['int; drop table x', 'form'],
    ['GEOMETRY', 'no such type'],
    ['JSON(3)', 'no number'],
  ])('%s is refused: %s', (text, why) => {
    expect(() => parseColumnType(text)).toThrow(
      expect.objectContaining({ name: 'UnsupportedValue', message: expect.stringContaining(why) }),
    );
  });
});

describe('fit', () => {
  const of = (from: string, to: string) => fits(parseColumnType(from), parseColumnType(to));
  test('every type holds its own values', () => {
    fc.assert(fc.property(anyType, (type) => fits(type, type) === 'exact'));
  });
  test.each([
    ['INT', 'BIGINT', 'exact'],
    ['INT', 'SMALLINT', 'narrows'],
    ['INT UNSIGNED', 'BIGINT', 'exact'],
    ['INT UNSIGNED', 'INT', 'narrows'],
    ['INT', 'INT UNSIGNED', 'narrows'],
    ['INT', 'DOUBLE', 'exact'],
    ['BIGINT', 'DOUBLE', 'narrows'],
    ['BIGINT', 'DECIMAL(20,0)', 'exact'],
    ['DECIMAL(10,2)', 'DECIMAL(12,4)', 'exact'],
    ['DECIMAL(10,2)', 'DECIMAL(11,4)', 'narrows'],
    ['DECIMAL(10,2)', 'DOUBLE', 'narrows'],
    ['DECIMAL(10,2)', 'VARCHAR(13)', 'exact'],
    ['DECIMAL(10,2)', 'VARCHAR(12)', 'narrows'],
    ['DOUBLE', 'FLOAT', 'narrows'],
    ['VARCHAR(10)', 'VARCHAR(9)', 'narrows'],
    ['VARCHAR(100)', 'TINYTEXT', 'narrows'],
    ['VARCHAR(63)', 'TINYTEXT', 'exact'],
    ['TEXT', 'VARCHAR(16383)', 'narrows'],
    ['TEXT', 'TEXT', 'exact'],
    ['LONGTEXT', 'MEDIUMTEXT', 'narrows'],
    ['LONGTEXT', 'BIGINT', 'narrows'],
    ['DATE', 'DATETIME(6)', 'exact'],
    ['DATETIME(6)', 'DATETIME', 'narrows'],
    ['DATETIME(6)', 'DATE', 'narrows'],
    ['DATETIME(6)', 'INT', 'never'],
    ['JSON', 'LONGTEXT', 'exact'],
    ['LONGTEXT', 'JSON', 'narrows'],
    ['LONGBLOB', 'LONGTEXT', 'never'],
    ['LONGTEXT', 'LONGBLOB', 'never'],
    ['LONGBLOB', 'VARBINARY(10)', 'narrows'],
    ['VARBINARY(10)', 'LONGBLOB', 'exact'],
  ])('%s as %s: %s', (from, to, expected) => {
    expect(of(from, to)).toBe(expected);
  });
});
