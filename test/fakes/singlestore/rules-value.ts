import { plainError, type Rule, type SqlError, unsupported } from './rule.ts';
import { definedColumns } from './rules-column.ts';
import { type Session, tableInfo } from './session.ts';
import {
  type Assignment,
  insertTarget,
  readAssignments,
  readUpdate,
  type Statement,
  type TableName,
} from './statement.ts';
import { afterParenthesis, isName, isOperator, isWord, type Token } from './tokens.ts';

const NAME_LENGTH = 64;
const DATE_TYPES = /^(DATE|DATETIME|TIMESTAMP)\b/;

/** Rules over literals, names and expressions of any statement. */
export const VALUE_RULES: Rule[] = [
  {
    id: 'name-length',
    ref: '§1; docs: System Limits (64 characters)',
    find: ({ tokens }) => {
      const long = tokens.find((token) => isName(token) && [...token.value].length > NAME_LENGTH);
      return long && `Identifier name '${long.value}' is too long`;
    },
    error: plainError(1059, '42000'),
  },
  {
    id: 'like-escape',
    ref: '§7.17',
    find: ({ tokens }) => {
      const at = tokens.findIndex(
        (token, i) =>
          isWord(token, 'ESCAPE') &&
          tokens.slice(Math.max(0, i - 40), i).some((before) => before.depth === token.depth && isWord(before, 'LIKE')),
      );
      return at < 0 ? undefined : 'LIKE … ESCAPE';
    },
    error: unsupported,
  },
  {
    id: 'year-before-1000',
    ref: '§7.6, §1; docs: Data Type Conversion ("Handling invalid source database DATE…")',
    find: (statement, session) =>
      session.level < '8.0'
        ? undefined
        : (typedLiteral(statement.tokens) ?? defaultLiteral(statement) ?? writtenLiteral(statement, session)),
    error: invalidDate,
  },
];

/** The error that a refused date meets, as the documentation of Data Type Conversion shows it. */
export function invalidDate(literal: string): SqlError {
  const message = `Leaf Error (127.0.0.1:3307): Invalid DATE/TIME in type conversion ('${literal}')`;
  return { code: 1292, state: '22007', message };
}

/**
 * Whether a text is a date that SingleStore refuses: a year below 1000, or a month or day of zero. The all-zero date is
 * allowed ("zero dates exist", §1).
 */
export function isRefusedDate(text: string): boolean {
  const parts = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T]\d{1,2}:\d{1,2}(?::\d{1,2}(?:\.\d+)?)?)?$/.exec(text);
  if (!parts) return false;
  const [year, month, day] = parts.slice(1, 4).map(Number) as [number, number, number];
  if (year === 0 && month === 0 && day === 0) return false;
  return year < 1000 || month === 0 || day === 0;
}

/** `DATE '0001-01-01'`, `CAST('0001-01-01' AS DATE)` and `'0001-01-01' :> DATE`. */
function typedLiteral(tokens: Token[]): string | undefined {
  return tokens.find((token, i) => {
    if (token.kind !== 'string' || !isRefusedDate(token.value)) return false;
    const typed = isWord(tokens[i - 1], 'DATE', 'TIMESTAMP');
    const cast =
      (isOperator(tokens[i + 1], ':>') || isWord(tokens[i + 1], 'AS')) &&
      isWord(tokens[i + 2], 'DATE', 'DATETIME', 'TIMESTAMP');
    return typed || cast;
  })?.value;
}

function defaultLiteral(statement: Statement): string | undefined {
  for (const column of definedColumns(statement)) {
    if (!DATE_TYPES.test(column.type)) continue;
    const value = column.tokens[column.tokens.findIndex((token) => isWord(token, 'DEFAULT')) + 1];
    if (value?.kind === 'string' && isRefusedDate(value.value)) return value.value;
  }
  return undefined;
}

/**
 * A refused date that is written to a date column. When the table is not known, a literal that is nothing but such a date
 * is taken for one.
 */
function writtenLiteral(statement: Statement, session: Session): string | undefined {
  if (statement.verb === 'UPDATE') {
    const { assignments, targets } = readUpdate(statement);
    return assignedLiteral(assignments, session, targets[0]);
  }
  if (statement.verb !== 'INSERT' && statement.verb !== 'REPLACE') return undefined;
  const target = insertTarget(statement);
  const { tokens } = statement;
  if (!target || !tokens.some((token) => token.kind === 'string' && isRefusedDate(token.value))) return undefined;
  const listed = isOperator(tokens[target.end], '(') && !isWord(tokens[target.end + 1], 'SELECT');
  const names = listed
    ? tokens
        .slice(target.end + 1, afterParenthesis(tokens, target.end) - 1)
        .filter(isName)
        .map((token) => token.value)
    : undefined;
  const columns = names ?? [...(tableInfo(session, target.table)?.columns.keys() ?? [])];
  let at = listed ? afterParenthesis(tokens, target.end) : target.end;
  if (isWord(tokens[at], 'SET'))
    return assignedLiteral(readAssignments(tokens, at + 1, 'ON', 'RETURNING'), session, target.table);
  if (!isWord(tokens[at], 'VALUES', 'VALUE')) return undefined;
  let index = 0;
  for (at++; at < tokens.length; at++) {
    const token = tokens[at] as Token;
    if (token.depth === 0 && isOperator(token, '(')) index = 0;
    else if (token.depth === 1 && isOperator(token, ',')) index++;
    else if (
      token.depth === 1 &&
      token.kind === 'string' &&
      isRefusedDate(token.value) &&
      isDateColumn(session, target.table, columns[index])
    )
      return token.value;
  }
  return undefined;
}

function assignedLiteral(
  assignments: Assignment[],
  session: Session,
  table: TableName | undefined,
): string | undefined {
  return assignments.find(({ column, value }) => {
    const literal = value.length === 1 && value[0]?.kind === 'string' && isRefusedDate(value[0].value);
    return literal && isDateColumn(session, table, column);
  })?.value[0]?.value;
}

function isDateColumn(session: Session, table: TableName | undefined, column: string | undefined): boolean {
  const info = table && tableInfo(session, table);
  const type = info?.columns.get(column?.toLowerCase() ?? '');
  return type === undefined || DATE_TYPES.test(type);
}
