import type { Connection, RowDataPacket } from 'mysql2/promise';
import { quoteName, type TableInfo } from './catalog.ts';
import { type Session, tableInfo } from './session.ts';
import { readTableName, type Statement, type TableName } from './statement.ts';
import { isWord } from './tokens.ts';

/** The table of a SHOW CREATE TABLE; undefined for every other statement. */
export function shownTable(statement: Statement): TableName | undefined {
  const { verb, tokens } = statement;
  if (verb !== 'SHOW' || !isWord(tokens[1], 'CREATE') || !isWord(tokens[2], 'TABLE')) return undefined;
  return readTableName(tokens, 3)?.table;
}

/**
 * The answer to a SHOW CREATE TABLE as a SELECT: the backend's own text with the shard and sort key that SingleStore
 * prints and without MariaDB's table options. Undefined when the backend has no such table, which it then says itself.
 */
export async function showCreate(
  table: TableName,
  session: Session,
  connection: () => Promise<Connection>,
): Promise<string | undefined> {
  const database = table.database ?? session.database;
  if (database === undefined) return undefined;
  const name = `${quoteName(database)}.${quoteName(table.name)}`;
  const answer = await (await connection()).query<RowDataPacket[]>(`SHOW CREATE TABLE ${name}`).catch(() => undefined);
  const text = answer?.[0][0]?.['Create Table'];
  if (typeof text !== 'string') return undefined;
  const shown = singleStoreText(text, tableInfo(session, table));
  return `SELECT ${literal(table.name)} AS \`Table\`, ${literal(shown)} AS \`Create Table\``;
}

/** MariaDB's CREATE TABLE in the form in which SingleStore shows it. */
export function singleStoreText(text: string, info: TableInfo | undefined): string {
  const lines = text.slice(0, text.lastIndexOf('\n)')).split('\n');
  const primary = lines.find((line) => line.startsWith('  PRIMARY KEY'));
  const shard = info ? info.shard.map(quoteName).join(', ') : (/\((.*)\)/.exec(primary ?? '')?.[1] ?? '');
  const [head = '', ...items] = lines.map((line) => line.replace(/,$/, ''));
  if (!info?.reference) items.push(`  SHARD KEY \`__SHARDKEY\` (${shard})`);
  if (!info?.rowstore) items.push(`  SORT KEY ${info?.sort ? '' : '`__UNORDERED` '}(${info?.sort ?? ''})`);
  const kind = [info?.rowstore ? 'ROWSTORE ' : '', info?.reference ? 'REFERENCE ' : ''].join('');
  const options =
    "AUTOSTATS_CARDINALITY_MODE=INCREMENTAL AUTOSTATS_HISTOGRAM_MODE=CREATE AUTOSTATS_SAMPLING=ON SQL_MODE='STRICT_ALL_TABLES'";
  return `${head.replace('CREATE ', `CREATE ${kind}`)}\n${items.join(',\n')}\n) ${options}`;
}

function literal(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
