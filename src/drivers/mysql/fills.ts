import { isPermanent } from '../errors.ts';
import type { Column, TableRef } from '../model.ts';
import { type Connection, tolerate } from './connection.ts';
import type { Pool } from './pool.ts';
import { rawRows } from './raw-rows.ts';
import { createRowWriter } from './row-text.ts';
import { cell, quoteName } from './types.ts';

/** DEFAULT(c) of a column without one; of one whose default is an expression. */
const NO_DEFAULT = 1364;
const EXPRESSION_DEFAULT = 3773;

/**
 * What rows from before hold in columns that were added with a literal default or with none, by name, as load text in latin1 characters; columns with NULL
 * are left out. undefined: it can't be told.
 */
export async function readFills(
  pool: Pool,
  ref: TableRef,
  added: readonly Column[],
  refuse: boolean,
  signal: AbortSignal,
): Promise<Map<string, string> | undefined> {
  const fills = new Map<string, string>();
  for (const column of added) {
    if (column.masked) continue;
    const value = await defaultOf(pool, ref, column, signal);
    const text = value && (await loadText(pool, ref, column, value, refuse, signal));
    if (text === undefined) return undefined;
    if (text !== '\\N') fills.set(column.name, text);
  }
  return fills;
}

/** A value in SQL, and where it is selected from. */
type Value = { readonly name: string; readonly from: string };

async function defaultOf(
  pool: Pool,
  { schema, name }: TableRef,
  column: Column,
  signal: AbortSignal,
): Promise<Value | undefined> {
  // A row for DEFAULT to stand in, also of an empty table; only that a column which takes no NULL would be NULL in that one.
  const table = `${quoteName(schema)}.${quoteName(name)} as t`;
  const value = {
    name: `default(t.${quoteName(column.name)})`,
    from: column.nullable ? `from (select 1) as o left join ${table} on false` : `from ${table} limit 1`,
  };
  const query = (connection: Connection) =>
    connection.query(`select ${value.name} is null ${value.from}`).then(() => value);
  const implied = () => {
    const literal = implicitDefault(column);
    return literal === undefined ? undefined : { name: literal, from: '' };
  };
  return pool.lend(
    (connection) =>
      tolerate(
        tolerate(query(connection), [NO_DEFAULT]).then((found) => found ?? implied()),
        [EXPRESSION_DEFAULT],
      ),
    signal,
  );
}

/** What rows from before get in a NOT NULL column without a default; undefined: it depends on more than the type. */
function implicitDefault({ sourceType, type, nullable }: Column): string | undefined {
  if (nullable || type.kind === 'json') return undefined;
  const word = /^[a-z]+/.exec(sourceType.toLowerCase())?.[0] ?? '';
  if (word === 'decimal' && type.kind === 'decimal') return `cast(0 as decimal(65,${type.scale}))`;
  if (/^((tiny|small|medium|big)?int|bit|float|double)$/.test(word)) return '0';
  return /^(char|varchar|varbinary|(tiny|medium|long)?(text|blob)|set)$/.test(word) ? "''" : undefined;
}

/** A value as a snapshot read gives it; undefined when a rule refuses it. */
async function loadText(
  pool: Pool,
  { schema, name }: TableRef,
  column: Column,
  value: Value,
  refuse: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { expression, encoding } = cell(column, value.name);
  const fields = [{ name: column.name, encoding, key: false }];
  const connection = await pool.take(signal);
  const parts: Buffer[] = [];
  let whole = false;
  try {
    for await (const batch of rawRows(
      connection,
      `select ${expression} ${value.from}`,
      fields.length,
      (emit) => createRowWriter(`${schema}.${name}`, fields, refuse, emit),
      signal,
    ))
      parts.push(Buffer.from(batch.data));
    whole = true;
  } catch (error) {
    if (isPermanent(error) && error.name === 'UnsupportedValue') return undefined;
    throw error;
  } finally {
    if (whole) pool.give(connection);
    else await pool.kill(connection);
  }
  // No row: the table is empty by now, and soon read again.
  return parts.length === 0 ? undefined : Buffer.concat(parts).toString('latin1').slice(0, -1);
}
