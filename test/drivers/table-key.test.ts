import { describe, expect, it } from 'vitest';
import { applyOptions } from '../../src/drivers/description.ts';
import type { Column, ColumnType } from '../../src/drivers/model.ts';
import { type KeyTable, refuseKey, requireIndex, userKey } from '../../src/drivers/table-key.ts';

const int: ColumnType = { kind: 'int', bytes: 4, unsigned: false };
const table: KeyTable = {
  where: 's.t',
  view: false,
  columns: ['Id', 'a', 'A', 'n', 'f', 'long', 'left'].map((name) => ({ name, nullable: name === 'n' })),
  types: new Map<string, ColumnType>([
    ...['Id', 'a', 'A', 'n'].map((name) => [name, int] as const),
    ['f', { kind: 'double' }],
    ['long', { kind: 'text', size: 'long' }],
  ]),
  indexes: [['a'], ['Id', 'a', 'f'], ['', 'A']],
  inexact: 'REAL',
};

describe('the key of a table', () => {
  it.each([
    [['Id', 'a'], null],
    [['a', 'left'], 'holds left, which is not copied'],
    [['gone'], 'holds gone, which is not copied'],
    [['n'], 'holds n, which may be NULL'],
    [['f'], 'holds the REAL column f'],
    [['long'], 'holds long, whose type LONGTEXT is too long for a key'],
    [['', 'n'], 'holds an expression'],
  ])('of the columns %j: %s', (names, refusal) => expect(refuseKey(table, names)).toBe(refusal));

  it('takes the columns that a user names as the source spells them, the very name first', () => {
    expect(userKey(table, ['ID', 'a'])).toEqual(['Id', 'a']);
    expect(userKey(table, ['A'])).toEqual(['A']);
  });

  it.each([
    [['gone'], 'The key column gone of s.t does not exist or is not copied.'],
    [['left'], 'The key column left of s.t does not exist or is not copied.'],
    [['n'], 'The key column n of s.t may be NULL.'],
    [['f'], 'The key of s.t holds the REAL column f.'],
    [['long'], 'The key of s.t holds long, whose type LONGTEXT is too long for a key.'],
    [['id', 'Id'], 'The key of s.t names a column twice.'],
  ])('refuses %j of a user: %s', (wanted, message) => expect(() => userKey(table, wanted)).toThrow(message));

  it('wants an index that begins with all of its columns, in any order', () => {
    requireIndex(table, ['a', 'Id']);
    requireIndex(table, ['a']);
    requireIndex({ ...table, view: true }, ['n']);
    for (const key of [['A'], ['a', 'A'], ['f']])
      expect(() => requireIndex(table, key)).toThrow('s.t has no index that begins with the chosen key.');
  });
});

describe('the options `types` and `mask` of a table', () => {
  const column = (name: string, type: ColumnType): Column => ({
    ...{ name, type, nullable: false, masked: false },
    sourceType: 'whatever',
  });
  const columns = [column('id', int), column('toString', int), column('v', { kind: 'varchar', length: 9 })];

  it('change what they name', () => {
    const changed = applyOptions('s.t', columns, ['id'], {
      types: { id: 'BIGINT', v: 'VARCHAR(5)' },
      mask: ['toString'],
    });
    expect(changed.map(({ type, nullable, masked }) => [type, nullable, masked])).toEqual([
      [{ kind: 'int', bytes: 8, unsigned: false }, false, false],
      [{ kind: 'varchar', length: 1 }, true, true],
      [{ kind: 'varchar', length: 5 }, false, false],
    ]);
    expect(applyOptions('s.t', columns, ['id'], {})).toEqual(columns);
  });

  it.each([
    [{ mask: ['id'] }, "The key column id of s.t can't be masked."],
    [{ mask: ['gone'] }, 's.t has no copied column gone.'],
    [{ types: { gone: 'INT' } }, 's.t has no copied column gone.'],
    [{ types: { id: 'SMALLINT' } }, "s.t.id (whatever) can't be copied as SMALLINT, since it is in the key."],
    [{ types: { v: 'BLOB' } }, "s.t.v (whatever) can't be copied as BLOB."],
  ])('are refused: %j', (options, message) =>
    expect(() => applyOptions('s.t', columns, ['id'], options)).toThrow(message),
  );
});
