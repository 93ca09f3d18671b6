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

/** Whether a statement names a table, in its own schema or without one. */
export function mentions(sql: string, schema: string, name: string): boolean {
  const quoted = sql.includes(`"${name}"`);
  const plain = new RegExp(`(?<![\\w$#"])${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w$#"])`, 'i').test(sql);
  if (!quoted && !plain) return false;
  const before = new RegExp(
    `(?:"([^"]+)"|([\\w$#]+))\\s*\\.\\s*"?${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w$#])`,
    'i',
  ).exec(sql);
  const owner = before?.[1] ?? before?.[2]?.toUpperCase();
  return owner === undefined || owner === schema || owner.toUpperCase() === schema.toUpperCase();
}
