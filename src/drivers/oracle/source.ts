import type { CaptureRequest } from '../changes.ts';
import { markReached } from '../cursor.ts';
import { captureByLooks } from '../cursor-capture.ts';
import { Misconfigured, StructureChanged } from '../errors.ts';
import type { Params, Position } from '../model.ts';
import type { OpenSource, Source } from '../source.ts';
import { openCapture } from './capture.ts';
import { listSchemas, listTables, readTables } from './catalog.ts';
import { cursorLook, markNow } from './cursor-look.ts';
import { describeTables } from './describe.ts';
import { noDictionary } from './errors.ts';
import { dictionaryStart } from './log-files.ts';
import { logState } from './log-state.ts';
import { oracleOptions } from './options.ts';
import { createPool } from './pool.ts';
import { checkIdentity, decodePosition, encodePosition, identityOf, positionNow, positionReached } from './position.ts';
import { preflight } from './preflight.ts';
import { readRange } from './read.ts';
import { rereadKeys } from './reread.ts';
import { clockOf } from './server-clock.ts';
import type { Container } from './session.ts';
import { currentScn, splitTable } from './split.ts';

/** Oracle 12.1 and later (11.2 with `thick_client`). Parameters: docs/sources/oracle.md. */
export const open: OpenSource = async (params: Params, signal: AbortSignal): Promise<Source> => {
  const options = oracleOptions(params);
  const pool = createPool(options, options, options.pluggableName);
  // LogMiner runs in the root where the logs of all pluggable databases are, or at another database.
  const mining = createPool(options, options.mining ?? options, undefined);
  const refuse = options.onUnrepresentable === 'error';
  const { capture } = options;
  const captures = capture === 'log';
  const { version, container, database } = await pool.lend(async (session) => {
    const [row] = await session.query(
      session.facts.major >= 12
        ? "select sys_context('userenv', 'db_name'), sys_context('userenv', 'con_name'), sys_context('userenv', 'con_id') from dual"
        : "select sys_context('userenv', 'db_name'), sys_context('userenv', 'db_name'), 0 from dual",
    );
    const [name = '', con = '', id = '0'] = (row ?? []).map(String);
    const found: Container = { name: con, id: Number(id) };
    return { version: session.facts.version, container: found, database: found.id > 1 ? con : name };
  }, signal);
  if (options.mode.pluggable && container.id === 0)
    throw new Misconfigured(
      `The code ${params['type']} is for pluggable databases, and this is none.`,
      'Choose the code without "Pluggable Database".',
    );

  return {
    server: { product: 'Oracle', version },
    database,

    preflight: (tables) =>
      pool.lend((session) => mining.lend((other) => preflight(session, other, options, container, tables))),
    schemas: () => pool.lend(listSchemas),
    tables: (schema) => pool.lend((session) => listTables(session, schema)),
    describe: async (requests) =>
      requests.length === 0 ? [] : pool.lend((session) => describeTables(session, requests, options.capture)),

    begin: (_pipeline, _name, _tables, waiting, signal) =>
      pool.lend(async (session) => {
        if (capture === 'none') return { position: '' as Position, slot: '', identity: '' };
        const identity = await identityOf(session, container);
        if (capture === 'cursor') return { position: await markNow(session), slot: '', identity };
        const now = await positionNow(session, waiting);
        if (options.mode.remote && (await dictionaryStart(session, now.from)) === null) throw noDictionary();
        return { position: encodePosition(now), slot: '', identity };
      }, signal),

    // The archived logs are kept by the server's own rules: there is nothing to release.
    end: async () => {},
    remove: async () => {},

    written: () =>
      pool.lend(async (session) => {
        if (capture === 'none') return '' as Position;
        if (capture === 'cursor') return markNow(session);
        const scn = BigInt(await currentScn(session));
        return encodePosition({ scn, from: scn });
      }),

    split: (table, _where, chunkBytes) =>
      pool.lend(async (session) => {
        const [found] = await readTables(session, [table.ref]);
        if (!found)
          throw new StructureChanged(
            `The table ${table.ref.schema}.${table.ref.name} does not exist any more.`,
            'Deselect it, or create it at the source.',
          );
        return splitTable(session, table, found, chunkBytes);
      }),

    read: (table, where, range, signal) => readRange(pool, table, where, range, refuse, signal),
    reread: (table, keys, signal) => rereadKeys(pool, table, keys, refuse, signal),

    ...(captures && {
      capture: (request: CaptureRequest, signal: AbortSignal) =>
        openCapture({ pool, mining, options, container, refuse }, request, signal),
    }),

    ...(capture === 'cursor' && {
      capture: async (request: CaptureRequest, signal: AbortSignal) => {
        await pool.lend((session) => checkIdentity(session, container, request.identity), signal);
        return captureByLooks(
          request,
          {
            look: (_from, stop) => cursorLook(pool, options.overlapMs, refuse, stop),
            reread: (table, keys, stop) => rereadKeys(pool, table, keys, refuse, stop),
            pollMs: 5_000,
            repeats: true,
          },
          signal,
        );
      },
    }),

    reached: (position, goal) =>
      capture === 'cursor'
        ? markReached(position, goal)
        : position === goal || (position !== '' && positionReached(decodePosition(position), decodePosition(goal))),
    clock: () => pool.lend(clockOf),
    logState: (_slot, position) =>
      captures
        ? (options.mode.remote ? pool : mining).lend((session) => logState(session, position, options.mode))
        : Promise.resolve({ bytes: null, hoursLeft: null, lost: null }),

    async [Symbol.asyncDispose]() {
      await Promise.all([pool.close(), mining.close()]);
    },
  };
};
