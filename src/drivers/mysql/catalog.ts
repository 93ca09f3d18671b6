import type { TableRef } from '../model.ts';
import { type CatalogCascade, groupForeignKeys, logsCascades, withActions } from './cascades.ts';
import type { Connection, Row, ServerFacts } from './connection.ts';
import { type CatalogColumn, quoteText } from './types.ts';

/** One table as information_schema shows it. */
export type CatalogTable = {
  readonly name: string;
  readonly type: 'BASE TABLE' | 'VIEW' | (string & {});
  readonly engine: string;
  readonly rows: number;
  readonly bytes: number;
  readonly partitioned: boolean;
  readonly columns: CatalogColumn[];
  readonly indexes: CatalogIndex[];
  /** Columns that a CHECK keeps to valid JSON: MariaDB's JSON type. */
  readonly jsonChecked: Set<string>;
  /** Foreign keys by which rows change without a word in the log. */
  readonly cascades: CatalogCascade[];
};

export type CatalogIndex = {
  readonly name: string;
  readonly unique: boolean;
  /** `BTREE`, `HASH`, `FULLTEXT`, … */
  readonly method: string;
  readonly parts: IndexPart[];
};
/** `column` is '' for an expression; `prefix` is the number of characters indexed, 0 for all. */
export type IndexPart = { readonly column: string; readonly prefix: number };

// `#mysql50#…` are folders that are no databases, such as lost+found.
const SYSTEM_SCHEMAS = ['information_schema', 'performance_schema', 'mysql', 'sys', 'ndbinfo', 'innodb'];
const NAMES_PER_QUERY = 500;

/** Schemas that hold user tables, sorted. */
export async function listSchemas(connection: Connection): Promise<string[]> {
  const rows = await connection.query('select SCHEMA_NAME from information_schema.SCHEMATA');
  return texts(rows)
    .filter((name) => !SYSTEM_SCHEMAS.includes(name.toLowerCase()) && !name.startsWith('#mysql50#'))
    .sort();
}

/** True when the user may see a schema of this name. */
export async function hasSchema(connection: Connection, schema: string): Promise<boolean> {
  if (SYSTEM_SCHEMAS.includes(schema.toLowerCase())) return false;
  const rows = await connection.query(
    `select SCHEMA_NAME from information_schema.SCHEMATA where SCHEMA_NAME = ${quoteText(schema)}`,
  );
  return texts(rows).some((name) => sameName(connection.facts, name, schema));
}

