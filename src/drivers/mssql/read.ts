import type { Batch, ChunkRead, RuleUse, Table } from '../model.ts';
import type { Connection } from './connection.ts';
import type { Pool } from './pool.ts';
import { chunkSelect } from './range.ts';
import { createRowWriter, type RowWriter } from './row-text.ts';
import type { Bound, Flow } from './session.ts';
import { fieldsOf, type RowField } from './types.ts';

/** A batch has about so many characters. */
const BATCH_CHARS = 262_144;
/** So many batches wait at most; then the server is held back. */
const BATCHES_WAITING = 2;

/** Sets how a session reads: rows as one moment shows them, where the database allows it. */
export function isolation({ facts }: Connection, memory = false): string {
  return `SET TRANSACTION ISOLATION LEVEL ${facts.snapshot && !memory ? 'SNAPSHOT' : 'READ COMMITTED'}`;
}

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
  const connection = await pool.take(signal);
  let whole = false;
  try {
    await connection.query(isolation(connection, table.storage === 'memory'));
    const name = `${table.ref.schema}.${table.ref.name}`;
    const writer = yield* streamRows(connection, sql, name, fieldsOf(table.columns, table.key), refuse, signal);
    whole = true;
    return { rows: writer.rows, rules: [...writer.uses(), ...maskUses(table, writer.rows)] };
  } finally {
    if (whole) pool.give(connection);
    else pool.drop(connection);
  }
}

/** Uses of `mask` in so many rows. */
export function maskUses(table: Table, rows: number): RuleUse[] {
  const masked = rows > 0 ? table.columns.filter((column) => column.masked) : [];
  return masked.map((column) => ({ rule: 'mask', column: column.name, count: rows, examples: [] }));
}

/**
 * The rows of a statement as load text, pulled only as fast as they are taken. The session is of no further use when this throws or is
 * left early: the caller drops it.
 */
export async function* streamRows(
  connection: Connection,
  sql: string,
  name: string,
  fields: readonly RowField[],
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, RowWriter, undefined> {
  const writer = createRowWriter(name, fields, refuse);
  for await (const batch of pieces(
    connection,
    sql,
    (cells) => writer.add(cells),
    () => writer.pending,
    () => writer.take(),
    signal,
  ))
    yield batch;
  return writer;
}

/** What a statement's rows become, piece by piece: `add` takes a row, `size` says how much waits, `take` gives it out. */
export async function* pieces<P>(
  connection: Connection,
  sql: string,
  add: (cells: readonly unknown[]) => void,
  size: () => number,
  take: () => P,
  signal: AbortSignal,
  params?: Bound,
): AsyncGenerator<P, void, undefined> {
  signal.throwIfAborted();
  const ready: P[] = [];
  let request: Flow | undefined;
  let wake = (): void => {};
  let ended = false;
  let failed: unknown;
  const abort = (): void => {
    failed ??= signal.reason;
    connection.destroy();
    wake();
  };
  signal.addEventListener('abort', abort, { once: true });
  connection
    .stream(
      sql,
      {
        row(cells, own) {
          add(cells);
          if (size() < BATCH_CHARS) return;
          ready.push(take());
          request = own;
          if (ready.length >= BATCHES_WAITING) own.pause();
          wake();
        },
      },
      params,
    )
    .then(
      () => {
        ended = true;
        wake();
      },
      (error: unknown) => {
        failed ??= error;
        wake();
      },
    );
  try {
    for (;;) {
      if (failed !== undefined) throw failed;
      const next = ready.shift();
      if (next !== undefined) {
        if (ready.length < BATCHES_WAITING) request?.resume();
        yield next;
      } else if (ended) {
        if (size() > 0) yield take();
        return;
      } else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
