import { afterParenthesis, isName, isOperator, isWord, splitStatements, type Token, tokenize } from './tokens.ts';

/** A table as a statement names it. */
export type TableName = { database: string | undefined; name: string };

/** One SQL statement: its verb, its tokens and which part of which text it is. */
export type Statement = { text: string; verb: string; tokens: Token[] };

/** One member of a FROM list; `table` is undefined for a derived table. */
type TableReference = { table: TableName | undefined; alias: string };

/** The members of a FROM list and the index after it. */
export type TableReferences = { references: TableReference[]; end: number };

const AFTER_WITH = ['SELECT', 'INSERT', 'REPLACE', 'UPDATE', 'DELETE'];
const JOINS = ['JOIN', 'STRAIGHT_JOIN'];
const LIST_END = [
  'SET',
  'WHERE',
  'GROUP',
  'HAVING',
  'ORDER',
  'LIMIT',
  'FOR',
  'LOCK',
  'OPTION',
  'UNION',
  'PROCEDURE',
  'RETURNING',
  'INTO',
  'WINDOW',
  'EXCEPT',
  'INTERSECT',
];
const NOT_ALIAS = [
  ...LIST_END,
  ...JOINS,
  'ON',
  'USING',
  'LEFT',
  'RIGHT',
  'INNER',
  'OUTER',
  'CROSS',
  'FULL',
  'NATURAL',
  'USE',
  'IGNORE',
  'FORCE',
  'PARTITION',
  'WITH',
  'TABLESAMPLE',
];

/** Reads an SQL text that may hold several statements. */
export function parse(text: string): Statement[] {
  return splitStatements(tokenize(text)).map((tokens) => ({ text, verb: verbOf(tokens), tokens }));
}

/** Reads `name` or `database.name`; undefined when there is none. */
export function readTableName(tokens: Token[], at: number): { table: TableName; end: number } | undefined {
  const first = tokens[at];
  if (!isName(first)) return undefined;
  const second = tokens[at + 2];
  if (isOperator(tokens[at + 1], '.') && isName(second)) {
    return { table: { database: first.value, name: second.value }, end: at + 3 };
  }
  return { table: { database: undefined, name: first.value }, end: at + 1 };
}

/** Skips the given words, in any number and order. */
export function skipWords(tokens: Token[], at: number, ...words: string[]): number {
  let next = at;
  while (isWord(tokens[next], ...words)) next++;
  return next;
}

/** Reads a FROM list (or what stands between UPDATE and SET) beginning at an index. */
export function readTableReferences(tokens: Token[], from: number): TableReferences {
  const references: TableReference[] = [];
  let depth = tokens[from]?.depth ?? 0;
  let expecting = true;
  let at = from;
  while (at < tokens.length) {
    const token = tokens[at] as Token;
    if (token.depth < depth) break;
    if (expecting) {
      if (isOperator(token, '(')) {
        if (isWord(tokens[at + 1], 'SELECT', 'WITH', 'VALUES', 'TABLE') || isOperator(tokens[at + 1], '(')) {
          at = afterParenthesis(tokens, at);
          const alias = readAlias(tokens, at);
          references.push({ table: undefined, alias: alias.name });
          at = alias.end;
          expecting = false;
        } else {
          // A parenthesised join: its members are members of the list.
          depth = Math.min(depth, token.depth);
          const inner = readTableReferences(tokens, at + 1);
          references.push(...inner.references);
          at = afterParenthesis(tokens, at);
          expecting = false;
        }
        continue;
      }
      const named = readTableName(tokens, at);
      if (!named) break;
      const alias = readAlias(tokens, named.end);
      references.push({ table: named.table, alias: alias.name || named.table.name });
      at = alias.end;
      expecting = false;
      continue;
    }
    if (token.depth === depth) {
      if (isOperator(token, ';') || isOperator(token, ')') || isWord(token, ...LIST_END)) break;
      if (isOperator(token, ',') || isWord(token, ...JOINS)) expecting = true;
    }
    at++;
  }
  return { references, end: at };
}

/** What an INSERT or REPLACE, or a LOAD DATA, writes, and the index after the table's name. */
export function insertTarget(statement: Statement): { table: TableName; end: number } | undefined {
  const { tokens, verb } = statement;
  const start = tokens.findIndex((token) => token.depth === 0 && isWord(token, verb));
  if (verb === 'LOAD') {
    const into = tokens.findIndex((token, i) => isWord(token, 'INTO') && isWord(tokens[i + 1], 'TABLE'));
    return into < 0 ? undefined : readTableName(tokens, into + 2);
  }
  const at = skipWords(tokens, start + 1, 'LOW_PRIORITY', 'DELAYED', 'HIGH_PRIORITY', 'IGNORE', 'INTO');
  return readTableName(tokens, at);
}