/** Tables (not views, sequences, temporary tables) of a schema without their columns, sorted. */
export async function listTables(
  connection: Connection,
  schema: string,
): Promise<{ name: string; partitioned: boolean; rows: number }[]> {
  const rows = await connection.query(
    `select TABLE_NAME, coalesce(TABLE_ROWS, 0), coalesce(CREATE_OPTIONS, ''), TABLE_SCHEMA from information_schema.TABLES
     where TABLE_SCHEMA = ${quoteText(schema)} and TABLE_TYPE in ('BASE TABLE', 'SYSTEM VERSIONED')`,
  );
  return rows
    .filter((row) => sameName(connection.facts, text(row[3]), schema))
    .map((row) => ({ name: text(row[0]), rows: Number(row[1]), partitioned: /partitioned/.test(text(row[2])) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * What the catalog holds of `refs`, by their position; undefined where the user sees no such table. Four statements for each schema and
 * 500 tables: information_schema is slow per statement, and on MySQL 5.7 fast only with the schema as a constant.
 */
export async function readTables(
  connection: Connection,
  refs: readonly TableRef[],
): Promise<(CatalogTable | undefined)[]> {
  const found = refs.map((): CatalogTable | undefined => undefined);
  const bySchema = Map.groupBy(refs.keys(), (index) => (refs[index] as TableRef).schema);
  for (const [schema, indexes] of bySchema) {
    for (let from = 0; from < indexes.length; from += NAMES_PER_QUERY) {
      const part = indexes.slice(from, from + NAMES_PER_QUERY);
      const names = part.map((index) => (refs[index] as TableRef).name);
      const tables = await readSchema(connection, schema, names);
      for (const index of part) {
        const { name } = refs[index] as TableRef;
        found[index] = tables.find((table) => sameName(connection.facts, table.name, name));
      }
    }
  }
  return found;
}

async function readSchema(connection: Connection, schema: string, names: readonly string[]): Promise<CatalogTable[]> {
  const { facts } = connection;
  const list = names.map(quoteText).join(', ');
  const where = (alias = '') =>
    `where ${alias}TABLE_SCHEMA = ${quoteText(schema)} and ${alias}TABLE_NAME ${names.length === 1 ? `= ${list}` : `in (${list})`}`;
  const tables = await connection.query(
    `select TABLE_NAME, TABLE_TYPE, coalesce(ENGINE, ''), coalesce(TABLE_ROWS, 0), coalesce(DATA_LENGTH, 0), coalesce(CREATE_OPTIONS, ''),
     TABLE_SCHEMA from information_schema.TABLES ${where()}`,
  );
  const result = new Map<string, CatalogTable>();
  for (const row of tables) {
    // information_schema compares names without case, whatever the file system does.
    if (!sameName(facts, text(row[6]), schema)) continue;
    result.set(text(row[0]), {
      name: text(row[0]),
      type: text(row[1]),
      engine: text(row[2]),
      rows: Number(row[3]),
      bytes: Number(row[4]),
      partitioned: /partitioned/.test(text(row[5])),
      columns: [],
      indexes: [],
      jsonChecked: new Set(),
      cascades: [],
    });
  }
  const columns = await connection.query(
    `select TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, coalesce(CHARACTER_MAXIMUM_LENGTH, 0),
     coalesce(CHARACTER_SET_NAME, ''), coalesce(COLLATION_NAME, ''), EXTRA, TABLE_SCHEMA
     from information_schema.COLUMNS ${where()}`,
  );
  for (const row of columns)
    if (sameName(facts, text(row[10]), schema)) result.get(text(row[0]))?.columns.push(column(row));
  for (const table of result.values()) table.columns.sort((a, b) => a.position - b.position);
  await readIndexes(connection, where(), schema, result);
  if (facts.product === 'MariaDB' && facts.number >= 100_222) await readJsonChecks(connection, schema, list, result);
  await readCascades(connection, schema, list, result);
  return [...result.values()];
}

async function readCascades(
  connection: Connection,
  schema: string,
  list: string,
  tables: Map<string, CatalogTable>,
): Promise<void> {
  const rows = await connection.query(
    `select TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, ORDINAL_POSITION, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME,
     REFERENCED_COLUMN_NAME, TABLE_SCHEMA from information_schema.KEY_COLUMN_USAGE
     where TABLE_SCHEMA = ${quoteText(schema)} and TABLE_NAME in (${list}) and REFERENCED_TABLE_NAME is not null`,
  );
  const own = rows.filter((row) => sameName(connection.facts, text(row[7]), schema));
  if (own.length === 0 || (await logsCascades(connection))) return;
  for (const [name, keys] of groupForeignKeys(own))
    tables.get(name)?.cascades.push(...(await withActions(connection, schema, name, keys)));
}

function column(row: Row): CatalogColumn {
  return {
    name: text(row[1]),
    position: Number(row[2]),
    word: text(row[3]).toLowerCase(),
    full: text(row[4]),
    nullable: row[5] === 'YES',
    length: Number(row[6]),
    charset: text(row[7]),
    collation: text(row[8]),
    extra: text(row[9]),
  };
}

async function readIndexes(
  connection: Connection,
  where: string,
  schema: string,
  tables: Map<string, CatalogTable>,
): Promise<void> {
  const rows = await connection.query(
    `select TABLE_NAME, INDEX_NAME, NON_UNIQUE, INDEX_TYPE, coalesce(COLUMN_NAME, ''), coalesce(SUB_PART, 0), SEQ_IN_INDEX, TABLE_SCHEMA
     from information_schema.STATISTICS ${where}`,
  );
  const parts = new Map<string, { index: CatalogIndex; table: string; order: [number, IndexPart][] }>();
  for (const row of rows) {
    if (!sameName(connection.facts, text(row[7]), schema)) continue;
    const key = `${text(row[0])}\0${text(row[1])}`;
    let entry = parts.get(key);
    if (!entry) {
      const index = { name: text(row[1]), unique: row[2] === '0', method: text(row[3]).toUpperCase(), parts: [] };
      entry = { index, table: text(row[0]), order: [] };
      parts.set(key, entry);
    }
    entry.order.push([Number(row[6]), { column: text(row[4]), prefix: Number(row[5]) }]);
  }
  for (const { index, table, order } of parts.values()) {
    index.parts.push(...order.sort((a, b) => a[0] - b[0]).map(([, part]) => part));
    tables.get(table)?.indexes.push(index);
  }
  for (const table of tables.values()) table.indexes.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

/** The primary key first, then unique indexes. */
function rank(index: CatalogIndex): number {
  return index.name === 'PRIMARY' ? 0 : index.unique ? 1 : 2;
}

async function readJsonChecks(
  connection: Connection,
  schema: string,
  list: string,
  tables: Map<string, CatalogTable>,
): Promise<void> {
  const rows = await connection.query(
    `select TABLE_NAME, CHECK_CLAUSE from information_schema.CHECK_CONSTRAINTS
     where CONSTRAINT_SCHEMA = ${quoteText(schema)} and TABLE_NAME in (${list})`,
  );
  for (const [table, clause] of rows) {
    const match = /^json_valid\(`((?:[^`]|``)+)`\)$/i.exec(text(clause));
    if (match?.[1] !== undefined) tables.get(text(table))?.jsonChecked.add(match[1].replaceAll('``', '`'));
  }
}

/** Whether two names mean the same database or table to this server. */
export function sameName(facts: ServerFacts, a: string, b: string): boolean {
  return facts.lowerCaseNames === 0 ? a === b : a.toLowerCase() === b.toLowerCase();
}

function texts(rows: readonly Row[]): string[] {
  return rows.map((row) => text(row[0]));
}

function text(value: string | null | undefined): string {
  return value ?? '';
}
