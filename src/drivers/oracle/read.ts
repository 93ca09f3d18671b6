import { StructureChanged } from '../errors.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import { errorCode } from './errors.ts';
import type { Pool } from './pool.ts';
import { createRowText, maskUses, type RowText } from './row-text.ts';
import type { ResultRow, Session } from './session.ts';
import { cell, isReadAgain, quoteName } from './types.ts';

/** A range of a table: rows with `low` ≤ ROWID < `high`, as they were at `scn`. Missing bounds are open; no `scn`: as they are now. */
export type Range = { readonly scn?: string; readonly low?: string; readonly high?: string };

/** A piece of load text is given out at about this size. */
const BATCH_CHARS = 262_144;
const ROWS_AT_ONCE = 1_000;
/** Cells of LOB tables may be large: fewer of them are held at a time. */
const LOB_ROWS_AT_ONCE = 20;

/** The undo that a read needs is gone: snapshot too old, no snapshot found, outside of the undo retention. */
const UNDO_GONE = new Set(['ORA-01555', 'ORA-08180', 'ORA-30052', 'ORA-22924']);

/** Whether rows of a range may also be read as they are now, and then come twice or late: later changes set them right. */
export function mayComeTwice(table: Table): boolean {
  return table.key.length > 0 && !table.textKey;
}

/** Reads one range as load text; its session and statement end with the loop, however that ends. */
export async function* readRange(
  pool: Pool,
  table: Table,
  where: string | undefined,
  range: string,
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const bounds = JSON.parse(range) as Range;
  const text = createRowText(table, refuse);
  const tally = { rows: 0 };
  const done = (): ChunkRead => ({ rows: tally.rows, rules: [...text.takeUses(), ...maskUses(table, tally.rows)] });
  try {
    yield* readRows(pool, table, text, chunkSelect(table, where, bounds), [], tally, signal);
    return done();
  } catch (error) {
    if (bounds.scn === undefined || !UNDO_GONE.has(errorCode(error) ?? '')) throw error;
    if (!mayComeTwice(table))
      throw new StructureChanged(
        `The source has no undo any more for rows of ${table.ref.schema}.${table.ref.name} as they were when its load began (${(error as Error).message}).`,
        'Raise UNDO_RETENTION above the time that the load of this table takes (ALTER SYSTEM SET UNDO_RETENTION = …).',
      );
  }
  const { low, high } = bounds;
  const now: Range = { ...(low === undefined ? {} : { low }), ...(high === undefined ? {} : { high }) };
  yield* readRows(pool, table, text, chunkSelect(table, where, now), [], tally, signal);
  return done();
}

/** Runs a query over the cells of a table; adds the rows that came to `tally`. */
export async function* readRows(
  pool: Pool,
  table: Table,
  text: RowText,
  sql: string,
  binds: readonly string[],
  tally: { rows: number },
  signal: AbortSignal,
): AsyncGenerator<Batch, void, undefined> {
  const session: Session = await pool.take(signal);
  let whole = false;
  const abort = (): void => void pool.drop(session);
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    const line = lineOf(table, text);
    const large = text.fields.some((field) => isReadAgain(field.encoding) && !field.column.masked);
    let out = '';
    let pending = 0;
    for await (const some of session.rows(sql, binds, large ? LOB_ROWS_AT_ONCE : ROWS_AT_ONCE)) {
      for (const row of some) {
        out += line(row);
        pending++;
        if (out.length < BATCH_CHARS) continue;
        tally.rows += pending;
        yield { data: Buffer.from(out), rows: pending };
        out = '';
        pending = 0;
      }
    }
    tally.rows += pending;
    if (pending > 0) yield { data: Buffer.from(out), rows: pending };
    whole = true;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', abort);
    if (whole) pool.give(session);
    else await pool.drop(session);
  }
}

/** How a fetched row becomes a line. Behind the cells stand the marks of empty LOBs. */
function lineOf(table: Table, text: RowText): (row: ResultRow) => string {
  const marks = emptyMarks(table);
  const keys = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
  const last = table.columns.length - 1;
  let current: ResultRow = [];
  text.at(() =>
    keys.length === 0
      ? ''
      : ` (${keys.map((index) => `${table.columns[index]?.name}=${String(current[index]).slice(0, 100)}`).join(', ')})`,
  );
  return (row) => {
    current = row;
    let line = '';
    for (let i = 0; i <= last; i++) {
      let value = row[i] ?? null;
      const mark = value === null ? marks.get(i) : undefined;
      if (mark !== undefined && row[mark] !== null) value = '';
      line += text.cell(i, value);
      line += i === last ? '\n' : '\t';
    }
    return line;
  };
}

/** Where the marks of empty LOBs stand in a fetched row, by the place of their column. */
function emptyMarks(table: Table): Map<number, number> {
  const marks = new Map<number, number>();
  for (const [index, column] of table.columns.entries())
    if (cell(column).empty !== undefined) marks.set(index, table.columns.length + marks.size);
  return marks;
}

/** The statement that reads a range. Bounds and SCN are made by this driver and hold digits and letters only. */
export function chunkSelect(table: Table, where: string | undefined, range: Range): string {
  const { scn, low, high } = range;
  const name = `${quoteName(table.ref.schema)}.${quoteName(table.ref.name)}`;
  const cells = table.columns.map((column) => cell(column));
  const selected = [...cells.map(({ expression }) => expression), ...cells.flatMap(({ empty }) => empty ?? [])];
  const conditions: string[] = [];
  if (low !== undefined) conditions.push(`rowid >= chartorowid('${low}')`);
  if (high !== undefined) conditions.push(`rowid < chartorowid('${high}')`);
  // On lines of their own: the condition may end in a comment.
  if (where !== undefined && where.trim() !== '') conditions.push(`(\n${where}\n)`);
  return [
    `select ${selected.join(', ')} from ${name}`,
    ...(scn === undefined ? [] : [`as of scn (${scn})`]),
    ...(conditions.length > 0 ? [`where ${conditions.join(' and ')}`] : []),
  ].join(' ');
}
