import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Batch, ChunkRead, Column, ColumnType } from '../../src/drivers/model.ts';
import {
  BIGINT,
  column,
  copy,
  PLACES,
  type Place,
  planned,
  planOf,
  putInPlace,
  simpleTable,
  sourceTable,
  startPlace,
} from './singlestore-fixture.ts';

/** Load text of a cell, written independently of the product: every byte that may matter is escaped. */
function cell(value: string | Buffer | null): string {
  if (value === null) return '\\N';
  if (typeof value !== 'string') return value.toString('hex');
  return value.replace(
    /[\\\t\n\r\0]/g,
    (c) => ({ '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r', '\0': '\\0' })[c] as string,
  );
}

const CONTROLS = Array.from({ length: 33 }, (_, i) => String.fromCharCode(i)).join('');

for (const name of PLACES) {
  describe(`values on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    let db: string;
    let tables = 0;
    beforeAll(async () => {
      place = await startPlace(name);
      destination = await place.open();
      db = place.database();
      await destination.prepare(db);
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });

    /** Copies rows of (no, cells…) and returns what an expression over column `c` gives, in order. */
    async function through(
      type: ColumnType,
      cells: (string | Buffer | null)[],
      shown: string,
    ): Promise<(string | null)[]> {
      const table = sourceTable(`v${++tables}`, [column('no', BIGINT, false), column('c', type)]);
      const text = cells.map((value, i) => `${i}\t${cell(value)}\n`).join('');
      await copy(destination, planOf(db, table), text, cells.length);
      const rows = await place.query(`select ${shown} as x from \`${db}\`.\`${table.ref.name}\` order by no`);
      return rows.map((row) => row['x'] ?? null);
    }

    test.each(['varchar', 'text', 'char'] as const)(
      'text in %s: control characters, backslashes, NULL and empty, four bytes',
      async (kind) => {
        const type: ColumnType =
          kind === 'text' ? { kind, size: 'long' } : { kind, length: kind === 'char' ? 60 : 200 };
        // CHAR drops spaces at the end, at the source as here.
        const texts = [
          '',
          null,
          `${CONTROLS}.`,
          '\\',
          '\\N',
          '\\\\',
          'N',
          '\'"`',
          'a\tb\nc\rd\0e',
          '😀𝕏\u{10FFFF}',
          'é'.repeat(50),
          '\u2028',
          '%_?',
          ' lead',
          'NULL',
        ];
        const hexes = await through(type, texts, 'hex(c)');
        expect(hexes).toEqual(
          texts.map((text) => (text === null ? null : Buffer.from(text).toString('hex').toUpperCase())),
        );
      },
    );

    test('trailing spaces stay in VARCHAR and TEXT', async () => {
      expect(await through({ kind: 'varchar', length: 9 }, ['a ', ' ', 'a\t '], 'hex(c)')).toEqual([
        '6120',
        '20',
        '610920',
      ]);
      expect(await through({ kind: 'text', size: 'normal' }, ['a  '], 'hex(c)')).toEqual(['612020']);
    });

    test.each(['binary', 'blob'] as const)('bytes in %s, empty ones too', async (kind) => {
      const type: ColumnType = kind === 'binary' ? { kind, length: 300 } : { kind, size: 'long' };
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const cells = [all, Buffer.alloc(0), null, Buffer.from([0]), Buffer.from([255, 254]), Buffer.from('\\N')];
      const hexes = await through(type, cells, 'hex(c)');
      expect(hexes).toEqual(cells.map((bytes) => (bytes === null ? null : bytes.toString('hex').toUpperCase())));
    });

    test('numbers at their ends', async () => {
      const decimal = { kind: 'decimal', precision: 65, scale: 30 } as const;
      const digits = [
        `${'9'.repeat(35)}.${'9'.repeat(30)}`,
        `-${'9'.repeat(35)}.${'9'.repeat(30)}`,
        `0.${'0'.repeat(29)}1`,
      ];
      expect(await through(decimal, digits, 'c')).toEqual(digits);
      const cases: [ColumnType, string[]][] = [
        [{ kind: 'int', bytes: 8, unsigned: true }, ['18446744073709551615', '0']],
        [BIGINT, ['9223372036854775807', '-9223372036854775808']],
        [{ kind: 'int', bytes: 4, unsigned: true }, ['4294967295']],
        [{ kind: 'int', bytes: 2, unsigned: false }, ['-32768']],
        [{ kind: 'int', bytes: 1, unsigned: true }, ['255']],
        [{ kind: 'year' }, ['1901', '2155']],
      ];
      for (const [type, numbers] of cases) expect(await through(type, numbers, 'c')).toEqual(numbers);
      const doubles = ['1.7976931348623157e308', '2.2250738585072014e-308', '-0.1', '123456789.12345679'];
      expect((await through({ kind: 'double' }, doubles, 'c')).map(Number)).toEqual(doubles.map(Number));
      const floats = ['3.4028234e38', '0.1', '-16777215'];
      expect((await through({ kind: 'float' }, floats, 'c + 0e0')).map((x) => Math.fround(Number(x)))).toEqual(
        floats.map((x) => Math.fround(Number(x))),
      );
    });

    test('dates and times at their ends, with fractions', async () => {
      expect(await through({ kind: 'date' }, ['1000-01-01', '9999-12-31', null], 'c')).toEqual([
        '1000-01-01',
        '9999-12-31',
        null,
      ]);
      const moments = ['1000-01-01 00:00:00.000000', '9999-12-31 23:59:59.999999', '2024-02-29 12:00:00.000001'];
      expect(await through({ kind: 'datetime', fraction: 6 }, moments, 'c')).toEqual(moments);
      expect(await through({ kind: 'datetime', fraction: 0 }, ['2024-02-29 12:00:00'], 'c')).toEqual([
        '2024-02-29 12:00:00',
      ]);
      const times = ['838:59:59.000000', '-838:59:59.000000', '00:00:00.123456'];
      expect(await through({ kind: 'time', fraction: 6 }, times, 'c')).toEqual(times);
    });

    test('JSON keeps large numbers and every character', async () => {
      const big = '{"n":12345678901234567890,"s":"a\\\\b\\n\\t\\u0000😀"}';
      const [shown] = await through({ kind: 'json' }, [big], 'cast(c as char character set utf8mb4)');
      expect(shown?.replaceAll(' ', '')).toContain('12345678901234567890');
      expect((JSON.parse(shown ?? '') as { s: string }).s).toBe('a\\b\n\t\u0000😀');
    });

    test.runIf(name === 'MariaDB')(
      'a cell of 64 MB, text and binary, in bounded memory',
      { timeout: 180_000 },
      async () => {
        const size = 64 * 1024 * 1024;
        const long: Column[] = [
          column('id', BIGINT, false),
          column('t', { kind: 'text', size: 'long' }),
          column('b', { kind: 'blob', size: 'long' }),
        ];
        const table = sourceTable(`big${++tables}`, long);
        const plan = planOf(db, table);
        const made = await planned(destination, db, plan);
        const claim = await destination.claimChunk(db, made.id, made.load, 0);
        const part = Buffer.from('0123456789abcdef'.repeat(65_536));
        const digest = createHash('sha256');
        for (let sent = 0; sent < size; sent += part.length) digest.update(part);
        const text = digest.digest('hex');
        const bytes = createHash('sha256');
        for (let sent = 0; sent < size; sent += part.length / 2) bytes.update(Buffer.from(part.toString(), 'hex'));
        const batches = (async function* (): AsyncGenerator<Batch, ChunkRead, undefined> {
          yield { data: Buffer.from('1\t'), rows: 0 };
          for (let sent = 0; sent < size; sent += part.length) yield { data: part, rows: 0 };
          yield { data: Buffer.from('\t'), rows: 0 };
          for (let sent = 0; sent < size; sent += part.length / 2) yield { data: part, rows: 0 };
          yield { data: Buffer.from('\n'), rows: 1 };
          return { rows: 1, rules: [] };
        })();
        const before = process.memoryUsage.rss();
        let peak = 0;
        await destination.loadChunk(
          { database: db, table, replace: false },
          claim as never,
          batches,
          () => {
            peak = Math.max(peak, process.memoryUsage.rss());
          },
          new AbortController().signal,
        );
        expect(peak - before).toBeLessThan(64 * 1024 * 1024);
        await putInPlace(destination, plan, made);
        const shown = `select length(t) lt, sha2(t, 256) mt, length(b) lb, sha2(b, 256) mb from \`${db}\`.\`${table.ref.name}\``;
        expect(await place.query(shown)).toEqual([
          { lt: String(size), mt: text, lb: String(size), mb: bytes.digest('hex') },
        ]);
        await place.query(`drop table \`${db}\`.\`${table.ref.name}\``);
      },
    );

    test('odd names of tables, columns and databases', async () => {
      const names = [
        'back`tick',
        'quo\'te"s',
        'dot.dot',
        'hy-phen',
        'two words',
        'MixedCase',
        'mixedcase',
        'Ünïcødé表',
        'x'.repeat(64),
        'select',
        '100%',
        'a?b',
        '[id]',
        '@b1',
        'back\\slash',
        '$',
        '/* c */',
        '--',
        '123',
      ];
      const odd = `${place.database()} o'd-d.b?\``;
      await destination.prepare(odd);
      try {
        const plans = names.map((table) => {
          const columns = [
            column('id', BIGINT, false),
            column('@b1', { kind: 'blob', size: 'normal' }),
            column('b1', { kind: 'binary', length: 9 }),
          ];
          const more = names
            .filter((word) => word !== 'mixedcase' && word !== '@b1')
            .map((word) => column(word, { kind: 'varchar', length: 9 }));
          return planOf(odd, sourceTable(table, [...columns, ...more], { key: ['id', 'back`tick'] }));
        });
        for (const plan of plans) {
          const cells = plan.table.columns.slice(3).map((_, i) => `c${i}`);
          await copy(destination, plan, `1\t00ff\t0a\t${cells.join('\t')}\n`, 1);
          const quoted = [odd, plan.ref.name].map((word) => `\`${word.replaceAll('`', '``')}\``).join('.');
          const [row] = await place.query(`select t.*, hex(\`@b1\`) h1, hex(b1) h2 from ${quoted} t`);
          expect(row).toMatchObject({ h1: '00FF', h2: '0A' });
          expect(plan.table.columns.slice(3).map((c) => row?.[c.name])).toEqual(cells);
        }
        const records = await destination.tables(odd, 'p');
        expect(records.map(({ ref }) => ref.name).sort()).toEqual([...names].sort());
      } finally {
        await place.query(`drop database \`${odd.replaceAll('`', '``')}\``);
      }
    });

    test('500 columns, many of them long', async () => {
      // The stand-in behind the proxy counts VARCHARs in full, SingleStore does not.
      const long = name === 'SingleStore mode' ? 20 : 4000;
      const columns = Array.from({ length: 500 }, (_, i) =>
        column(
          `c${i}`,
          i % 5 === 0
            ? { kind: 'int', bytes: 4, unsigned: false }
            : { kind: 'varchar', length: i % 2 === 0 ? long : 20 },
          i > 0,
        ),
      );
      const table = sourceTable(`wide${++tables}`, columns, { key: ['c0'] });
      const text = [1, 2]
        .map((row) => `${columns.map((_, i) => (i % 5 === 0 ? row * 1000 + i : `v${i}`)).join('\t')}\n`)
        .join('');
      await copy(destination, planOf(db, table), text, 2);
      const [row] = await place.query(`select * from \`${db}\`.\`${table.ref.name}\` order by c0`);
      expect(Object.values(row ?? {}).join('\t')).toBe(text.split('\n')[0]);
    });

    test('string keys that differ in case, accent or composition are different rows', async () => {
      const keys = ['a', 'A', 'ä', 'a\u0308', 'ss', 'ß', '', 'Ⅳ', 'IV', '\u0000', '\u0001'];
      const table = sourceTable(`k${++tables}`, [column('k', { kind: 'varchar', length: 20 }, false)], {
        textKey: true,
      });
      await copy(destination, planOf(db, table), keys.map((key) => `${cell(key)}\n`).join(''), keys.length);
      const [count] = await place.query(`select count(*) n from \`${db}\`.\`${table.ref.name}\``);
      expect(count).toEqual({ n: String(keys.length) });
    });

    test.runIf(name === 'MariaDB')('plans 1,000 tables in a minute', { timeout: 180_000 }, async () => {
      const many = place.database();
      await destination.prepare(many);
      const plans = Array.from({ length: 1000 }, (_, i) => planOf(many, simpleTable(`t${i}`), { ranges: [] }));
      const began = performance.now();
      const made = await destination.plan(many, plans);
      const planning = performance.now() - began;
      expect(made.every((answer) => 'load' in answer)).toBe(true);
      expect(planning).toBeLessThan(60_000);
      const again = performance.now();
      expect(await destination.plan(many, plans)).toEqual(made);
      expect(performance.now() - again).toBeLessThan(10_000);
    });
  });
}
