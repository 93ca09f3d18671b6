import { closing, compact, isName, isSymbol, isWord, splitList, type Token, tokenize } from './tsql.ts';

/** What a statement is about, for its rewriting: types of columns by table, and primary keys for CHANGETABLE. */
export type Schema = {
  readonly defaultSchema: string;
  columnType(table: string, column: string): string | undefined;
  changeTable(table: string): string;
};

/** A SELECT or DML statement of T-SQL as SQLite takes it, and the types of its columns where they can be told. */
export type Rewritten = {
  readonly sql: string;
  readonly columns: readonly { name: string; type: string | undefined }[];
};

type Scope = { readonly schema: Schema; readonly tables: readonly { name: string; alias: string }[]; limit: string };

const TABLE_BEFORE = ['FROM', 'JOIN', 'INTO', 'UPDATE', 'CHANGES'];

export function rewrite(sql: string, schema: Schema): Rewritten {
  const tokens = tokenize(sql);
  const scope: Scope = { schema, tables: tablesOf(tokens, schema), limit: '' };
  return {
    columns: isWord(tokens[0], 'SELECT') ? selectList(tokens, scope) : [],
    sql: render(tokens, scope) + scope.limit,
  };
}

/** Names that a table position holds: `schema.name`. */
export function tableAt(tokens: readonly Token[], at: number, schema: Schema): { name: string; next: number } {
  if (isSymbol(tokens[at + 1], '.') && isSymbol(tokens[at + 3], '.'))
    return { name: `${tokens[at]?.text}.${tokens[at + 2]?.text}.${tokens[at + 4]?.text}`, next: at + 5 };
  if (isSymbol(tokens[at + 1], '.')) return { name: `${tokens[at]?.text}.${tokens[at + 2]?.text}`, next: at + 3 };
  return { name: `${schema.defaultSchema}.${tokens[at]?.text}`, next: at + 1 };
}

function tablesOf(tokens: readonly Token[], schema: Schema): { name: string; alias: string }[] {
  const found: { name: string; alias: string }[] = [];
  for (const [at, token] of tokens.entries()) {
    if (!isWord(token, ...TABLE_BEFORE) || !isName(tokens[at + 1]) || isWord(tokens[at + 1], 'CHANGETABLE')) continue;
    let { name, next } = tableAt(tokens, at + 1, schema);
    if (isWord(token, 'CHANGES')) next += 3;
    const alias = isWord(tokens[next], 'AS') ? (tokens[next + 1]?.text ?? '') : '';
    found.push({ name, alias });
  }
  return found;
}

function selectList(tokens: readonly Token[], scope: Scope): { name: string; type: string | undefined }[] {
  let start = 1;
  if (isWord(tokens[1], 'TOP')) start = closing(tokens, 2) + 1;
  let end = start;
  for (let depth = 0; end < tokens.length; end++) {
    if (isSymbol(tokens[end], '(')) depth++;
    if (isSymbol(tokens[end], ')')) depth--;
    if (depth === 0 && isWord(tokens[end], 'FROM', 'WHERE', 'UNION')) break;
  }
  return splitList(tokens.slice(start, end)).flatMap((item) => {
    if (item.length === 1 && isSymbol(item[0], '*')) return [];
    const as = item.findLastIndex((token) => isWord(token, 'AS'));
    const named = as > 0 && as === item.length - 2;
    const body = named ? item.slice(0, as) : item;
    const last = body.at(-1);
    return [
      { name: named ? (item.at(-1)?.text ?? '') : isName(last) ? (last?.text ?? '') : '', type: typeOf(body, scope) },
    ];
  });
}

/** The T-SQL type of an expression, as far as it can be told from its words. */
function typeOf(tokens: readonly Token[], scope: Scope): string | undefined {
  const [first] = tokens;
  if (isWord(first, 'CONVERT')) {
    const end = closing(tokens, 1);
    if (end === tokens.length - 1) return compact(splitList(tokens.slice(2, end))[0] ?? []);
  }
  if (isWord(first, 'SWITCHOFFSET')) return 'datetime2(7)';
  if (isWord(first, 'MIN', 'MAX')) return typeOf(tokens.slice(2, -1), scope);
  if (tokens.some(({ kind }) => kind === 'string') && tokens.some((token) => isSymbol(token, '+')))
    return 'nvarchar(max)';
  if (first?.kind === 'string') return 'nvarchar(max)';
  if (isWord(tokens.at(-3), 'ToString'.toUpperCase())) return 'nvarchar(4000)';
  if (isName(first) && tokens.length === 1) return columnType('', first?.text ?? '', scope);
  if (isName(first) && tokens.length === 3 && isSymbol(tokens[1], '.'))
    return columnType(first?.text ?? '', tokens[2]?.text ?? '', scope);
  return undefined;
}

