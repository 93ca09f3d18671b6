import type { Split, Table } from '../model.ts';
import type { Relation, Storage } from './catalog.ts';
import type { Session } from './connection.ts';
import { formatRange, type Range } from './range.ts';
import { quoteName, quoteTable } from './sql.ts';
import { isView } from './table.ts';

/** Sampled rows per range: their order statistics put range sizes within some 20 % of each other. */
const SAMPLES_PER_RANGE = 100;
const MAX_SAMPLES = 50_000;
/** Two bounds must fit into a range's text. A longer one is no place to cut: a shortened key might sort elsewhere. */
const MAX_BOUND_BYTES = 1_900;
/** Assumed where the server has no statistics yet. */
const ROWS_PER_PAGE = 50;
/** TID range scans exist from 14 on; before, each range of pages would read the whole table. */
const TID_RANGES = 140000;

const WHOLE: Split = { ranges: [formatRange({ form: 'all' })], replace: false };

/**
 * Cuts a table into ranges of about `chunkBytes` (its storage counts, dead rows included). Pages where rows may be read twice: keyed, no
 * text in the key. Otherwise key ranges, or the whole table in one snapshot. `logged`: a stream follows the load and brings rows that an
 * update moved from an unread page to a read one; without it only key ranges are sure to find every row.
 */
export async function splitTable(
  session: Session,
  version: number,
  logged: boolean,
  relation: Relation,
  table: Table,
  chunkBytes: number,
): Promise<Split> {
  if (table.key.length === 0 || isView(relation)) return WHOLE;
  if (
    logged &&
    version >= TID_RANGES &&
    !table.textKey &&
    relation.storage.every((one) => one.kind === 'r' && one.readable)
  ) {
    const ranges = relation.storage.flatMap((one) => pageRanges(one, chunkBytes));
    if (ranges.length > 0) return { ranges: ranges.map(formatRange), replace: true };
  }
  const bytes = relation.storage.reduce((sum, one) => sum + one.bytes, 0);
  const count = Math.min(Math.ceil(bytes / chunkBytes), MAX_SAMPLES / SAMPLES_PER_RANGE);
  if (count < 2 || relation.storage.some((one) => one.kind === 'f')) return WHOLE;
  return { ranges: (await keyRanges(session, relation, table, count)).map(formatRange), replace: false };
}

/** The last range has no end: rows may be appended after the split. */
function pageRanges(storage: Storage, chunkBytes: number): Range[] {
  const count = Math.max(Math.min(Math.ceil(storage.bytes / chunkBytes), storage.pages), 1);
  const { schema, name, oid, filenode } = storage;
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((storage.pages * index) / count);
    const to = index + 1 === count ? null : Math.floor((storage.pages * (index + 1)) / count);
    return { form: 'pages', schema, name, storage: oid, filenode, from, to };
  });
}

/** Cuts at every n-th row of a random sample of pages, in the key's own order at the server. */
async function keyRanges(session: Session, relation: Relation, table: Table, count: number): Promise<Range[]> {
  const columns = table.key;
  const pages = relation.storage.reduce((sum, one) => sum + one.pages, 0);
  const rows = relation.storage.reduce((sum, one) => sum + one.rows, 0) || pages * ROWS_PER_PAGE;
  const wanted = count * SAMPLES_PER_RANGE;
  // Sparse pages give fewer rows than their share; at least ten pages per range keep neighbours from deciding the cut.
  const wantedPages = Math.max(count * 10, Math.ceil((wanted / Math.max(rows, 1)) * pages));
  const percent = Math.min(100, Math.max(0.01, (100 * wantedPages) / Math.max(pages, 1)));
  const names = columns.map(quoteName).join(', ');
  const texts = columns.map((name) => `${quoteName(name)}::text`).join(', ');
  const only = relation.kind === 'r' ? 'only ' : '';
  const { rows: found } = await session.query<{ bound: string[] }>(
    `select array[${texts}] as bound from (
       select ${names}, row_number() over (order by ${names}) as place, count(*) over () as total
       from ${only}${quoteTable(table.ref)} tablesample system (${percent.toFixed(4)})
     ) as sample
     where (place - 1) * $1 / total <> (place - 2) * $1 / total and place > 1
     order by place`,
    [count],
  );
  const bounds = found.map((row) => row.bound).filter(isBound);
  const edges: (readonly string[] | null)[] = [null, ...bounds, null];
  return edges.slice(1).map((to, index) => ({ form: 'keys', columns, from: edges[index] ?? null, to }));
}

function isBound(bound: readonly string[], index: number, all: readonly (readonly string[])[]): boolean {
  const text = JSON.stringify(bound);
  return Buffer.byteLength(text) <= MAX_BOUND_BYTES && (index === 0 || text !== JSON.stringify(all[index - 1]));
}
