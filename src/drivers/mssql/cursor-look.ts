import { encodeMark, latestMark, type Mark, timeFrom } from '../cursor.ts';
import type { ChangedRows, Look } from '../cursor-capture.ts';
import type { Column, RuleUse, Table } from '../model.ts';
import { newsOf } from './news.ts';
import type { Pool } from './pool.ts';
import { type Clocks, readClocks } from './position.ts';
import { chunkSelect, EVERYTHING } from './range.ts';
import { isolation, maskUses, pieces } from './read.ts';
import { createRowWriter } from './row-text.ts';
import { quoteName } from './sql.ts';
import { fieldsOf } from './types.ts';

/** A look by cursor columns. Rows of times are found again as long as they lie within the overlap. */
export async function cursorLook(pool: Pool, overlapMs: number, refuse: boolean, signal: AbortSignal): Promise<Look> {
  // Before any row is read: what is committed by now, is seen by every later statement.
  const clocks = await pool.lend(readClocks, signal);
  return {
    position: encodeMark({ t: clocks.utc, v: String(clocks.version) }),
    at: clocks.utc,
    news: (tables) => pool.lend((connection) => newsOf(connection, 'cursor', tables), signal),
    async *changed(table, positions, stop): AsyncGenerator<ChangedRows, readonly RuleUse[], undefined> {
      const sql = chunkSelect(table, changedSince(table, latestMark(positions), clocks, overlapMs), EVERYTHING);
      const connection = await pool.take(stop);
      const writer = createRowWriter(
        `${table.ref.schema}.${table.ref.name}`,
        fieldsOf(table.columns, table.key),
        refuse,
      );
      let whole = false;
      try {
        await connection.query(isolation(connection, table.storage === 'memory'));
        for await (const data of pieces(
          connection,
          sql,
          (cells) => writer.add(cells),
          () => writer.pending,
          () => writer.take().data,
          stop,
        ))
          yield { kind: 'update', data };
        whole = true;
        return [...writer.uses(), ...maskUses(table, writer.rows)];
      } finally {
        if (whole) pool.give(connection);
        else pool.drop(connection);
      }
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** The condition for rows that were written since a mark, as far as their cursor columns tell. */
function changedSince(table: Table, mark: Mark, { utc, zone }: Clocks, overlapMs: number): string {
  const parts = (table.cursor ?? []).map((name) => {
    const column = table.columns.find((one) => one.name === name);
    const word = column?.sourceType.replace(/\(.*/, '') ?? '';
    if (word === 'timestamp')
      return `${quoteName(name)} >= 0x${BigInt(mark.v ?? '0')
        .toString(16)
        .toUpperCase()
        .padStart(16, '0')}`;
    return `${quoteName(name)} >= ${timeLiteral(word, column, timeFrom(mark, utc, overlapMs, word === 'datetimeoffset' ? 0 : zone))}`;
  });
  return parts.length === 0 ? '1 = 0' : parts.join(' OR ');
}

/** A time of the column's own type, so that its index serves; a minute earlier where the type rounds to minutes. */
function timeLiteral(word: string, column: Column | undefined, ms: number): string {
  const second = new Date(Math.floor((word === 'smalldatetime' ? ms - 60_000 : ms) / 1000) * 1000);
  const text = second.toISOString().slice(0, 19).replace('T', ' ');
  if (word === 'datetimeoffset') return `CONVERT(${column?.sourceType}, N'${text} +00:00', 121)`;
  if (word === 'datetime2') return `CONVERT(${column?.sourceType}, N'${text}', 121)`;
  // These begin in 1900 and 1753.
  return `CONVERT(${word}, N'${text}', ${word === 'datetime' ? 121 : 120})`;
}
