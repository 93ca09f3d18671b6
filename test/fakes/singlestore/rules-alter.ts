import { readAlterTable, readRename, readShortChange } from './alter-table.ts';
import { notDistributed, type Rule, syntaxError, unsupported } from './rule.ts';
import { type Session, tableInfo } from './session.ts';
import { type Statement, skipWords } from './statement.ts';
import { readColumn, typeText } from './table-definition.ts';
import { findWords, isOperator, isWord, type Token } from './tokens.ts';

const CLUSTER_OPTIONS = [
  'AUTOSTATS_ENABLED',
  'AUTOSTATS_CARDINALITY_MODE',
  'AUTOSTATS_HISTOGRAM_MODE',
  'AUTOSTATS_SAMPLING',
  'COMPRESSION',
  'BACKGROUND_MERGER',
  'CHARACTER',
  'COLLATE',
];

/** Rules over ALTER TABLE and the statements that stand near it. */
export const ALTER_RULES: Rule[] = [
  {
    id: 'rename-table',
    ref: '§7.1, §2',
    find: ({ verb, tokens }) =>
      verb === 'RENAME' && isWord(tokens[1], 'TABLE', 'TABLES') ? 'RENAME TABLE' : undefined,
    error: syntaxError,
  },
  {
    id: 'change-with-type',
    ref: '§7.2, §2; docs: ALTER TABLE (CHANGE <old_column_name> <new_column_name>)',
    find: (statement) => {
      const action = actions(statement).find((tokens) => isWord(tokens[0], 'CHANGE') && !readShortChange(tokens));
      return action && 'CHANGE with a column definition';
    },
    error: syntaxError,
  },
  {
    id: 'rename-column',
    ref: '§2; docs: ALTER TABLE (CHANGE is the only rename of a column)',
    find: (statement) =>
      actions(statement).some((tokens) => isWord(tokens[0], 'RENAME') && isWord(tokens[1], 'COLUMN', 'INDEX', 'KEY'))
        ? 'RENAME COLUMN'
        : undefined,
    error: syntaxError,
  },
  {
    id: 'modify-type',
    ref: '§7.2, §2; DJ README',
    find: (statement, session) => modifyFound(statement, session),
    error: unsupported,
  },
  {
    id: 'alter-primary-key',
    ref: '§7.3, §2; DJ README',
    find: (statement) => {
      const found = actions(statement).find(
        (tokens) =>
          (isWord(tokens[0], 'ADD') && addsKey(tokens, 'PRIMARY', 'SHARD')) ||
          (isWord(tokens[0], 'DROP') && isWord(tokens[1], 'PRIMARY', 'SHARD')),
      );
      return found && `${found[0]?.word} PRIMARY KEY or SHARD KEY after creation`;
    },
    error: unsupported,
  },
  {
    id: 'add-unique',
    ref: '§7.3, §2; DJ README',
    find: (statement, session) => {
      const { verb, tokens } = statement;
      if (verb === 'CREATE' && isWord(tokens[1], 'UNIQUE'))
        return 'CREATE UNIQUE INDEX on an existing columnstore table';
      if (isRowstore(statement, session)) return undefined;
      return actions(statement).some((action) => isWord(action[0], 'ADD') && addsKey(action, 'UNIQUE'))
        ? 'ADD UNIQUE on an existing columnstore table'
        : undefined;
    },
    error: unsupported,
  },
  {
    id: 'alter-grammar',
    ref: '§2; docs: ALTER TABLE (alter_specification)',
    find: (statement) =>
      actions(statement)
        .map(outsideGrammar)
        .find((found) => found !== undefined),
    error: syntaxError,
  },
  {
    id: 'if-exists-on-column',
    ref: '§2; docs: ALTER TABLE (no IF [NOT] EXISTS)',
    find: (statement) =>
      actions(statement).some(
        (tokens) =>
          findWords(tokens.slice(0, 5), ['IF']) >= 0 && tokens.slice(0, 5).some((token) => isWord(token, 'EXISTS')),
      )
        ? 'IF EXISTS'
        : undefined,
    error: syntaxError,
  },
  {
    id: 'table-comment',
    ref: '§1; DJ README',
    find: (statement) =>
      actions(statement).some((tokens) => isWord(tokens[0], 'COMMENT')) ? 'changing the comment of a table' : undefined,
    error: unsupported,
  },
  {
    id: 'rename-across-databases',
    ref: '§2 ("Cross-database move: assume no")',
    find: (statement, session) => {
      const alter = readAlterTable(statement);
      const to = alter?.actions.map(readRename).find((rename) => rename !== undefined)?.table.database;
      return alter && to !== undefined && to !== (alter.table.database ?? session.database)
        ? 'renaming a table into another database'
        : undefined;
    },
    error: notDistributed,
  },
];

function isRowstore(statement: Statement, session: Session): boolean {
  const alter = readAlterTable(statement);
  return alter !== undefined && tableInfo(session, alter.table)?.rowstore === true;
}

function actions(statement: Statement): Token[][] {
  return readAlterTable(statement)?.actions ?? [];
}

function addsKey(action: Token[], ...kinds: string[]): boolean {
  const at = isWord(action[1], 'CONSTRAINT') ? (isWord(action[2], 'PRIMARY', 'UNIQUE') ? 2 : 3) : 1;
  if (isWord(action[at], ...kinds) && (isWord(action[at], 'UNIQUE') || isWord(action[at + 1], 'KEY'))) return true;
  // A key declared by the column itself: ADD COLUMN a INT PRIMARY KEY.
  const column = skipWords(action, 1, 'COLUMN');
  return action.some((token, i) => i > column + 1 && token.depth === 0 && isWord(token, ...kinds));
}

function modifyFound(statement: Statement, session: Session): string | undefined {
  const alter = readAlterTable(statement);
  if (!alter) return undefined;
  const info = tableInfo(session, alter.table);
  if (info?.rowstore) return undefined;
  for (const action of alter.actions) {
    if (!isWord(action[0], 'MODIFY') || isWord(action[1], 'KEY', 'INDEX')) continue;
    const column = readColumn(action.slice(skipWords(action, 1, 'COLUMN')));
    if (!column) continue;
    if (findWords(column.tokens, ['NOT', 'NULL']) >= 0) return 'MODIFY to NOT NULL on a columnstore table';
    const known = info?.columns.get(column.name.toLowerCase());
    if (info && known === typeText(column)) continue;
    return `changing the type of column '${column.name}' on a columnstore table`;
  }
  return undefined;
}

function outsideGrammar(action: Token[]): string | undefined {
  const [first, second] = action;
  if (isWord(first, 'ADD', 'MODIFY', 'CHANGE', 'COMMENT', 'AUTO_INCREMENT', ...CLUSTER_OPTIONS)) return undefined;
  if (isWord(first, 'RENAME')) return undefined;
  if (isWord(first, 'DROP'))
    return isWord(second, 'CONSTRAINT', 'FOREIGN', 'CHECK', 'PARTITION') ? `DROP ${second?.word}` : undefined;
  if (isOperator(first, '.')) return undefined;
  return first ? first.word || first.value : undefined;
}
