/** What a token is. `variable` is `@x` or `@@x`, `number` includes hexadecimal and bit literals. */
type TokenKind = 'word' | 'identifier' | 'string' | 'number' | 'variable' | 'operator';

/** One lexical unit of an SQL text; `text.slice(start, end)` is its source. */
export type Token = {
  kind: TokenKind;
  start: number;
  end: number;
  /** A word as written, an identifier or string without its quotes, everything else as written. */
  value: string;
  /** The upper-case spelling of a word, '' for every other kind, so that quoted names never look like keywords. */
  word: string;
  /** Number of parentheses open around the token; a parenthesis itself has the depth of what surrounds it. */
  depth: number;
};

const WORD = /[\p{L}\p{N}_$\u0080-\uffff]+/uy;
const NUMBER = /0[xX][0-9a-fA-F]+|0b[01]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const BINARY = /[xXbB]'[0-9a-fA-F]*'/y;
const VARIABLE = /@@?(?:`(?:[^`]|``)*`|[\w$.\u0080-\uffff]+)?/y;
const OPERATOR = /!:>|<=>|->>|:>|<=|>=|<>|!=|\|\||&&|:=|::|<<|>>|->|<-|./suy;

/** Above this number of tokens, parts of parenthesised lists are dropped: a 20 MB INSERT need not be held as tokens. */
const KEPT = 100_000;

/**
 * Cuts an SQL text of the MySQL family into tokens; comments and white space leave none. What stands in a comment opened by
 * slash-star-bang is code; one opened by slash-star-M-bang is MariaDB's alone and a comment to SingleStore. Default `sql_mode` is assumed: double
 * quotes make strings and a backslash escapes. Never throws: an unterminated string or comment reaches to the end.
 */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let depth = 0;
  const push = (kind: TokenKind, end: number, value = text.slice(at, end), word = '') => {
    if (tokens.length < KEPT || depth === 0 || looksLikeDate(value))
      tokens.push({ kind, start: at, end, value, word, depth });
    at = end;
  };
  while (at < text.length) {
    const code = text.charCodeAt(at);
    const char = text[at] as string;
    if (code <= 32) at++;
    else if (char === "'" || char === '"') {
      const end = quotedEnd(text, at, char, true);
      push('string', end, unescaped(text.slice(at + 1, end - 1), char));
    } else if (char === '`') {
      const end = quotedEnd(text, at, char, false);
      push('identifier', end, text.slice(at + 1, end - 1).replaceAll('``', '`'));
    } else if (char === '#' || (char === '-' && /^--(?:[\s]|$)/.test(text.slice(at, at + 3)))) at = lineEnd(text, at);
    else if (text.startsWith('/*!', at)) at = match(/\/\*!\d*/y, text, at);
    else if (text.startsWith('/*', at)) at = commentEnd(text, at);
    else if (text.startsWith('*/', at)) at += 2;
    else if (char === '@') push('variable', match(VARIABLE, text, at));
    else if (char === '(') {
      push('operator', at + 1);
      depth++;
    } else if (char === ')') {
      depth = Math.max(0, depth - 1);
      push('operator', at + 1);
    } else {
      const binary = text[at + 1] === "'" ? match(BINARY, text, at) : 0;
      const number =
        binary || (isDigit(code) || (char === '.' && isDigit(text.charCodeAt(at + 1))) ? match(NUMBER, text, at) : 0);
      const word = match(WORD, text, at);
      // MySQL lets names begin with digits: `2fa` is a name, `2` and `2e5` are numbers.
      if (number && number >= word) push('number', number);
      else if (word) push('word', word, undefined, text.slice(at, word).toUpperCase());
      else push('operator', match(OPERATOR, text, at) || at + 1);
    }
  }
  return tokens;
}

/** Cuts tokens at semicolons; empty statements are left out. */
export function splitStatements(tokens: Token[]): Token[][] {
  const statements: Token[][] = [[]];
  for (const token of tokens) {
    if (token.kind === 'operator' && token.value === ';') statements.push([]);
    else (statements.at(-1) as Token[]).push(token);
  }
  return statements.filter((statement) => statement.length > 0);
}

/** Whether the token is one of these unquoted words (given in upper case). */
export function isWord(token: Token | undefined, ...words: string[]): boolean {
  return token !== undefined && token.word !== '' && words.includes(token.word);
}

/** Whether the token is this operator. */
export function isOperator(token: Token | undefined, operator: string): boolean {
  return token?.kind === 'operator' && token.value === operator;
}

/** Whether the token can be a name: a word or a quoted identifier. */
export function isName(token: Token | undefined): token is Token {
  return token?.kind === 'word' || token?.kind === 'identifier';
}

/** Index after the parenthesis that closes the one at `open`. */
export function afterParenthesis(tokens: Token[], open: number): number {
  const depth = tokens[open]?.depth;
  for (let i = open + 1; i < tokens.length; i++) {
    if (isOperator(tokens[i], ')') && tokens[i]?.depth === depth) return i + 1;
  }
  return tokens.length;
}

/** Cuts tokens at the commas of one depth. */
export function splitCommas(tokens: Token[], depth: number): Token[][] {
  const parts: Token[][] = [[]];
  for (const token of tokens) {
    if (token.depth === depth && isOperator(token, ',')) parts.push([]);
    else (parts.at(-1) as Token[]).push(token);
  }
  return parts.filter((part) => part.length > 0);
}

/** Index of the first place where these words follow each other at the depth, or -1. */
export function findWords(tokens: Token[], words: string[], depth = 0, from = 0): number {
  for (let i = from; i + words.length <= tokens.length; i++) {
    if (tokens[i]?.depth === depth && words.every((word, n) => isWord(tokens[i + n], word))) return i;
  }
  return -1;
}

function match(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : 0;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function looksLikeDate(value: string): boolean {
  return value.length >= 8 && value.length <= 32 && /^\d{1,4}-\d/.test(value);
}

function quotedEnd(text: string, open: number, quote: string, escapes: boolean): number {
  for (let at = open + 1; ; ) {
    const close = text.indexOf(quote, at);
    if (close < 0) return text.length;
    if (escapes) {
      let slashes = 0;
      while (close - 1 - slashes > open && text[close - 1 - slashes] === '\\') slashes++;
      if (slashes % 2 === 1) {
        at = close + 1;
        continue;
      }
    }
    if (text[close + 1] !== quote) return close + 1;
    at = close + 2;
  }
}

function unescaped(body: string, quote: string): string {
  if (!body.includes('\\') && !body.includes(quote)) return body;
  const named: Record<string, string> = { n: '\n', t: '\t', r: '\r', '0': '\0', b: '\b', Z: '\x1a' };
  return body.replace(/\\([\s\S])|''|""/g, (all, char: string | undefined) =>
    char === undefined ? (all[0] === quote ? quote : all) : (named[char] ?? char),
  );
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end + 1;
}

function commentEnd(text: string, at: number): number {
  const end = text.indexOf('*/', at + 2);
  return end < 0 ? text.length : end + 2;
}
