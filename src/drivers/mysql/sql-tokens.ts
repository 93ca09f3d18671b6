import type { LogStatement } from './log-events.ts';

/** A piece of a statement. Names have lost their quotes. */
export type Token = { readonly kind: 'word' | 'name' | 'other'; readonly text: string };

/**
 * Cuts a statement as the server's own scanner does, by the session's modes: comments fall away, the content of executable ones stays,
 * strings and numbers are `other`.
 */
export function sqlTokens(statement: Pick<LogStatement, 'sql' | 'ansiQuotes' | 'plainBackslash'>): Token[] {
  const { sql, ansiQuotes, plainBackslash } = statement;
  const tokens: Token[] = [];
  let at = 0;

  /** The text in quotes that begins at `at`, which moves behind it. */
  function quoted(quote: string, escapes: boolean): string {
    let text = '';
    at++;
    while (at < sql.length) {
      const char = sql[at++] as string;
      if (char === quote) {
        if (sql[at] !== quote) break;
        text += quote;
        at++;
      } else if (escapes && char === '\\') text += sql[at++] ?? '';
      else text += char;
    }
    return text;
  }

  while (at < sql.length) {
    const char = sql[at] as string;
    if (/\s/.test(char)) at++;
    else if (char === '#' || (char === '-' && /^--(\s|$)/.test(sql.slice(at, at + 3)))) {
      const line = sql.indexOf('\n', at);
      at = line < 0 ? sql.length : line + 1;
    } else if (sql.startsWith('/*', at)) {
      const code = /^\/\*M?!\d*/.exec(sql.slice(at, at + 12));
      if (code) at += code[0].length;
      else {
        const end = sql.indexOf('*/', at + 2);
        at = end < 0 ? sql.length : end + 2;
      }
    } else if (sql.startsWith('*/', at)) at += 2;
    else if (char === '`') tokens.push({ kind: 'name', text: quoted('`', false) });
    else if (char === '"' && ansiQuotes) tokens.push({ kind: 'name', text: quoted('"', false) });
    else if (char === '"' || char === "'") tokens.push({ kind: 'other', text: `'${quoted(char, !plainBackslash)}'` });
    else {
      const word = /^[\p{L}\p{N}_$\u0080-\uffff]+/u.exec(sql.slice(at, at + 256))?.[0];
      if (word === undefined) tokens.push({ kind: 'other', text: char });
      else tokens.push({ kind: 'word', text: word });
      at += word?.length ?? 1;
    }
  }
  return tokens;
}

/** Whether a token is this keyword, however it is spelled. */
export function isWord(token: Token | undefined, ...words: readonly string[]): boolean {
  return token?.kind === 'word' && words.includes(token.text.toLowerCase());
}

export function isSign(token: Token | undefined, sign: string): boolean {
  return token?.kind === 'other' && token.text === sign;
}

/** The place behind `words` at `at`, each of which may be missing. */
export function skip(tokens: readonly Token[], at: number, ...words: readonly string[]): number {
  while (isWord(tokens[at], ...words)) at++;
  return at;
}

/** A table's name; `schema` undefined: the session's default. */
export type SqlName = { readonly schema: string | undefined; readonly name: string };

/** The name at `tokens[at]`, with its schema where one stands in front; undefined where no name can be. */
export function readName(
  tokens: readonly Token[],
  at: number,
): { readonly name: SqlName; readonly next: number } | undefined {
  const first = tokens[at];
  if (!first || first.kind === 'other') return undefined;
  const second = tokens[at + 2];
  if (isSign(tokens[at + 1], '.') && second && second.kind !== 'other')
    return { name: { schema: first.text, name: second.text }, next: at + 3 };
  return { name: { schema: undefined, name: first.text }, next: at + 1 };
}
