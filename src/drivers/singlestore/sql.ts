/** A piece of SQL that goes into a statement as it is: a quoted name, a list, a clause. */
export type Raw = { readonly raw: string };

/** What a statement may be given; strings become literals. */
export type Value = string | number | bigint | null | Raw | readonly (string | number)[];

/**
 * Builds one statement of the text protocol: values become literals, arrays comma-separated lists of them. Names never pass through
 * placeholders, so a `?` in a name stays what it is. Backslashes are escaped: sessions never run with `NO_BACKSLASH_ESCAPES`.
 */
export function sql(strings: TemplateStringsArray, ...values: readonly Value[]): string {
  let text = strings[0] ?? '';
  for (let i = 0; i < values.length; i++) text += literal(values[i] as Value) + (strings[i + 1] ?? '');
  return text;
}

/** Puts SQL text into a statement unchanged. */
export function raw(text: string): Raw {
  return { raw: text };
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

/** Rows of a multi-row INSERT: `(…), (…)`. */
export function tuples(rows: readonly (readonly Value[])[]): Raw {
  return { raw: rows.map((row) => `(${row.map(literal).join(', ')})`).join(', ') };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL and Ctrl-Z are what has to be escaped.
const SPECIAL = /[\0\n\r\t\x1a'"\\]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\0': '\\0', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\x1a': '\\Z' };

function literal(value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if ('raw' in value) return value.raw;
  return value.map(literal).join(', ');
}
