import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Followed } from '../../src/drivers/apply.ts';
import type { Check, CheckPart } from '../../src/drivers/check.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Column, ColumnType, Table } from '../../src/drivers/model.ts';
import type { Cells } from '../fakes/change-log.ts';
import { copied } from './apply-fixture.ts';
import { BIGINT, column, feed, PLACES, type Place, sourceTable, startPlace, thrown } from './singlestore-fixture.ts';

/** MariaDB shows no zero below zero. */
const NEGATIVE_ZERO: readonly [ColumnType, string, string] = [{ kind: 'double' }, '0', "'-0'"];
/** Per type a cell and the expression that changes as little of it as can be. */
const ALL: readonly (readonly [ColumnType, string, string])[] = [
  [{ kind: 'int', bytes: 1, unsigned: false }, '-128', '-127'],
  [{ kind: 'int', bytes: 2, unsigned: true }, '65535', '65534'],
  [{ kind: 'int', bytes: 4, unsigned: false }, '2147483647', '2147483646'],
  [{ kind: 'int', bytes: 8, unsigned: true }, '18446744073709551615', '18446744073709551614'],
  [
    { kind: 'decimal', precision: 40, scale: 10 },
    '123456789012345678901234567890.0123456789',
    '123456789012345678901234567890.0123456788',
  ],
  [{ kind: 'float' }, '16777215', '16777214'],
  [{ kind: 'double' }, '0.1', '0.10000000000000002'],
  NEGATIVE_ZERO,
  [{ kind: 'char', length: 10 }, 'abc', "'abC'"],
  [{ kind: 'varchar', length: 20 }, 'a', "'a '"],
  [{ kind: 'varchar', length: 20 }, '\u00e9', "'e\u0301'"],
  [{ kind: 'text', size: 'long' }, `${'x'.repeat(100_000)}y`, `'${'x'.repeat(100_000)}z'`],
  [{ kind: 'binary', length: 10 }, '00FF', "unhex('00FE')"],
  [{ kind: 'blob', size: 'long' }, `${'00'.repeat(70_000)}01`, `unhex('${'00'.repeat(70_000)}02')`],
  [{ kind: 'date' }, '2024-02-29', "'2024-02-28'"],
  [{ kind: 'time', fraction: 6 }, '-838:59:58.000001', "'-838:59:58.000002'"],
  [{ kind: 'datetime', fraction: 0 }, '1000-01-01 00:00:00', "'1000-01-01 00:00:01'"],
  [{ kind: 'datetime', fraction: 6 }, '9999-12-31 23:59:59.999999', "'9999-12-31 23:59:59.999998'"],
  [{ kind: 'year' }, '1999', '2000'],
  [{ kind: 'json' }, '{"a": [1, "x"]}', '\'{"a": [1, "X"]}\''],
];

