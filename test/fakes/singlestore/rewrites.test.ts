import { describe, expect, test } from 'vitest';
import { rewrite } from './rewrites.ts';
import { lint } from './rules.ts';
import { newSession } from './session.ts';
import { parse } from './statement.ts';

const session = newSession('db');
const rewritten = (sql: string) => rewrite(sql, parse(sql), session).replace(/\s+/g, ' ').trim();

describe('what only SingleStore understands becomes what MariaDB does', () => {
  test.each<[string, string]>([
    ['CREATE TABLE t (a INT, PRIMARY KEY (a), SHARD KEY (a))', 'CREATE TABLE t (a INT, PRIMARY KEY (a))'],
    ['CREATE TABLE t (SHARD KEY (a), a INT, SORT KEY (a DESC), b INT)', 'CREATE TABLE t (a INT, b INT)'],
    ['CREATE TABLE t (a INT, SORT KEY (a), SHARD KEY ())', 'CREATE TABLE t (a INT)'],
    [
      'CREATE TABLE t (a INT, KEY (a) USING CLUSTERED COLUMNSTORE WITH (columnstore_segment_rows=1))',
      'CREATE TABLE t (a INT)',
    ],
    ['CREATE ROWSTORE REFERENCE TABLE t (a INT PRIMARY KEY)', 'CREATE TABLE t (a INT PRIMARY KEY)'],
    ['CREATE ROWSTORE GLOBAL TEMPORARY TABLE t (a INT)', 'CREATE TEMPORARY TABLE t (a INT)'],
    ['CREATE TABLE t (a INT, b AS a + 2 PERSISTED BIGINT)', 'CREATE TABLE t (a INT, b BIGINT AS ( a + 2) PERSISTENT)'],
    [
      'CREATE TABLE t (a GEOGRAPHYPOINT, b VECTOR(4, F32) NOT NULL)',
      'CREATE TABLE t (a VARCHAR(64), b LONGTEXT NOT NULL)',
    ],
    [
      "CREATE TABLE t (a INT) COMMENT='x' AUTOSTATS_ENABLED=FALSE AUTOSTATS_SAMPLING=ON",
      "CREATE TABLE t (a INT) COMMENT='x'",
    ],
    ['CREATE TABLE t LIKE u WITH DEEP COPY', 'CREATE TABLE t LIKE u'],
    ['ALTER TABLE t CHANGE a `b c`', 'ALTER TABLE t RENAME COLUMN a TO `b c`'],
    ['ALTER TABLE t ADD b INT, CHANGE COLUMN c d', 'ALTER TABLE t ADD b INT, RENAME COLUMN c TO d'],
    [
      'ALTER TABLE t ADD COLUMN b AS a + 1 PERSISTED BIGINT AFTER a',
      'ALTER TABLE t ADD COLUMN b BIGINT AS ( a + 1) PERSISTENT AFTER a',
    ],
    ['ALTER TABLE t ADD b TEXT NULL SPARSE AFTER a', 'ALTER TABLE t ADD b TEXT NULL AFTER a'],
    ['ALTER TABLE t MODIFY KEY k SET (columnstore_segment_rows = 1)', 'ALTER TABLE t FORCE'],
    ['ALTER TABLE t ADD b INT TIMEOUT 10', 'ALTER TABLE t ADD b INT'],
    ['ALTER TABLE other.t RENAME AS u', 'ALTER TABLE other.t RENAME AS `other`.u'],
    ['ALTER TABLE t RENAME TO u', 'ALTER TABLE t RENAME TO u'],
    ['SELECT * FROM t OPTION (interpreter_mode=compile)', 'SELECT * FROM t'],
    [
      'UPDATE t SET a = 1 WHERE b = 2 OPTION (columnstore_table_lock_threshold = 4000);',
      'UPDATE t SET a = 1 WHERE b = 2 ;',
    ],
    [
      'SELECT a.b :> CHAR(10), f(x, (y)) !:> BIGINT UNSIGNED',
      'SELECT CAST(a.b AS CHAR(10)), CAST(f(x, (y)) AS UNSIGNED)',
    ],
    [
      'SELECT (a + 1) :> DECIMAL(20, 5) FROM t WHERE (b) :> DATE > 1',
      'SELECT CAST((a + 1) AS DECIMAL(20, 5)) FROM t WHERE CAST((b) AS DATE) > 1',
    ],
    ['SELECT @@memsql_version', "SELECT '9.0.23' AS `@@memsql_version`"],
    [
      'SELECT @@aggregator_id, @@sql_select_limit, @@GLOBAL.data_conversion_compatibility_level AS l',
      "SELECT 1 AS `@@aggregator_id`, @@sql_select_limit, '8.0' AS l",
    ],
    ['INSERT INTO t VALUES (1, @@memsql_version, 2)', "INSERT INTO t VALUES (1, '9.0.23', 2)"],
    [
      'SELECT a, f(@@memsql_version), @@memsql_version FROM t',
      "SELECT a, f('9.0.23'), '9.0.23' AS `@@memsql_version` FROM t",
    ],
    ['SELECT 1 WHERE @@memsql_version > 8', "SELECT 1 WHERE '9.0.23' > 8"],
    ["SHOW GLOBAL VARIABLES LIKE 'memsql_version'", "SELECT 'memsql_version' AS Variable_name, '9.0.23' AS Value"],
    ["SET GLOBAL data_conversion_compatibility_level = '7.0'", 'DO 0'],
    ['OPTIMIZE TABLE t FLUSH', 'DO 0'],
    [
      "LOAD DATA LOCAL INFILE 'x.tsv' SKIP DUPLICATE KEY ERRORS INTO TABLE t MAX_ERRORS 0",
      "LOAD DATA LOCAL INFILE 'x.tsv' IGNORE INTO TABLE t",
    ],
    [
      "LOAD DATA LOCAL INFILE 'x.tsv' REPLACE INTO TABLE t (a, @b) NULL DEFINED BY 'nil' SET b = FROM_BASE64(@b)",
      "LOAD DATA LOCAL INFILE 'x.tsv' REPLACE INTO TABLE t (@_null_0, @b) SET a = NULLIF(@_null_0, 'nil'), b = FROM_BASE64(@b)",
    ],
    [
      "LOAD DATA LOCAL INFILE 'x.tsv' INTO TABLE t TRAILING NULLCOLS NULL DEFINED BY '' (a)",
      "LOAD DATA LOCAL INFILE 'x.tsv' INTO TABLE t (@_null_0) SET a = NULLIF(@_null_0, '')",
    ],
    ['BEGIN; SELECT @@memsql_version; COMMIT', "BEGIN; SELECT '9.0.23' AS `@@memsql_version`; COMMIT"],
  ])('%s', (sql, expected) => expect(rewritten(sql)).toBe(expected));

  test('NULL DEFINED BY without a column list takes the columns from the catalog', () => {
    const made = newSession('db');
    lint('CREATE TABLE t (a INT, b TEXT)', made);
    const sql = "LOAD DATA LOCAL INFILE 'x.tsv' INTO TABLE t NULL DEFINED BY 'nil'";
    expect(rewrite(sql, parse(sql), made)).toContain(
      "(@_null_0, @_null_1) SET `a` = NULLIF(@_null_0, 'nil'), `b` = NULLIF(@_null_1, 'nil')",
    );
  });
});

test.each([
  "SELECT '@@memsql_version', `shard key`, 'SHARD KEY (a)' FROM t",
  "INSERT INTO t VALUES ('CHANGE a b', 'OPTION (x)')",
  'CREATE TABLE t (shard INT, sort INT, `option` INT, PRIMARY KEY (shard))',
  'ALTER TABLE t ADD COLUMN timeout INT',
  'SELECT a FROM t -- OPTION (x)\n',
])('%s stays as it is', (sql) => expect(rewrite(sql, parse(sql), session)).toBe(sql));
