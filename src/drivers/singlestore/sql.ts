/** A piece of SQL that goes into a statement as it is: a quoted name, a list, a clause. */
export type Raw = { readonly raw: string };

/** What a statement may be given; strings become literals. */
export type Value = string | number | bigint | null | Raw | readonly (string | number)[];

/**
 * Builds one statement of the text protocol. `[name]` becomes a name in backticks, so that no server's reserved words matter; values become
 * literals, arrays comma-separated lists of them. A `?` in a name stays what it is. Backslashes are escaped: sessions never run with
 * `NO_BACKSLASH_ESCAPES`.
 */
export function sql(strings: TemplateStringsArray, ...values: readonly Value[]): string {
  let text = named(strings[0] ?? '');
  for (let i = 0; i < values.length; i++) text += literal(values[i] as Value) + named(strings[i + 1] ?? '');
  return text;
}

/** A name in backticks; then reserved words and odd characters do not matter (singlestore.md §1). */
export function quote(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** `database`.`table`, for use in `sql`. */
export function table(database: string, name: string): Raw {
  return { raw: `${quote(database)}.${quote(name)}` };
}

/** A string as literal. */
export function text(value: string): string {
  return `'${value.replace(SPECIAL, (character) => ESCAPES[character] ?? `\\${character}`)}'`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL and Ctrl-Z are what has to be escaped.
const SPECIAL = /[\0\n\r\t\x1a'"\\]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\0': '\\0', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\x1a': '\\Z' };

/** INSERT statements of at most about 1 MB each; `head` ends before VALUES, `tail` may be an ON DUPLICATE KEY UPDATE. */
export function inserts(head: string, rows: readonly (readonly Value[])[], tail = ''): string[] {
  const statements: string[] = [];
  let lines: string[] = [];
  let length = 0;
  const close = () => {
    if (lines.length > 0) statements.push(`${head} values ${lines.join(', ')} ${tail}`.trimEnd());
    lines = [];
    length = 0;
  };
  for (const row of rows) {
    const line = `(${row.map(literal).join(', ')})`;
    lines.push(line);
    length += line.length;
    if (length > 1_000_000 || lines.length >= 500) close();
  }
  close();
  return statements;
}

function named(words: string): string {
  return words.replace(/\[(\w+)\]/g, '`$1`');
}

function literal(value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if ('raw' in value) return value.raw;
  return value.map(literal).join(', ');
}
