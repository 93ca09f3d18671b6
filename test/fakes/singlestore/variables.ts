import { type Edit, replaceTokens } from './edit.ts';
import type { Statement } from './statement.ts';
import { isOperator, isWord, type Token } from './tokens.ts';

/** The engine variables that the stand-in answers for; names in lower case. */
export type Variables = Record<string, string | number>;

/**
 * What a SingleStore 9.0 answers, as far as clients ask: JDBC reads `@@max_allowed_packet, @@aggregator_id,
 * @@sql_select_limit, @@memsql_version` at connect (singlestore.md §6), loaders read the conversion level (§3).
 */
export const DEFAULT_VARIABLES: Variables = {
  memsql_version: '9.0.23',
  memsql_version_date: 'Thu Jan 01 00:00:00 2026 +0000',
  version: '5.7.32',
  version_comment: 'SingleStoreDB source distribution (compatible; MySQL Enterprise & MySQL Commercial)',
  sql_mode: 'STRICT_ALL_TABLES',
  aggregator_id: 1,
  data_conversion_compatibility_level: '8.0',
  default_table_type: 'columnstore',
  table_name_case_sensitivity: 1,
  warn_level: 'WARNINGS',
  ignore_foreign_keys: 0,
  columnstore_segment_rows: 1024000,
  columnstore_disk_insert_threshold: 0.5,
  default_columnstore_table_lock_threshold: 0,
};

/** Edits that put literals in place of the variables of SingleStore in a statement. */
export function variableEdits(statement: Statement, variables: Variables): Edit[] {
  const { tokens, verb } = statement;
  if (verb === 'SET') return setEdits(tokens, variables);
  if (verb === 'SHOW') return showEdits(tokens, variables);
  const edits: Edit[] = [];
  tokens.forEach((token, i) => {
    const value =
      variableValue(token, variables) ??
      (isWord(token, 'VERSION') && isOperator(tokens[i + 1], '(') ? variables['version'] : undefined);
    if (value === undefined) return;
    const call = token.kind === 'word';
    const end = call ? (tokens[i + 2]?.end ?? token.end) : token.end;
    const alias = isSelectItem(tokens, i, call ? i + 3 : i + 1) ? ` AS \`${call ? 'version()' : token.value}\`` : '';
    edits.push({ start: token.start, end, text: literal(value) + alias });
  });
  return edits;
}

function variableValue(token: Token, variables: Variables): string | number | undefined {
  if (token.kind !== 'variable' || !token.value.startsWith('@@')) return undefined;
  const name = token.value
    .slice(2)
    .toLowerCase()
    .replace(/^(global|session|local)\./, '');
  return Object.hasOwn(variables, name) ? variables[name] : undefined;
}

/** Whether the tokens are a whole item of a SELECT list, so that the column must keep the name that the server gives it. */
function isSelectItem(tokens: Token[], at: number, after: number): boolean {
  const depth = tokens[at]?.depth ?? 0;
  const next = tokens[after];
  const ends =
    next === undefined ||
    next.depth < depth ||
    isOperator(next, ',') ||
    isWord(next, 'FROM', 'LIMIT', 'WHERE', 'UNION');
  if (!ends || !(isOperator(tokens[at - 1], ',') || isWord(tokens[at - 1], 'SELECT', 'DISTINCT', 'ALL'))) return false;
  for (let i = at - 1; i >= 0 && (tokens[i]?.depth ?? 0) >= depth; i--) {
    if (tokens[i]?.depth !== depth) continue;
    if (isWord(tokens[i], 'SELECT')) return true;
    if (isWord(tokens[i], 'FROM', 'WHERE', 'VALUES', 'SET', 'BY')) return false;
  }
  return false;
}

/** `SET GLOBAL data_conversion_compatibility_level = …` and the like succeed without an effect. */
function setEdits(tokens: Token[], variables: Variables): Edit[] {
  const at = tokens.findIndex((token, i) => {
    const name = token.value.toLowerCase().replace(/^@@((global|session|local)\.)?/, '');
    return (
      (token.kind === 'word' || token.kind === 'variable') &&
      isOperator(tokens[i + 1], '=') &&
      Object.hasOwn(variables, name)
    );
  });
  return at < 0 ? [] : [replaceTokens(tokens, 'DO 0')];
}

/** `SHOW VARIABLES LIKE 'memsql_version'` with the name of one variable. */
function showEdits(tokens: Token[], variables: Variables): Edit[] {
  const like = tokens.findIndex((token) => isWord(token, 'LIKE') || isOperator(token, '='));
  const name = tokens[like + 1]?.value.toLowerCase() ?? '';
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (like < 0 || value === undefined || !tokens.slice(1, 4).some((token) => isWord(token, 'VARIABLES'))) return [];
  return [replaceTokens(tokens, `SELECT '${name}' AS Variable_name, ${literal(String(value))} AS Value`)];
}

function literal(value: string | number): string {
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}

/**
 * What a session of the backend needs to behave like one of SingleStore: READ COMMITTED (docs: FAQ isolation levels), the
 * strictness of the conversion level (docs: Data Type Conversion; zero dates are stored) and no limit of a page for rows.
 */
export function sessionSettings(level: string): string[] {
  const strict = level >= '7.0' ? 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,' : '';
  return [
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
    `SET SESSION sql_mode = '${strict}NO_ENGINE_SUBSTITUTION', innodb_strict_mode = 0`,
  ];
}
