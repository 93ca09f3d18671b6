/** A piece of T-SQL. `name`: a bracketed identifier, its text without brackets. */
export type Token = {
  readonly kind: 'word' | 'name' | 'string' | 'number' | 'hex' | 'param' | 'symbol';
  readonly text: string;
};

const PATTERN =
  /\s+|--[^\n]*|\[((?:[^\]]|\]\])*)\]|"((?:[^"]|"")*)"|N?'((?:[^']|'')*)'|(0x[0-9A-Fa-f]*)|(@\w+)|(\d+(?:\.\d+)?(?:e[+-]?\d+)?)|([A-Za-z_#$][\w$#]*)|(<>|>=|<=|!=|[-+*/(),.;=<>%])/giy;

/** The tokens of a batch; throws where it holds something that no statement of ours has. */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = [];
  PATTERN.lastIndex = 0;
  while (PATTERN.lastIndex < sql.length) {
    const at = PATTERN.lastIndex;
    const match = PATTERN.exec(sql);
    if (!match) throw new Error(`not T-SQL that the fake knows: ${sql.slice(at, at + 40)}`);
    const [, bracketed, quoted, string, hex, param, number, word, symbol] = match;
    if (bracketed !== undefined) tokens.push({ kind: 'name', text: bracketed.replaceAll(']]', ']') });
    else if (quoted !== undefined) tokens.push({ kind: 'name', text: quoted.replaceAll('""', '"') });
    else if (string !== undefined) tokens.push({ kind: 'string', text: string.replaceAll("''", "'") });
    else if (hex !== undefined) tokens.push({ kind: 'hex', text: hex.slice(2) });
    else if (param !== undefined) tokens.push({ kind: 'param', text: param });
    else if (number !== undefined) tokens.push({ kind: 'number', text: number });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol });
  }
  return tokens;
}

export function isWord(token: Token | undefined, ...words: readonly string[]): boolean {
  return token?.kind === 'word' && words.includes(token.text.toUpperCase());
}

export function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}

export function isName(token: Token | undefined): boolean {
  return token?.kind === 'name' || token?.kind === 'word';
}

/** The index of the parenthesis that closes the one at `open`. */
export function closing(tokens: readonly Token[], open: number): number {
  for (let at = open, depth = 0; at < tokens.length; at++) {
    if (isSymbol(tokens[at], '(')) depth++;
    if (isSymbol(tokens[at], ')') && --depth === 0) return at;
  }
  throw new Error('a parenthesis is not closed');
}

/** Splits at commas outside parentheses. */
export function splitList(tokens: readonly Token[]): Token[][] {
  const items: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isSymbol(token, '(')) depth++;
    if (isSymbol(token, ')')) depth--;
    if (depth === 0 && isSymbol(token, ',')) items.push([]);
    else items.at(-1)?.push(token);
  }
  return items;
}

/** Tokens as text without blanks: types, mostly. */
export function compact(tokens: readonly Token[]): string {
  return tokens.map(({ text }) => text).join('');
}
