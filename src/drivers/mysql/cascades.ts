import type { Cascade, Column } from '../model.ts';
import type { Connection } from './connection.ts';
import { type CatalogColumn, quoteName } from './types.ts';

/** Foreign keys whose actions change rows below the log: InnoDB's own, until MySQL 9.6 moved that work above it (EXACTNESS.md §7). */

/** One foreign key with CASCADE or SET NULL, as the catalog shows it. */
export type CatalogCascade = Pick<Cascade, 'name' | 'parent' | 'columns' | 'references'> & {
  /** What happens to the rows: a part of the table's DDL, e.g. `ON DELETE CASCADE`. */
  readonly rules: string;
};

/** Whether the server logs what foreign keys do. */
export async function logsCascades({ facts, query }: Connection): Promise<boolean> {
  if (facts.product !== 'MySQL' || facts.number < 90_600) return false;
  const [row] = await query("show global variables like 'innodb_native_foreign_keys'");
  return row?.[1] !== 'ON';
}

/** Foreign keys of tables of one schema, by table, as KEY_COLUMN_USAGE lists them: all users see those of tables that they may read. */
export function groupForeignKeys(rows: readonly (readonly (string | null)[])[]): Map<string, CatalogCascade[]> {
  const found = new Map<string, Map<string, { key: CatalogCascade; parts: [number, string, string][] }>>();
  for (const row of rows) {
    const [table, name, column, order, schema, parent, reference] = row.map((cell) => cell ?? '') as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const keys = found.get(table) ?? new Map();
    found.set(table, keys);
    const one = keys.get(name) ?? {
      key: { name, parent: { schema, name: parent }, columns: [], references: [], rules: '' },
      parts: [],
    };
    keys.set(name, one);
    one.parts.push([Number(order), column, reference]);
  }
  return new Map(
    [...found].map(([table, keys]) => [
      table,
      [...keys.values()].map(({ key, parts }) => {
        parts.sort((a, b) => a[0] - b[0]);
        return { ...key, columns: parts.map((part) => part[1]), references: parts.map((part) => part[2]) };
      }),
    ]),
  );
}

/** Those of a table's foreign keys that change its rows. REFERENTIAL_CONSTRAINTS hides from users of MariaDB who may only read: the DDL tells them. */
export async function withActions(
  connection: Connection,
  schema: string,
  table: string,
  keys: readonly CatalogCascade[],
): Promise<CatalogCascade[]> {
  const [row] = await connection.query(`show create table ${quoteName(schema)}.${quoteName(table)}`);
  const lines = (row?.[1] ?? '').split('\n');
  return keys
    .map((key) => {
      const line = lines.find((one) => one.trimStart().startsWith(`CONSTRAINT ${quoteName(key.name)} FOREIGN KEY `));
      // A key that is not found may do anything.
      if (line === undefined) return { ...key, rules: 'not known' };
      const rest = line.slice(line.lastIndexOf(')') + 1);
      const rules = [...rest.matchAll(/ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL)/g)].map(([rule]) => rule);
      return { ...key, rules: rules.join(' ') };
    })
    .filter((key) => key.rules !== '')
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Types whose values are equal at the source exactly when their copies are. */
const PLAIN = new Set(
  'tinyint smallint mediumint int bigint decimal date time datetime timestamp year binary varbinary uuid inet4 inet6'.split(
    ' ',
  ),
);
const BYTEWISE = /_bin$/;
/** Collations without rules of one language: printable ASCII differs in case and in spaces at the end only where they hold it equal. */
const LETTERS =
  /^\w+?_(general(_nopad)?_c[is]|general_mysql500_ci|unicode(_520)?(_nopad)?_ci|0900_(ai_ci|as_ci|as_cs)|uca1400(_nopad)?_a[is]_c[is])$|^latin1_swedish(_nopad)?_ci$/;

/** A foreign key as the destination needs it: how its columns compare, or why its rows can't be found. */
export function cascadeOf(
  { rules, ...key }: CatalogCascade,
  catalog: readonly CatalogColumn[],
  copied: readonly Column[],
  tableKey: readonly string[],
): Cascade {
  let loose = false;
  const refused = (why: string): Cascade => ({
    ...key,
    refused: {
      message: `The foreign key ${key.name} changes rows below the log, and they can't be found: ${why}.`,
      action: `Drop its actions (CASCADE, SET NULL) at the source, or load the table by \`full\` only.`,
    },
  });
  for (const name of key.columns) {
    const source = catalog.find((one) => one.name === name);
    const column = copied.find((one) => one.name === name);
    if (!source || !column) return refused(`its column ${name} is not copied`);
    if (column.masked) return refused(`its column ${name} is masked`);
    if (source.word === 'char' || source.word === 'varchar') {
      const bytewise = BYTEWISE.test(source.collation);
      if (!bytewise && !LETTERS.test(source.collation))
        return refused(`its column ${name} has the collation ${source.collation}, whose rules only the source knows`);
      loose ||= !bytewise;
    } else if (!PLAIN.has(source.word)) return refused(`its column ${name} is ${source.full}`);
    if (/UPDATE CASCADE|not known/.test(rules) && tableKey.includes(name))
      return refused(`by ON UPDATE CASCADE it changes ${name}, which is in the key of its own table`);
  }
  return loose ? { ...key, loose } : key;
}
