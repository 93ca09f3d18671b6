import type { Split, Table } from '../model.ts';
import type { CatalogIndex, CatalogTable } from './catalog.ts';
import type { Connection, Row } from './connection.ts';
import { compare, EVERYTHING, encodeRange, type Range } from './range.ts';
import { type CatalogColumn, quoteName } from './types.ts';

/**
 * Cuts a table by ranges of its key. Each key lies in exactly one range, so no row is read twice, and `replace` is never needed; rows
 * that change their key between two reads are put right by the change log (EXACTNESS.md §4).
 */
export async function splitTable(
  connection: Connection,
  table: Table,
  found: CatalogTable,
  chunkBytes: number,
): Promise<Split> {
  const index = keyIndex(table, found);
  const columns = index ? boundColumns(index, found, table.key) : [];
  const first = columns[0];
  if (!index || !first) return { ranges: [EVERYTHING], replace: false };
  const name = `${quoteName(table.ref.schema)}.${quoteName(table.ref.name)}`;
  const rows = await currentRows(connection, name, found, chunkBytes);
  const shown = found.bytes / Math.max(found.rows, 1);
  const rowBytes = found.rows > 100 && shown >= LEAST_ROW_BYTES ? shown : ROW_BYTES;
  const chunks = Math.min(MOST_CHUNKS, Math.round((rows * rowBytes) / chunkBytes));
  if (chunks < 2) return { ranges: [EVERYTHING], replace: false };
  const target: Target = { name, index: index.name, rows, wanted: Math.ceil(rows / chunks) };
  const bounds =
    (isInteger(first) ? await integerBounds(connection, target, first.name, index.parts.length > 1) : null) ??
    (await hopBounds(connection, target, columns));
  return { ranges: ranges(index.name, columns, bounds), replace: false };
}

/** A table with a rough number of its rows, and how many a chunk should have. */
type Target = { readonly name: string; readonly index: string; readonly rows: number; readonly wanted: number };
type Bound = readonly string[];

const MOST_CHUNKS = 20_000;
/** Assumed where the statistics lag behind: InnoDB counts rows as they come, but pages only now and then. */
const ROW_BYTES = 200;
/** Less than this no InnoDB row takes. */
const LEAST_ROW_BYTES = 25;
/** So many rows are counted in a fraction of a second. */
const COUNTED_MOST = 2_000_000;

/** Statistics of a table that was just filled show an empty one: a table that looks small is counted, up to a limit. */
async function currentRows(
  connection: Connection,
  name: string,
  found: CatalogTable,
  chunkBytes: number,
): Promise<number> {
  if (found.bytes >= 2 * chunkBytes) return found.rows;
  const [row] = await connection.query(`select count(*) from (select 1 from ${name} limit ${COUNTED_MOST}) as counted`);
  return Math.max(found.rows, Number(row?.[0] ?? '0'));
}

function ranges(index: string, columns: readonly CatalogColumn[], bounds: readonly Bound[]): string[] {
  if (bounds.length === 0) return [EVERYTHING];
  const names = columns.map((column) => column.name);
  return Array.from({ length: bounds.length + 1 }, (_, at) => {
    const from = bounds[at - 1];
    const to = bounds[at];
    const columns = names.slice(0, Math.max(from?.length ?? 0, to?.length ?? 0));
    return encodeRange({ index, columns, ...(from && { from }), ...(to && { to }) } satisfies Range);
  });
}

/** The index over the key columns that a range can be read from. */
function keyIndex(table: Table, found: CatalogTable): CatalogIndex | undefined {
  if (table.key.length === 0 || table.kind === 'view') return undefined;
  return found.indexes.find(
    (index) =>
      index.method === 'BTREE' &&
      index.parts.length >= table.key.length &&
      index.parts.slice(0, table.key.length).every((part) => table.key.includes(part.column)),
  );
}

/** The leading key columns of the index that can be bounded; [] when already the first can't. Others may be NULL, which no range holds. */
function boundColumns(index: CatalogIndex, found: CatalogTable, key: readonly string[]): CatalogColumn[] {
  const columns: CatalogColumn[] = [];
  for (const part of index.parts) {
    const column = found.columns.find((one) => one.name === part.column);
    if (!column || !key.includes(part.column) || part.prefix > 0 || boundKind(column) === null) break;
    columns.push(column);
  }
  return columns;
}

function isInteger(column: CatalogColumn): boolean {
  return /^(tiny|small|medium|big|)int$/.test(column.word);
}

/**
 * Bounds of an integer column. Dense numbers are cut in equal widths. Others are bisected: halves whose estimated rows are too many are
 * cut again, then neighbours are joined until they hold enough. That finds clusters and reads nothing: the estimates are the optimizer's,
 * which dives into the index. null: a single value holds too many rows, as the first column of a composite key may.
 */
