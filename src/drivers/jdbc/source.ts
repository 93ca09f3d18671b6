import type { CaptureRequest } from '../changes.ts';
import { markReached } from '../cursor.ts';
import { markNow, openCursor } from '../cursor-looks.ts';
import { refusedTable } from '../description.ts';
import { Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Described, DescribeRequest, Params, Position, Table } from '../model.ts';
import type { OpenSource, Source } from '../source.ts';
import { type CatalogTable, listSchemas, listTables, ONLY_SCHEMA, readIndexed, readTables } from './catalog.ts';
import { clockOf } from './clock.ts';
import { cursorSource, followedByCursor } from './cursor.ts';
import { describeTable, mappingsOf } from './describe.ts';
import { type JdbcOptions, jdbcOptions } from './options.ts';
import { createPool } from './pool.ts';
import { preflight } from './preflight.ts';
import { EVERYTHING } from './range.ts';
import { chunkSelect, readChunk } from './read.ts';
import { ask, identityOf, type Session } from './session.ts';
import { splitTable } from './split.ts';

/**
 * Any database with a JDBC driver, for full extracts: JDBC has no change log. With `capture` = cursor changes are found by cursor columns. Each session is a JVM of its own (java/FlowJdbc.java).
 * Parameters: docs/sources/jdbc.md.
 */
export const open: OpenSource = async (params: Params, signal: AbortSignal): Promise<Source> => {
  const options = jdbcOptions(params);
  const pool = createPool(options);
  const facts = await pool.lend(async (session) => session.facts, signal);
  // A portion describes its tables and then reads them: the catalog is asked once.
  const known = new Map<string, CatalogTable>();
  const id = (table: Table): string => `${table.structure} ${table.ref.schema} ${table.ref.name}`;
  const none = '' as Position;

  const describe = (requests: readonly DescribeRequest[], advising: boolean): Promise<Described[]> =>
    pool.lend(async (session) => {
      const catalog = await readTables(
        session,
        options,
        requests.map((request) => request.ref),
      );
      const described: Described[] = [];
      for (const [index, request] of requests.entries()) {
        const found = catalog[index];
        const one = await describeOne(session, options, request, found, advising);
        if ('table' in one && found) known.set(id(one.table), found);
        described.push(one);
      }
      return described;
    });
  const cursors = cursorSource(
    pool,
    (table) => known.get(id(table)),
    facts,
    (requests) => describe(requests, false),
  );

  return {
    server: { product: facts.productName, version: facts.version },
    database: facts.level === 'schema' && facts.catalog !== '' ? facts.catalog : ONLY_SCHEMA,

    preflight: (tables) => pool.lend((session) => preflight(session, options, tables)),
    schemas: () => pool.lend((session) => listSchemas(session, options)),
    tables: (schema) => pool.lend((session) => listTables(session, options, schema)),

    describe: (requests) => describe(requests, true),

    begin: async () => ({
      position: options.follows ? await markNow(cursors) : none,
      slot: '',
      identity: identityOf(facts, options),
    }),
    end: async () => {},
    remove: async () => {},
    written: async () => (options.follows ? markNow(cursors) : none),

    split: (table, where, chunkBytes) =>
      pool.lend(async (session) => {
        const found = known.get(id(table)) ?? (await readTables(session, options, [table.ref]))[0];
        return splitTable(session, options, table, found, where, chunkBytes);
      }),

    read: (table, where, range, aborted) => readChunk(pool, (one) => known.get(id(one)), table, where, range, aborted),

    reread: options.follows ? cursors.reread : refuseReread,

    ...(options.follows && {
      capture: (request: CaptureRequest, aborted: AbortSignal) => openCursor(cursors, request, aborted),
      clock: () => pool.lend((session) => clockOf(session, options)),
    }),

    reached: (position, goal) => !options.follows || markReached(position, goal),
    logState: async () => ({ bytes: null, hoursLeft: null, lost: null }),

    [Symbol.asyncDispose]: pool.close,
  };
};

// biome-ignore lint/correctness/useYield: there is nothing that would read rows by key.
async function* refuseReread(): ReturnType<Source['reread']> {
  throw new Misconfigured(
    'A JDBC source is copied by full extracts only: it has no change log.',
    'Run a full extract, set `capture` to cursor, or use the source type of the database itself.',
  );
}

async function describeOne(
  session: Session,
  options: JdbcOptions,
  { ref, options: chosen }: DescribeRequest,
  found: CatalogTable | undefined,
  advising: boolean,
): Promise<Described> {
  try {
    if (!found)
      throw new UnsupportedValue(
        `There is no table ${ref.schema}.${ref.name} that ${options.user} may see.`,
        'Check the name (it is case-sensitive), or grant SELECT on it.',
      );
    const own = describeTable(session.facts, found, chosen);
    const indexed = options.follows && advising && chosen.cursor ? await readIndexed(session, options, ref) : undefined;
    const table = options.follows ? followedByCursor(session.facts, options.cursor, own, found, chosen, indexed) : own;
    if (chosen.where !== undefined && chosen.where.trim() !== '')
      await checkCondition(session, options, found, table, chosen.where);
    return { ref, table };
  } catch (error) {
    return refusedTable(ref, error);
  }
}

/** Lets the database parse and resolve a condition, without a row. */
async function checkCondition(
  session: Session,
  options: JdbcOptions,
  found: CatalogTable,
  table: Table,
  where: string,
): Promise<void> {
  const { sql } = chunkSelect(session.facts, table, mappingsOf(session.facts, found, table) ?? [], where, EVERYTHING);
  const about = { doing: 'checking', table: `${table.ref.schema}.${table.ref.name}`, where: true } as const;
  await ask(session, options, about, 'Q', [`${sql} and 1 = 0`, []]);
}
