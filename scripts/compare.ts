// Compares a copy with its source cell by cell. Shares no code with the product: plain client libraries, own queries,
// own rules. Both sides are read once, sorted by key, and merged; tables without a key are compared as bags of rows.
import { compareKeys, expectedText, type Family, storedText } from './compare/canonical.ts';
import { destinationExpression, openMysql, orderExpression, quote } from './compare/mysql-reader.ts';
import { openPostgres } from './compare/postgres-reader.ts';
import type { Address, Cells, Reader, SourceColumn, TableName } from './compare/reader.ts';

export type ComparedSource = Address & ({ kind: 'postgres'; database: string } | { kind: 'mysql' });

export type ComparedTable = {
  source: TableName;
  /** `schema` is the destination database. */
  destination: TableName;
  /** Instead of the source's primary key. */
  key?: readonly string[];
  /** Columns of the source that the copy does not have, or that are masked. */
  except?: readonly string[];
};

export type Difference = {
  /** The key's values, or the row's number in a table without a key. */
  row: string;
  /** null: the whole row is missing on one side. */
  column: string | null;
  source: string | null;
  destination: string | null;
};

export type Comparison = {
  table: ComparedTable;
  sourceRows: number;
  destinationRows: number;
  /** Rows that are missing on either side or differ in a cell. */
  differences: number;
  /** The first of them, cell by cell. */
  examples: Difference[];
};

const exampleLimit = 5;

