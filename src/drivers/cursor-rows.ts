import type { ChangedRows } from './cursor-capture.ts';
import { NEWLINE, TAB } from './load-text.ts';
import type { Batch, ChunkRead, Table } from './model.ts';

/** A row of load text, and its key as in `RowChange.key`. */
export type KeyedLine = { readonly line: Buffer; readonly key: string; readonly from: number; readonly to: number };

/** The rows of a batch that is cut at row ends. `keysOnly`: lines hold the key columns alone, in `Table.key` order. */
export function lineKeys(table: Table, data: Buffer, keysOnly = false): KeyedLine[] {
  const places = table.key.map((name, i) => (keysOnly ? i : table.columns.findIndex((column) => column.name === name)));
  const last = Math.max(...places);
  const lines: KeyedLine[] = [];
  for (let from = 0; from < data.length; ) {
    const end = data.indexOf(NEWLINE, from);
    if (end < 0) throw new RangeError('a batch does not end at a row');
    lines.push({ line: data.subarray(from, end + 1), key: keyOf(data, from, end, places, last), from, to: end + 1 });
    from = end + 1;
  }
  return lines;
}

function keyOf(data: Buffer, from: number, end: number, places: readonly number[], last: number): string {
  const cells: string[] = [];
  for (let i = 0, start = from; i <= last; i++) {
    const tab = data.indexOf(TAB, start);
    const stop = tab < 0 || tab > end ? end : tab;
    if (places.includes(i)) cells[i] = data.toString('latin1', start, stop);
    start = stop + 1;
  }
  return places.length === 1 ? (cells[last] as string) : places.map((place) => cells[place]).join('\t');
}

/** Batches cut at row ends, as bytes of their own. */
export async function* wholeRows(
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
): AsyncGenerator<ChangedRows, ChunkRead['rules'], undefined> {
  let begun: Buffer[] = [];
  try {
    for (;;) {
      const next = await batches.next();
      if (next.done) {
        if (begun.length > 0) throw new RangeError('the rows do not end at a row');
        return next.value.rules;
      }
      const data = Buffer.from(next.value.data);
      next.value.release?.();
      const end = data.lastIndexOf(NEWLINE) + 1;
      if (end > 0) {
        const rows = data.subarray(0, end);
        yield { kind: 'update', data: begun.length === 0 ? rows : Buffer.concat([...begun, rows]) };
        begun = [];
      }
      if (end < data.length) begun.push(data.subarray(end));
    }
  } finally {
    await batches.return({ rows: 0, rules: [] });
  }
}
