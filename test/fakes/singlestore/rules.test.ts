import { describe, expect, test } from 'vitest';
import { DOCUMENTED } from './documented-statements.ts';
import { REFUSED_STATEMENTS } from './refused-statements.ts';
import { lint, RULES } from './rules.ts';
import { newSession, type Session } from './session.ts';

const session = (...before: string[]): Session => {
  const made = newSession('db');
  for (const sql of before) expect(lint(sql, made), sql).toBeNull();
  return made;
};
const ruleOf = (sql: string, ...before: string[]) => lint(sql, session(...before))?.rule;

describe('statements of the documentation and of connectors pass', () => {
  test.each(DOCUMENTED)('$page: $sql', ({ sql }) => {
    expect(lint(sql, newSession('db'))).toBeNull();
  });

  test('there are enough of them', () => expect(DOCUMENTED.length).toBeGreaterThan(60));
});

describe('statements that only MariaDB takes are refused', () => {
  test.each(REFUSED_STATEMENTS)('$rule: $sql', ({ rule, before, sql }) => {
    expect(ruleOf(sql, ...before)).toBe(rule);
  });

  test('each rule has a statement and a source, and no two rules share a name', () => {
    const ids = RULES.map((rule) => rule.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !REFUSED_STATEMENTS.some(({ rule }) => rule === id))).toEqual([]);
    for (const rule of RULES) expect(rule.ref).toMatch(/^§\d/);
  });

  test('the error has a number, an SQL state and a text', () => {
    expect(lint('RENAME TABLE a TO b')?.error).toEqual({
      code: 1064,
      state: '42000',
      message: expect.stringContaining("near 'RENAME TABLE'"),
    });
    expect(lint('SELECT @@in_transaction')?.error).toMatchObject({
      code: 1193,
      message: "Unknown system variable 'in_transaction'",
    });
  });
});

