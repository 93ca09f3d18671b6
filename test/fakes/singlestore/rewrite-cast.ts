import { type Edit, insertAt, replaceTokens } from './edit.ts';
import type { Statement } from './statement.ts';
import { afterParenthesis, isName, isOperator, isWord, type Token } from './tokens.ts';

/** What CAST of MariaDB calls the types; a text after the sizes is taken over with them. */
const CAST_TYPES: [RegExp, (size: string, unsigned: boolean) => string][] = [
  [
    /^(TINYINT|SMALLINT|MEDIUMINT|INT|INTEGER|BIGINT|BOOL|BOOLEAN|YEAR)$/,
    (_, unsigned) => (unsigned ? 'UNSIGNED' : 'SIGNED'),
  ],
  [/^(CHAR|VARCHAR)$/, (size) => `CHAR${size}`],
  [/^(TINYTEXT|TEXT|MEDIUMTEXT|LONGTEXT|JSON|ENUM|SET)$/, () => 'CHAR'],
  [/^(BINARY|VARBINARY)$/, (size) => `BINARY${size}`],
  [/^(TINYBLOB|BLOB|MEDIUMBLOB|LONGBLOB)$/, () => 'BINARY'],
  [/^(DATE|DATETIME|TIME)$/, (size) => `$&${size}`],
  [/^TIMESTAMP$/, (size) => `DATETIME${size}`],
  [/^(DECIMAL|NUMERIC|DEC)$/, (size) => `DECIMAL${size}`],
  [/^(DOUBLE|FLOAT|REAL)$/, () => 'DOUBLE'],
];

/** Edits that turn `expression :> type` and `expression !:> type` into CAST. */
export function castEdits(statement: Statement): Edit[] {
  const { tokens, text } = statement;
  const edits: Edit[] = [];
  tokens.forEach((token, i) => {
    if (!isOperator(token, ':>') && !isOperator(token, '!:>')) return;
    const start = operandStart(tokens, i);
    const type = castType(tokens, i + 1, text);
    const first = tokens[start];
    if (!type || !first) return;
    edits.push(insertAt(first.start, 'CAST('), replaceTokens(tokens.slice(i, type.end), `AS ${type.name})`));
  });
  return edits;
}

/** The cast binds to the name, literal, call or parenthesis before it. */
function operandStart(tokens: Token[], operator: number): number {
  let at = operator - 1;
  if (isOperator(tokens[at], ')')) {
    const depth = tokens[at]?.depth;
    do at--;
    while (at > 0 && !(isOperator(tokens[at], '(') && tokens[at]?.depth === depth));
    if (
      isName(tokens[at - 1]) &&
      !isWord(tokens[at - 1], 'SELECT', 'AND', 'OR', 'WHERE', 'ON', 'IN', 'BY', 'WHEN', 'THEN', 'ELSE')
    )
      at--;
  }
  while (isOperator(tokens[at - 1], '.') && isName(tokens[at - 2])) at -= 2;
  return at;
}

function castType(tokens: Token[], at: number, text: string): { name: string; end: number } | undefined {
  const base = tokens[at]?.word ?? '';
  const known = CAST_TYPES.find(([pattern]) => pattern.test(base));
  if (!known) return undefined;
  let end = at + 1;
  let size = '';
  if (isOperator(tokens[end], '(')) {
    const after = afterParenthesis(tokens, end);
    size = text.slice(tokens[end]?.start, tokens[after - 1]?.end);
    end = after;
  }
  let unsigned = false;
  for (; ; end++) {
    if (isWord(tokens[end], 'UNSIGNED')) unsigned = true;
    else if (isWord(tokens[end], 'CHARACTER') && isWord(tokens[end + 1], 'SET')) end += 2;
    else if (isWord(tokens[end], 'COLLATE')) end++;
    else if (isWord(tokens[end], 'NOT') && isWord(tokens[end + 1], 'NULL')) end++;
    else if (!isWord(tokens[end], 'NULL')) break;
  }
  return { name: known[1](size, unsigned).replace('$&', base), end };
}
