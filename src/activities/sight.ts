import type { Applied, Applier } from '../drivers/apply.ts';
import type { Changes, RunTotals } from '../drivers/destination.ts';
import type { LogState, Source } from '../drivers/source.ts';
import type { RowCounts } from '../workflows/messages.ts';
import type { Sight } from '../workflows/progress.ts';
import { at, type Ends } from './connections.ts';

/** What is shown of a stream besides its position: counts that outlive attempts, the source's clock, the state of its log. */
export type Seen = {
  readonly clockOffset: number | null;
  /** What the destination held when the attempt began. */
  readonly before: RunTotals;
  log: { readonly state: LogState; readonly at: number } | null;
  /** When the state of the log was last asked for. */
  askedAt: number;
};

type Place = { readonly databases: readonly string[]; readonly pipeline: string; readonly run: number };

/** How often the source is asked for the state of its log: it may have to look at files. */
const LOG_STATE_MS = 10_000;
/** Questions for the time; the quickest answer counts. */
const QUESTIONS = 3;

/** Looks around at the opening of a slice. An older version's control tables get the columns that they lack. */
export async function openSight({ source, destination }: Ends, place: Place): Promise<Seen> {
  const [clockOffset] = await Promise.all([
    measureOffset(source).catch(() => null),
    ...place.databases.map((database) => at('destination', () => destination.prepare(database))),
  ]);
  const before = await at('destination', () => destination.runTotals(place.databases, place.pipeline, place.run));
  return { clockOffset, before, log: null, askedAt: 0 };
}

/** The source's clock minus this worker's, ms; null where the source doesn't tell the time. */
export async function measureOffset(
  { clock }: Pick<Source, 'clock'>,
  now: () => number = Date.now,
): Promise<number | null> {
  if (!clock) return null;
  let best = { took: Number.POSITIVE_INFINITY, offset: 0 };
  for (let i = 0; i < QUESTIONS; i++) {
    const asked = now();
    const there = await clock();
    const took = now() - asked;
    if (took < best.took) best = { took, offset: there - (asked + took / 2) };
  }
  return Math.round(best.offset);
}

/** Asks for the state of the log, unless that was done a moment ago. */
export async function lookAtLog(seen: Seen, ask: () => Promise<LogState>): Promise<void> {
  if (Date.now() - seen.askedAt < LOG_STATE_MS) return;
  seen.askedAt = Date.now();
  const state = await ask().catch(() => null);
  if (state) seen.log = { state, at: Date.now() };
}

/** What a stream that goes on shows. `rows`: durable since the attempt began. */
export function liveSight(seen: Seen, rows: Applied, applier: Pick<Applier, 'durableAt' | 'writtenAt'>): Sight {
  const { before } = seen;
  const later = (one: string | null, other: number | null) =>
    other === null || (one !== null && Date.parse(one) > other) ? one : new Date(other).toISOString();
  const wrote = rows.inserted + rows.updated + rows.deleted > 0;
  return {
    ...around(seen),
    total: plus(before, rows),
    applied: {
      ...plus(before.all, rows),
      changedAt: later(before.all.changedAt, wrote ? applier.durableAt : null),
      writtenAt: later(before.all.writtenAt, applier.writtenAt),
    },
  };
}

/** What a slice leaves behind, as the destination has counted it. */
export async function closeSight({ destination }: Ends, seen: Seen, place: Place): Promise<Sight> {
  const found = await at('destination', () => destination.runTotals(place.databases, place.pipeline, place.run));
  const { inserted, updated, deleted, parked } = found;
  return {
    ...around(seen),
    total: { inserted, updated, deleted, parked },
    applied: found.all,
    tables: found.tables.map(({ ref, ...changes }) => ({ ...ref, ...changes })),
  };
}

function around({ clockOffset, log }: Seen): Pick<Sight, 'clockOffset' | 'log'> {
  return { clockOffset, log: log && { bytes: log.state.bytes, hoursLeft: log.state.hoursLeft, at: log.at } };
}

function plus(a: Changes, b: Applied): Omit<RowCounts, 'loaded'> {
  return {
    inserted: a.inserted + b.inserted,
    updated: a.updated + b.updated,
    deleted: a.deleted + b.deleted,
    parked: a.parked + b.parked,
  };
}
