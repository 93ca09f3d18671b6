/** `name` as an identifier in T-SQL text, whatever QUOTED_IDENTIFIER says. */
export function quoteName(name: string): string {
  return `[${name.replaceAll(']', ']]')}]`;
}

/** `schema.name`, both quoted. */
export function quoteTable({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}

/** `text` as a Unicode literal. */
export function quoteText(text: string): string {
  return `N'${text.replaceAll("'", "''")}'`;
}
