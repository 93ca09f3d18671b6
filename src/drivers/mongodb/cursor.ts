import { BSON, type Document } from 'mongodb';
import type { CommandOptions, Connection } from './connection.ts';

/** A batch of documents as bytes, with what the server said beside it. */
export type Page = {
  readonly documents: readonly Uint8Array[];
  /** Of change streams: where the stream can be resumed from after this batch. */
  readonly resumeToken: Document | undefined;
  /** The server has no more. */
  readonly last: boolean;
};

/** A cursor of which one batch at a time is asked for. */
export type Cursor = {
  /** What the first command has brought. */
  readonly first: Page;
  next(): Promise<Page>;
  /** Ends the cursor at the server, unless it has ended there. */
  close(): Promise<void>;
};

/** Opens a cursor by `command`. `wait`: how long the server may wait for documents of a change stream, ms. */
export async function openCursor(
  connection: Connection,
  database: string,
  command: Document,
  { batchSize, wait, signal }: { readonly batchSize?: number; readonly wait?: number; readonly signal?: AbortSignal },
): Promise<Cursor> {
  const session = connection.session();
  const options: CommandOptions = { session, signal, rawBatch: true };
  let id: unknown;
  let namespace = '';
  let open = true;

  function page(answer: Document, name: 'firstBatch' | 'nextBatch'): Page {
    const cursor = answer['cursor'] as Document | undefined;
    const documents = cursor?.[name];
    if (!cursor || !Array.isArray(documents)) throw new Error('The source answered without a cursor.');
    id = cursor['id'];
    namespace = String(cursor['ns']);
    const last = isZero(id);
    if (last) open = false;
    return { documents, resumeToken: cursor['postBatchResumeToken'] as Document | undefined, last };
  }

  let pending: Promise<unknown> = Promise.resolve();
  async function next(): Promise<Page> {
    const collection = namespace.slice(namespace.indexOf('.') + 1);
    const more = connection.command(
      database,
      {
        getMore: id,
        collection,
        ...(batchSize !== undefined && { batchSize }),
        ...(wait !== undefined && { maxTimeMS: wait }),
      },
      options,
    );
    pending = more.catch(() => {});
    return page(await more, 'nextBatch');
  }

  async function close(): Promise<void> {
    // A cursor in use can't be ended.
    await pending;
    if (open) {
      open = false;
      const collection = namespace.slice(namespace.indexOf('.') + 1);
      await connection.command(database, { killCursors: collection, cursors: [id] }, { session }).catch(() => {});
    }
    await session?.endSession().catch(() => {});
  }

  try {
    const first = page(await connection.command(database, command, options), 'firstBatch');
    return { first, next, close };
  } catch (error) {
    await session?.endSession().catch(() => {});
    throw error;
  }
}

function isZero(id: unknown): boolean {
  return BSON.Long.isLong(id) ? id.isZero() : Number(id) === 0;
}

/** The buffer that a batch's documents lie in, so that each is a place in it. */
export function bufferOf(document: Uint8Array): Buffer {
  return Buffer.from(document.buffer);
}
