import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatColumnType } from '../../src/drivers/column-types.ts';
import { serverFacts } from '../../src/drivers/mysql/connection.ts';
import { isValidDate, repairDate } from '../../src/drivers/mysql/dates.ts';
import { geometryText } from '../../src/drivers/mysql/geometry.ts';
import { mysqlOptions } from '../../src/drivers/mysql/options.ts';
import { compare, decodeRange, encodeRange, rangeCondition } from '../../src/drivers/mysql/range.ts';
import { type CatalogColumn, cell, columnType, quoteName, quoteText } from '../../src/drivers/mysql/types.ts';
import { vectorText } from '../../src/drivers/mysql/vector.ts';

describe('dates', () => {
  // The three documented rules (flow-product.md §5.10) with its own examples, then the two cases they leave open.
  test.each([
    ['0000-00-00 00:00:00', '1000-01-01 00:00:00'],
    ['0001-00-00 00:00:00', '1001-01-01 00:00:00'],
    ['0001-05-06', '1001-05-06'],
    ['0025-01-01', '1025-01-01'],
    ['0999-12-31 23:59:59.999999', '1999-12-31 23:59:59.999999'],
    ['0000-00-00', '1000-01-01'],
    ['0000-00-00 12:34:56.000001', '1000-01-01 12:34:56.000001'],
    ['2020-00-00', '2020-01-01'],
    ['2020-00-31', '2020-01-31'],
    ['2020-02-00', '2020-02-01'],
    ['2021-02-31', '2021-02-28'],
    ['2021-04-31', '2021-04-30'],
    ['0400-02-29', '1400-02-28'],
    ['0004-02-29', '1004-02-29'],
  ])('%s becomes %s', (from, to) => {
    expect(isValidDate(Buffer.from(from), 0)).toBe(false);
    expect(repairDate(from)).toBe(to);
    expect(isValidDate(Buffer.from(to), 0)).toBe(true);
  });

  test.each(['1000-01-01', '9999-12-31', '2020-02-29', '2000-02-29', '2021-12-31 23:59:59', '2020-10-30'])(
    '%s stays',
    (date) => {
      expect(isValidDate(Buffer.from(`xx${date}`), 2)).toBe(true);
      expect(repairDate(date)).toBe(date);
    },
  );

  test('whatever is stored becomes a day of the calendar, and a second pass changes nothing', () => {
    fc.assert(
      fc.property(fc.nat(9999), fc.nat(12), fc.nat(31), (y, m, d) => {
        const text = `${String(y).padStart(4, '0')}-${String(m).padStart(2, '0')}-${String(d).padStart(2, '0')}`;
        const repaired = repairDate(text);
        expect(new Date(`${repaired}T00:00:00Z`).toISOString().slice(0, 10)).toBe(repaired);
        expect(Number(repaired.slice(0, 4))).toBeGreaterThanOrEqual(1000);
        expect(repaired === text).toBe(isValidDate(Buffer.from(text), 0));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('geometry', () => {
  const point = (x: number, y: number) => {
    const bytes = Buffer.alloc(21);
    bytes[0] = 1;
    bytes.writeUInt32LE(1, 1);
    bytes.writeDoubleLE(x, 5);
    bytes.writeDoubleLE(y, 13);
    return bytes;
  };
  const srid = (n: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(n);
    return bytes;
  };
  test('points with and without SRID, all digits', () => {
    expect(geometryText(Buffer.concat([srid(0), point(0.1, -1e-7)]))).toBe('POINT(0.1 -1e-7)');
    expect(geometryText(Buffer.concat([srid(4326), point(-179.123456789012, 90)]))).toBe(
      'SRID=4326;POINT(-179.123456789012 90)',
    );
  });
  test('an empty collection, big-endian parts, rubbish', () => {
    expect(geometryText(Buffer.concat([srid(0), Buffer.from('010700000000000000', 'hex')]))).toBe(
      'GEOMETRYCOLLECTION EMPTY',
    );
    const big = Buffer.alloc(21);
    big.writeUInt32BE(1, 1);
    big.writeDoubleBE(1, 5);
    big.writeDoubleBE(2, 13);
    expect(geometryText(Buffer.concat([srid(0), big]))).toBe('POINT(1 2)');
    expect(() => geometryText(Buffer.concat([srid(0), point(1, 2), Buffer.from([0])]))).toThrow(RangeError);
    expect(() => geometryText(Buffer.from('00000000010900000001000000', 'hex'))).toThrow(RangeError);
  });
});

test('vectors are JSON that reads back as the same floats', () => {
  expect(vectorText(Buffer.from(Float32Array.from([0.1, 1, -2.5, 1e-45, 3.4028234663852886e38]).buffer))).toBe(
    '[0.1,1,-2.5,1e-45,3.4028235e+38]',
  );
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 8 }), (numbers) => {
      const floats = Float32Array.from(numbers);
      const back = Float32Array.from(JSON.parse(vectorText(Buffer.from(floats.buffer))) as number[]);
      expect(Buffer.from(back.buffer)).toEqual(Buffer.from(floats.buffer));
    }),
  );
});

const column = (full: string, more: Partial<CatalogColumn> = {}): CatalogColumn => ({
  name: 'c',
  position: 1,
  word: /^[a-z0-9]+/.exec(full)?.[0] ?? '',
  full,
  nullable: true,
  length: Number(/\((\d+)\)/.exec(full)?.[1] ?? '0'),
  charset: 'utf8mb4',
  collation: 'utf8mb4_general_ci',
  extra: '',
  ...more,
});

describe('types', () => {
  test.each([
    ['tinyint(1)', 'TINYINT'],
    ['tinyint(3) unsigned', 'TINYINT UNSIGNED'],
    ['smallint', 'SMALLINT'],
    ['mediumint(9)', 'INT'],
    ['mediumint unsigned', 'INT UNSIGNED'],
    ['int(10) unsigned zerofill', 'INT UNSIGNED'],
    ['bigint unsigned', 'BIGINT UNSIGNED'],
    ['float', 'FLOAT'],
    ['float(7,4)', 'FLOAT'],
    ['double(10,2) unsigned', 'DOUBLE'],
    ['decimal(65,30)', 'DECIMAL(65,30)'],
    ['decimal(10,0) unsigned', 'DECIMAL(10,0)'],
    ['bit(1)', 'BIGINT UNSIGNED'],
    ['bit(64)', 'BIGINT UNSIGNED'],
    ['char(5)', 'CHAR(5)'],
    ['char(0)', 'CHAR(1)'],
    ['varchar(16383)', 'VARCHAR(16383)'],
    ['varchar(16384)', 'MEDIUMTEXT'],
    ['binary(16)', 'VARBINARY(16)'],
    ['varbinary(255)', 'VARBINARY(255)'],
    ['tinytext', 'TINYTEXT'],
    ['text', 'TEXT'],
    ['mediumtext', 'MEDIUMTEXT'],
    ['longtext', 'LONGTEXT'],
    ['tinyblob', 'TINYBLOB'],
    ['blob', 'BLOB'],
    ['mediumblob', 'MEDIUMBLOB'],
    ['longblob', 'LONGBLOB'],
    ['date', 'DATE'],
    ['time', 'TIME'],
    ['time(3)', 'TIME(6)'],
    ['datetime', 'DATETIME'],
    ['datetime(1)', 'DATETIME(6)'],
    ['timestamp', 'DATETIME'],
    ['timestamp(6)', 'DATETIME(6)'],
    ['year(4)', 'YEAR'],
    ['json', 'JSON'],
    ['vector(3)', 'JSON'],
    ['point', 'LONGTEXT'],
    ['geomcollection', 'LONGTEXT'],
    ['uuid', 'VARCHAR(36)'],
    ['inet4', 'VARCHAR(15)'],
    ['inet6', 'VARCHAR(45)'],
    ['varchar(100) /*M!100301 COMPRESSED*/', 'VARCHAR(100)'],
  ])('%s is copied as %s', (full, type) => {
    const found = columnType(column(full));
    expect(found && formatColumnType(found)).toBe(type);
  });

  test('ENUM and SET are as long as their longest value', () => {
    expect(columnType(column("enum('a','bcd')", { length: 3 }))).toEqual({ kind: 'varchar', length: 3 });
    expect(columnType(column("set('')", { length: 0 }))).toEqual({ kind: 'varchar', length: 1 });
  });

  test('TEXT of a charset that grows in UTF-8 becomes the next larger TEXT', () => {
    expect(columnType(column('tinytext', { charset: 'latin1' }))).toEqual({ kind: 'text', size: 'normal' });
    expect(columnType(column('text', { charset: 'sjis' }))).toEqual({ kind: 'text', size: 'medium' });
    expect(columnType(column('text', { charset: 'utf8mb3' }))).toEqual({ kind: 'text', size: 'normal' });
  });

  test('an unknown type is none', () => expect(columnType(column('hypercube(4)'))).toBeNull());

  test.each([
    ['float', '`c`+0e0', 'plain'],
    ['double', '`c`', 'plain'],
    ['double(10,2)', '`c`+0e0', 'plain'],
    ['int(5) unsigned zerofill', '`c`+0', 'plain'],
    ['bit(8)', '`c`+0', 'plain'],
    ['varchar(10)', '`c`', 'text'],
    ['json', '`c`', 'json'],
    ['longblob', '`c`', 'hex'],
    ['date', '`c`', 'date'],
    ['point', '`c`', 'geometry'],
  ])('%s is selected as %s and travels as %s', (full, expression, encoding) => {
    const type = columnType(column(full)) ?? { kind: 'json' as const };
    expect(cell({ name: 'c', type, nullable: true, sourceType: full, masked: false })).toEqual({
      expression,
      encoding,
    });
  });

  test('a date that the user copies as text is not repaired; a masked column is not read', () => {
    const plain = {
      name: 'c',
      nullable: true,
      sourceType: 'datetime',
      masked: false,
      type: { kind: 'varchar', length: 30 },
    } as const;
    expect(cell(plain).encoding).toBe('plain');
    expect(cell({ ...plain, masked: true }).expression).toBe('null');
  });
});

describe('ranges', () => {
  const names = (name: string) => quoteName(name);
  test('are conditions in which every key lies exactly once', () => {
    const keys = Array.from(
      { length: 1000 },
      (_, i) => [Math.floor(i / 100), Math.floor(i / 10) % 10, i % 10] as const,
    );
    const bounds = [['2'], ['2', '5'], ['4', '0', '7'], ['9', '9', '9']];
    const ranges = [undefined, ...bounds].map((from, i) => ({
      index: 'PRIMARY',
      columns: ['a', 'b', 'c'],
      ...(from && { from }),
      ...(bounds[i] && { to: bounds[i] }),
    }));
    // The conditions are evaluated as JavaScript after replacing the few words that differ.
    const holds = ranges.map((range) => {
      const sql = rangeCondition(decodeRange(encodeRange(range)) ?? range, (name) => name);
      return new Function(
        'a',
        'b',
        'c',
        `return ${sql.replaceAll(' and ', ' && ').replaceAll(' or ', ' || ').replaceAll(' = ', ' == ')}`,
      );
    });
    for (const key of keys) expect(holds.filter((hold) => hold(...key)).length).toBe(1);
  });
  test('compare by an expanded row comparison that begins with the first column', () => {
    expect(compare(['a', 'b'], ['1', "x'00'"], '>', '>=')).toBe("a >= 1 and (a > 1 or (a = 1 and (b >= x'00')))");
    expect(rangeCondition({ index: 'i', columns: ['a`b'], to: ['1'] }, names)).toBe('`a``b` < 1');
  });
  test.each(['1) or (1=1', "'x'", 'sleep(9)', "x'0'", '', "_utf8 x'00' or 1"])(
    'a damaged bound is refused: %s',
    (literal) => {
      expect(() => decodeRange(encodeRange({ index: 'i', columns: ['a'], from: [literal] }))).toThrow(/damaged/);
    },
  );
});

test('names and texts are quoted', () => {
  expect(quoteName('a`b')).toBe('`a``b`');
  expect(quoteText("it's \\ \0")).toBe("'it\\'s \\\\ \\0'");
});

test.each([
  ['8.0.36', 'MySQL', 80_036],
  ['9.7.4-2', 'MySQL', 90_704],
  ['5.5.9-log', 'MySQL', 50_509],
  ['10.11.18-MariaDB-0+deb12u1-log', 'MariaDB', 101_118],
  ['5.5.5-10.3.39-MariaDB-log', 'MariaDB', 100_339],
])('version %s', (version, product, number) => {
  expect(serverFacts(version, 0)).toMatchObject({ product, number });
});

test.each([
  [{ host: 'h', port: 'x' }, /port/],
  [{ port: '3306' }, /host/],
  [{ host: 'h', ssl_mode: 'maybe' }, /ssl_mode/],
  [{ host: 'h', ssl_ca: '/no/such/file' }, /ssl_ca/],
  [{ host: 'h', capture: 'x' }, /capture/],
])('parameters %j are refused', (params, message) => {
  expect(() => mysqlOptions(params as Record<string, string>)).toThrow(message);
});
