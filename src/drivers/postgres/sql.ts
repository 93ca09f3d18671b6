/** An identifier as SQL, whatever it holds. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text literal as SQL; sessions have standard_conforming_strings on. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A table's qualified name as SQL. */
export function quoteTable(ref: { readonly schema: string; readonly name: string }): string {
  return `${quoteName(ref.schema)}.${quoteName(ref.name)}`;
}
