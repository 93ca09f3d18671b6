import { AccessDenied } from '../errors.ts';
import { numberOf, type Row, rows, run, type Session } from './connection.ts';
import { CONTROL, type ControlTable, type Kind } from './control-tables.ts';
import type { Dialect } from './dialect.ts';
import { checkDatabaseName } from './names.ts';
import { quote, sql, table } from './sql.ts';
import { ofTables } from './tables.ts';

/** The statement that creates a control table where it is missing. */
export function controlDdl(dialect: Dialect, database: string, name: string): string {
  const control = CONTROL[name] as ControlTable;
  return dialect.createTable({
    database,
    name,
    columns: Object.entries(control.columns).map(([column, kind]) => definition(dialect, control, column, kind)),
    key: control.key,
    layout: { shard: control.shard.map(quote), sort: undefined },
    rowstore: control.rowstore,
    ifMissing: true,
  });
}

/** Creates the database when it is missing, its control tables, and the columns that an older version lacks. */
export async function prepare(session: Session, dialect: Dialect, database: string): Promise<void> {
  checkDatabaseName(database);
  await createDatabase(session, database);
  const present = await columnsOf(session, database);
  for (const [name, control] of Object.entries(CONTROL)) {
    const columns = present.get(name);
    if (!columns) {
      await run(session, controlDdl(dialect, database, name));
      continue;
    }
    for (const [column, kind] of Object.entries(control.columns)) {
      if (columns.has(column)) continue;
      const added = definition(dialect, control, column, kind);
      try {
        await run(session, sql`alter table ${table(database, name)} add column ${{ raw: added }}`);
      } catch (error) {
        // 1060: another worker has just added it.
        if (numberOf(error) !== 1060) throw error;
      }
    }
  }
}

/** Whether an error says that the database (1049) or a control table (1146) does not exist. */
export function isMissing(error: unknown): boolean {
  return numberOf(error) === 1049 || numberOf(error) === 1146;
}

/** The time now as the destination stores it (UTC). Taken here and not at the server: times are shown, never compared. */
export function now(): string {
  return new Date().toISOString().replace('T', ' ').replace('Z', '000');
}

/** A stored time as RFC 3339; null where there is none. */
export function readTime(value: Row[string]): string | null {
  if (typeof value !== 'string') return null;
  return `${value.replace(' ', 'T').replace(/(\.\d{3})\d*$/, '$1')}Z`;
}

/** Shortest name first: `varchar` lengths of words (our own, short) and names (a source's, up to 255 characters). */
function definition(dialect: Dialect, control: ControlTable, column: string, kind: Kind): string {
  const bytewise = `character set utf8mb4 collate ${dialect.keyCollation}`;
  const key = control.key.includes(column);
  switch (kind) {
    case 'word':
      return `${quote(column)} varchar(100) ${bytewise} not null${key ? '' : " default ''"}`;
    case 'name':
      return `${quote(column)} varchar(255) ${bytewise} not null${key ? '' : " default ''"}`;
    case 'number':
      return `${quote(column)} bigint not null${key ? '' : ' default 0'}`;
    case 'long':
      return `${quote(column)} longtext ${bytewise} null`;
    case 'time':
      return `${quote(column)} datetime(6) null`;
  }
}

async function createDatabase(session: Session, database: string): Promise<void> {
  const found = await rows(
    session,
    sql`select schema_name as [name] from information_schema.schemata where schema_name = ${database}`,
  );
  if (found.length > 0) return;
  try {
    await run(session, `create database if not exists ${quote(database)}`);
  } catch (error) {
    if (![1044, 1142, 1227].includes(numberOf(error))) throw error;
    throw new AccessDenied(
      `The database "${database}" does not exist at the destination, and the destination user may not create it.`,
      `Run "create database ${quote(database)}" there, or grant CREATE to the user.`,
    );
  }
}

async function columnsOf(session: Session, database: string): Promise<Map<string, Set<string>>> {
  const names = Object.keys(CONTROL);
  const columns = sql`select table_name as [name], column_name as [field] from information_schema.columns where table_schema = ${database}`;
  const found = await ofTables(session, columns, names);
  const tables = new Map<string, Set<string>>();
  for (const { name, field } of found) {
    const columns = tables.get(String(name)) ?? new Set();
    columns.add(String(field).toLowerCase());
    tables.set(String(name), columns);
  }
  return tables;
}
