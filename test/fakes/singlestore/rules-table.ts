import { readAlterTable } from './alter-table.ts';
import { describeTable, type TableInfo } from './catalog.ts';
import { keyError, plainError, type Rule, syntaxError, unsupported } from './rule.ts';
import type { Statement } from './statement.ts';
import { type Column, readColumn, readCreateTable, type TableDefinition } from './table-definition.ts';
import { findWords, isOperator, isWord, type Token } from './tokens.ts';

const TEMPORAL = ['DATETIME', 'TIMESTAMP', 'TIME'];
const FLOATING = ['FLOAT', 'DOUBLE', 'REAL'];
const FOREIGN_TYPES = [
  'INET4',
  'INET6',
  'UUID',
  'GEOMETRY',
  'POINT',
  'LINESTRING',
  'POLYGON',
  'MULTIPOINT',
  'MULTILINESTRING',
  'MULTIPOLYGON',
  'GEOMETRYCOLLECTION',
  'SERIAL',
  'XMLTYPE',
];
const MYSQL_OPTIONS = [
  'ENGINE',
  'ROW_FORMAT',
  'TABLESPACE',
  'PAGE_COMPRESSED',
  'STATS_PERSISTENT',
  'TRANSACTIONAL',
  'ENCRYPTED',
  'PARTITION',
  'WITH',
  'UNION',
  'INSERT_METHOD',
  'DATA',
  'CHECKSUM',
  'KEY_BLOCK_SIZE',
  'MAX_ROWS',
  'MIN_ROWS',
  'AVG_ROW_LENGTH',
  'DELAY_KEY_WRITE',
  'PACK_KEYS',
];

/** The columns that a CREATE TABLE or an ALTER TABLE … ADD / MODIFY / CHANGE defines. */
export function definedColumns(statement: Statement): Column[] {
  const created = readCreateTable(statement);
  if (created) return created.columns;
  return (readAlterTable(statement)?.actions ?? []).flatMap(columnsOfAction);
}