describe('near misses pass', () => {
  test.each([
    ['words inside strings', "INSERT INTO t VALUES ('RETURNING ORDER BY LIMIT ENGINE=InnoDB', 'FOR UPDATE NOWAIT')"],
    ['words as quoted names', 'SELECT `returning`, `savepoint` FROM `rename` WHERE `limit` = 1'],
    ['words in comments', 'SELECT 1 /* GET_LOCK(1, 2) */ -- RENAME TABLE a TO b\n'],
    ['what only MariaDB would read', 'CREATE TABLE t (a INT) /*M!100100 ENGINE=InnoDB */'],
    ['a column called sort', 'CREATE TABLE t (sort INT, shard INT, check_sum INT, PRIMARY KEY (sort))'],
    ['a column called key in quotes', 'CREATE TABLE t (`key` INT, `unique` INT, `check` INT, `primary` DOUBLE)'],
    ['ORDER BY inside a subselect of a DELETE', 'DELETE FROM t WHERE id IN (SELECT id FROM s ORDER BY id)'],
    ['LIMIT inside a subselect of an UPDATE', 'UPDATE t SET a = (SELECT b FROM s LIMIT 1)'],
    ['LIKE without ESCAPE beside a string', "SELECT a LIKE 'x', 'ESCAPE' FROM t"],
    ['an old date as text of a comparison', "SELECT * FROM t WHERE note = '0001-01-01'"],
    ['READ COMMITTED', 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'],
    [
      'the default of a date',
      "CREATE TABLE t (d DATE DEFAULT '1000-01-01', e DATETIME(6) DEFAULT NOW(6) ON UPDATE NOW(6))",
    ],
    ['INSERT … SELECT with an alias', 'INSERT INTO t SELECT a AS b FROM s ON DUPLICATE KEY UPDATE c = VALUES(c)'],
    ['one database read, one written', 'INSERT INTO a.t SELECT * FROM b.s'],
    ['64 characters', `CREATE TABLE ${'n'.repeat(64)} (a INT)`],
    ['64 characters of four bytes', `CREATE TABLE \`${'𝛼'.repeat(64)}\` (a INT)`],
  ])('%s', (_, sql) => expect(lint(sql, newSession('db'))).toBeNull());

  const table = 'CREATE TABLE t (id BIGINT PRIMARY KEY, note VARCHAR(20), d DATE)';
  test('an old date in a text column of a known table', () => {
    expect(ruleOf("INSERT INTO t VALUES (1, '0001-01-01', '2020-01-01')", table)).toBeUndefined();
    expect(ruleOf("UPDATE t SET note = '0001-01-01'", table)).toBeUndefined();
  });
  test('MODIFY that keeps the type', () => {
    expect(ruleOf("ALTER TABLE t MODIFY note VARCHAR(20) COMMENT 'x'", table)).toBeUndefined();
    expect(
      ruleOf('ALTER TABLE r MODIFY a BIGINT', 'CREATE ROWSTORE TABLE r (id INT PRIMARY KEY, a INT)'),
    ).toBeUndefined();
  });
  test('an UPDATE that reads its key', () => {
    expect(ruleOf('UPDATE t JOIN s ON t.id = s.id SET t.note = s.id WHERE t.id = 3', table)).toBeUndefined();
  });
  test('a REFERENCE table outside a transaction', () => {
    expect(ruleOf('INSERT INTO r VALUES (1)', 'CREATE REFERENCE TABLE r (id INT PRIMARY KEY)')).toBeUndefined();
  });
});

describe('the session', () => {
  test('a transaction ends with COMMIT, ROLLBACK, BEGIN or DDL under autocommit', () => {
    for (const end of ['COMMIT', 'ROLLBACK', 'BEGIN', 'SET autocommit = 1']) {
      expect(ruleOf('INSERT INTO b.t VALUES (1)', 'BEGIN', 'INSERT INTO a.t VALUES (1)', end)).toBeUndefined();
    }
  });
  test('autocommit off is a transaction only after a write', () => {
    expect(ruleOf('TRUNCATE t', 'SET autocommit = 0')).toBeUndefined();
    expect(
      ruleOf('CREATE TABLE x (a INT)', 'SET autocommit = 0', 'INSERT INTO t VALUES (1)', 'COMMIT'),
    ).toBeUndefined();
  });
  test('USE changes the database that unqualified names mean', () => {
    expect(ruleOf('INSERT INTO t VALUES (1)', 'BEGIN', 'INSERT INTO db.t VALUES (1)')).toBeUndefined();
    expect(ruleOf('INSERT INTO t VALUES (1)', 'BEGIN', 'INSERT INTO t VALUES (1)', 'USE other')).toBe('two-databases');
  });
  test('the catalog follows renames, drops, new and changed columns', () => {
    const made = 'CREATE TABLE t (id BIGINT PRIMARY KEY, a INT)';
    expect(ruleOf('UPDATE u SET id = 1', made, 'ALTER TABLE t RENAME TO u')).toBe('update-of-key');
    expect(ruleOf('UPDATE t SET id = 1', made, 'ALTER TABLE t RENAME TO u')).toBeUndefined();
    expect(ruleOf('UPDATE t SET id = 1', made, 'DROP TABLE t')).toBeUndefined();
    expect(ruleOf('UPDATE t SET id = 1', made, 'DROP DATABASE db')).toBeUndefined();
    expect(ruleOf('UPDATE u SET id = 1', made, 'CREATE TABLE u LIKE t')).toBe('update-of-key');
    expect(ruleOf("UPDATE t SET d = '0001-01-01'", made, 'ALTER TABLE t ADD COLUMN d TEXT')).toBeUndefined();
    expect(ruleOf('ALTER TABLE t MODIFY b INT', made, 'ALTER TABLE t CHANGE a b')).toBeUndefined();
  });
  test('statements of one text are checked one after the other', () => {
    expect(lint('BEGIN; INSERT INTO a.t VALUES (1); INSERT INTO b.t VALUES (1)')?.rule).toBe('two-databases');
    expect(lint('BEGIN; INSERT INTO a.t VALUES (1); COMMIT; INSERT INTO b.t VALUES (1)')).toBeNull();
  });
  test('a rejected text leaves the session as it was', () => {
    const made = session();
    lint('BEGIN; RENAME TABLE a TO b', made);
    expect(made.open).toBe(false);
  });
  test('below conversion level 8.0 old dates pass', () => {
    expect(lint("INSERT INTO t VALUES ('0001-01-01')", newSession('db', new Map(), '6.5'))).toBeNull();
  });
});
