/** What the lines of SHOW GRANTS allow. Lines may hold password hashes: they are read here and go nowhere else. */
export type Rights = readonly {
  readonly all: boolean;
  readonly rights: ReadonlySet<string>;
  readonly matches: (database: string) => boolean;
}[];

/** Reads SHOW GRANTS. Grants on single tables do not count: tables are made and dropped. */
export function grantedRights(lines: readonly string[]): Rights {
  return lines.flatMap((line) => {
    const found = /^GRANT ([\s\S]+?) ON (\*|`(?:[^`]|``)*`|[^\s.`]+)\.\* TO /i.exec(line);
    if (!found) return [];
    const rights = new Set(
      (found[1] as string)
        .replace(/\([^)]*\)/g, '')
        .split(',')
        .map((right) => right.trim().toUpperCase()),
    );
    const all = rights.has('ALL PRIVILEGES') || rights.has('ALL');
    return [{ all, rights, matches: databasePattern(found[2] as string) }];
  });
}

/** Database names in grants are LIKE patterns. */
function databasePattern(word: string): (database: string) => boolean {
  if (word === '*') return () => true;
  const pattern = word.startsWith('`') ? word.slice(1, -1).replaceAll('``', '`') : word;
  const source = pattern.replace(/\\[_%]|[_%]|[.*+?^${}()|[\]\\]/g, (match) => {
    if (match === '_') return '.';
    if (match === '%') return '.*';
    if (match.length === 2) return match.slice(1);
    return `\\${match}`;
  });
  const expression = new RegExp(`^${source}$`, 'su');
  return (database) => expression.test(database);
}
