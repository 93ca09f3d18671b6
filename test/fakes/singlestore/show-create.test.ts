import { expect, test } from 'vitest';
import { lint } from './rules.ts';
import { newSession, tableInfo } from './session.ts';
import { shownTable, singleStoreText } from './show-create.ts';
import { parse } from './statement.ts';

const BACKEND =
  "CREATE TABLE `t` (\n  `id` bigint(20) NOT NULL,\n  `a b` int(11) DEFAULT 1 COMMENT ')',\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

function shown(sql?: string): string[] {
  const session = newSession('db');
  if (sql) lint(sql, session);
  return singleStoreText(BACKEND, tableInfo(session, { database: undefined, name: 't' })).split('\n');
}

test('a table that was not seen is sharded by its primary key and unsorted', () => {
  expect(shown()).toEqual([
    'CREATE TABLE `t` (',
    '  `id` bigint(20) NOT NULL,',
    "  `a b` int(11) DEFAULT 1 COMMENT ')',",
    '  PRIMARY KEY (`id`),',
    '  SHARD KEY `__SHARDKEY` (`id`),',
    '  SORT KEY `__UNORDERED` ()',
    expect.stringMatching(/^\) AUTOSTATS_/),
  ]);
});

test('keys and kind come from the CREATE TABLE that was seen', () => {
  const sorted = shown('CREATE TABLE t (id BIGINT PRIMARY KEY, `a b` INT, SHARD KEY (), SORT KEY (`a b` DESC, id))');
  expect(sorted).toContain('  SHARD KEY `__SHARDKEY` (),');
  expect(sorted).toContain('  SORT KEY (`a b` DESC, `id`)');
  const rowstore = shown('CREATE ROWSTORE TABLE t (id BIGINT PRIMARY KEY)');
  expect(rowstore[0]).toBe('CREATE ROWSTORE TABLE `t` (');
  expect(rowstore.join()).not.toContain('SORT KEY');
});

test.each([
  ['SHOW CREATE TABLE a.b', { database: 'a', name: 'b' }],
  ['show create table `x y`', { database: undefined, name: 'x y' }],
  ['SHOW TABLES', undefined],
])('%s', (sql, table) => expect(shownTable(parse(sql)[0] as never)).toEqual(table));