/** Compares tables one after another; `onProgress` is called every 250,000 rows or so. */
export async function compareTables(
  source: ComparedSource,
  destination: Address,
  tables: readonly ComparedTable[],
  onProgress?: (table: ComparedTable, rows: number) => void,
): Promise<Comparison[]> {
  const open = () => (source.kind === 'postgres' ? openPostgres(source, source.database) : openMysql(source));
  const results: Comparison[] = [];
  const sides = await Promise.all([open(), openMysql(destination)]);
  try {
    for (const table of tables) results.push(await compareTable(sides[0], sides[1], table, onProgress));
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
  return results;
}

async function compareTable(
  source: Reader,
  destination: Reader,
  table: ComparedTable,
  onProgress?: (table: ComparedTable, rows: number) => void,
): Promise<Comparison> {
  const shape = await source.shape(table.source);
  const columns = shape.columns.filter((column) => !table.except?.includes(column.name));
  if (columns.length === 0) throw new Error(`${table.source.schema}.${table.source.name} is not at the source`);
  const there = await destination.shape(table.destination);
  if (there.columns.length === 0)
    throw new Error(`${table.destination.schema}.${table.destination.name} is not at the destination`);
  const copied = new Set(there.columns.map((column) => column.name));
  const missing = columns.filter((column) => !copied.has(column.name)).map((column) => column.name);
  if (missing.length > 0) throw new Error(`${table.destination.name} has no column ${missing.join(', ')}`);

  const keyNames = table.key ?? shape.key;
  const key = keyNames.map((name) => columns.findIndex((column) => column.name === name));
  if (key.includes(-1)) throw new Error(`no column for the key ${keyNames.join(', ')} of ${table.source.name}`);
  const keyColumns = key.map((at) => columns[at] as SourceColumn);
  const expected = source.rows(
    table.source,
    columns.map((column) => column.expression),
    keyColumns.map((column) => column.order),
  );
  const stored = destination.rows(
    table.destination,
    columns.map((column) => destinationExpression(quote(column.name), column.family)),
    keyColumns.map((column) => orderExpression(quote(column.name), column.family)),
  );
  const families = columns.map((column) => column.family);
  const report: Comparison = { table, sourceRows: 0, destinationRows: 0, differences: 0, examples: [] };
  const count = (side: 'sourceRows' | 'destinationRows', rows: number) => {
    const before = report[side];
    report[side] += rows;
    if (side === 'sourceRows' && Math.floor(before / 250_000) !== Math.floor(report[side] / 250_000))
      onProgress?.(table, report[side]);
  };
  const left = rowByRow(expected, families, expectedText, (rows) => count('sourceRows', rows));
  const right = rowByRow(stored, families, storedText, (rows) => count('destinationRows', rows));
  if (key.length === 0) await compareBags(left, right, report);
  else await merge(left, right, { columns, key, families }, report);
  return report;
}

type Rows = { next(): Promise<Cells | undefined> };

/** Reads one row at a time with its cells made canonical; waits only where a batch ends. */
function rowByRow(
  batches: AsyncIterable<Cells[]>,
  families: readonly Family[],
  convert: (family: Family, text: string | null) => string | null,
  onBatch: (rows: number) => void,
): Rows {
  const iterator = batches[Symbol.asyncIterator]();
  let batch: Cells[] = [];
  let at = 0;
  return {
    async next() {
      while (at === batch.length) {
        const step = await iterator.next();
        if (step.done === true) return undefined;
        batch = step.value;
        at = 0;
        onBatch(batch.length);
      }
      const cells = batch[at++] as Cells;
      for (let index = 0; index < families.length; index++)
        cells[index] = convert(families[index] as Family, cells[index] ?? null);
      return cells;
    },
  };
}

type Layout = { columns: readonly SourceColumn[]; key: readonly number[]; families: readonly Family[] };

async function merge(left: Rows, right: Rows, layout: Layout, report: Comparison): Promise<void> {
  let [mine, theirs] = await Promise.all([left.next(), right.next()]);
  while (mine !== undefined || theirs !== undefined) {
    const order = mine === undefined ? 1 : theirs === undefined ? -1 : compareRows(mine, theirs, layout);
    if (order === 0) noteCells(mine as Cells, theirs as Cells, layout, report);
    else noteRow(order < 0 ? (mine as Cells) : (theirs as Cells), order < 0, layout, report);
    const [previousMine, previousTheirs] = [mine, theirs];
    if (order <= 0) mine = advanced(previousMine, await left.next(), layout);
    if (order >= 0) theirs = advanced(previousTheirs, await right.next(), layout);
  }
}

function compareRows(one: Cells, other: Cells, { key, families }: Layout): number {
  for (const at of key) {
    const order = compareKeys(families[at] as Family, one[at] ?? '', other[at] ?? '');
    if (order !== 0) return order;
  }
  return 0;
}

/** A merge of wrongly sorted rows would report nonsense, so the order is checked row by row. */
function advanced(previous: Cells | undefined, next: Cells | undefined, layout: Layout): Cells | undefined {
  if (previous !== undefined && next !== undefined && compareRows(previous, next, layout) > 0)
    throw new Error(
      `rows do not come sorted by their key: ${keyText(next, layout)} after ${keyText(previous, layout)}`,
    );
  return next;
}

function noteCells(mine: Cells, theirs: Cells, layout: Layout, report: Comparison): void {
  let differs = false;
  for (let at = 0; at < mine.length; at++) {
    if (mine[at] === theirs[at]) continue;
    differs = true;
    if (report.examples.length >= exampleLimit) break;
    const cell = { source: shortened(mine[at] ?? null), destination: shortened(theirs[at] ?? null) };
    report.examples.push({ row: keyText(mine, layout), column: layout.columns[at]?.name ?? '', ...cell });
  }
  if (differs) report.differences++;
}

function noteRow(row: Cells, atSource: boolean, layout: Layout, report: Comparison): void {
  report.differences++;
  if (report.examples.length >= exampleLimit) return;
  const [here, gone] = ['there', null];
  const sides = atSource ? { source: here, destination: gone } : { source: gone, destination: here };
  report.examples.push({ row: keyText(row, layout), column: null, ...sides });
}

function keyText(row: Cells, layout: Layout): string {
  return layout.key.map((at) => `${layout.columns[at]?.name}=${shortened(row[at] ?? null)}`).join(', ');
}

function shortened(text: string | null): string | null {
  return text === null || text.length <= 80 ? text : `${text.slice(0, 60)}… (${text.length} characters)`;
}

async function compareBags(left: Rows, right: Rows, report: Comparison): Promise<void> {
  const bag = new Map<string, number>();
  for (let row = await left.next(); row !== undefined; row = await left.next()) {
    const text = JSON.stringify(row);
    bag.set(text, (bag.get(text) ?? 0) + 1);
  }
  const note = (text: string, times: number, atSource: boolean) => {
    report.differences += times;
    if (report.examples.length >= exampleLimit) return;
    const sides = atSource ? { source: 'there', destination: null } : { source: null, destination: 'there' };
    report.examples.push({ row: shortened(text) ?? '', column: null, ...sides });
  };
  for (let row = await right.next(); row !== undefined; row = await right.next()) {
    const text = JSON.stringify(row);
    const times = bag.get(text);
    if (times === undefined) note(text, 1, false);
    else if (times === 1) bag.delete(text);
    else bag.set(text, times - 1);
  }
  for (const [text, times] of bag) note(text, times, true);
}

/** One line a difference, for people. */
export function describeDifferences(comparison: Comparison): string[] {
  return comparison.examples.map(({ row, column, source, destination }) => {
    if (column !== null)
      return `${row}: ${column} is ${shown(source)} at the source, ${shown(destination)} at the destination`;
    return `${row}: only at the ${source === null ? 'destination' : 'source'}`;
  });
}

function shown(text: string | null): string {
  return text === null ? 'NULL' : JSON.stringify(text);
}
