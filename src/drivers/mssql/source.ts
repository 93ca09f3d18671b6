import type { Capture, CaptureRequest } from '../changes.ts';
import { captureByLooks } from '../cursor-capture.ts';
import type { Params, Position } from '../model.ts';
import type { OpenSource, Source, Start } from '../source.ts';
import { listSchemas, listTables } from './catalog.ts';
import { openCdc } from './cdc-capture.ts';
import { scanned } from './cdc-scan.ts';
import { startLsn } from './cdc-start.ts';
import type { Connection } from './connection.ts';
import { cursorLook } from './cursor-look.ts';
import { describeTables } from './describe.ts';
import { logState } from './log-state.ts';
import { mssqlOptions } from './options.ts';
import { createPool } from './pool.ts';
import {
  checkIdentity,
  encodeLsn,
  encodeVersion,
  identity,
  markNow,
  positionReached,
  readClocks,
  versionNow,
} from './position.ts';
import { preflight } from './preflight.ts';
import { readChunk } from './read.ts';
import { rereadKeys } from './reread.ts';
import { splitTable } from './split.ts';
import { trackingLook } from './tracking.ts';

/** Looks by change tracking ask for one number when nothing was committed; those by cursors read the overlap of every table. */
const TRACKING_POLL_MS = 1_000;
const CURSOR_POLL_MS = 10_000;

/** SQL Server 2012 and later, Azure SQL. Parameters: docs/sources/mssql.md. */
export const open: OpenSource = async (params: Params, signal: AbortSignal): Promise<Source> => {
  const options = mssqlOptions(params);
  const { capture } = options;
  const refuse = options.onUnrepresentable === 'error';
  const pool = createPool(options);
  const facts = await pool.lend(async (connection) => connection.facts, signal);

  /** Everything committed by now lies within it. */
  async function positionNow(connection: Connection): Promise<Position> {
    if (capture === 'none') return '' as Position;
    if (capture === 'tracking') return encodeVersion(await versionNow(connection));
    return markNow(connection);
  }

  async function openLooks(request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
    await pool.lend(async (connection) => checkIdentity(request.identity, await identity(connection)), signal);
    return captureByLooks(
      request,
      {
        look: (from, stop) =>
          capture === 'tracking'
            ? trackingLook(pool, from, refuse, stop)
            : cursorLook(pool, options.overlapMs, refuse, stop),
        reread: (table, keys, stop) => rereadKeys(pool, table, keys, refuse, stop),
        pollMs: capture === 'tracking' ? TRACKING_POLL_MS : CURSOR_POLL_MS,
        repeats: capture === 'cursor',
      },
      signal,
    );
  }

  return {
    server: { product: facts.azure ? 'Azure SQL' : 'Microsoft SQL Server', version: facts.version },
    database: facts.database,

    preflight: (tables) => pool.lend((connection) => preflight(connection, options, tables)),
    schemas: () => pool.lend(listSchemas),
    tables: (schema) =>
      pool.lend(async (connection) => {
        const listed = await listTables(connection, schema);
        return (
          listed?.map(({ name, partitions, rows }) => ({
            name,
            kind: partitions > 1 ? ('partitioned' as const) : ('table' as const),
            approxRows: rows,
          })) ?? null
        );
      }),
    describe: async (requests) =>
      requests.length === 0 ? [] : pool.lend((connection) => describeTables(connection, capture, requests)),

    begin: async (_pipeline, _name, tables, waiting, stop): Promise<Start> => ({
      position:
        capture === 'cdc' ? encodeLsn(await startLsn(pool, tables, waiting, stop)) : await pool.lend(positionNow, stop),
      slot: '',
      identity: await pool.lend(identity, stop),
    }),

    // Changes are kept by the server's own rules: there is nothing to release.
    end: async () => {},
    remove: async () => {},

    written: () =>
      pool.lend(async (connection) =>
        capture === 'cdc' ? encodeLsn(await scanned(connection, options.waitMs)) : positionNow(connection),
      ),

    split: (table, _where, chunkBytes) => pool.lend((connection) => splitTable(connection, table, chunkBytes)),
    read: (table, where, range, stop) => readChunk(pool, table, where, range, refuse, stop),
    reread: (table, keys, stop) => rereadKeys(pool, table, keys, refuse, stop),

    ...(capture !== 'none' && {
      capture: (request: CaptureRequest, stop: AbortSignal) =>
        capture === 'cdc' ? openCdc(pool, request, { refuse, waitMs: options.waitMs }, stop) : openLooks(request, stop),
    }),

    reached: (position, goal) => positionReached(capture, position, goal),
    clock: () => pool.lend(async (connection) => (await readClocks(connection)).utc),
    logState: (_slot, position) => pool.lend((connection) => logState(connection, capture, position)),

    [Symbol.asyncDispose]: pool.close,
  };
};
