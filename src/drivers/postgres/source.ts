import type { CaptureRequest } from '../changes.ts';
import { type CursorSettings, cursorSettings, markReached } from '../cursor.ts';
import { markNow, openCursor } from '../cursor-looks.ts';
import { isPermanent, Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Described, DescribeRequest, Params, Table, TableError, TableRef } from '../model.ts';
import type { OpenSource, Source } from '../source.ts';
import { openCapture } from './capture.ts';
import { listSchemas, listTables, type Relation, readRelations } from './catalog.ts';
import { close, connect, type Server, type Session, withSession } from './connection.ts';
import { copySlot } from './copied-slot.ts';
import { cursorSource, followedByCursor, indexedColumns } from './cursor.ts';
import { explained, failure } from './failure.ts';
import { type LogPace, logState } from './log-state.ts';
import { parseLsn } from './lsn.ts';
import { measure } from './measure.ts';
import { begin, dropSlot, identityOf, slotsOf, writtenEnd } from './position.ts';
import { check } from './preflight.ts';
import { unpublish } from './publication.ts';
import { readRange } from './read.ts';
import { rereadRows } from './reread.ts';
import { splitTable } from './split.ts';
import { quoteTable } from './sql.ts';
import { describeTable, openKeys } from './table.ts';

/** Opens a PostgreSQL source (10 and later). Options: docs/sources/postgres.md. */
export const open: OpenSource = async (params, signal) => {
  const { mode, settings, refuse } = optionsOf(params);
  const capture = mode === 'log';
  const byCursor = mode === 'cursor' ? settings : undefined;
  const server = await connect(params, signal);
  const about = { server: `${params['host']}:${params['port'] ?? '5432'}`, user: server.user };
  const inSession = <T>(work: (session: Session) => Promise<T>): Promise<T> =>
    explained(about, () => withSession(server, work));
  const relationsOf = (refs: readonly TableRef[]): Promise<(Relation | undefined)[]> =>
    inSession((session) => readRelations(session, server.version, refs));
  // A portion describes its tables and then reads them: the catalog is asked once.
  const known = new Map<string, Relation>();
  const pace: LogPace = { samples: [] };

  const relationOf = async (table: Table): Promise<Relation> => {
    const found =
      known.get(`${table.structure} ${table.storage} ${quoteTable(table.ref)}`) ?? (await relationsOf([table.ref]))[0];
    if (!found)
      throw failure({ code: '42P01', message: 'it is gone' }, { table: `${table.ref.schema}.${table.ref.name}` });
    return found;
  };

  /** `measuring`: of keys without a length of their own, the longest value is looked for. */
  const describe = async (requests: readonly DescribeRequest[], measuring: boolean): Promise<Described[]> => {
    const relations = await relationsOf(requests.map((request) => request.ref));
    const described = await inSession((session) =>
      describeAll(session, server, requests, relations, byCursor, measuring),
    );
    for (const [index, one] of described.entries())
      if ('table' in one) {
        const { structure, storage, ref } = one.table;
        known.set(`${structure} ${storage} ${quoteTable(ref)}`, relations[index] as Relation);
      }
    return described;
  };
  const cursors = cursorSource({
    server,
    refuse,
    inSession,
    relationOf,
    // Whether a table is still what it was does not hang on that.
    describe: (requests) => describe(requests, false),
    settings,
  });

  const source: Source = {
    server: { product: 'PostgreSQL', version: server.versionText },
    database: server.database,

    async preflight(refs) {
      const relations = refs.length === 0 ? [] : await relationsOf(refs);
      return inSession((session) => check(session, server, refs, relations, capture));
    },

    schemas: () => inSession(listSchemas),

    tables: (schema) => inSession((session) => listTables(session, schema)),

    describe: (requests) => describe(requests, true),

    async begin(pipeline, name, tables, waiting, aborted) {
      if (!capture)
        return inSession(async (session) => ({
          position: byCursor ? await markNow(cursors) : await writtenEnd(session),
          slot: '',
          identity: await identityOf(session),
        }));
      const relations = (await relationsOf(tables)).filter((relation) => relation !== undefined);
      return explained(about, () => begin(server, pipeline, name, relations, waiting, aborted));
    },

    end: (name) => inSession((session) => dropSlot(session, name)),

    remove: (pipeline) =>
      inSession(async (session) => {
        for (const slot of await slotsOf(session, pipeline)) await dropSlot(session, slot);
        await unpublish(session, pipeline);
      }),

    written: () => (byCursor ? markNow(cursors) : inSession(writtenEnd)),

    async split(table, _where, chunkBytes) {
      const relation = await relationOf(table);
      return inSession((session) => splitTable(session, server.version, capture, relation, table, chunkBytes));
    },

    async *read(table, where, range, aborted) {
      const relation = await relationOf(table);
      return yield* readRange(server, { table, relation, where, range, refuse }, aborted);
    },

    reread: (table, keys, aborted) => rereadRows(server, table, keys, new Set(), refuse, aborted),

    ...(capture
      ? {
          capture: (request: CaptureRequest, aborted: AbortSignal) =>
            explained(about, () => openCapture({ server, refuse, describe: source.describe }, request, aborted)),
          slots: {
            copy: (from: string, to: string) => inSession((session) => copySlot(session, server, from, to)),
            names: (pipeline: string) => inSession((session) => slotsOf(session, pipeline)),
          },
        }
      : {}),

    ...(byCursor
      ? { capture: (request: CaptureRequest, aborted: AbortSignal) => openCursor(cursors, request, aborted) }
      : {}),

    reached: (position, goal) => (byCursor ? markReached(position, goal) : parseLsn(position) >= parseLsn(goal)),

    clock: () =>
      inSession(async (session) => {
        const { rows } = await session.query<{ ms: number }>(
          'select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms',
        );
        return rows[0]?.ms ?? Number.NaN;
      }),
    logState: (slot, position) =>
      byCursor
        ? Promise.resolve({ bytes: null, hoursLeft: null, lost: null })
        : inSession((session) => logState(session, server, slot, position, pace)),

    [Symbol.asyncDispose]: () => close(server),
  };
  return source;
};

