import { describe, expect, test } from 'vitest';
import type { Batch, ChunkRead, Column, ColumnType, Table } from '../../src/drivers/model.ts';
import { grantedRights } from '../../src/drivers/singlestore/grants.ts';
import { loadStatement } from '../../src/drivers/singlestore/load.ts';
import { tableId } from '../../src/drivers/singlestore/names.ts';
import { findRow } from '../../src/drivers/singlestore/refused-row.ts';
import { explain, type Reject, readReject } from '../../src/drivers/singlestore/rejects.ts';
import { inserts, sql, table as tableName } from '../../src/drivers/singlestore/sql.ts';
import { lint } from '../fakes/singlestore/rules.ts';

function column(name: string, type: ColumnType): Column {
  return { name, type, nullable: true, sourceType: '', masked: false };
}
const COLUMNS = [
  column('id', { kind: 'int', bytes: 8, unsigned: false }),
  column('b1', { kind: 'blob', size: 'long' }),
  column('@b1', { kind: 'varchar', length: 9 }),
];
const TABLE: Table = {
  ref: { schema: 's', name: 't' },
  kind: 'table',
  columns: COLUMNS,
  leftOut: [],
  key: ['id'],
  textKey: false,
  approxRows: 0,
  approxBytes: 0,
  structure: '',
  storage: '',
  warnings: [],
};

