import { notDistributed, plainError, type Rule, syntaxError, unsupported } from './rule.ts';
import { tableInfo } from './session.ts';
import { insertTarget, readAssignments, readDelete, readUpdate, type Statement, type TableName } from './statement.ts';
import { afterParenthesis, findWords, isOperator, isWord, type Token } from './tokens.ts';

/** Rules over INSERT, REPLACE, UPDATE, DELETE and LOAD DATA. */
export const WRITE_RULES: Rule[] = [
  {
    id: 'delete-using',
    ref: '§7.9, §5; DBT incremental.sql',
    find: (statement) => (statement.verb === 'DELETE' && readDelete(statement).using ? 'USING' : undefined),
    error: syntaxError,
  },
  {
    id: 'delete-qualified-target',
    ref: '§7.9, §5; LAR SingleStoreQueryGrammar',
    find: (statement) => {
      if (statement.verb !== 'DELETE') return undefined;
      const target = readDelete(statement).named?.find((table) => table.database !== undefined);
      return target && `${target.database}.${target.name}`;
    },
    error: syntaxError,
  },
  {
    id: 'delete-many-targets',
    ref: '§5; docs: DELETE',
    find: (statement) =>
      statement.verb === 'DELETE' && (readDelete(statement).named?.length ?? 0) > 1
        ? 'DELETE of several tables'
        : undefined,
    error: notDistributed,
  },
  {
    id: 'update-many-targets',
    ref: '§5; docs: UPDATE ("only supports changing one table in UPDATE statement")',
    find: (statement) =>
      statement.verb === 'UPDATE' && readUpdate(statement).targets.length > 1 ? 'UPDATE of several tables' : undefined,
    error: notDistributed,
  },
  {
    id: 'ordered-write',
    ref: '§7.9, §5; LAR README (ORDER BY Clause in DELETE and UPDATE Queries)',
    find: ({ verb, tokens }) =>
      ['UPDATE', 'DELETE'].includes(verb) && findWords(tokens, ['ORDER', 'BY']) >= 0 ? `${verb} … ORDER BY` : undefined,
    error: unsupported,
  },
  {
    id: 'update-limit',
    ref: '§7.9, §1; docs: Distributed SQL Surface Area',
    find: ({ verb, tokens }) => (verb === 'UPDATE' && findWords(tokens, ['LIMIT']) >= 0 ? 'UPDATE … LIMIT' : undefined),
    error: notDistributed,
  },
  {
    id: 'returning',
    ref: '§7.10, §5',
    find: ({ verb, tokens }) =>
      ['INSERT', 'REPLACE', 'DELETE', 'UPDATE'].includes(verb) && findWords(tokens, ['RETURNING']) >= 0
        ? 'RETURNING'
        : undefined,
    error: syntaxError,
  },
  {
    id: 'merge',
    ref: '§7.10, §5',
    find: ({ verb }) => (verb === 'MERGE' ? 'MERGE' : undefined),
    error: syntaxError,
  },
  {
    id: 'row-alias',
    ref: '§7.10',
    find: (statement) => {
      if (statement.verb !== 'INSERT') return undefined;
      const { tokens } = statement;
      const values = tokens.findIndex((token) => token.depth === 0 && isWord(token, 'VALUES', 'VALUE'));
      return values >= 0 && findWords(tokens, ['AS'], 0, values) >= 0 ? 'AS' : undefined;
    },
    error: syntaxError,
  },
  {
    id: 'update-of-key',
    ref: '§7.15, §1; docs: Distributed SQL Surface Area',
    find: (statement, session) => {
      if (statement.verb !== 'UPDATE') return undefined;
      const { references, assignments } = readUpdate(statement);
      for (const { qualifier, column } of assignments) {
        const reference = qualifier === undefined ? references[0] : references.find((r) => r.alias === qualifier);
        const info = reference?.table && tableInfo(session, reference.table);
        if (info && [...info.shard, ...info.primary].includes(column.toLowerCase()))
          return `UPDATE of column '${column}' of the shard or primary key`;
      }
      return undefined;
    },
    error: notDistributed,
  },
  {
    id: 'upsert-of-key',
    ref: '§7.15, §5; docs: Performing Upserts',
    find: (statement, session) => {
      const { verb, tokens } = statement;
      if (verb !== 'INSERT') return undefined;
      const at = findWords(tokens, ['ON', 'DUPLICATE', 'KEY', 'UPDATE']);
      const target = insertTarget(statement);
      const info = target && tableInfo(session, target.table);
      if (at < 0 || !info) return undefined;
      const keyed = [...info.shard, ...info.primary, ...info.unique.flat()];
      const column = readAssignments(tokens, at + 4, 'RETURNING', 'OPTION').find((assignment) =>
        keyed.includes(assignment.column.toLowerCase()),
      );
      return column && `ON DUPLICATE KEY UPDATE of column '${column.column}' of a unique key`;
    },
    error: notDistributed,
  },
  {
    id: 'load-not-local',
    ref: '§3; docs: LOAD DATA ("only supports LOAD DATA with the LOCAL option")',
    find: (statement) =>
      loadWord(statement, 'LOCAL') ? undefined : isLoad(statement) ? 'LOAD DATA without LOCAL' : undefined,
    error: unsupported,
  },
  {
    id: 'load-grammar',
    ref: '§3; docs: LOAD DATA (syntax)',
    find: (statement) => {
      const { tokens } = statement;
      if (statement.verb === 'LOAD' && isWord(tokens[1], 'XML')) return 'XML';
      if (!isLoad(statement)) return undefined;
      const early = tokens.slice(2, 4).find((token) => isWord(token, 'LOW_PRIORITY', 'CONCURRENT'));
      const rows = tokens.find((token, i) => isWord(token, 'ROWS') && isWord(tokens[i - 2], 'IGNORE'));
      return (early ?? rows)?.word;
    },
    error: syntaxError,
  },
  {
    id: 'load-duplicate-update',
    ref: '§3 ("ON DUPLICATE KEY UPDATE is not in the LOAD DATA grammar")',
    find: (statement) =>
      isLoad(statement) && findWords(statement.tokens, ['ON', 'DUPLICATE']) >= 0
        ? 'ON DUPLICATE KEY UPDATE'
        : undefined,
    error: syntaxError,
  },
  {
    id: 'load-compressed-name',
    ref: '§3 ("compression is chosen by file extension")',
    find: (statement) => {
      const name = isLoad(statement) ? statement.tokens.find((token) => token.kind === 'string') : undefined;
      const plain = findWords(statement.tokens, ['COMPRESSION', 'NONE']) >= 0;
      return name && !plain && /\.(gz|lz4)$/i.test(name.value)
        ? `The data of '${name.value}' is not compressed as its name says`
        : undefined;
    },
    error: plainError(1105, 'HY000'),
  },
  {
    id: 'load-set-variable',
    ref: '§3 ("@x in LOAD DATA is a load variable, never a session variable; column names only on the left of SET"); docs: LOAD DATA',
    find: (statement) => {
      if (!isLoad(statement)) return undefined;
      const set = findLoadSet(statement.tokens);
      if (set < 0) return undefined;
      const declared = new Set(
        loadColumns(statement.tokens)
          .filter((token) => token.kind === 'variable')
          .map((token) => token.value),
      );
      const unknown = statement.tokens
        .slice(set)
        .find((token) => token.kind === 'variable' && !token.value.startsWith('@@') && !declared.has(token.value));
      return unknown && `Unknown load variable '${unknown.value}'`;
    },
    error: plainError(1054, '42S22'),
  },
];

