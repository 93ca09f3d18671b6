import { readAlterTable } from './alter-table.ts';
import { plainError, type Rule, syntaxError, unsupported } from './rule.ts';
import type { Statement } from './statement.ts';
import { type Column, KEY_WORDS, readColumn, readCreateTable } from './table-definition.ts';
import { findWords, isOperator, isWord, splitCommas, type Token } from './tokens.ts';

const TEMPORAL = ['DATETIME', 'TIMESTAMP', 'TIME'];
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
/** Rules over the columns of a table definition, their types and attributes. */
export const COLUMN_RULES: Rule[] = [
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
      if (readCreateTable(statement)?.head.some((token) => isWord(token, 'REFERENCE'))) return undefined;
      const column = definedColumns(statement).find(
        ({ type, tokens }) => type !== 'BIGINT' && tokens.some((token) => isWord(token, 'AUTO_INCREMENT')),
      );
      return column && `AUTO_INCREMENT on a column that is not BIGINT ('${column.name}')`;
    },
    error: unsupported,
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

/** The columns that a CREATE TABLE or an ALTER TABLE … ADD / MODIFY / CHANGE defines. */
export function definedColumns(statement: Statement): Column[] {
  const created = readCreateTable(statement);
  if (created) return created.columns;
  return (readAlterTable(statement)?.actions ?? []).flatMap(columnsOfAction);
}

function columnsOfAction(action: Token[]): Column[] {
  if (!isWord(action[0], 'ADD', 'MODIFY', 'CHANGE')) return [];
  const at = (isWord(action[1], 'COLUMN') ? 2 : 1) + (isWord(action[0], 'CHANGE') ? 1 : 0);
  if (isOperator(action[at], '(')) {
    return splitCommas(action.slice(at + 1, -1), 1).flatMap((item) => readColumn(item) ?? []);
  }
  const item = action.slice(at);
  const column = item.length > 1 && !isWord(item[0], ...KEY_WORDS) ? readColumn(item) : undefined;
  return column ? [column] : [];
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
  if (tokens[at]?.kind === 'operator') return false;
  return isWord(tokens[at - 1], 'COLLATE') || (isOperator(tokens[at - 1], '=') && isWord(tokens[at - 2], 'COLLATE'));
}

function isCharsetAt(tokens: Token[], at: number): boolean {
  if (tokens[at]?.kind === 'operator') return false;
  const before = isOperator(tokens[at - 1], '=') ? at - 2 : at - 1;
  if (isWord(tokens[before], 'CHARSET')) return true;
  return isWord(tokens[before], 'SET') && isWord(tokens[before - 1], 'CHARACTER');
}
