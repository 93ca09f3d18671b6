import { unescapeText } from '../load-text.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import { isBinary } from './ddl.ts';
import type { Reject } from './rejects.ts';

const TAB = 9;
const NEWLINE = 10;
const BACKSLASH = 92;
/** Longer key values are cut in messages. */
const SHOWN = 100;

/** A row of load text: its key as `id = 5, code = x` ('' for a keyless table), and the column that gave it away, if one did. */
export type FoundRow = { readonly key: string; readonly column: string | undefined };

/**
 * Looks for a refused row in a second reading of its chunk: by its number where the server said one, else the first that is not valid in
 * the way the server said.
 */
export async function findRow(
  table: Table,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  reject: Reject,
  signal: AbortSignal,
): Promise<FoundRow | undefined> {
  let number = 0;
  for await (const line of lines(batches, signal)) {
    number++;
    if (reject.row !== undefined) {
      if (number === reject.row) return { key: keyText(table, cellsOf(line)), column: undefined };
      continue;
    }
    if (reject.invalid === undefined) return undefined;
    const cells = cellsOf(line);
    const bad = cells.findIndex((cell, i) =>
      reject.invalid === 'utf8' ? !isUtf8(cell) : table.columns[i]?.name === reject.column?.name && !isJson(cell),
    );
    if (bad >= 0) return { key: keyText(table, cells), column: table.columns[bad]?.name };
  }
  return undefined;
}

/** Rows without their newlines. A newline is always the end of a row: inside a cell it is written as backslash and `n`. */
async function* lines(
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let pieces: Uint8Array[] = [];
  for await (const { data } of batches) {
    signal.throwIfAborted();
    let from = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, from)) {
      pieces.push(data.subarray(from, end));
      yield Buffer.concat(pieces);
      pieces = [];
      from = end + 1;
    }
    pieces.push(data.slice(from));
  }
}

function cellsOf(line: Buffer): Buffer[] {
  const cells: Buffer[] = [];
  let from = 0;
  for (let i = 0; i <= line.length; i++) {
    if (line[i] === BACKSLASH) {
      i++;
    } else if (i === line.length || line[i] === TAB) {
      cells.push(line.subarray(from, i));
      from = i + 1;
    }
  }
  return cells;
}

function keyText(table: Table, cells: readonly Buffer[]): string {
  return table.key
    .map((name) => {
      const index = table.columns.findIndex((column) => column.name === name);
      const column = table.columns[index];
      const cell = cells[index]?.toString('utf8') ?? '';
      return `${name} = ${column && isBinary(column.type) ? `0x${shown(cell)}` : shown(unescapeText(cell))}`;
    })
    .join(', ');
}

function shown(value: string): string {
  return value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
}

function isUtf8(cell: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(cell);
    return true;
  } catch {
    return false;
  }
}

function isJson(cell: Buffer): boolean {
  const text = cell.toString('utf8');
  if (text === '\\N') return true;
  try {
    JSON.parse(unescapeText(text));
    return true;
  } catch {
    return false;
  }
}