async function integerBounds(
  connection: Connection,
  target: Target,
  name: string,
  composite: boolean,
): Promise<Bound[] | null> {
  const column = quoteName(name);
  const [row] = await connection.query(`select min(${column}), max(${column}) from ${target.name}`);
  if (!row?.[0] || !row[1]) return [];
  const [least, most] = [BigInt(row[0]), BigInt(row[1])];
  const span = Number(most - least) + 1;
  const old = connection.facts.product === 'MariaDB' || connection.facts.number < 50_600;

  async function estimate(low: bigint, high: bigint): Promise<number> {
    // USE, since MySQL 8 does not look into an index that is forced.
    const rows = await connection.query(
      `explain ${old ? '' : 'format=traditional '}select ${column} from ${target.name} use index (${quoteName(target.index)})
       where ${column} between ${low} and ${high}`,
    );
    // The number stands before `Extra`, and from MySQL 5.7 on before `filtered` too; it is NULL where no row matches.
    return Math.max(0, ...rows.map((one) => Number(one.at(one.length > 10 ? -3 : -2) ?? 0)));
  }

  const { rows, wanted } = target;
  if (rows / span >= 0.5 && !composite) {
    const chunks = Math.ceil(rows / wanted);
    return Array.from({ length: chunks - 1 }, (_, at) => [
      String(least + (BigInt(at + 1) * (most - least)) / BigInt(chunks)),
    ]);
  }

  const pieces: { from: bigint; rows: number }[] = [];
  let fat = false;
  async function cut(low: bigint, high: bigint, rows: number): Promise<void> {
    if (rows <= wanted || low === high) {
      fat ||= rows > wanted * 2;
      pieces.push({ from: low, rows });
      return;
    }
    const middle = low + (high - low) / 2n;
    await cut(low, middle, await estimate(low, middle));
    await cut(middle + 1n, high, await estimate(middle + 1n, high));
  }
  await cut(least, most, rows);
  if (fat && composite) return null;
  // An estimate may be twice what is there: what counts is a piece's share.
  const share = rows / pieces.reduce((sum, piece) => sum + piece.rows, 1);
  const bounds: Bound[] = [];
  let held = 0;
  for (const piece of pieces) {
    if (held >= wanted * 0.75) {
      bounds.push([String(piece.from)]);
      held = 0;
    }
    held += piece.rows * share;
  }
  return bounds;
}

/** Bounds by hops over the index in the server's own order, each to the entry `rows` further. Reads the index once. */
async function hopBounds(connection: Connection, target: Target, columns: readonly CatalogColumn[]): Promise<Bound[]> {
  const { wanted } = target;
  const names = columns.map((column) => quoteName(column.name));
  const cuts = columns.map(cutExpression);
  const bounds: Bound[] = [];
  let previous: Bound = [];
  for (let offset = wanted; bounds.length < MOST_CHUNKS; ) {
    // A cut bound may be no greater than the one before it, in whatever order the collation has: the server says.
    const grows = previous.map((_, at) => `(${compare(cuts.slice(0, at + 1), previous.slice(0, at + 1), '>', '>')})`);
    const [row] = await connection.query(
      `select ${[...columns.map(boundExpression), ...columns.map(isCut), ...grows].join(', ')}
       from ${target.name} force index (${quoteName(target.index)})
       ${previous.length > 0 ? `where ${compare(names, previous, '>', '>=')}` : ''}
       order by ${names.join(', ')} limit 1 offset ${offset}`,
    );
    if (!row) break;
    const bound = boundOf(columns, row);
    const compared = Math.min(bound.length, previous.length);
    if (compared === 0 || row[columns.length * 2 + compared - 1] === '1') {
      bounds.push(bound);
      previous = bound;
      offset = wanted;
    } else offset += wanted;
  }
  return bounds;
}

/** Longest bound of a text or binary column: any value serves as a bound, so a longer one is cut. */
const BOUND_LENGTH = 48;

/** How a column's value becomes a literal: as a number, in quotes, or in hex; null where it can't be bounded. */
function boundKind(column: CatalogColumn): 'number' | 'quoted' | 'hex' | null {
  if (isInteger(column) || column.word === 'decimal') return 'number';
  if (/^(date|time|datetime|timestamp|uuid|inet4|inet6)$/.test(column.word)) return 'quoted';
  // ENUM and SET sort by number and compare by text, FLOAT has no exact literal, a YEAR of two digits is another year.
  if (/^(char|varchar|binary|varbinary)$/.test(column.word)) return 'hex';
  return null;
}

function cutExpression(column: CatalogColumn): string {
  const name = quoteName(column.name);
  return boundKind(column) === 'hex' ? `left(${name}, ${BOUND_LENGTH})` : name;
}

function boundExpression(column: CatalogColumn): string {
  return boundKind(column) === 'hex' ? `hex(${cutExpression(column)})` : quoteName(column.name);
}

function isCut(column: CatalogColumn): string {
  return boundKind(column) === 'hex' ? `char_length(${quoteName(column.name)}) > ${BOUND_LENGTH}` : '0';
}

/** The literals of one hop; columns after one that was cut can't be compared any more. */
function boundOf(columns: readonly CatalogColumn[], row: Row): Bound {
  const bound: string[] = [];
  for (const [at, column] of columns.entries()) {
    const value = row[at] ?? '';
    const kind = boundKind(column);
    if (kind === 'number') bound.push(value);
    else if (kind === 'quoted') bound.push(`'${value}'`);
    // The bytes of the column's own charset, so that nothing is converted.
    else
      bound.push(
        column.charset === '' || column.charset === 'binary' ? `x'${value}'` : `_${column.charset} x'${value}'`,
      );
    if (row[columns.length + at] === '1') break;
  }
  return bound;
}
