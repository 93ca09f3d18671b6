import { Misconfigured } from '../errors.ts';
import type { Split, Table } from '../model.ts';
import { type CatalogTable, readTables } from './catalog.ts';
import type { Connection } from './connection.ts';
import { type Bounded, compare, EVERYTHING, encodeRange } from './range.ts';
import { quoteName, quoteTable } from './sql.ts';
import { cell } from './types.ts';

const MOST_CHUNKS = 20_000;
/** Ranges are stored, 4 KB each at most. */
const RANGE_BYTES = 4_000;
/** Types whose every value has a literal that the server reads back as the same value. */
const BOUNDED =
  /^(bit|tinyint|smallint|int|bigint|decimal|numeric|money|smallmoney|date|time|datetime|datetime2|smalldatetime|uniqueidentifier|char|varchar|nchar|nvarchar|binary|varbinary)\b/;

/**
 * Cuts a table by ranges of its key, in the server's own order. Each key lies in exactly one range, so no row is read twice, and `replace`
 * is never needed; rows that change their key between two reads are put right by the changes that follow (EXACTNESS.md §4).
 */
export async function splitTable(connection: Connection, table: Table, chunkBytes: number): Promise<Split> {
  const [found] = await readTables(connection, [table.ref]);
  if (!found)
    throw new Misconfigured(
      `The table ${table.ref.schema}.${table.ref.name} does not exist any more.`,
      'Deselect it, or create it at the source.',
    );
  const columns = boundColumns(table, found);
  const chunks = Math.min(MOST_CHUNKS, Math.round(Math.max(found.bytes, found.rows * 40) / chunkBytes));
  if (columns.length === 0 || chunks < 2) return { ranges: [EVERYTHING], replace: false };
  const wanted = Math.ceil(found.rows / chunks);
  const bounds =
    (await evenBounds(connection, table, found, columns, chunks)) ??
    (await hopBounds(connection, table, columns, wanted));
  return { ranges: rangesOf(columns, bounds), replace: false };
}

/** The leading columns of an index over the key that can be bounded. */
function boundColumns(table: Table, found: CatalogTable): Bounded[] {
  const index = found.indexes.find(
    ({ ordered, filtered, columns }) =>
      ordered &&
      !filtered &&
      columns.length >= table.key.length &&
      columns.slice(0, table.key.length).every((name) => table.key.includes(name)),
  );
  const bounded: Bounded[] = [];
  if (table.key.length === 0) return bounded;
  for (const name of index?.columns.slice(0, table.key.length) ?? []) {
    const column = found.columns.find((one) => one.name === name);
    if (!column || !BOUNDED.test(column.full)) break;
    const paged = column.word === 'char' || column.word === 'varchar';
    bounded.push({ name, type: column.full, ...(paged && column.collation !== '' && { collation: column.collation }) });
  }
  return bounded;
}

/** Whole numbers that lie densely are cut in equal widths; null: they don't. */
async function evenBounds(
  connection: Connection,
  table: Table,
  found: CatalogTable,
  columns: readonly Bounded[],
  chunks: number,
): Promise<string[][] | null> {
  const [first] = columns;
  if (!first || columns.length > 1 || !/^(small|tiny|big)?int$/.test(first.type)) return null;
  const name = quoteName(first.name);
  const [row] = await connection.query(
    `SELECT MIN(${name}) AS least, MAX(${name}) AS most FROM ${quoteTable(table.ref)}`,
  );
  if (row?.[0] == null || row[1] == null) return [];
  const [least, most] = [BigInt(String(row[0])), BigInt(String(row[1]))];
  const span = most - least + 1n;
  if (found.rows / Number(span) < 0.5) return null;
  return Array.from({ length: chunks - 1 }, (_, at) => [String(least + (BigInt(at + 1) * span) / BigInt(chunks))]);
}

/** Bounds by hops over the index, each to the row that is `wanted` further. Reads the index once. */
async function hopBounds(
  connection: Connection,
  table: Table,
  columns: readonly Bounded[],
  wanted: number,
): Promise<string[][]> {
  const names = columns.map(({ name }) => quoteName(name)).join(', ');
  const values = columns.map(({ name }) => {
    const column = table.columns.find((one) => one.name === name);
    return column ? cell(column).expression : quoteName(name);
  });
  const bounds: string[][] = [];
  let previous: string[] = [];
  for (let offset = wanted; bounds.length < MOST_CHUNKS; ) {
    const [row] = await connection.query(
      `SELECT ${values.map((value, i) => `${value} AS bound${i}`).join(', ')}
FROM ${quoteTable(table.ref)}
WHERE ${previous.length > 0 ? compare(columns, previous, '>', '>=') : '1 = 1'}
ORDER BY ${names}
OFFSET ${offset} ROWS FETCH NEXT 1 ROWS ONLY`,
    );
    if (!row) break;
    const bound = row.map((value) => (Buffer.isBuffer(value) ? value.toString('hex').toUpperCase() : bit(value)));
    if (Buffer.byteLength(encodeRange({ columns, from: previous, to: bound })) > RANGE_BYTES) {
      offset += wanted;
      continue;
    }
    // As many rows share what can be bounded of the key: no range lies between.
    if (bound.every((value, i) => value === previous[i])) {
      offset += wanted;
      continue;
    }
    bounds.push(bound);
    previous = bound;
    offset = wanted;
  }
  return bounds;
}

function bit(value: unknown): string {
  return value === true ? '1' : value === false ? '0' : String(value);
}

function rangesOf(columns: readonly Bounded[], bounds: readonly (readonly string[])[]): string[] {
  if (bounds.length === 0) return [EVERYTHING];
  return Array.from({ length: bounds.length + 1 }, (_, at) => {
    const from = bounds[at - 1];
    const to = bounds[at];
    return encodeRange({ columns, ...(from && { from }), ...(to && { to }) });
  });
}