function optionsOf(params: Params): {
  readonly mode: 'log' | 'none' | 'cursor';
  readonly settings: CursorSettings;
  readonly refuse: boolean;
} {
  const word = <W extends string>(name: string, words: readonly [W, ...W[]]): W => {
    const value = params[name] || words[0];
    const known = words.find((one) => one === value);
    if (known === undefined)
      throw new Misconfigured(`${name} "${value}" is unknown.`, `Use one of ${words.join(', ')}.`);
    return known;
  };
  return {
    mode: word('capture', ['log', 'none', 'cursor']),
    settings: cursorSettings(params),
    refuse: word('on_unrepresentable', ['rule', 'error']) === 'error',
  };
}

async function describeAll(
  session: Session,
  server: Server,
  requests: readonly DescribeRequest[],
  relations: readonly (Relation | undefined)[],
  byCursor: CursorSettings | undefined,
  measuring: boolean,
): Promise<Described[]> {
  const indexed = byCursor ? await indexedColumns(session, relations) : new Set<string>();
  const toMeasure = requests.map((request, index) => {
    const relation = relations[index];
    try {
      return relation?.readable ? { relation, keys: openKeys(relation, request.options, server) } : undefined;
    } catch {
      // Described below, where the same error becomes the table's.
      return undefined;
    }
  });
  const measurable = toMeasure.filter((one) => one !== undefined).filter((one) => measuring && one.keys.length > 0);
  const measured = await measure(session, measurable);
  const results: Described[] = [];
  for (const [index, { ref, options }] of requests.entries()) {
    try {
      const relation = relations[index];
      if (!relation)
        throw new UnsupportedValue(
          `There is no table ${ref.schema}.${ref.name}.`,
          'Check the name; it is case-sensitive.',
        );
      const place = measurable.indexOf(toMeasure[index] as (typeof measurable)[number]);
      const found = describeTable(relation, options, server, measured[place] ?? new Map());
      const table = byCursor ? followedByCursor(found, relation, options, server, indexed, byCursor) : found;
      if (options.where) await checkWhere(session, server, relation, options.where);
      results.push({ ref, table });
    } catch (error) {
      if (!isPermanent(error)) throw error;
      results.push({ ref, error: errorOf(error) });
    }
  }
  return results;
}

/** Lets the server parse the condition, so that a mistake is the table's error before anything is loaded. */
async function checkWhere(session: Session, server: Server, relation: Relation, where: string): Promise<void> {
  try {
    // In a CASE, a stray parenthesis can't reach beyond the condition, where it would undo the bounds of a range.
    await session.query(`explain select from ${quoteTable(relation.ref)} where case when true then ${where}\n end`);
  } catch (error) {
    throw failure(error, {
      table: `${relation.ref.schema}.${relation.ref.name}`,
      where: 'checking',
      user: server.user,
    });
  }
}

function errorOf(error: { name: string; message: string; action: string }): TableError {
  return { class: error.name, message: error.message, action: error.action };
}
