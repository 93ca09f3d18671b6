import { readTableName, type Statement, skipWords, type TableName } from './statement.ts';
import { findWords, isOperator, isWord, splitCommas, type Token } from './tokens.ts';

/** An ALTER TABLE cut into its actions. */
export type AlterTable = {
  table: TableName;
  actions: Token[][];
  /** The tokens of a trailing `TIMEOUT n`, empty without one. */
  timeout: Token[];
};

/** Reads an ALTER TABLE; undefined for every other statement. */
export function readAlterTable(statement: Statement): AlterTable | undefined {
  const { tokens, verb } = statement;
  if (verb !== 'ALTER') return undefined;
  const word = skipWords(tokens, 1, 'ONLINE', 'IGNORE');
  if (!isWord(tokens[word], 'TABLE')) return undefined;
  const named = readTableName(tokens, skipWords(tokens, word + 1, 'IF', 'EXISTS'));
  if (!named) return undefined;
  const timeoutAt = findWords(tokens, ['TIMEOUT'], 0, named.end);
  const timeout =
    tokens[timeoutAt + 1]?.kind === 'number' && timeoutAt === tokens.length - 2 ? tokens.slice(timeoutAt) : [];
  const actions = splitCommas(tokens.slice(named.end, tokens.length - timeout.length), 0);
  return { table: named.table, actions, timeout };
}

/** `CHANGE a b`: the names, when the action is SingleStore's form without a definition. */
export function readShortChange(action: Token[]): { from: Token; to: Token } | undefined {
  if (!isWord(action[0], 'CHANGE')) return undefined;
  const at = skipWords(action, 1, 'COLUMN');
  const [from, to, more] = action.slice(at);
  return from && to && !more ? { from, to } : undefined;
}

/** The new name of `RENAME [TO | AS] name`, when the action renames the table. */
export function readRename(action: Token[]): { table: TableName; at: number } | undefined {
  if (!isWord(action[0], 'RENAME') || isWord(action[1], 'COLUMN', 'INDEX', 'KEY')) return undefined;
  const at = isWord(action[1], 'TO', 'AS') || isOperator(action[1], '=') ? 2 : 1;
  const named = readTableName(action, at);
  return named && { table: named.table, at };
}
