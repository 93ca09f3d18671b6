/** What a statement of the data dictionary does to the rows of a table. */
export type DdlEffect =
  /** Neither rows nor columns change. */
  | 'none'
  | 'truncate'
  /** Columns came that are NULL in every row. */
  | 'added'
  /** It may have changed columns: whether it did, the catalog shows. */
  | 'columns'
  /** Rows came or went, or were rewritten, without a word in the log. */
  | 'rows';

/** Reads the statement as far as that needs. */
export function ddlEffect(sql: string): DdlEffect {
  const words = sql
    .replace(/\/\*[\s\S]*?\*\/|--[^\n]*/g, ' ')
    .replace(/'(?:[^']|'')*'/g, "''")
    .replace(/\s+/g, ' ')
    .trim()
    .toLowerCase();
  if (/^truncate table/.test(words)) return 'truncate';
  if (/^(?:drop|rename|flashback|purge) /.test(words))
    return /^(?:drop|purge) (?:table|materialized view|user)|^rename|^flashback table/.test(words) ? 'rows' : 'none';
  if (/^create (?:or replace )?(?:table|(?:global|private) )/.test(words)) return 'rows';
  if (!/^alter (?:table|materialized view)/.test(words)) return 'none';
  const plain = words.replace(/"[^"]*"/g, '""');
  // A move may leave rows behind (12.2 and later).
  if (/\bincluding rows\b/.test(plain)) return 'rows';
  if (/\b(?:drop|truncate|exchange|merge|split|move) (?:sub)?partitions?\b/.test(plain))
    return /\b(?:drop|truncate|exchange) (?:sub)?partitions?\b/.test(plain) ? 'rows' : 'none';
  if (/\brename to\b/.test(plain)) return 'rows';
  const adds =
    /^alter table \S+ add\b(?! (?:supplemental|constraint|partition|subpartition|primary|unique|check|foreign))/.test(
      plain,
    );
  const other =
    /\b(?:default|generated|identity|as|drop|modify|rename|set unused|encrypt|invisible|constraint|unique|primary|references|check|not null)\b/.test(
      plain.replace(/^alter table \S+ add/, ''),
    );
  return adds && !other ? 'added' : 'columns';
}

/** Whether a statement names a table, in its own schema or without one. `owner`: the schema that names without one are of; '' is not known. */
export function mentions(sql: string, schema: string, name: string, owner: string): boolean {
  const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const places = new RegExp(
    `(?:(?:"([^"]+)"|([\\w$#]+))\\s*\\.\\s*)?(?:"${escaped}"|(?<![\\w$#"])(${escaped})(?![\\w$#"]))`,
    'gi',
  );
  for (const [whole, quoted, plain, bare] of sql.matchAll(places)) {
    // Names in quotes are meant as they stand.
    if (bare === undefined && !whole.endsWith(`"${name}"`)) continue;
    const of = quoted ?? plain?.toUpperCase() ?? (owner === 'UNKNOWN' ? '' : owner);
    if (of === '' || of === schema || (quoted === undefined && of.toUpperCase() === schema.toUpperCase())) return true;
  }
  return false;
}

/** Whether a statement drops a schema with all that is in it. */
export function dropsUser(sql: string, schema: string): boolean {
  const [, quoted, plain] = /^\s*drop\s+user\s+(?:"([^"]+)"|([\w$#]+))/i.exec(sql) ?? [];
  return (quoted ?? plain?.toUpperCase()) === schema;
}
