import { readAlterTable } from './alter-table.ts';
import { describeTable, type TableInfo } from './catalog.ts';
import { keyError, type Rule, syntaxError, unsupported } from './rule.ts';
import type { Statement } from './statement.ts';
import { readCreateTable, type TableDefinition } from './table-definition.ts';
import { findWords, isWord } from './tokens.ts';

const FLOATING = ['FLOAT', 'DOUBLE', 'REAL'];
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

/** Rules over the keys and options of a table definition. */
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
];

function created(statement: Statement): TableInfo | undefined {
  const definition = readCreateTable(statement);
  return definition && describeTable(definition, undefined);
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
