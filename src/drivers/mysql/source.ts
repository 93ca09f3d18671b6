import type { CaptureRequest } from '../changes.ts';
import { markReached } from '../cursor.ts';
import { markNow, openCursor } from '../cursor-looks.ts';
import { Misconfigured } from '../errors.ts';
import type { Batch, ChunkRead, Params, Position, Table } from '../model.ts';
import type { OpenSource, Source } from '../source.ts';
import { openCapture } from './capture.ts';
import { hasSchema, listSchemas, listTables, readTables } from './catalog.ts';
import { clockOf, cursorSource } from './cursor.ts';
import { describeTables } from './describe.ts';
import { watchLocks } from './locks.ts';
import { positionReached } from './log-place.ts';
import { logState } from './log-state.ts';
import { mysqlOptions } from './options.ts';
import { createPool } from './pool.ts';
import { decodePosition, encodePosition, identity, settledStart, writtenEnd } from './position.ts';
import { preflight } from './preflight.ts';
import { readChunk } from './read.ts';
import { rereadKeys } from './reread.ts';
import { splitTable } from './split.ts';

/** MySQL 5.1+ and MariaDB. Parameters: docs/sources/mysql.md. */
export const open: OpenSource = async (params: Params, signal: AbortSignal): Promise<Source> => {
  const options = mysqlOptions(params);
  const pool = createPool(options);
  const facts = await pool.lend(async (connection) => connection.facts, signal);
  const byCursor = options.capture === 'cursor' ? options.cursor : undefined;
  const describe: Source['describe'] = async (requests) =>
    requests.length === 0 ? [] : pool.lend((connection) => describeTables(connection, requests, byCursor));
  const cursors = cursorSource(pool, options.onUnrepresentable === 'error', { describe, settings: options.cursor });

  return {
    server: { product: facts.product, version: facts.version },
    database: 'default',

    preflight: (tables) => pool.lend((connection) => preflight(connection, options, tables)),
    schemas: () => pool.lend(listSchemas),

    tables: (schema) =>
      pool.lend(async (connection) => {
        if (!(await hasSchema(connection, schema))) return null;
        const listed = await listTables(connection, schema);
        return listed.map(({ name, partitioned, rows }) => ({
          name,
          kind: partitioned ? ('partitioned' as const) : ('table' as const),
          approxRows: rows,
        }));
      }),

    describe,

    async begin(_pipeline, _name, tables, waiting, signal) {
      return pool.lend(async (connection) => {
        const who = await identity(connection);
        if (options.capture === 'none') return { position: '' as Position, slot: '', identity: who };
        if (byCursor) return { position: await markNow(cursors), slot: '', identity: who };
        const watch = watchLocks(pool, connection, waiting);
        try {
          return { position: encodePosition(await settledStart(connection, tables, waiting)), slot: '', identity: who };
        } finally {
          watch.stop();
        }
      }, signal);
    },

    // The binlog is kept by the server's own rules: there is nothing to release.
    end: async () => {},
    remove: async () => {},

    written: async () =>
      options.capture === 'none'
        ? ('' as Position)
        : byCursor
          ? markNow(cursors)
          : pool.lend(async (connection) => encodePosition(await writtenEnd(connection))),

    split: (table, _where, chunkBytes) =>
      pool.lend(async (connection) => {
        const [found] = await readTables(connection, [table.ref]);
        if (!found)
          throw new Misconfigured(
            `The table ${table.ref.schema}.${table.ref.name} does not exist any more.`,
            'Deselect it, or create it at the source.',
          );
        return splitTable(connection, table, found, chunkBytes);
      }),

    read: (
      table: Table,
      where: string | undefined,
      range: string,
      signal: AbortSignal,
    ): AsyncGenerator<Batch, ChunkRead, undefined> =>
      readChunk(pool, table, where, range, options.onUnrepresentable === 'error', signal),

    reread: (table, keys, signal) => rereadKeys(pool, table, keys, null, options.onUnrepresentable === 'error', signal),

    ...(options.capture === 'log' && {
      capture: (request: CaptureRequest, signal: AbortSignal) =>
        openCapture(pool, request, options.onUnrepresentable === 'error', signal),
    }),

    ...(byCursor && {
      capture: (request: CaptureRequest, signal: AbortSignal) => openCursor(cursors, request, signal),
    }),

    reached: (position, goal) =>
      byCursor ? markReached(position, goal) : positionReached(decodePosition(position), decodePosition(goal)),
    clock: () => pool.lend(clockOf),
    logState: async (_slot, position) =>
      byCursor ? { bytes: null, hoursLeft: null, lost: null } : logState(pool, position),

    [Symbol.asyncDispose]: pool.close,
  };
};
