import type { PortionItem } from '../activities/extract.ts';
import type { PlannedTable } from '../activities/plan.ts';

/** Chunks that one portion takes at most: progress is shown, and a stop takes effect, between portions. */
const MAX_CHUNKS_PER_PORTION = 4;
/** Small tables share a portion up to this many bytes or tables. */
const SHARED_BYTES = 32 * 1024 * 1024;
const SHARED_TABLES = 50;

/** What one activity loads. */
export type Portion = { readonly items: readonly PortionItem[] };

/**
 * Cuts what is left to load into portions, biggest tables first, so that the last ones to end are small. Tables without open chunks
 * only need sealing and go with the small ones.
 */
export function portions(tables: readonly PlannedTable[], threads: number): Portion[] {
  const big: PlannedTable[] = [];
  const small: PlannedTable[] = [];
  for (const table of tables) (table.open.length > 1 ? big : small).push(table);
  big.sort((a, b) => b.open.length - a.open.length);
  small.sort((a, b) => b.bytes - a.bytes);

  const result: Portion[] = [];
  for (const table of big) {
    const size = Math.min(MAX_CHUNKS_PER_PORTION, Math.ceil(table.open.length / threads));
    const whole = table.open.length <= size;
    for (let at = 0; at < table.open.length; at += size) {
      result.push({ items: [item(table, table.open.slice(at, at + size), whole)] });
    }
  }

  // Shares are kept small enough for every thread to get one.
  const perShare = Math.max(1, Math.min(SHARED_TABLES, Math.ceil(small.length / threads)));
  let share: PortionItem[] = [];
  let bytes = 0;
  for (const table of small) {
    if (share.length >= perShare || (share.length > 0 && bytes + table.bytes > SHARED_BYTES)) {
      result.push({ items: share });
      share = [];
      bytes = 0;
    }
    share.push(item(table, table.open, true));
    bytes += table.bytes;
  }
  if (share.length > 0) result.push({ items: share });
  return result;
}

function item(table: PlannedTable, take: readonly number[], seal: boolean): PortionItem {
  const { open: _open, bytes: _bytes, rowsDone: _rowsDone, ...rest } = table;
  return { ...rest, take, seal };
}
