import { lineKeys } from '../cursor-rows.ts';
import { StructureChanged } from '../errors.ts';
import { unescapeText } from '../load-text.ts';
import type { Batch, ChunkRead, RuleUse, Table } from '../model.ts';
import type { Pool } from './pool.ts';
import { chunkSelect, EVERYTHING, literal } from './range.ts';
import { isolation, streamRows } from './read.ts';
import { quoteName, quoteText } from './sql.ts';
import { fieldsOf } from './types.ts';

const KEYS_AT_ONCE = 500;

/**
 * Rows by key as they are now. Every transaction that was delivered is committed, and a statement sees all that is committed when it
 * begins (EXACTNESS.md §6).
 */
export async function* rereadKeys(
  pool: Pool,
  table: Table,
  keys: readonly string[],
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const rules: RuleUse[] = [];
  let rows = 0;
  const wanted = [...new Set(keys)];
  const name = `${table.ref.schema}.${table.ref.name}`;
  for (let from = 0; from < wanted.length; from += KEYS_AT_ONCE) {
    const part = new Set(wanted.slice(from, from + KEYS_AT_ONCE));
    const connection = await pool.take(signal);
    let whole = false;
    try {
      await connection.query(isolation(connection, table.storage === 'memory'));
      const sql = chunkSelect(table, keysAre(table, [...part]), EVERYTHING);
      const read = streamRows(connection, sql, name, fieldsOf(table.columns, table.key), refuse, signal);
      for (;;) {
        const next = await read.next();
        if (next.done) {
          rules.push(...next.value.uses());
          break;
        }
        // A collation finds keys too that differ in case or in spaces at their end.
        const kept = lineKeys(table, next.value.data as Buffer).filter(({ key }) => part.has(key));
        if (kept.length === 0) continue;
        rows += kept.length;
        yield { data: Buffer.concat(kept.map(({ line }) => line)), rows: kept.length };
      }
      whole = true;
    } finally {
      if (whole) pool.give(connection);
      else pool.drop(connection);
    }
  }
  return { rows, rules };
}

/** `([a] = x AND [b] = y) OR …`: T-SQL has no row values in IN. */
export function keysAre(table: Table, keys: readonly string[]): string {
  const columns = table.key.map((name) => {
    const column = table.columns.find((one) => one.name === name);
    if (!column) throw new StructureChanged(`The key column ${name} is gone.`, 'Load the table again.');
    return { name: quoteName(name), column };
  });
  const values = (key: string): string[] =>
    key.split('\t').map((text, i) => {
      const { sourceType, type } = (columns[i] as (typeof columns)[number]).column;
      const plain = Buffer.from(unescapeText(text), 'latin1').toString('utf8');
      const word = sourceType.replace(/\(.*/, '');
      // Only a literal within ASCII is the same in every code page; others are compared as Unicode.
      if (word === 'char' || word === 'varchar')
        return /^[\x20-\x7e]*$/.test(plain) ? literal({ name: '', type: sourceType }, plain) : quoteText(plain);
      // As `cell` prints it in a key: in UTC.
      if (word === 'datetimeoffset') return `CONVERT(datetimeoffset(7), ${quoteText(`${plain} +00:00`)}, 121)`;
      if (word === 'hierarchyid') return `CONVERT(hierarchyid, ${quoteText(plain)})`;
      if (word === 'datetime2' && type.kind === 'varchar') return literal({ name: '', type: 'datetime2(7)' }, plain);
      return literal({ name: '', type: sourceType }, plain);
    });
  if (columns.length === 1) return `${columns[0]?.name} IN (${keys.map((key) => values(key)[0]).join(', ')})`;
  return keys
    .map(
      (key) =>
        `(${values(key)
          .map((value, i) => `${columns[i]?.name} = ${value}`)
          .join(' AND ')})`,
    )
    .join(' OR ');
}
