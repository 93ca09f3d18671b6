import type { Connection, RowDataPacket } from 'mysql2/promise';
import { readAlterTable } from './alter-table.ts';
import { catalogKey, type TableInfo } from './catalog.ts';
import { isRefusedDate } from './rules-value.ts';
import type { Session } from './session.ts';
import { type Statement, type TableName, writesOf } from './statement.ts';
import { findWords, isWord } from './tokens.ts';

/**
 * Asks the backend for the tables that the rules over these statements need and that were not created through the proxy.
 * Such tables count as columnstore tables sharded by their primary key.
 */
export async function describeTables(
  statements: Statement[],
  session: Session,
  connection: () => Promise<Connection>,
  loads: boolean,
): Promise<TableInfo[]> {
  const wanted = new Map<string, TableName>();
  for (const statement of statements) {
    for (const table of needed(statement, loads)) {
      const database = table.database ?? session.database;
      const key = catalogKey(table, database);
      if (database !== undefined && !session.catalog.has(key)) wanted.set(key, { database, name: table.name });
    }
  }
  const found: TableInfo[] = [];
  for (const table of wanted.values()) {
    const info = await describe(await connection(), table);
    if (info) found.push(info);
  }
  return found;
}

function needed(statement: Statement, loads: boolean): TableName[] {
  const { verb, tokens } = statement;
  if (verb === 'UPDATE') return writesOf(statement);
  if (verb === 'INSERT' || verb === 'REPLACE') {
    const upsert = findWords(tokens, ['ON', 'DUPLICATE', 'KEY']) >= 0;
    return upsert || tokens.some((token) => token.kind === 'string' && isRefusedDate(token.value))
      ? writesOf(statement)
      : [];
  }
  if (verb === 'LOAD') return loads || findWords(tokens, ['NULL', 'DEFINED']) >= 0 ? writesOf(statement) : [];
  const alter = readAlterTable(statement);
  return alter?.actions.some((action) => isWord(action[0], 'MODIFY')) ? [alter.table] : [];
}

async function describe(connection: Connection, table: TableName): Promise<TableInfo | undefined> {
  const name = [table.database, table.name];
  const [columns] = await connection.query<RowDataPacket[]>(
    'SELECT column_name n, column_type t FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position',
    name,
  );
  if (columns.length === 0) return undefined;
  const [keys] = await connection.query<RowDataPacket[]>(
    'SELECT index_name i, column_name n FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index',
    name,
  );
  const unique = new Map<string, string[]>();
  for (const row of keys) unique.set(row['i'], [...(unique.get(row['i']) ?? []), String(row['n']).toLowerCase()]);
  const primary = unique.get('PRIMARY') ?? [];
  unique.delete('PRIMARY');
  return {
    database: table.database ?? '',
    name: table.name,
    columns: new Map(columns.map((row) => [String(row['n']).toLowerCase(), comparableType(String(row['t']))])),
    primary,
    shard: primary,
    unique: [...unique.values()],
    sort: '',
    rowstore: false,
    reference: false,
  };
}

/** A type as `typeText` writes it, from the form of information_schema. */
function comparableType(type: string): string {
  const text = type.toUpperCase();
  const sized = /^(\w+)(\([^)]*\))?/.exec(text);
  const base = sized?.[1] ?? text;
  return base + (/INT$/.test(base) ? '' : (sized?.[2] ?? '')) + (/\bUNSIGNED\b/.test(text) ? ' UNSIGNED' : '');
}
