import { readAlterTable, readRename, readShortChange } from './alter-table.ts';
import { type Catalog, catalogKey, describeTable, type TableInfo } from './catalog.ts';
import { readTableName, type Statement, skipWords, type TableName, writesOf } from './statement.ts';
import { readColumn, readCreateTable, typeText } from './table-definition.ts';
import { isOperator, isWord, type Token } from './tokens.ts';

/** What a connection is in the middle of, as far as rules depend on it. */
export type Session = {
  database: string | undefined;
  autocommit: boolean;
  /** Inside an explicit transaction, or after a write with autocommit off. */
  open: boolean;
  /** Databases and tables written by the open transaction; tables as catalog keys. */
  databases: Set<string>;
  tables: Set<string>;
  catalog: Catalog;
  /** `data_conversion_compatibility_level`: below 8.0 invalid dates are stored as they come (docs: Data Type Conversion). */
  level: string;
};

/** A session that has just connected. */
export function newSession(database?: string, catalog: Catalog = new Map(), level = '8.0'): Session {
  return { database, autocommit: true, open: false, databases: new Set(), tables: new Set(), catalog, level };
}

/** A copy whose changes leave the original alone. */
export function copySession(session: Session): Session {
  return {
    ...session,
    databases: new Set(session.databases),
    tables: new Set(session.tables),
    catalog: new Map(session.catalog),
  };
}

/** Forgets the open transaction. */
export function endTransaction(session: Session): void {
  session.open = false;
  session.databases.clear();
  session.tables.clear();
}

/** Looks a table up; undefined when no CREATE TABLE for it was seen and the server was not asked. */
export function tableInfo(session: Session, table: TableName): TableInfo | undefined {
  return session.catalog.get(catalogKey(table, session.database));
}

/** Whether a statement is DDL, which ends a transaction (JDBC: dataDefinitionCausesTransactionCommit). */
export function isDdl(statement: Statement): boolean {
  return ['CREATE', 'ALTER', 'DROP', 'TRUNCATE', 'RENAME', 'OPTIMIZE'].includes(statement.verb);
}

/** Records what a statement that succeeded did to the session. */
export function observe(session: Session, statement: Statement): void {
  const { verb, tokens } = statement;
  if (verb === 'BEGIN' || (verb === 'START' && isWord(tokens[1], 'TRANSACTION'))) {
    endTransaction(session);
    session.open = true;
  } else if (verb === 'COMMIT' || verb === 'ROLLBACK') {
    if (!isWord(tokens[1], 'TO')) endTransaction(session);
  } else if (verb === 'USE') {
    session.database = readTableName(tokens, 1)?.table.name ?? session.database;
  } else if (verb === 'SET') {
    observeAutocommit(session, tokens);
  } else if (isDdl(statement)) {
    endTransaction(session);
    observeDdl(session, statement);
  } else if (session.open || !session.autocommit) {
    for (const table of writesOf(statement)) {
      session.open = true;
      session.databases.add(table.database ?? session.database ?? '');
      session.tables.add(catalogKey(table, session.database));
    }
  }
}

/** The value a SET statement gives to autocommit; undefined when it gives none. */
function autocommitOf(tokens: Token[]): boolean | undefined {
  const at = tokens.findIndex(
    (token) => /^(@@(session\.|local\.)?)?autocommit$/i.test(token.value) && token.kind !== 'string',
  );
  if (at < 0 || !isOperator(tokens[at + 1], '=')) return undefined;
  return /^(1|on|true)$/i.test(tokens[at + 2]?.value ?? '');
}

function observeAutocommit(session: Session, tokens: Token[]): void {
  const value = autocommitOf(tokens);
  if (value === undefined || isWord(tokens[1], 'GLOBAL')) return;
  if (value) endTransaction(session);
  session.autocommit = value;
}

function observeDdl(session: Session, statement: Statement): void {
  const { catalog, database } = session;
  const { tokens, verb } = statement;
  const created = readCreateTable(statement);
  if (created) {
    const key = catalogKey(created.table, database);
    if (created.ifNotExists && catalog.has(key)) return;
    const like = created.like && catalog.get(catalogKey(created.like, database));
    const info = describeTable(created, database);
    catalog.set(key, like ? { ...like, database: info.database, name: info.name } : info);
    return;
  }
  if (verb === 'DROP' && isWord(tokens[1], 'TABLE', 'TEMPORARY')) {
    let at = skipWords(tokens, 1, 'TEMPORARY', 'TABLE', 'IF', 'EXISTS');
    for (let named = readTableName(tokens, at); named; named = readTableName(tokens, at)) {
      catalog.delete(catalogKey(named.table, database));
      at = named.end + 1;
    }
  } else if (verb === 'DROP' && isWord(tokens[1], 'DATABASE', 'SCHEMA')) {
    const name = readTableName(tokens, skipWords(tokens, 2, 'IF', 'EXISTS'))?.table.name;
    for (const [key, table] of catalog) if (table.database === name) catalog.delete(key);
  } else observeAlter(session, statement);
}

function observeAlter(session: Session, statement: Statement): void {
  const alter = readAlterTable(statement);
  const known = alter && tableInfo(session, alter.table);
  if (!alter || !known) return;
  const info = { ...known, columns: new Map(known.columns) };
  session.catalog.set(catalogKey(info, undefined), info);
  for (const action of alter.actions) {
    const change = readShortChange(action);
    const rename = readRename(action);
    const at = skipWords(action, 1, 'COLUMN');
    if (change) {
      const type = info.columns.get(change.from.value.toLowerCase()) ?? '';
      info.columns.delete(change.from.value.toLowerCase());
      info.columns.set(change.to.value.toLowerCase(), type);
    } else if (rename) {
      const renamed = { ...info, name: rename.table.name, database: rename.table.database ?? info.database };
      session.catalog.delete(catalogKey(info, undefined));
      session.catalog.set(catalogKey(renamed, undefined), renamed);
    } else if (isWord(action[0], 'ADD')) {
      const column = readColumn(action.slice(at));
      if (column && !isOperator(action[at], '(')) info.columns.set(column.name.toLowerCase(), typeText(column));
    } else if (isWord(action[0], 'DROP')) {
      info.columns.delete(action[at]?.value.toLowerCase() ?? '');
    }
  }
}
