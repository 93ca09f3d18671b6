import type { Batch, ChunkRead, Table } from '../model.ts';
import { isBinary } from './ddl.ts';

const TAB = 9;
const NEWLINE = 10;
const BACKSLASH = 92;
/** Longer key values are cut in messages. */
const SHOWN = 100;

/** Reads load text up to row `wanted` (from 1) and returns its key as `id = 5, code = 'x'`; undefined when there is no such row. */
export async function findKey(
  table: Table,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  wanted: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  let row = 1;
  const pieces: Uint8Array[] = [];
  try {
    for await (const { data } of batches) {
      signal.throwIfAborted();
      let from = 0;
      while (from < data.byteLength) {
        const end = data.indexOf(NEWLINE, from);
        const till = end < 0 ? data.byteLength : end;
        // No source escapes a newline by a backslash before it: it is written as the two characters `\n`.
        if (row === wanted) pieces.push(data.slice(from, till));
        if (end < 0) break;
        if (row === wanted) return keyText(table, Buffer.concat(pieces));
        row++;
        from = end + 1;
      }
    }
    return pieces.length > 0 ? keyText(table, Buffer.concat(pieces)) : undefined;
  } finally {
    await batches.return(undefined as never).catch(() => undefined);
  }
}

function keyText(table: Table, line: Buffer): string {
  const cells: Buffer[] = [];
  let from = 0;
  for (let i = 0; i <= line.length; i++) {
    if (i < line.length && line[i] === BACKSLASH) {
      i++;
      continue;
    }
    if (i === line.length || line[i] === TAB) {
      cells.push(line.subarray(from, i));
      from = i + 1;
    }
  }
  return table.key
    .map((name) => {
      const index = table.columns.findIndex((column) => column.name === name);
      const column = table.columns[index];
      const cell = cells[index]?.toString('utf8') ?? '';
      return `${name} = ${column && isBinary(column.type) ? `0x${shown(cell)}` : shown(unescaped(cell))}`;
    })
    .join(', ');
}

const LETTERS: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', '0': '\0', Z: '\x1a' };

function unescaped(cell: string): string {
  return cell.replace(/\\([\s\S])/g, (_, letter: string) => LETTERS[letter] ?? letter);
}

function shown(value: string): string {
  return value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
}
