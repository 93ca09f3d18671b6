import type { CaptureRequest } from '../changes.ts';
import type { Params, Position } from '../model.ts';
import type { OpenSource, Source } from '../source.ts';
import { openCapture } from './capture.ts';
import { listDatabases, listTables } from './catalog.ts';
import { connect } from './connection.ts';
import { describeCollections } from './describe.ts';
import { logState } from './log-state.ts';
import { mongoOptions } from './options.ts';
import { clusterTime, contains, decodePosition, encodePosition } from './position.ts';
import { preflight } from './preflight.ts';
import { readChunk } from './read.ts';
import { rereadKeys } from './reread.ts';
import { splitTable } from './split.ts';
import { identity, settledStart, writtenTime } from './start.ts';

/** MongoDB 4.4 and later, self-managed and Atlas. Parameters: docs/sources/mongodb.md. */
export const open: OpenSource = async (params: Params, signal: AbortSignal): Promise<Source> => {
  const options = mongoOptions(params);
  const connection = await connect(options, signal);
  const captures = options.capture === 'log';

  return {
    server: { product: 'MongoDB', version: connection.facts.version },
    database: 'default',

    preflight: (tables) => preflight(connection, options, tables),
    schemas: () => listDatabases(connection, options.database),
    tables: (schema) => listTables(connection, schema, options.database),
    describe: (requests) => describeCollections(connection, requests, options),

    async begin(_pipeline, _name, tables, waiting, signal) {
      const who = await identity(connection);
      if (!captures) return { position: '' as Position, slot: '', identity: who };
      const start = await settledStart(connection, tables, waiting, signal);
      return { position: encodePosition(start), slot: '', identity: who };
    },

    // The oplog is kept by the server's own rules: there is nothing to release.
    end: async () => {},
    remove: async () => {},

    written: async () => (captures ? encodePosition(await writtenTime(connection)) : ('' as Position)),
    split: (table, _where, chunkBytes) => splitTable(connection, table, chunkBytes),

    async *read(table, where, range, signal) {
      // Whatever member is the primary now, what a load began with is in there.
      const after = captures ? clusterTime(await writtenTime(connection)) : undefined;
      return yield* readChunk(connection, table, where, range, { signal, after, same: true });
    },

    reread: (table, keys, signal) => rereadKeys(connection, table, keys, { signal, same: true }),

    ...(captures && {
      capture: (request: CaptureRequest, signal: AbortSignal) => openCapture(connection, request, options, signal),
    }),

    reached(position, goal) {
      const [ours, theirs] = [decodePosition(position), decodePosition(goal)];
      return theirs === null || (ours !== null && contains(ours, theirs));
    },

    async clock() {
      const hello = await connection.command('admin', { hello: 1 });
      return (hello['localTime'] as Date).getTime();
    },
    logState: (_slot, position) => logState(connection, position),

    [Symbol.asyncDispose]: connection.close,
  };
};