describe('statements', () => {
  test('values are literals, bracketed names are quoted, nothing else is touched', () => {
    expect(
      sql`select [a], 1 from ${tableName('d`b', 't?')} where [b] in (${['x', "y'\\\n\0"]}) and c = ${null} and d = ${5}`,
    ).toBe("select `a`, 1 from `d``b`.`t?` where `b` in ('x', 'y\\'\\\\\\n\\0') and c = null and d = 5");
  });

  test('a value in brackets stays a value', () => {
    expect(sql`select ${'[a] ? :b'}`).toBe("select '[a] ? :b'");
  });

  test('inserts are cut at about 1 MB', () => {
    const rows = Array.from({ length: 30 }, (_, i) => [i, 'x'.repeat(100_000)]);
    const statements = inserts('insert into t (a, b)', rows, 'on duplicate key update b = values(b)');
    expect(statements.map((statement) => statement.length).every((length) => length < 1_200_000)).toBe(true);
    expect(statements.join('').match(/\(\d+, 'x/g)).toHaveLength(30);
    expect(statements.every((statement) => statement.endsWith('values(b)'))).toBe(true);
  });

  test('the LOAD of a table with binary columns', () => {
    const claim = { id: 'abc', load: 2, chunk: 7, token: 3, range: '', since: null };
    const statement = loadStatement({ database: 'db', table: TABLE, replace: true }, claim);
    expect(statement).toBe(
      "/* flow 6462 abc 2 7 3 */ load data local infile 'flow.tsv' replace into table `db`.`_flow_abc_2_shadow` character set utf8mb4 " +
        "fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n' (`id`, @b1, `@b1`) set `b1` = unhex(@b1)",
    );
    expect(lint(statement)).toBeNull();
  });

  test('table ids never change', () => {
    expect(tableId('p', { schema: 'public', name: 'orders' })).toBe('5ae366cfb780');
    expect(tableId('p', { schema: 'a', name: 'bc' })).not.toBe(tableId('p', { schema: 'ab', name: 'c' }));
  });
});

describe('what a server says about a row', () => {
  const read = (text: string) => {
    const { reason, column: named, row, key, invalid } = readReject(text, COLUMNS);
    return [reason, named?.name, row, key, invalid];
  };
  test.each([
    [
      "Data too long for column '@b1' at row 5",
      ['the value is too long for VARCHAR(9)', '@b1', 5, undefined, undefined],
    ],
    [
      "Data truncated for column 'id' at row 12",
      ['the number has more digits than BIGINT keeps', 'id', 12, undefined, undefined],
    ],
    [
      "Incorrect integer value: 'top secret' for column `db`.`t`.`id` at row 1",
      ['the text is not a number that BIGINT takes', 'id', 1, undefined, undefined],
    ],
    [
      "Leaf Error (10.0.0.1:3307): Out of range value for column 'id' at row 3",
      ['the number is out of the range of BIGINT', 'id', 3, undefined, undefined],
    ],
    [
      "Duplicate entry 'it''s' for key 'PRIMARY'",
      ['its key is already there', undefined, undefined, "it''s", undefined],
    ],
    [
      "Invalid utf8mb4 character string: 'FF'",
      ['the text is not valid UTF-8', undefined, undefined, undefined, 'utf8'],
    ],
    [
      "Row 4 doesn't contain data for all columns",
      ['the row has too few columns', undefined, undefined, undefined, undefined],
    ],
    ['Something new: \'secret\' and "secret"', ['Something new: … and …', undefined, undefined, undefined, undefined]],
  ])('%s', (text, expected) => expect(read(text)).toEqual(expected));

  test('errors are permanent only where trying again cannot help, and carry no statement', () => {
    const server = (errno: number) =>
      Object.assign(new Error('said.'), { errno, sqlMessage: 'said.', sql: 'select secret' });
    expect(explain(server(1142)).name).toBe('AccessDenied');
    expect(explain(server(1064)).name).toBe('DestinationRejected');
    for (const errno of [1205, 1213, 1040, 1317, 1836, 2013, 9999]) {
      const error = explain(server(errno));
      expect(error).toMatchObject({ name: 'Error', message: `The destination answered: said (error ${errno}).` });
      expect(JSON.stringify(error)).not.toContain('secret');
    }
  });
});

describe('finding a refused row', () => {
  async function* feed(text: Buffer, piece: number): AsyncGenerator<Batch, ChunkRead, undefined> {
    for (let from = 0; from < text.length; from += piece) yield { data: text.subarray(from, from + piece), rows: 0 };
    return { rows: 0, rules: [] };
  }
  const find = (table: Table, text: string | Buffer, reject: Partial<Reject>, piece = 3) =>
    findRow(
      table,
      feed(Buffer.from(text as string), piece),
      { reason: '', column: undefined, row: undefined, key: undefined, invalid: undefined, ...reject },
      new AbortController().signal,
    );

  test('by its number, whatever the pieces', async () => {
    const table = { ...TABLE, key: ['@b1', 'b1'] };
    for (const piece of [1, 2, 5, 1000])
      expect(await find(table, '1\t00\ta\n2\tff\tx\\ty\\\\\\n\n3\t\t\n', { row: 2 }, piece)).toEqual({
        key: '@b1 = x\ty\\\n, b1 = 0xff',
        column: undefined,
      });
    expect(await find(table, '1\t\t\n', { row: 2 })).toBeUndefined();
  });

  test('by what is wrong with it', async () => {
    const bad = Buffer.concat([Buffer.from('1\t00\tok\n2\t00\t'), Buffer.from([0xff]), Buffer.from('\n')]);
    expect(await find(TABLE, bad, { invalid: 'utf8' })).toEqual({ key: 'id = 2', column: '@b1' });
    const json = column('@b1', { kind: 'json' });
    const table = { ...TABLE, columns: [COLUMNS[0], COLUMNS[1], json] as Column[] };
    expect(await find(table, '1\tx\t\\N\n2\tx\t{"a":"\\\\n"}\n3\tx\t{\n', { invalid: 'json', column: json })).toEqual({
      key: 'id = 3',
      column: '@b1',
    });
  });
});

describe('grants', () => {
  const allowed = (line: string, database: string, right = 'INSERT') =>
    grantedRights([line]).some(({ all, rights, matches }) => (all || rights.has(right)) && matches(database));
  test.each([
    ["GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*AB'", 'any', true],
    ['GRANT SELECT, INSERT ON `db`.* TO `u`@`%`', 'db', true],
    ['GRANT SELECT, INSERT ON `db`.* TO `u`@`%`', 'other', false],
    ['GRANT SELECT ON `db`.* TO `u`@`%`', 'db', false],
    ['GRANT INSERT ON `d_`.* TO `u`@`%`', 'db', true],
    ['GRANT INSERT ON `d\\_`.* TO `u`@`%`', 'db', false],
    ['GRANT INSERT ON `d\\_`.* TO `u`@`%`', 'd_', true],
    ['GRANT INSERT ON `flow%`.* TO `u`@`%`', 'flow_x', true],
    ['GRANT INSERT ON `o``d.d`.* TO `u`@`%`', 'o`d.d', true],
    ['GRANT INSERT ON `db`.`t` TO `u`@`%`', 'db', false],
    ['GRANT SELECT (`INSERT`) ON `db`.* TO `u`@`%`', 'db', false],
  ])('%s on %s: %s', (line, database, expected) => expect(allowed(line, database)).toBe(expected));
});
