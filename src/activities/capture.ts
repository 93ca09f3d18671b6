import { Context, cancellationSignal } from '@temporalio/activity';
import type { Applied, Applier, ClaimedScope, Followed } from '../drivers/apply.ts';
import { Misconfigured } from '../drivers/errors.ts';
import type { Position, TableError, TableOptions, TableRef } from '../drivers/model.ts';
import type { RowCounts } from '../workflows/messages.ts';
import type { Sight, StreamHeartbeat } from '../workflows/progress.ts';
import { leadsOn, leaveUnlogged } from './cascades.ts';
import { at, beat, type Connections, type Ends, type Sealed } from './connections.ts';
import { type Leaving, leave, restructure } from './leaving.ts';
import { slotName, sourceName } from './names.ts';
import { dropUnnamed, dropUnwanted, type Unkept } from './paused.ts';
import { keyOf } from './plan.ts';
import { type Pumping, pump, releaser } from './pump.ts';
import { skipped, smallest } from './resume.ts';
import { keptFrom } from './rollback.ts';
import { closeSight, liveSight, lookAtLog, openSight, type Seen } from './sight.ts';

export type SliceInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly scope: number;
  readonly databases: readonly string[];
  /** `written`: up to the log's end as it is at the beginning. `forever`: until the activity is cancelled, or `seconds` have passed. */
  readonly until: 'written' | 'forever';
  readonly seconds: number;
  /** `alter`: a changed structure is brought to the copy where that is exact; `leave`: its table leaves the stream and waits. */
  readonly structures: 'alter' | 'leave';
  /** Structures are looked at that no log tells of (`CaptureRequest.look`). */
  readonly look?: true;
  readonly leaving: readonly Leaving[];
  /** Of the main stream: tables whose log is kept while they are paused; that of others is let go. */
  readonly kept?: readonly TableRef[];
  /** Settings of tables that have some. */
  readonly options?: readonly { readonly ref: TableRef; readonly options: TableOptions }[];
};

/** How a slice ended. Stored in history: add fields, never rename. */
export type SliceAnswer = Sight & {
  readonly rows: Omit<RowCounts, 'loaded'>;
  /** What every destination database holds. */
  readonly position: string;
  /** Commit time at the source of the last change that is applied, ms; null: none was. */
  readonly at: number | null;
  /** When the reader last stood at the log's end with everything written, ms by this worker's clock; null: not in this slice. */
  readonly completeAt?: number | null;
  /** Tables that have left the stream, in this slice or before, and must be loaded again. */
  readonly left: readonly { readonly ref: TableRef; readonly error: TableError }[];
  readonly altered: readonly { readonly ref: TableRef; readonly change: string }[];
  /** Followed tables whose rows may still be newer than the stream; at most 1,000. */
  readonly behind: readonly TableRef[];
  /** Tables without a key and views: their changes are not followed; at most 1,000. */
  readonly keyless?: readonly TableRef[];
  readonly followed: number;
  /** Tables that were paused now, and whose log is not kept although that was wanted. */
  readonly unkept?: readonly Unkept[];
};

export function captureActivities(connections: Connections) {
  return {
    /**
     * Follows the log for one scope (EXACTNESS.md §5–7): claims it, so that an earlier attempt can write no more, and applies whole source
     * transactions with the checkpoint. A repeated call goes on from what is durable. Cancelled, it writes what it has and answers as usual.
     */
    async captureSlice(input: SliceInput): Promise<SliceAnswer> {
      return connections.withEnds(input, (ends) => slice(ends, input), { graceMs: 10_000 });
    },
  };
}

/** Passes over the log in one slice, until no table is ahead of the stream. */
const MOST_PASSES = 4;

type Counts = { -readonly [K in keyof Applied]: number };
type Slice = {
  readonly input: SliceInput;
  readonly counts: Counts;
  readonly altered: { ref: TableRef; change: string }[];
  readonly unkept: Unkept[];
  readonly stop: AbortSignal;
  /** Ends the slice at its next boundary. */
  readonly finish: () => void;
  readonly seen: Seen;
};

