import { BSON, type Document } from 'mongodb';
import type { Listing } from '../source.ts';
import { type Connection, numberOf } from './connection.ts';
import { openCursor } from './cursor.ts';
import { errorNumber } from './errors.ts';

/** A collection, as far as the copy cares. */
export type Found = {
  readonly name: string;
  readonly type: 'collection' | 'view' | 'timeseries';
  readonly capped: boolean;
  /** Another one for each collection that ever had the name; '' where the server gives none. */
  readonly uuid: string;
};

/** Databases of the server itself. */
const OWN = new Set(['admin', 'local', 'config']);

/** Databases that the user may read, sorted. `wanted`: only this one, whether the user may list others or not. */
export async function listDatabases(connection: Connection, wanted: string): Promise<string[]> {
  if (wanted !== '') return [wanted];
  const answer = await connection.command('admin', { listDatabases: 1, nameOnly: true, authorizedDatabases: true });
  const names = (answer['databases'] as Document[]).map((one) => String(one['name']));
  return names.filter((name) => !OWN.has(name)).sort();
}

/** Collections of a database, views and time series too, those of the server left out; sorted. With `names` only those. */
export async function listCollections(
  connection: Connection,
  database: string,
  names?: readonly string[],
): Promise<Found[]> {
  const found: Found[] = [];
  const cursor = await openCursor(
    connection,
    database,
    {
      listCollections: 1,
      ...(names && { filter: { name: { $in: names } } }),
      authorizedCollections: true,
      nameOnly: false,
      cursor: {},
    },
    {},
  ).catch((error: unknown) => {
    // Without the right to list, the server tells the names at least.
    if (errorNumber(error) !== UNAUTHORIZED) throw error;
    return openCursor(
      connection,
      database,
      { listCollections: 1, authorizedCollections: true, nameOnly: true, cursor: {} },
      {},
    );
  });
  try {
    for (let page = cursor.first; ; page = await cursor.next()) {
      for (const document of page.documents) found.push(...readEntry(document, names));
      if (page.last) break;
    }
  } finally {
    await cursor.close();
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
const UNAUTHORIZED = 13;

function readEntry(bytes: Uint8Array, names: readonly string[] | undefined): Found[] {
  const entry = BSON.deserialize(bytes, { promoteBuffers: true });
  const name = String(entry['name']);
  if (name.startsWith('system.') || (names && !names.includes(name))) return [];
  const type = entry['type'] === 'view' || entry['type'] === 'timeseries' ? entry['type'] : 'collection';
  const options = (entry['options'] ?? {}) as Document;
  const uuid = (entry['info'] as Document | undefined)?.['uuid'];
  return [
    {
      name,
      type,
      capped: options['capped'] === true,
      uuid: uuid instanceof Uint8Array ? Buffer.from(uuid).toString('hex') : '',
    },
  ];
}

/** Collections as the API lists them. */
export async function listTables(connection: Connection, database: string, wanted: string): Promise<Listing[] | null> {
  const known = (await listDatabases(connection, wanted)).includes(database);
  const found = await listCollections(connection, database);
  if (found.length === 0 && !known) return null;
  return found
    .filter(({ type }) => type !== 'view')
    .map(({ name, type }) => ({
      name,
      kind: type === 'timeseries' ? ('view' as const) : ('table' as const),
      approxRows: 0,
    }));
}

/** About how many documents a collection has, and how many bytes. */
export type Size = { readonly rows: number; readonly bytes: number };

/** A server that keeps no statistics is asked for the number of documents, and gives a few for their size. */
export async function sizeOf(connection: Connection, database: string, collection: string): Promise<Size> {
  const stats = await connection.command(database, { collStats: collection }).catch((error: unknown) => {
    if (errorNumber(error) === undefined) throw error;
    return null;
  });
  const rows = numberOf(stats?.['count']);
  const bytes = numberOf(stats?.['size']);
  if (rows >= 0 && bytes >= 0) return { rows, bytes };
  const counted = numberOf((await connection.command(database, { count: collection }))['n']);
  const answer = await connection.command(
    database,
    { find: collection, limit: SAMPLE, singleBatch: true, batchSize: SAMPLE },
    { rawBatch: true },
  );
  const sample = (answer['cursor'] as Document)['firstBatch'] as Uint8Array[];
  const each = sample.reduce((sum, document) => sum + document.length, 0) / Math.max(1, sample.length);
  return { rows: counted, bytes: Math.round(counted * each) };
}
const SAMPLE = 100;
