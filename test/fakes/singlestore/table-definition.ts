import { readTableName, type Statement, skipWords, type TableName } from './statement.ts';
import { afterParenthesis, findWords, isName, isOperator, isWord, splitCommas, type Token } from './tokens.ts';

/** A column of a CREATE TABLE or ALTER TABLE; `type` is the upper-case base word, `size` what stands in its parentheses. */
export type Column = { name: string; type: string; size: string[]; tokens: Token[] };

type KeyKind =
  | 'primary'
  | 'unique'
  | 'shard'
  | 'sort'
  | 'clustered'
  | 'plain'
  | 'foreign'
  | 'check'
  | 'fulltext'
  | 'group';

/** A key of a table; `unenforced` ones promise nothing. */
export type Key = {
  kind: KeyKind;
  columns: string[];
  /** Which of the columns are sorted downwards. */
  descending: boolean[];
  unenforced: boolean;
  tokens: Token[];
};

/** What a CREATE TABLE says. `head` are the words between CREATE and TABLE, `options` what follows the definitions. */
export type TableDefinition = {
  table: TableName;
  head: Token[];
  ifNotExists: boolean;
  like: TableName | undefined;
  columns: Column[];
  keys: Key[];
  options: Token[];
  /** Index of the parenthesis that opens the definitions, -1 when there is none. */
  body: number;
};

/** Words that begin a key definition. */
export const KEY_WORDS = [
  'PRIMARY',
  'UNIQUE',
  'KEY',
  'INDEX',
  'SHARD',
  'SORT',
  'CONSTRAINT',
  'FOREIGN',
  'CHECK',
  'FULLTEXT',
  'SPATIAL',
  'VECTOR',
  'MULTI',
];

/** Reads a CREATE TABLE; undefined for every other statement. */
export function readCreateTable(statement: Statement): TableDefinition | undefined {
  const { tokens } = statement;
  if (statement.verb !== 'CREATE') return undefined;
  const word = tokens.findIndex((token, i) => i > 0 && isWord(token, 'TABLE'));
  if (word < 0 || word > 5) return undefined;
  const start = skipWords(tokens, word + 1, 'IF', 'NOT', 'EXISTS');
  const named = readTableName(tokens, start);
  if (!named) return undefined;
  const definition: TableDefinition = {
    table: named.table,
    head: tokens.slice(1, word),
    ifNotExists: start > word + 1,
    like: undefined,
    columns: [],
    keys: [],
    options: [],
    body: -1,
  };
  let at = named.end;
  const like = isOperator(tokens[at], '(') ? at + 1 : at;
  if (isWord(tokens[like], 'LIKE')) {
    definition.like = readTableName(tokens, like + 1)?.table;
    return definition;
  }
  if (isOperator(tokens[at], '(') && !isWord(tokens[at + 1], 'SELECT', 'WITH')) {
    definition.body = at;
    const end = afterParenthesis(tokens, at);
    for (const item of splitCommas(tokens.slice(at + 1, end - 1), 1)) readItem(item, definition);
    at = end;
  }
  const select = tokens.findIndex((token, i) => i >= at && (isWord(token, 'SELECT', 'AS') || isCte(tokens, i)));
  definition.options = tokens.slice(at, select < 0 ? undefined : select);
  return definition;
}

/** `WITH x AS (SELECT …)`, not `WITH SYSTEM VERSIONING`. */
function isCte(tokens: Token[], at: number): boolean {
  return isWord(tokens[at], 'WITH') && isWord(tokens[at + 2], 'AS');
}

/** Adds a column or key definition to a table definition. */
function readItem(item: Token[], into: TableDefinition): void {
  const key = readKey(item);
  if (key) {
    into.keys.push(key);
    return;
  }
  const column = readColumn(item);
  if (!column) return;
  into.columns.push(column);
  into.keys.push(...columnKeys(column));
}

