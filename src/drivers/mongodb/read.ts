import type { Document } from 'mongodb';
import { StructureChanged, UnsupportedValue } from '../errors.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import { listCollections } from './catalog.ts';
import type { Connection } from './connection.ts';
import { bufferOf, openCursor } from './cursor.ts';
import { appendRow, type RowForm, rowForm, takeUses } from './document-row.ts';
import { parseFilter } from './filter.ts';
import { EVERYTHING, rangeFilter } from './range.ts';
import { createRowBatches, type RowBatches } from './row-text.ts';

/** Bytes that a batch of the server should have: its own limit of 16 MB would be held several times over. */
const PAGE_BYTES = 2_097_152;
const MOST_DOCUMENTS = 20_000;
/** Assumed where the server does not say. */
const DOCUMENT_BYTES = 400;

/** Reads one chunk as load text; its cursor ends with the loop, however that ends. */
export async function* readChunk(
  connection: Connection,
  table: Table,
  where: string | undefined,
  range: string,
  options: ReadOptions,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const filter = (rare: boolean): Document => {
    const parts = [rangeFilter(range, rare), where === undefined || where.trim() === '' ? null : parseFilter(where)];
    const [first = {}, ...more] = parts.filter((part) => part !== null);
    return more.length > 0 ? { $and: [first, ...more] } : first;
  };
  const known = readWhere(connection, table, filter(true), options);
  const first = await known.next().catch((error: unknown) => {
    // A server that does not know a type has no value of it.
    if (range === EVERYTHING || !/unknown type/i.test((error as Error).message)) throw error;
    return null;
  });
  if (!first) return yield* readWhere(connection, table, filter(false), options);
  if (first.done) return first.value;
  try {
    yield first.value;
    return yield* known;
  } finally {
    await known.return({ rows: 0, rules: [] });
  }
}

export type ReadOptions = {
  readonly signal: AbortSignal;
  /** The rows must contain everything up to this cluster time. */
  readonly after?: unknown;
  /** Only these keys. */
  readonly wanted?: ReadonlySet<string>;
  /** Throw `StructureChanged` when the collection is gone, or another one of its name. */
  readonly same?: boolean;
};

/** Documents that match, as load text. The next batch is on its way while one is taken apart. */
export async function* readWhere(
  connection: Connection,
  table: Table,
  filter: Document,
  { signal, after, wanted, same = false }: ReadOptions,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  signal.throwIfAborted();
  const { schema, name } = table.ref;
  const each = table.approxRows > 0 ? table.approxBytes / table.approxRows : DOCUMENT_BYTES;
  const batchSize = Math.max(1, Math.min(MOST_DOCUMENTS, Math.floor(PAGE_BYTES / Math.max(1, each))));
  const readConcern = readConcernOf(connection, after);
  const form = rowForm(table);
  const rows = createRowBatches();
  const cursor = await openCursor(
    connection,
    schema,
    {
      find: name,
      filter,
      batchSize,
      noCursorTimeout: false,
      // In the order of `_id`s no document comes twice, whatever is deleted, inserted again or moved in other indexes meanwhile.
      ...(table.key.length > 0 && { hint: { _id: 1 } }),
      ...(readConcern && { readConcern }),
    },
    { batchSize, signal },
  );
  try {
    // An open cursor stays with its collection: only one that was another from the beginning has to be told.
    if (same) await checkCollection(connection, table);
    for (let page = cursor.first; ; ) {
      const next = page.last ? undefined : cursor.next();
      next?.catch(() => {});
      for (const document of page.documents) {
        signal.throwIfAborted();
        writeRow(rows, form, table, document, wanted);
        for (const batch of rows.take(false)) yield batch;
      }
      for (const batch of rows.take(true)) yield batch;
      if (!next) break;
      page = await next;
    }
    return { rows: rows.rows, rules: takeUses(table, form, rows.rows) };
  } finally {
    await cursor.close();
  }
}

async function checkCollection(connection: Connection, { ref: { schema, name }, storage }: Table): Promise<void> {
  const [now] = await listCollections(connection, schema, [name]);
  if (now && (now.uuid === '' || storage === '' || now.uuid === storage)) return;
  throw new StructureChanged(
    `The collection ${schema}.${name} was dropped${now ? ' and made again' : ''}.`,
    'The load starts over with the collection that is there now.',
  );
}

/**
 * Committed on a majority of the members, so that no failover takes a row back that was read; undefined for a server that stands alone.
 */
export function readConcernOf({ facts }: Connection, after: unknown): Document | undefined {
  if (facts.setName === undefined && !facts.sharded) return undefined;
  return { level: 'majority', ...(after !== undefined && { afterClusterTime: after }) };
}

function writeRow(
  { text, endRow }: RowBatches,
  form: RowForm,
  table: Table,
  document: Uint8Array,
  wanted: ReadonlySet<string> | undefined,
): void {
  const bytes = bufferOf(document);
  const from = document.byteOffset;
  try {
    appendRow(text, form, bytes, from, from + document.length);
  } catch (error) {
    throw placed(error, table, text.data, text.start, text.at);
  }
  if (wanted) {
    // An order of the collection's own (collation) may find others that it takes for the same.
    const tab = text.data.indexOf(9, text.start);
    if (!wanted.has(text.data.toString('latin1', text.start, tab))) {
      text.at = text.start;
      return;
    }
  }
  endRow();
}

/** An error of a row with its collection and, as far as it is written, its `_id`. */
export function placed(error: unknown, table: Table, data: Buffer, from: number, at: number): unknown {
  if (!(error instanceof UnsupportedValue)) return error;
  const tab = data.subarray(from, at).indexOf(9);
  const id = tab < 0 ? '' : `, _id ${data.toString('utf8', from, from + Math.min(tab, 100))}`;
  return new UnsupportedValue(`${table.ref.schema}.${table.ref.name}${id}: ${error.message}`, error.action);
}
