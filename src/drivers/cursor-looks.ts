import type { Capture, CaptureRequest, FollowedTable } from './changes.ts';
import { type CursorSettings, decodeMark, encodeMark, latestMark, type Mark, type Since, sinceOf } from './cursor.ts';
import { type ChangedRows, captureByLooks, type Look, type Looks, type News } from './cursor-capture.ts';
import { wholeRows } from './cursor-rows.ts';
import { isPermanent, PositionLost } from './errors.ts';
import type { Batch, ChunkRead, Described, Position, Table } from './model.ts';
import type { Source } from './source.ts';

/** What a database must be able to do, so that its tables can be followed by cursors of times. */
export type CursorSource = Pick<Source, 'describe' | 'reread'> & {
  readonly settings: CursorSettings;
  /** Names the server, as `Start.identity`. */
  identity(): Promise<string>;
  /** Where it stands. A replica's time is that which it has come to. */
  now(): Promise<Mark>;
  /** Whole rows whose cursor columns are at `since` or later, in one statement that sees all that is committed when it begins. */
  changed(table: Table, since: Since, signal: AbortSignal): AsyncGenerator<Batch, ChunkRead, undefined>;
};

/** Each look reads the overlap of every table. */
const POLL_MS = 10_000;

/** Where a source stands that is followed by cursors. */
export async function markNow(source: Pick<CursorSource, 'now'>): Promise<Position> {
  return encodeMark(await source.now());
}

/** A reader of changes by cursors. Throws `PositionLost` when the server is another one. */
export async function openCursor(source: CursorSource, request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
  // A position of another kind of capture is found before anything is read.
  decodeMark(request.from);
  const identity = await source.identity();
  if (request.identity !== '' && request.identity !== identity)
    throw new PositionLost(
      'The source is another server than the one that was followed, or was restored or promoted since: what it has lost can not be told.',
      'Run a full extract.',
    );
  const options = new Map(request.tables.map((one) => [one.table, one] as const));
  const looks: Looks = {
    look: () => lookNow(source, options),
    reread: source.reread,
    pollMs: POLL_MS,
    repeats: true,
  };
  return captureByLooks(request, looks, signal);
}

async function lookNow(source: CursorSource, followed: ReadonlyMap<Table, FollowedTable>): Promise<Look> {
  // Before any row is read: what is committed by now, is seen by every later statement.
  const mark = await source.now();
  const at = mark.t;
  const again = async (tables: readonly Table[]): Promise<(News | null)[]> =>
    newsOf(
      source,
      tables.map((table) => followed.get(table) ?? { table, skip: [] }),
    );
  return {
    position: encodeMark(mark),
    at,
    news: (tables) => newsOf(source, tables),
    async *changed(table, positions, stop): AsyncGenerator<ChangedRows, ChunkRead['rules'], undefined> {
      const since = sinceOf(latestMark(positions), at, source.settings);
      try {
        return yield* wholeRows(source.changed(table, since, stop));
      } catch (error) {
        // A statement that no longer fits the table is news of the next look.
        if (isPermanent(error) && (await again([table]))[0]) throw changedMeanwhile(table);
        throw error;
      }
    },
    async settled(tables) {
      const news = await again(tables);
      for (const [i, table] of tables.entries()) if (news[i]) throw changedMeanwhile(table);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** What came before it is not kept: the next attempt begins with the news. */
function changedMeanwhile({ ref }: Table): Error {
  return new Error(
    `The structure of ${ref.schema}.${ref.name} changed while its rows were read; it is looked at again.`,
  );
}

/** Tables that are no longer what is followed. Columns that came may have been filled without a new time: the table is loaded again. */
export async function newsOf(
  source: Pick<Source, 'describe'>,
  tables: readonly FollowedTable[],
): Promise<(News | null)[]> {
  const described = await source.describe(
    tables.map(({ table, options }) => ({ ref: table.ref, options: options ?? {} })),
  );
  return tables.map(({ table }, i): News | null => {
    const now: Described | undefined = described[i];
    if (!now || 'error' in now) return { now: null, reason: now?.error.message ?? 'The table is gone.' };
    return now.table.structure === table.structure
      ? null
      : { now: null, reason: `The structure of ${table.ref.schema}.${table.ref.name} changed.` };
  });
}