/** Rules over the definition of a table and its columns. */
export const TABLE_RULES: Rule[] = [
  {
    id: 'unique-without-shard-key',
    ref: '§7.4, §1; docs: Why do I get errors about UNIQUE KEYs',
    find: (statement) => {
      const info = created(statement);
      if (!info || info.reference) return undefined;
      const outside = [info.primary, ...info.unique].find(
        (key) => key.length > 0 && !info.shard.every((column) => key.includes(column)),
      );
      return (
        outside &&
        `The unique key (${outside.join(', ')}) is not valid: unique keys must contain all columns of the shard key (${info.shard.join(', ')})`
      );
    },
    error: keyError,
  },
  {
    id: 'two-uniques-with-composite',
    ref: '§7.4, §1; DJ README',
    find: (statement) => {
      const info = created(statement);
      if (!info || info.rowstore) return undefined;
      const keys = [info.primary, ...info.unique].filter((key) => key.length > 0);
      return keys.length > 1 && keys.some((key) => key.length > 1)
        ? 'multiple UNIQUE indexes with at least one index containing multiple columns on a columnstore table'
        : undefined;
    },
    error: unsupported,
  },
  {
    id: 'two-shard-keys',
    ref: '§1; docs: Creating a Columnstore Table ("at most one shard key")',
    find: (statement) => {
      const keys = readCreateTable(statement)?.keys ?? [];
      const many = (['primary', 'shard', 'sort'] as const).find(
        (kind) => keys.filter((key) => key.kind === kind).length > 1,
      );
      return many && `multiple ${many} keys`;
    },
    error: unsupported,
  },
  {
    id: 'floating-key',
    ref: '§7.5, §1; DJ README',
    find: (statement) => {
      const definition = readCreateTable(statement);
      const info = created(statement);
      if (!definition || !info || info.rowstore) return undefined;
      const keyed = new Set([info.primary, info.shard, ...info.unique].flat());
      const column = definition.columns.find(
        ({ name, type }) => FLOATING.includes(type) && keyed.has(name.toLowerCase()),
      );
      return column && `${column.type} column '${column.name}' in a key of a columnstore table`;
    },
    error: unsupported,
  },
  {
    id: 'reference-without-primary-key',
    ref: '§1; docs: Distributed SQL Surface Area',
    find: (statement) => {
      const info = created(statement);
      return info?.reference && info.columns.size > 0 && info.primary.length === 0
        ? 'REFERENCE table without PRIMARY KEY'
        : undefined;
    },
    error: unsupported,
  },
  {
    id: 'fractional-seconds',
    ref: '§7.6, §1; docs: Time and Date ("DATETIME and DATETIME(6)")',
    find: (statement) => {
      const column = definedColumns(statement).find(
        ({ type, size }) => TEMPORAL.includes(type) && size[0] !== undefined && !['0', '6'].includes(size[0]),
      );
      return column && `${column.type}(${column.size[0]})`;
    },
    error: unsupported,
  },
  {
    id: 'foreign-type',
    ref: '§1; docs: Unsupported MySQL Features (geospatial), Data Types',
    find: (statement) => definedColumns(statement).find(({ type }) => FOREIGN_TYPES.includes(type))?.type,
    error: syntaxError,
  },
  {
    id: 'foreign-key',
    ref: '§7.7; docs: Unsupported MySQL Features',
    find: (statement) => (hasKey(statement, 'foreign') ? 'foreign keys' : undefined),
    error: unsupported,
  },
  {
    id: 'check',
    ref: '§7.7; DJ README',
    find: (statement) => (hasKey(statement, 'check') ? 'CHECK constraints' : undefined),
    error: unsupported,
  },
  {
    id: 'virtual-column',
    ref: '§7.7; docs: CREATE TABLE (computed_column_definition)',
    find: (statement) =>
      definedColumns(statement).some(isMysqlGenerated) ? 'GENERATED or VIRTUAL columns' : undefined,
    error: unsupported,
  },
  {
    id: 'expression-default',
    ref: '§7.7; DJ README',
    find: (statement) =>
      definedColumns(statement)
        .map(expressionDefault)
        .find((found) => found !== undefined),
    error: unsupported,
  },
  {
    id: 'column-attribute',
    ref: '§2; docs: CREATE TABLE (column_definition)',
    find: (statement) =>
      definedColumns(statement)
        .flatMap((column) => column.tokens.slice(2))
        .find((token) => isWord(token, 'INVISIBLE', 'VISIBLE', 'COMPRESSED', 'ZEROFILL', 'SRID', 'REF_SYSTEM_ID'))
        ?.word,
    error: syntaxError,
  },
  {
    id: 'auto-increment',
    ref: '§7.19, §1; docs: Distributed SQL Surface Area',
    find: (statement) => {
      if (readAlterTable(statement)?.actions.some((action) => findWords(action, ['AUTO_INCREMENT']) >= 0))
        return 'AUTO_INCREMENT changes by ALTER TABLE';
      if (created(statement)?.reference) return undefined;
      const column = definedColumns(statement).find(
        ({ type, tokens }) => type !== 'BIGINT' && tokens.some((token) => isWord(token, 'AUTO_INCREMENT')),
      );
      return column && `AUTO_INCREMENT on a column that is not BIGINT ('${column.name}')`;
    },
    error: unsupported,
  },
  {
    id: 'table-option',
    ref: '§7.8; docs: CREATE TABLE (table_options)',
    find: (statement) => {
      const options = readCreateTable(statement)?.options ?? [];
      return options.find(
        (token, i) =>
          isWord(token, ...MYSQL_OPTIONS) && !(isWord(token, 'WITH') && isWord(options[i + 1], 'SHALLOW', 'DEEP')),
      )?.word;
    },
    error: (found) => unsupported(`${found} table option`),
  },
  {
    id: 'or-replace-table',
    ref: '§7, §2; docs: CREATE TABLE',
    find: (statement) => {
      const head = readCreateTable(statement)?.head ?? [];
      return findWords(head, ['OR', 'REPLACE']) >= 0 ? 'OR REPLACE TABLE' : undefined;
    },
    error: syntaxError,
  },
  {
    id: 'collation',
    ref: '§1; docs: Collations Supported',
    find: ({ tokens }) => {
      const name = tokens.find(
        (token, i) =>
          isCollationAt(tokens, i) &&
          !(/^(utf8_|utf8mb4_|binary$|default$)/i.test(token.value) && !/_(nopad|0900|uca1400)_/i.test(token.value)),
      );
      return name && `Unknown collation: '${name.value}'`;
    },
    error: plainError(1273, 'HY000'),
  },
  {
    id: 'charset',
    ref: '§1; docs: Character Encoding',
    find: ({ tokens }) => {
      const at = tokens.findIndex(
        (token, i) => isCharsetAt(tokens, i) && !/^(utf8|utf8mb4|binary|default)$/i.test(token.value),
      );
      return at < 0 ? undefined : `Unknown character set: '${tokens[at]?.value}'`;
    },
    error: plainError(1115, '42000'),
  },
];