async function slice(ends: Ends, input: SliceInput): Promise<SliceAnswer> {
  if (!ends.source.capture)
    throw new Misconfigured(
      'This source captures no changes.',
      'Use a type that does, or unset `capture`; then run a full extract.',
    );
  const over = new AbortController();
  // A longer time than a timer takes is for ever.
  const ms = input.seconds * 1000;
  const timer = ms < 2 ** 31 ? setTimeout(() => over.abort(), ms) : undefined;
  const state: Slice = {
    input,
    counts: { inserted: 0, updated: 0, deleted: 0, parked: 0 },
    altered: [],
    unkept: [],
    stop: AbortSignal.any([over.signal, cancellationSignal()]),
    finish: () => over.abort(),
    seen: await openSight(ends, input),
  };
  try {
    // An earlier attempt may have taken tables out and died before it could say so: a slice that goes on for ever is there to tell. Any other one
    // tells at its end, and its caller counts on that end.
    const again = Context.current().info.attempt > 1;
    if (again && input.until === 'forever' && (await lostTables(ends, input)).length > 0) over.abort();
    for (let passes = 1; ; passes++) {
      const pass = await follow(ends, state);
      // A changed structure ends a pass: the next one reads with the new structure, or without the table.
      if (pass === 'again') continue;
      // Rows that had to be read again are newer than the end of the log that this pass was for.
      const more = input.until === 'written' && pass.behind.length > 0 && passes < MOST_PASSES && !state.stop.aborted;
      if (!more) {
        const { counts: rows, altered, unkept } = state;
        const sight = await closeSight(ends, state.seen, input);
        return { ...pass, ...sight, rows, left: await lostTables(ends, input), altered, unkept };
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

/** What the destination knows, which outlives an attempt. Of tables that users have taken out nobody wants to hear. */
async function lostTables(
  { destination }: Ends,
  { databases, pipeline, leaving }: SliceInput,
): Promise<SliceAnswer['left']> {
  const out = new Set(leaving.map(({ ref }) => keyOf(ref)));
  const records = [];
  for (const database of databases)
    records.push(...(await at('destination', () => destination.tables(database, pipeline))));
  return records.flatMap(({ ref, state, error }) =>
    (state === 'reload' || state === 'error') && error !== null && !out.has(keyOf(ref)) ? [{ ref, error }] : [],
  );
}

type Pass = Pick<SliceAnswer, 'position' | 'at' | 'behind' | 'keyless' | 'followed' | 'completeAt'>;

/** One reader of the log from the durable position on. `again`: a structure was dealt with. */
async function follow(ends: Ends, state: Slice): Promise<Pass | 'again'> {
  const { source, destination } = ends;
  const { input } = state;
  const claim = await at('destination', () =>
    destination.claimScope(input.databases, input.pipeline, input.scope, input.run),
  );
  const all = await at('destination', () => destination.followed(input.databases, input.pipeline, input.scope));
  const { tables, unkept } = await leave(ends, claim, input.leaving, all, input.kept);
  state.unkept.push(...unkept);
  // A stream that goes on tells what it has to say at the end of a slice.
  if (unkept.length > 0 && input.until === 'forever') state.finish();
  if (input.kept) {
    if (input.leaving.length > 0) await dropUnwanted(ends, input, input.kept);
    await dropUnnamed(ends, input, claim, true);
  }
  // Tables without a key and views are exact after a load only: no log has rows of a view (EXACTNESS.md §10, `keyless_delta` = skip).
  const [keyed, others] = [true, false].map((wanted) =>
    tables.filter(({ table }) => (table.key.length > 0 && table.kind !== 'view') === wanted),
  ) as [Followed[], Followed[]];
  const followed = await leaveUnlogged(ends, claim, keyed);
  if (followed.length < keyed.length && input.until === 'forever') state.finish();
  const options = new Map(input.options?.map((one) => [keyOf(one.ref), one.options]));
  const keyless = others.slice(0, 1000).map((table) => table.ref);
  const reached = (position: Position, goal: Position): boolean => source.reached(position, goal);
  const from = smallest(claim, reached);
  const capture = await at('source', async () =>
    source.capture?.(
      {
        pipeline: sourceName(input.pipeline),
        name: slotName(input.pipeline, input.scope),
        slot: claim.slot,
        identity: claim.identity,
        from,
        tables: followed.map((table) => ({
          table: table.table,
          skip: skipped(claim, table, from, leadsOn(table, followed)),
          options: options.get(keyOf(table.ref)) ?? {},
        })),
        until: input.until,
        ...(input.look ? { look: input.look } : {}),
      },
      state.stop,
    ),
  ).catch((error: unknown) => {
    if (state.stop.aborted) return null;
    throw error;
  });
  // Asked to stop before anything was read.
  if (!capture) {
    const behind = followed.filter((table) => table.aheadUntil !== null).map((table) => table.ref);
    return { position: from, at: null, behind: behind.slice(0, 1000), keyless, followed: followed.length };
  }
  await using reader = capture;
  await using applier = await at('destination', () =>
    destination.apply({
      claim,
      tables: followed,
      capture: reader,
      reached,
      written: () => source.written(),
      signal: AbortSignal.any([]),
    }),
  );
  const release = releaser(reader, from, await keptFrom(ends, claim, from));
  // The pipeline hears of tables at the end of a slice: when those that were ahead are no more, or one was given up, it is time.
  const ahead = followed.flatMap((table, index) => (table.aheadUntil === null ? [] : [index]));
  const about: Pumping = {
    stop: state.stop,
    forever: input.until === 'forever',
    enough: ({ caughtUp, gaveUp }) => gaveUp || (ahead.length > 0 && ahead.every((index) => caughtUp.has(index))),
    completeAt: null,
  };
  try {
    const changed = await pump(about, reader, applier, release, () =>
      report(ends, state, claim, applier, about.completeAt),
    );
    await at('destination', () => applier.flush());
    if (changed) {
      const table = followed[changed.table] as Followed;
      if (await restructure(ends, input.structures, claim, table, changed, applier.durable))
        state.altered.push({ ref: table.ref, change: changed.reason });
      // The pipeline hears of it with the answer, and has a table that left loaded again.
      if (input.until === 'forever') state.finish();
      return 'again';
    }
  } catch (error) {
    // What came whole is kept: the next attempt goes on from there.
    await applier.flush().catch(() => {});
    throw error;
  } finally {
    add(state.counts, applier.applied);
  }
  await release(applier.durable);
  if (!state.stop.aborted) await lookAtLog(state.seen, () => source.logState(claim.slot, applier.durable));
  await at('destination', () =>
    destination.addPoint(claim, { position: applier.durable, sourceTime: applier.durableAt }),
  );
  const behind = followed.filter((table, index) => table.aheadUntil !== null && !applier.caughtUp.has(index));
  return {
    position: applier.durable,
    at: applier.durableAt,
    completeAt: about.completeAt,
    behind: behind.slice(0, 1000).map((table) => table.ref),
    keyless,
    followed: followed.length,
  };
}

function add(counts: Counts, applied: readonly Applied[]): void {
  for (const one of applied) {
    counts.inserted += one.inserted;
    counts.updated += one.updated;
    counts.deleted += one.deleted;
    counts.parked += one.parked;
  }
}

/** Tells the live state of the stream by heartbeat. */
async function report(
  { source }: Ends,
  state: Slice,
  claim: ClaimedScope,
  applier: Applier,
  completeAt: number | null,
): Promise<void> {
  await lookAtLog(state.seen, () => source.logState(claim.slot, applier.durable));
  const kept = state.seen.log?.state;
  const rows = { ...state.counts };
  add(rows, applier.applied);
  beat({
    stream: {
      rows,
      position: applier.durable,
      at: applier.durableAt,
      completeAt,
      pending: applier.pending,
      behindBytes: kept?.bytes ?? null,
      logHoursLeft: kept?.hoursLeft ?? null,
      ...liveSight(state.seen, rows, applier),
    },
  } satisfies StreamHeartbeat);
}
