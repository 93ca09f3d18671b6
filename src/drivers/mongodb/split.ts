import type { Document } from 'mongodb';
import type { Split, Table } from '../model.ts';
import { sizeOf } from './catalog.ts';
import type { Connection } from './connection.ts';
import { openCursor } from './cursor.ts';
import { boundOf, EVERYTHING, encodeRange } from './range.ts';

/**
 * Cuts a collection by ranges of `_id`, in the server's order of all types. Each `_id` lies in exactly one range, so no document is read twice, and
 * `replace` is never needed. Views and time series have no index on `_id`: one range.
 */
export async function splitTable(connection: Connection, table: Table, chunkBytes: number): Promise<Split> {
  const whole = { ranges: [EVERYTHING], replace: false };
  if (table.key.length === 0 || table.kind === 'view') return whole;
  const { schema, name } = table.ref;
  const size = await sizeOf(connection, schema, name);
  const chunks = Math.min(MOST_CHUNKS, Math.round(size.bytes / chunkBytes));
  if (chunks < 2) return whole;
  // Whatever a server has against drawing: what is wrong with more than that, hops will say.
  const candidates = await sample(connection, schema, name, chunks).catch(() =>
    hops(connection, schema, name, chunks, size.rows),
  );
  const bounds: string[] = [];
  for (let i = 1; i < chunks; i++) {
    // The nearest one that can be a bound, in this part.
    const end = Math.floor(((i + 1) * candidates.length) / chunks);
    for (let at = Math.floor((i * candidates.length) / chunks); at < end; at++) {
      const bound = boundOf(candidates[at] as Uint8Array);
      if (bound === undefined) continue;
      if (bound !== bounds.at(-1)) bounds.push(bound);
      break;
    }
  }
  return {
    ranges: Array.from({ length: bounds.length + 1 }, (_, at) => {
      const [from, to] = [bounds[at - 1], bounds[at]];
      return encodeRange({ ...(from !== undefined && { from }), ...(to !== undefined && { to }) });
    }),
    replace: false,
  };
}

const MOST_CHUNKS = 20_000;
/** So many documents are drawn for each range: then few are twice as large as they should be. */
const DRAWN = 20;
const MOST_DRAWN = 100_000;

/** Some `_id`s in the server's order. */
async function sample(connection: Connection, database: string, name: string, chunks: number): Promise<Uint8Array[]> {
  return all(connection, database, {
    aggregate: name,
    pipeline: [
      { $sample: { size: Math.min(MOST_DRAWN, chunks * DRAWN) } },
      { $project: { _id: 1 } },
      { $sort: { _id: 1 } },
    ],
    allowDiskUse: true,
    cursor: {},
  });
}

/** `_id`s at equal distances, where the server draws none. */
async function hops(
  connection: Connection,
  database: string,
  name: string,
  chunks: number,
  rows: number,
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for (let i = 0; i < chunks; i++)
    found.push(
      ...(await all(connection, database, {
        find: name,
        projection: { _id: 1 },
        sort: { _id: 1 },
        skip: Math.floor((i * rows) / chunks),
        limit: 1,
        singleBatch: true,
      })),
    );
  return found;
}

async function all(connection: Connection, database: string, command: Document): Promise<Uint8Array[]> {
  const cursor = await openCursor(connection, database, command, {});
  try {
    const found = [...cursor.first.documents];
    for (let page = cursor.first; !page.last; ) {
      page = await cursor.next();
      found.push(...page.documents);
    }
    return found;
  } finally {
    await cursor.close();
  }
}
