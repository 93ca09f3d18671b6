import type { TableName } from './statement.ts';
import { type Key, type TableDefinition, typeText } from './table-definition.ts';

/** What rules need to know about a table. Column names are in lower case, because SingleStore compares them so. */
export type TableInfo = {
  database: string;
  name: string;
  /** Type text per column, empty when the columns are not known (`CREATE TABLE … AS SELECT`). */
  columns: Map<string, string>;
  primary: string[];
  /** Columns of the shard key: the declared one, else the primary key (docs: Understanding Keys and Indexes). */
  shard: string[];
  unique: string[][];
  /** The sort key as SHOW CREATE TABLE lists it. */
  sort: string;
  rowstore: boolean;
  reference: boolean;
};

/** The tables of a server by `database.name`; shared by all connections of a proxy. */
export type Catalog = Map<string, TableInfo>;

/** The key of a table in a catalog; table names are case-sensitive (docs: Database Object Case-Sensitivity). */
export function catalogKey(table: TableName, database: string | undefined): string {
  return `${table.database ?? database ?? ''}.${table.name}`;
}

/** Describes the table that a CREATE TABLE makes. */
export function describeTable(definition: TableDefinition, database: string | undefined): TableInfo {
  const keys = (kind: Key['kind']) => definition.keys.filter((key) => key.kind === kind);
  const lower = (columns: string[]) => columns.map((column) => column.toLowerCase());
  const primary = lower(keys('primary')[0]?.columns ?? []);
  const shard = keys('shard')[0];
  const sort = keys('sort')[0] ?? keys('clustered')[0];
  const head = definition.head.map((token) => token.word);
  return {
    database: definition.table.database ?? database ?? '',
    name: definition.table.name,
    columns: new Map(definition.columns.map((column) => [column.name.toLowerCase(), typeText(column)])),
    primary,
    shard: shard ? lower(shard.columns) : primary,
    sort: sort ? listColumns(sort) : '',
    unique: keys('unique')
      .filter((key) => !key.unenforced)
      .map((key) => lower(key.columns)),
    rowstore: head.includes('ROWSTORE'),
    reference: head.includes('REFERENCE'),
  };
}

/** A name in backticks. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

function listColumns(key: Key): string {
  return key.columns.map((column, i) => quoteName(column) + (key.descending[i] ? ' DESC' : '')).join(', ');
}