/** Reads a key definition such as `UNIQUE KEY name (a, b)`; undefined when the item is a column. */
export function readKey(item: Token[]): Key | undefined {
  const [first, second] = item;
  if (isWord(first, 'COLUMN') && isWord(second, 'GROUP'))
    return { kind: 'group', columns: [], descending: [], unenforced: true, tokens: item };
  if (!isWord(first, ...KEY_WORDS)) return undefined;
  let at = 0;
  if (isWord(first, 'CONSTRAINT')) {
    at = 1;
    if (!isWord(item[at], 'PRIMARY', 'UNIQUE', 'FOREIGN', 'CHECK', 'SHARD')) at++;
  }
  // A column may be called `sort` or `vector`: a key is told by what follows the word.
  if (isWord(item[at], 'SHARD', 'SORT', 'PRIMARY', 'FOREIGN') && !isWord(item[at + 1], 'KEY')) return undefined;
  if (isWord(item[at], 'VECTOR', 'MULTI') && !isWord(item[at + 1], 'KEY', 'INDEX', 'VALUE')) return undefined;
  const kinds: Record<string, KeyKind> = {
    PRIMARY: 'primary',
    UNIQUE: 'unique',
    SHARD: 'shard',
    SORT: 'sort',
    FOREIGN: 'foreign',
    CHECK: 'check',
    FULLTEXT: 'fulltext',
  };
  let kind: KeyKind = kinds[item[at]?.word ?? ''] ?? 'plain';
  if (kind === 'plain' && findWords(item, ['CLUSTERED', 'COLUMNSTORE'], item[0]?.depth) >= 0) kind = 'clustered';
  const open = item.findIndex((token, i) => i >= at && isOperator(token, '('));
  const columns =
    open < 0 || kind === 'check'
      ? []
      : keyColumns(item.slice(open + 1, afterParenthesis(item, open) - 1), (item[open]?.depth ?? 0) + 1);
  const descending =
    open < 0
      ? []
      : splitCommas(item.slice(open + 1, afterParenthesis(item, open) - 1), (item[open]?.depth ?? 0) + 1).map((part) =>
          isWord(part.at(-1), 'DESC'),
        );
  const unenforced = item.some((token) => isWord(token, 'UNENFORCED', 'METADATA_ONLY'));
  return { kind, columns, descending, unenforced, tokens: item };
}

/** Reads `name type …`; undefined when the item has no name. */
export function readColumn(item: Token[]): Column | undefined {
  const name = item[0];
  if (!isName(name)) return undefined;
  const type = item[1]?.word ?? '';
  const open = 2;
  const size = isOperator(item[open], '(')
    ? item.slice(open + 1, afterParenthesis(item, open) - 1).filter((token) => !isOperator(token, ','))
    : [];
  return { name: name.value, type, size: size.map((token) => token.value), tokens: item };
}

/** The keys that a column definition declares itself. */
function columnKeys(column: Column): Key[] {
  const keys: Key[] = [];
  const depth = column.tokens[0]?.depth;
  column.tokens.forEach((token, i) => {
    if (token.depth !== depth || i < 2) return;
    const key = (kind: KeyKind, columns = [column.name]) =>
      keys.push({ kind, columns, descending: [], unenforced: false, tokens: column.tokens });
    if (isWord(token, 'PRIMARY')) key('primary');
    else if (isWord(token, 'UNIQUE')) key('unique');
    else if (isWord(token, 'KEY') && !isWord(column.tokens[i - 1], 'PRIMARY', 'UNIQUE', 'FOREIGN')) key('primary');
    else if (isWord(token, 'REFERENCES')) key('foreign');
    else if (isWord(token, 'CHECK')) key('check', []);
  });
  return keys;
}

/** The type of a column in a form that can be compared: base word and sizes, integers without display width. */
export function typeText(column: Pick<Column, 'type' | 'size' | 'tokens'>): string {
  const synonyms: Record<string, string> = {
    INTEGER: 'INT',
    BOOL: 'TINYINT',
    BOOLEAN: 'TINYINT',
    DEC: 'DECIMAL',
    NUMERIC: 'DECIMAL',
    FIXED: 'DECIMAL',
    REAL: 'DOUBLE',
    CHARACTER: 'CHAR',
  };
  const type = synonyms[column.type] ?? column.type;
  const unsigned = column.tokens.some((token) => isWord(token, 'UNSIGNED')) ? ' UNSIGNED' : '';
  const sized = /INT$/.test(type) || column.size.length === 0 ? '' : `(${column.size.join(',')})`;
  return type + sized + unsigned;
}

function keyColumns(tokens: Token[], depth: number): string[] {
  return splitCommas(tokens, depth).flatMap((part) => (isName(part[0]) ? [part[0].value] : []));
}
