import type { Batch, ChunkRead, RuleUse, Table } from '../model.ts';
import type { Pool } from './pool.ts';
import { decodeRange, rangeCondition } from './range.ts';
import { rawRows } from './raw-rows.ts';
import { createRowWriter } from './row-text.ts';
import { cell, quoteName, type RowField } from './types.ts';

/** Reads one chunk as load text; its session and statement end with the loop, however that ends. */
export async function* readChunk(
  pool: Pool,
  table: Table,
  where: string | undefined,
  range: string,
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const sql = chunkSelect(table, where, range);
  const fields = rowFields(table);
  const name = `${table.ref.schema}.${table.ref.name}`;
  const connection = await pool.take(signal);
  let whole = false;
  try {
    const writer = yield* rawRows(
      connection,
      sql,
      fields.length,
      (emit) => createRowWriter(name, fields, refuse, emit),
      signal,
    );
    whole = true;
    return { rows: writer.rows, rules: [...writer.uses(), ...maskUses(table, writer.rows)] };
  } finally {
    if (whole) pool.give(connection);
    else await pool.kill(connection);
  }
}

/** The columns of a table as writers of rows see them. */
export function rowFields(table: Table): RowField[] {
  return table.columns.map((column) => ({
    name: column.name,
    encoding: cell(column).encoding,
    key: table.key.includes(column.name),
  }));
}

/** Uses of `mask` in so many rows. */
export function maskUses(table: Table, rows: number): RuleUse[] {
  const masked = rows > 0 ? table.columns.filter((column) => column.masked) : [];
  return masked.map((column) => ({ rule: 'mask', column: column.name, count: rows, examples: [] }));
}

/** The statement that reads a chunk. */
export function chunkSelect(table: Table, where: string | undefined, range: string): string {
  const bounds = decodeRange(range);
  const name = `${quoteName(table.ref.schema)}.${quoteName(table.ref.name)}`;
  const cells = table.columns.map((column) => cell(column).expression).join(', ');
  const conditions: string[] = [];
  if (bounds) conditions.push(rangeCondition(bounds, quoteName));
  // On lines of their own: the condition may end in a comment.
  if (where !== undefined && where.trim() !== '') conditions.push(`(\n${where}\n)`);
  return [
    `select ${cells} from ${name}`,
    ...(bounds ? [`force index (${quoteName(bounds.index)})`] : []),
    ...(conditions.length > 0 ? [`where ${conditions.join(' and ')}`] : []),
  ].join(' ');
}