for (const name of PLACES) {
  describe(`comparing a copy on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    const FLIPS = name === 'MySQL' ? ALL : ALL.filter((one) => one !== NEGATIVE_ZERO);
    beforeAll(async () => {
      place = await startPlace(name);
      destination = await place.open();
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });

    type Live = { readonly db: string; readonly followed: Followed; readonly check: Check };
    async function live(table: Table, rows: readonly Cells[]): Promise<Live> {
      const db = place.database();
      await copied(place, destination, [table], { databases: [db], rows: [rows] });
      const [followed] = await destination.followed([db], 'p', 1);
      const check = destination.check(followed as Followed, randomBytes(4).toString('hex'));
      return { db, followed: followed as Followed, check };
    }
    const put = (check: Check, part: CheckPart, rows: readonly Cells[], replace = false) =>
      check.load(
        part,
        replace,
        feed(rows.map((cells) => `${cells.join('\t')}\n`).join(''), rows.length),
        () => {},
        new AbortController().signal,
      );
    const left = async (db: string) =>
      (
        await place.query(`select table_name as name from information_schema.tables where table_schema = '${db}'`)
      ).filter((row) => /_check_/.test(row['name'] as string));

    test('one byte of each type is found, under exactly its key, and nothing else', async () => {
      const columns: Column[] = [column('id', BIGINT, false), ...FLIPS.map(([type], i) => column(`c ${i}`, type))];
      const cells = FLIPS.map(([, cell]) => cell);
      const nulls = FLIPS.map(() => '\\N');
      const rows: Cells[] = [
        ['0', ...cells],
        ['1', ...nulls],
        ...FLIPS.map((_, i) => [String(i + 10), ...cells] as Cells),
        ...FLIPS.map((_, i) => [String(i + 100), ...nulls] as Cells),
        ...FLIPS.map((_, i) => [String(i + 1000), ...cells] as Cells),
      ];
      // A name of its own: a claim ends loads of the same table of the same pipeline, and other suites share the server.
      const { db, check } = await live(sourceTable('one_byte', columns), rows);
      await check.begin(['all']);
      expect(await put(check, 'all', rows)).toBe(rows.length);
      expect(await check.count('all')).toBe(rows.length);
      expect(await check.differing('all', 1000)).toEqual({ keys: [], total: 0 });
      for (const [i, [, , other]] of FLIPS.entries()) {
        await place.query(`update \`${db}\`.one_byte set \`c ${i}\` = ${other} where id = ${i + 10}`);
        await place.query(`update \`${db}\`.one_byte set \`c ${i}\` = ${other} where id = ${i + 100}`);
        await place.query(`update \`${db}\`.one_byte set \`c ${i}\` = null where id = ${i + 1000}`);
      }
      const expected = FLIPS.flatMap((_, i) => [String(i + 10), String(i + 100), String(i + 1000)]);
      const { keys, total } = await check.differing('all', 1000);
      expect([...keys].sort()).toEqual(expected.sort());
      expect(total).toBe(expected.length);
      expect(await check.differing('all', 7)).toMatchObject({ total: expected.length, keys: { length: 7 } });
      await check.end();
      expect(await left(db)).toEqual([]);
    });

    test('rows that are missing, rows that nobody has, and keys with odd bytes are found by their keys', async () => {
      const table = sourceTable(
        'Odd `t`',
        [
          column('v', { kind: 'varchar', length: 20 }),
          column('b', { kind: 'binary', length: 4 }, false),
          column('k`y', { kind: 'varchar', length: 40 }, false),
          { ...column('at', { kind: 'datetime', fraction: 6 }, false), sourceType: 'datetime(3)' },
          column('d', { kind: 'decimal', precision: 10, scale: 2 }, false),
        ],
        { key: ['k`y', 'b', 'at', 'd'], textKey: true },
      );
      const row = (key: string, b = '0A', v = 'v'): Cells => [v, b, key, '2024-01-01 00:00:00.120', '1.50'];
      const rows = [row('a\\tb'), row('A', '00'), row('a'), row('ü\\\\'), row('🙂', ''), row("'")];
      const { db, check } = await live(table, rows);
      const texts = (found: readonly string[]) => found.map((key) => Buffer.from(key, 'latin1').toString()).sort();
      const keyOf = ([, b, key, at, d]: Cells) => `${key}\t${b}\t${at}\t${d}`;
      await check.begin(['all', 'where']);
      await put(check, 'all', rows);
      expect((await check.differing('all', 10)).keys).toEqual([]);
      await place.query(
        `delete from \`${db}\`.\`Odd \`\`t\`\`\` where \`k\`\`y\` in ('A', 'ü\\\\\\\\')`.replace('\\\\\\\\', '\\\\'),
      );
      const extra = row('extra\\n');
      await place.query(
        `insert into \`${db}\`.\`Odd \`\`t\`\`\` select v, b, 'extra\\n', at, d from \`${db}\`.\`Odd \`\`t\`\`\` where \`k\`\`y\` = 'a'`,
      );
      const missing = [row('A', '00'), row('ü\\\\')];
      expect(texts((await check.differing('all', 10)).keys)).toEqual([...missing, extra].map(keyOf).sort());
      // Rows that a condition never brought are no difference; those that match it are.
      await put(check, 'where', [row('A', '00')]);
      expect(texts((await check.differing('where', 10)).keys)).toEqual([keyOf(row('A', '00')), keyOf(extra)].sort());
      expect(texts((await check.differing(null, 10)).keys)).toEqual([keyOf(extra)]);
      await check.end();
    });

    test('a look tells copies that are right by now, rows that changed, and rows that stay different', async () => {
      const table = sourceTable('t', [column('id', BIGINT, false), column('v', { kind: 'varchar', length: 20 })]);
      const rows: Cells[] = [1, 2, 3, 4, 5].map((id) => [String(id), 'old']);
      const { db, check } = await live(table, rows);
      await check.begin(['all']);
      await put(check, 'all', rows);
      await place.query(`update \`${db}\`.t set v = 'broken' where id in (1, 2)`);
      await place.query(`delete from \`${db}\`.t where id in (3, 4)`);
      await place.query(`insert into \`${db}\`.t values (6, 'extra')`);
      const { keys } = await check.differing('all', 10);
      expect([...keys].sort()).toEqual(['1', '2', '3', '4', '6']);
      const asked = ['6', '4', '3', '2', '1'];
      // 2 has changed meanwhile, 3 is gone by now, 4 has changed and the copy has it.
      await check.look('odd', asked);
      await put(check, 'odd', [
        ['1', 'old'],
        ['2', 'new'],
        ['4', 'new'],
      ]);
      await place.query(`insert into \`${db}\`.t values (4, 'new')`);
      expect(await check.compare('all', 'odd')).toEqual([
        { same: false, unchanged: true },
        { same: true, unchanged: false },
        { same: true, unchanged: false },
        { same: false, unchanged: false },
        { same: false, unchanged: true },
      ]);
      await check.look('even', ['2', '1']);
      await put(check, 'even', [
        ['2', 'new'],
        ['1', 'old'],
      ]);
      expect(await check.compare('odd', 'even')).toEqual([
        { same: false, unchanged: true },
        { same: false, unchanged: true },
      ]);
      await check.end();
      expect(await left(db)).toEqual([]);
    });

    test('tables without a key are compared by how often each row is there', async () => {
      const columns = [...FLIPS.map(([type], i) => column(`c${i}`, type)), column('n', BIGINT)];
      const cells = (n: string): Cells => [...FLIPS.map(([, cell]) => cell), n];
      const rows = [cells('1'), cells('1'), cells('1'), cells('\\N'), FLIPS.map(() => '\\N').concat('2')];
      const { db, check } = await live(sourceTable('t', columns, { key: [] }), rows);
      await check.begin(['all']);
      await put(check, 'all', rows);
      expect(await check.surplus('all')).toBe(0);
      await place.query(`update \`${db}\`.t set n = 0 where n = 2`);
      expect(await check.surplus('all')).toBe(2);
      await place.query(`delete from \`${db}\`.t where n = 1 limit 1`);
      expect(await check.surplus('all')).toBe(3);
      for (const [i, [, , other]] of FLIPS.entries()) {
        await check.begin(['all']);
        await put(check, 'all', rows.slice(0, 1));
        await place.query(`delete from \`${db}\`.t`);
        const values = FLIPS.map(([type, cell], at) => (at === i ? other : literal(type, cell)));
        await place.query(`insert into \`${db}\`.t values (${values.join(', ')}, 1)`);
        expect([i, await check.surplus('all')]).toEqual([i, 2]);
      }
      await check.end();
    });

    test('a second attempt takes the tables of the first, which can do no more; others of the pipeline stay clean', async () => {
      const table = sourceTable('t', [column('id', BIGINT, false), column('v', { kind: 'varchar', length: 20 })]);
      const { db, followed, check } = await live(table, [['1', 'a']]);
      await check.begin(['all']);
      await put(check, 'all', [['1', 'a']]);
      const second = destination.check(followed, 'second');
      await second.begin(['all']);
      expect((await thrown(put(check, 'all', [['2', 'b']]))).name).toBe('StructureChanged');
      expect((await thrown(check.differing('all', 5))).name).toBe('StructureChanged');
      await put(second, 'all', [['1', 'b']]);
      await check.end();
      expect(await second.differing('all', 5)).toEqual({ keys: ['1'], total: 1 });
      await destination.dropChecks(db, 'another');
      expect(await left(db)).toHaveLength(1);
      await destination.dropChecks(db, 'p');
      expect(await left(db)).toEqual([]);
      await destination.dropChecks(place.database(), 'p');
    });

    test('what was found is recorded once per table and run', async () => {
      const { db, followed } = await live(sourceTable('t', [column('id', BIGINT, false)]), [['1']]);
      const found = { checked: 5, different: 2, repaired: 1, unsettled: 0, examples: ["id = 'x'"] };
      const error = { class: 'UnsupportedValue', message: 'no', action: 'yes' };
      const startedAt = new Date('2024-01-01T00:00:00.123Z');
      await destination.recordCheck('p', 7, followed, { startedAt, state: 'skipped', error });
      expect(await destination.runTables(db, 'p', 7)).toMatchObject([{ state: 'skipped', error }]);
      await destination.recordCheck('p', 7, followed, { startedAt, check: found });
      const recorded = await destination.runTables(db, 'p', 7);
      expect(recorded).toMatchObject([{ ref: followed.ref, state: 'checked', rows: 5, error: null, check: found }]);
      expect(recorded[0]?.startedAt).toBe('2024-01-01T00:00:00.123Z');
    });
  });
}

function literal(type: ColumnType, cell: string): string {
  return type.kind === 'binary' || type.kind === 'blob' ? `unhex('${cell}')` : `'${cell}'`;
}
