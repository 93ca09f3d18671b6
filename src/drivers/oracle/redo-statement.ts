import { Reader, type RedoValue } from './redo-reader.ts';

/**
 * SQL_REDO of V$LOGMNR_CONTENTS as the Oracle manuals and the statements of real logs show it: insert, update and delete of one row, and
 * the `select … for update` that precedes a LOB operation. Read character by character: names and texts may hold anything.
 */

export type RedoStatement = {
  readonly kind: 'insert' | 'update' | 'delete' | 'select';
  readonly schema: string;
  readonly table: string;
  /** Columns that get a value; of a `select` the LOB columns it names, without values. */
  readonly set: ReadonlyMap<string, RedoValue>;
  /** Columns by which the row is found, with their values before. */
  readonly where: ReadonlyMap<string, RedoValue>;
};

/** Reads one statement. Throws `RedoSyntax`. */
export function parseRedo(sql: string): RedoStatement {
  const reader = new Reader(sql);
  const word = reader.word();
  switch (word) {
    case 'insert':
      return insertOf(reader);
    case 'update':
      return updateOf(reader);
    case 'delete':
      return deleteOf(reader);
    default:
      throw reader.wrong('insert, update or delete');
  }
}

/**
 * The row that an operation on a long value is about: `… select "C" into loc_c from "S"."T" where "K" = '1' for update; …`,
 * `XML DOC BEGIN: select "C" from "S"."T" where "K" = '1'`, `update "S"."T" a set a."C" = XMLType(:1) where a."K" = '1';`. null: it goes on
 * with the row of an operation before.
 */
export function parseLong(sql: string): RedoStatement | null {
  if (/^\s*update\b/i.test(sql)) return { ...parseRedo(sql), kind: 'select' };
  const start = /\bselect\s+"/i.exec(sql);
  return start && selectOf(sql, start.index);
}

function selectOf(sql: string, at: number): RedoStatement {
  const reader = new Reader(sql, at);
  reader.word();
  const columns = new Map<string, RedoValue>();
  do columns.set(reader.column(), null);
  while (reader.take(','));
  if (reader.takeWord('into')) {
    do reader.word();
    while (reader.take(','));
  }
  reader.expect('from');
  const { schema, table } = tableOf(reader);
  reader.alias('where');
  const where = reader.takeWord('where') ? conditionsOf(reader) : new Map<string, RedoValue>();
  return { kind: 'select', schema, table, set: columns, where };
}

function insertOf(reader: Reader): RedoStatement {
  reader.expect('into');
  const { schema, table } = tableOf(reader);
  reader.must('(');
  const names: string[] = [];
  do names.push(reader.column());
  while (reader.take(','));
  reader.must(')');
  reader.expect('values');
  reader.must('(');
  const set = new Map<string, RedoValue>();
  for (const [index, name] of names.entries()) {
    if (index > 0) reader.must(',');
    set.set(name, reader.value());
  }
  reader.must(')');
  reader.end();
  return { kind: 'insert', schema, table, set, where: new Map() };
}

function updateOf(reader: Reader): RedoStatement {
  const { schema, table } = tableOf(reader);
  reader.alias('set');
  reader.expect('set');
  const set = new Map<string, RedoValue>();
  do {
    const name = reader.column();
    reader.must('=');
    set.set(name, reader.value());
  } while (reader.take(','));
  const where = reader.takeWord('where') ? conditionsOf(reader) : new Map<string, RedoValue>();
  reader.end();
  return { kind: 'update', schema, table, set, where };
}

function deleteOf(reader: Reader): RedoStatement {
  reader.expect('from');
  const { schema, table } = tableOf(reader);
  reader.alias('where');
  const where = reader.takeWord('where') ? conditionsOf(reader) : new Map<string, RedoValue>();
  reader.end();
  return { kind: 'delete', schema, table, set: new Map(), where };
}

function tableOf(reader: Reader): { schema: string; table: string } {
  const first = reader.name();
  return reader.take('.') ? { schema: first, table: reader.name() } : { schema: '', table: first };
}

function conditionsOf(reader: Reader): Map<string, RedoValue> {
  const where = new Map<string, RedoValue>();
  do {
    const name = reader.column();
    if (reader.takeWord('is')) {
      reader.expect('null');
      where.set(name, null);
    } else {
      reader.must('=');
      where.set(name, reader.value());
    }
  } while (reader.takeWord('and'));
  return where;
}