function columnType(alias: string, column: string, { tables, schema }: Scope): string | undefined {
  for (const table of tables) {
    if (alias !== '' && table.alias !== alias) continue;
    const type = schema.columnType(table.name, column);
    if (type !== undefined) return type;
  }
  return undefined;
}

/** SQLite tells tables apart by case only if we do. */
export function tableName(name: string): string {
  return quoted(name.replace(/[A-Z]/g, '^$&'));
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function render(tokens: readonly Token[], scope: Scope): string {
  const out: string[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as Token;
    const next = tokens[at + 1];
    if (isWord(token, 'CONVERT') && isSymbol(next, '(')) {
      const end = closing(tokens, at + 1);
      const [type = [], value = [], style] = splitList(tokens.slice(at + 2, end));
      out.push(
        `tsql_convert('${compact(type)}', '${typeOf(value, scope) ?? ''}', ${render(value, scope)}, ${style ? render(style, scope) : 'NULL'})`,
      );
      at = end;
    } else if (isWord(token, 'CHANGETABLE')) {
      const { name } = tableAt(tokens, at + 3, scope.schema);
      const end = closing(tokens, at + 1);
      const [, since = []] = splitList(tokens.slice(at + 2, end));
      out.push(
        `(SELECT *, CASE WHEN "$gone" THEN 'D' WHEN "$created" > ${render(since, scope)} THEN 'I' ELSE 'U' END AS SYS_CHANGE_OPERATION FROM ${tableName(scope.schema.changeTable(name))} WHERE "$last" > ${render(since, scope)})`,
      );
      at = end;
    } else if (isWord(token, 'TOP')) {
      const end = closing(tokens, at + 1);
      scope.limit = ` LIMIT ${render(tokens.slice(at + 2, end), scope)}`;
      at = end;
    } else if (isWord(token, 'OFFSET')) {
      out.push(`LIMIT ${tokens[at + 5]?.text} OFFSET ${next?.text}`);
      at += 7;
    } else if (isWord(token, 'WITH') && isSymbol(next, '(')) at = closing(tokens, at + 1);
    else if (isWord(token, 'COLLATE')) at++;
    else if (isWord(token, 'DATEDIFF', 'DATEADD')) {
      const end = closing(tokens, at + 1);
      const [part, ...rest] = splitList(tokens.slice(at + 2, end));
      out.push(
        `tsql_${token.text.toLowerCase()}('${compact(part ?? [])}', ${rest.map((one) => render(one, scope)).join(', ')})`,
      );
      at = end;
    } else if (isWord(token, ...TABLE_BEFORE) && isName(next) && !isWord(next, 'CHANGETABLE')) {
      const table = tableAt(tokens, at + 1, scope.schema);
      out.push(token.text, tableName(table.name));
      at = table.next - 1;
    } else if (isName(token) && isSymbol(next, '.')) at = path(tokens, at, out);
    else if (token.kind === 'name' && isSymbol(next, '.')) at = path(tokens, at, out);
    else out.push(plain(tokens, at));
  }
  return out.join(' ');
}

/** `a.b`, `sys.fn(`, `[c].ToString()`, `t.[c].STSrid`: returns where it ends. */
function path(tokens: readonly Token[], start: number, out: string[]): number {
  const names = [tokens[start] as Token];
  let at = start;
  while (isSymbol(tokens[at + 1], '.') && isName(tokens[at + 2])) {
    names.push(tokens[at + 2] as Token);
    at += 2;
  }
  const last = names.at(-1) as Token;
  if (isWord(names[0], 'SYS') && isSymbol(tokens[at + 1], '(')) {
    out.push(last.text);
    return at;
  }
  const method = last.kind === 'word' ? METHODS[last.text] : undefined;
  const column = (method === undefined ? names : names.slice(0, -1)).map(({ text }) => quoted(text)).join('.');
  out.push(method === undefined ? column : `${method}(${column})`);
  return method !== undefined && isSymbol(tokens[at + 1], '(') ? at + 2 : at;
}

const METHODS: Readonly<Record<string, string>> = { ToString: 'tsql_same', STSrid: 'tsql_srid', AsTextZM: 'tsql_wkt' };

function plain(tokens: readonly Token[], at: number): string {
  const { kind, text } = tokens[at] as Token;
  switch (kind) {
    case 'name':
      return quoted(text);
    case 'string':
      return `'${text.replaceAll("'", "''")}'`;
    case 'hex':
      return `X'${text}'`;
    case 'symbol':
      return text === '+' && (tokens[at - 1]?.kind === 'string' || tokens[at + 1]?.kind === 'string') ? '||' : text;
    default:
      return text;
  }
}