/** Whether a statement is a LOAD DATA. */
export function isLoad(statement: Statement): boolean {
  return statement.verb === 'LOAD' && isWord(statement.tokens[1], 'DATA');
}

/** The columns and variables that a LOAD DATA names, in order; empty when it names none. */
export function loadColumns(tokens: Token[]): Token[] {
  const open = loadListStart(tokens);
  if (open < 0) return [];
  return tokens.slice(open + 1, afterParenthesis(tokens, open) - 1).filter((token) => !isOperator(token, ','));
}

/** Index of the parenthesis that opens the column list of a LOAD DATA, or -1. */
export function loadListStart(tokens: Token[]): number {
  const into = findWords(tokens, ['INTO', 'TABLE']);
  const set = findLoadSet(tokens);
  const open = tokens.findIndex((token, i) => i > into && token.depth === 0 && isOperator(token, '('));
  return open >= 0 && (set < 0 || open < set) ? open : -1;
}

/** Index of the SET of a LOAD DATA (not of CHARACTER SET), or -1. */
export function findLoadSet(tokens: Token[]): number {
  return tokens.findIndex(
    (token, i) => token.depth === 0 && isWord(token, 'SET') && !isWord(tokens[i - 1], 'CHARACTER'),
  );
}

/** The table that an INSERT, REPLACE or LOAD DATA writes. */
export function loadTarget(statement: Statement): TableName | undefined {
  return insertTarget(statement)?.table;
}

function loadWord(statement: Statement, word: string): boolean {
  return isLoad(statement) && statement.tokens.slice(2, 5).some((token) => isWord(token, word));
}
