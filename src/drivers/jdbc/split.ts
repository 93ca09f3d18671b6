import { isPermanent } from '../errors.ts';
import type { Column, Split, Table } from '../model.ts';
import type { CatalogTable } from './catalog.ts';
import { failure } from './failure.ts';
import type { JdbcOptions } from './options.ts';
import { type Bound, boundKind, EVERYTHING, encodeRange } from './range.ts';
import { fetchSize, readRequest } from './read.ts';
import { ask, type Session } from './session.ts';
import { quoteName, quoteTable } from './sql.ts';

/** So many rows are measured. */
const SAMPLE = 200;
const MOST_CHUNKS = 5_000;
/** Longest texts of a bound; a key with more is passed over for the next. */
const BOUND_LENGTH = 300;
const KEYS_FETCHED = 10_000;

/**
 * Cuts a table by ranges of its key, so that each key lies in exactly one. Dense integers are cut in equal widths; of other keys every
 * n-th is taken from one ordered reading of the key alone. Tables without a key, views, and those whose condition holds a `?` (which a
 * statement with parameters would take for one) stay whole.
 */
export async function splitTable(
  session: Session,
  options: JdbcOptions,
  table: Table,
  found: CatalogTable | undefined,
  where: string | undefined,
  chunkBytes: number,
): Promise<Split> {
  const whole: Split = { ranges: [EVERYTHING], replace: false };
  const key = boundColumns(table, found);
  const first = key[0];
  if (!first || table.kind === 'view' || where?.includes('?')) return whole;
  const rowBytes = await measure(session, options, table, found, where);
  const name = quoteTable(session.facts, table.ref);
  const about = { doing: 'asking', table: `${table.ref.schema}.${table.ref.name}` } as const;
  const [counted] = await ask(session, options, about, 'Q', [`select count(*) from ${name}`, []]);
  const rows = Number(counted?.[0] ?? '0');
  const chunks = Math.min(MOST_CHUNKS, Math.round((rows * rowBytes) / chunkBytes));
  if (chunks < 2) return whole;
  const column = quoteName(session.facts, first.name);
  if (key.length === 1 && table.key.length === 1 && first.type.kind === 'int') {
    const [ends] = await ask(session, options, about, 'Q', [`select min(${column}), max(${column}) from ${name}`, []]);
    const bounds = equalWidths(ends ?? [], rows, chunks);
    if (bounds) return { ranges: rangesOf(bounds), replace: false };
  }
  const names = key.map((one) => quoteName(session.facts, one.name)).join(', ');
  const sql = `select ${names} from ${name} order by ${names}`;
  const step = Math.ceil(rows / chunks);
  const taken = await ask(session, options, about, 'K', [
    sql,
    fetchSize(session.facts, KEYS_FETCHED),
    step,
    BOUND_LENGTH,
  ]);
  const bounds = taken.filter((bound) => isBound(key, bound)) as Bound[];
  return { ranges: rangesOf(bounds.slice(0, MOST_CHUNKS)), replace: false };
}

/** PostgreSQL's NUMERIC may be NaN. */
function isBound(key: readonly Column[], bound: readonly (string | null)[]): boolean {
  return bound.every(
    (value, at) => boundKind(key[at] as Column) === 's' || /^-?\d+(\.\d+)?(E[+-]?\d+)?$/.test(value ?? ''),
  );
}

/** The leading key columns that can be bounds. */
function boundColumns(table: Table, found: CatalogTable | undefined): Column[] {
  const columns: Column[] = [];
  for (const name of table.key) {
    const column = table.columns.find((one) => one.name === name);
    // No range holds a NULL, which SQLite lets into primary keys.
    const nullable = found?.columns.find((one) => one.name === name)?.nullable ?? true;
    if (!column || nullable || boundKind(column) === undefined) break;
    columns.push(column);
  }
  return columns;
}

/** Bytes of load text per row, from the first rows that come; a row that the condition leaves out may be one that can't be copied. */
async function measure(
  session: Session,
  options: JdbcOptions,
  table: Table,
  found: CatalogTable | undefined,
  where: string | undefined,
): Promise<number> {
  const name = `${table.ref.schema}.${table.ref.name}`;
  let bytes = 0;
  try {
    const batches = session.jvm.read(
      readRequest(session.facts, options.refuse, table, found, where, EVERYTHING, SAMPLE),
    );
    for (;;) {
      const next = await batches.next();
      if (next.done) return bytes / Math.max(next.value.rows, 1);
      bytes += next.value.data.byteLength;
    }
  } catch (error) {
    throw isPermanent(error)
      ? error
      : failure(error, options, { doing: 'reading', table: name, where: where !== undefined });
  }
}

/** Bounds of integers that lie close together; undefined where they don't. */
function equalWidths(ends: readonly (string | null)[], rows: number, chunks: number): Bound[] | undefined {
  const [least, most] = ends;
  if (!least || !most || !/^-?\d+$/.test(least) || !/^-?\d+$/.test(most)) return undefined;
  const [low, high] = [BigInt(least), BigInt(most)];
  if (rows / (Number(high - low) + 1) < 0.5) return undefined;
  return Array.from({ length: chunks - 1 }, (_, at) => [
    String(low + (BigInt(at + 1) * (high - low)) / BigInt(chunks)),
  ]);
}

function rangesOf(bounds: readonly Bound[]): string[] {
  if (bounds.length === 0) return [EVERYTHING];
  return Array.from({ length: bounds.length + 1 }, (_, at) => {
    const from = bounds[at - 1];
    const to = bounds[at];
    return encodeRange({ ...(from && { from }), ...(to && { to }) });
  });
}