function created(statement: Statement): TableInfo | undefined {
  const definition = readCreateTable(statement);
  return definition && describeTable(definition, undefined);
}

function columnsOfAction(action: Token[]): Column[] {
  if (!isWord(action[0], 'ADD', 'MODIFY', 'CHANGE')) return [];
  const at = (isWord(action[1], 'COLUMN') ? 2 : 1) + (isWord(action[0], 'CHANGE') ? 1 : 0);
  if (
    isWord(
      action[at],
      'UNIQUE',
      'KEY',
      'INDEX',
      'PRIMARY',
      'CONSTRAINT',
      'FOREIGN',
      'FULLTEXT',
      'SHARD',
      'SORT',
      'CHECK',
    )
  )
    return [];
  const inner = isOperator(action[at], '(') ? action.slice(at + 1, -1) : action.slice(at);
  const column = inner.length > 1 ? readColumn(inner) : undefined;
  return column ? [column] : [];
}

function hasKey(statement: Statement, kind: 'foreign' | 'check'): boolean {
  const definition: TableDefinition | undefined = readCreateTable(statement);
  if (definition) return definition.keys.some((key) => key.kind === kind);
  const word = kind === 'foreign' ? ['FOREIGN', 'REFERENCES'] : ['CHECK'];
  return (readAlterTable(statement)?.actions ?? []).some(
    (action) =>
      isWord(action[0], 'ADD', 'MODIFY', 'CHANGE') &&
      action.some((token) => token.depth === 0 && isWord(token, ...word)),
  );
}

/** MySQL's `type [GENERATED ALWAYS] AS (expr)`; SingleStore's `AS expr PERSISTED type` has AS right after the name. */
function isMysqlGenerated(column: Column): boolean {
  const depth = column.tokens[0]?.depth;
  const as = column.tokens.findIndex((token) => token.depth === depth && isWord(token, 'AS'));
  if (as > 1) return !column.tokens.some((token) => isWord(token, 'SEQUENCE'));
  return column.tokens.some((token, i) => i > 1 && token.depth === depth && isWord(token, 'VIRTUAL', 'GENERATED'));
}

function expressionDefault(column: Column): string | undefined {
  const depth = column.tokens[0]?.depth;
  const at = column.tokens.findIndex((token) => token.depth === depth && isWord(token, 'DEFAULT'));
  const value = column.tokens[at + 1];
  if (at < 2 || !value) return undefined;
  const functionLike =
    value.kind === 'word' &&
    isOperator(column.tokens[at + 2], '(') &&
    !isWord(value, 'NOW', 'CURRENT_TIMESTAMP', 'CURRENT_TIMESTAMP6', 'LOCALTIMESTAMP', 'LOCALTIME');
  return isOperator(value, '(') || functionLike ? `expression as DEFAULT of column '${column.name}'` : undefined;
}

function isCollationAt(tokens: Token[], at: number): boolean {
  return isWord(tokens[at - 1], 'COLLATE') || (isOperator(tokens[at - 1], '=') && isWord(tokens[at - 2], 'COLLATE'));
}

function isCharsetAt(tokens: Token[], at: number): boolean {
  const before = isOperator(tokens[at - 1], '=') ? at - 2 : at - 1;
  if (isWord(tokens[before], 'CHARSET')) return true;
  return isWord(tokens[before], 'SET') && isWord(tokens[before - 1], 'CHARACTER');
}