/** One `column = expression` of a SET list. */
export type Assignment = { qualifier: string | undefined; column: string; value: Token[] };

/** Reads assignments up to a word that ends them. */
export function readAssignments(tokens: Token[], from: number, ...endWords: string[]): Assignment[] {
  const depth = tokens[from]?.depth ?? 0;
  let end = from;
  while (end < tokens.length && (tokens[end]?.depth !== depth || !isWord(tokens[end], ...endWords))) end++;
  const assignments: Assignment[] = [];
  let at = from;
  while (at < end) {
    let stop = at;
    while (stop < end && !(tokens[stop]?.depth === depth && isOperator(tokens[stop], ','))) stop++;
    const names = tokens.slice(at, stop);
    const equals = names.findIndex((token) => isOperator(token, '=') || isOperator(token, ':='));
    if (equals > 0) {
      const path = names.slice(0, equals).filter(isName);
      const column = path.at(-1)?.value;
      if (column !== undefined)
        assignments.push({ qualifier: path.at(-2)?.value, column, value: names.slice(equals + 1) });
    }
    at = stop + 1;
  }
  return assignments;
}

/** The parts of an UPDATE. */
export function readUpdate(
  statement: Statement,
): TableReferences & { assignments: Assignment[]; targets: TableName[] } {
  const { tokens } = statement;
  const start = tokens.findIndex((token) => token.depth === 0 && isWord(token, 'UPDATE'));
  const list = readTableReferences(tokens, skipWords(tokens, start + 1, 'LOW_PRIORITY', 'IGNORE'));
  const assignments = readAssignments(tokens, list.end + 1, 'WHERE', 'ORDER', 'LIMIT', 'OPTION', 'RETURNING');
  const targets = new Map<string, TableName>();
  for (const { qualifier } of assignments) {
    // "If single identifiers are used, the target table is assumed to be the leftmost table" (docs: UPDATE).
    const found = qualifier === undefined ? list.references[0] : list.references.find((r) => r.alias === qualifier);
    if (found?.table) targets.set(found.alias, found.table);
  }
  return { ...list, assignments, targets: [...targets.values()] };
}

/** The parts of a DELETE; `named` are the targets as written before FROM or USING, undefined for the simple form. */
export function readDelete(statement: Statement): {
  targets: TableName[];
  named: TableName[] | undefined;
  using: boolean;
} {
  const { tokens } = statement;
  const start = tokens.findIndex((token) => token.depth === 0 && isWord(token, 'DELETE'));
  let at = skipWords(tokens, start + 1, 'LOW_PRIORITY', 'QUICK', 'IGNORE');
  const simple = isWord(tokens[at], 'FROM');
  if (simple) at++;
  const named: TableName[] = [];
  for (;;) {
    const name = readTableName(tokens, at);
    if (!name) break;
    named.push(name.table);
    at = name.end;
    if (isOperator(tokens[at], '.') && isOperator(tokens[at + 1], '*')) at += 2;
    if (!isOperator(tokens[at], ',')) break;
    at++;
  }
  const using = simple && isWord(tokens[at], 'USING');
  if (simple && !using) return { targets: named, named: undefined, using };
  const { references } = readTableReferences(tokens, at + 1);
  const targets = named.map((name) => references.find((r) => r.alias === name.name && r.table)?.table ?? name);
  return { targets, named, using };
}

/** The tables whose rows a statement changes. */
export function writesOf(statement: Statement): TableName[] {
  switch (statement.verb) {
    case 'INSERT':
    case 'REPLACE':
    case 'LOAD': {
      const target = insertTarget(statement);
      return target ? [target.table] : [];
    }
    case 'UPDATE':
      return readUpdate(statement).targets;
    case 'DELETE':
      return readDelete(statement).targets;
    default:
      return [];
  }
}

function verbOf(tokens: Token[]): string {
  const first = tokens.find((token) => !isOperator(token, '('));
  if (!isWord(first, 'WITH')) return first?.word ?? '';
  return tokens.find((token) => token.depth === 0 && isWord(token, ...AFTER_WITH))?.word ?? 'WITH';
}

function readAlias(tokens: Token[], at: number): { name: string; end: number } {
  const named = isWord(tokens[at], 'AS') ? at + 1 : at;
  const token = tokens[named];
  if (!isName(token) || (named === at && isWord(token, ...NOT_ALIAS))) return { name: '', end: at };
  return { name: token.value, end: named + 1 };
}
