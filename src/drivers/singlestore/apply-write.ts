import type { ClaimedScope } from '../apply.ts';
import type { Capture } from '../changes.ts';
import { DestinationRejected } from '../errors.ts';
import type { Batch, ChunkRead, Position } from '../model.ts';
import { countStatements, noteFolds } from './apply-counts.ts';
import type { Applied } from './apply-database.ts';
import { clockOf, fence, moveTo, setTimes } from './apply-fence.ts';
import { keyLines, partLines, rowLines, type Sorted, sorted, wholeKeys, wholeLines } from './apply-lines.ts';
import { type Lines, load } from './apply-load.ts';
import { writeVersions } from './apply-versions.ts';
import { rows, run, type Session } from './connection.ts';
import { isEmpty, type TableFold } from './fold.ts';
import { letterStatements, settleLetters } from './letters.ts';
import type { Links } from './links.ts';
import type { Pass } from './passes.ts';
import type { Pool } from './pool.ts';
import { ensureStages, type Writing } from './stage.ts';
import { findOrphans, findUnlogged, foldOfUnlogged, noteUnseen, stagesBelow } from './unlogged.ts';

/** What a write puts into one database. */
export type Part = {
  readonly folds: readonly { readonly index: number; readonly writing: Writing; readonly fold: TableFold }[];
  /** Whole source transactions in it; null: parts of one that goes on. */
  readonly end: { readonly position: Position; readonly transactions: number } | null;
  /** Commit times of its source transactions, ms, as far as they are known, and how many changes of the last one have come; for versions. */
  readonly times: readonly number[];
  readonly events: number;
  /** It is not the last pass of its transactions, which end at `end`: the position stays. */
  readonly pass?: Pass;
  /** More statements of the same transaction. */
  readonly besides?: readonly string[];
};

/** What becomes of a row that the destination refuses: kept aside, or an error of its table, or of the run. */
export type OnRowError = 'park' | 'table' | 'pipeline';

/** What a write needs besides. */
export type Means = {
  readonly pool: Pool;
  readonly claim: ClaimedScope;
  readonly capture: Capture;
  readonly written: () => Promise<Position>;
  readonly signal: AbortSignal;
  readonly onRowError: OnRowError;
  readonly reached: (position: Position, goal: Position) => boolean;
  readonly writings: readonly Writing[];
  readonly links: Links;
  /** Indexes of tables that keep versions, and of those whose rows are no newer than the stream. */
  readonly versions: ReadonlySet<number>;
  readonly caughtUp: ReadonlySet<number>;
  /** Tables that would be caught up at a position, and whose rows have to be looked at first. */
  readonly due: (database: string, position: Position, reread: ReadonlyMap<number, Position>) => readonly number[];
  /** What the transaction which ends at the position says of its tables: caught up, or ahead again. */
  readonly mark: (database: string, position: Position, reread: ReadonlyMap<number, Position>) => Marks;
};

/** Statements on `_flow_tables`, and what follows from them once they are durable. */
export type Marks = { readonly statements: readonly string[]; readonly settle: () => void };

/**
 * Writes a part. The first part of a transaction begins with the fence, the last one ends with the position and the commit; an error leaves the
 * transaction to the caller, who destroys the session.
 */
export async function writePart(to: Applied, part: Part, means: Means): Promise<void> {
  const { session, database } = to;
  const work = part.folds.filter(({ fold }) => !isEmpty(fold)).map((one) => ({ ...one, states: sorted(one.fold) }));
  const staging = new Set(stagesBelow(means.links, work));
  for (const { index, writing, states } of work) if (needsStage(writing, states)) staging.add(index);
  for (const index of to.staged) staging.delete(index);
  if (staging.size > 0) {
    await ensureStages(
      means.pool,
      [...staging].map((index) => means.writings[index] as Writing),
    );
    for (const index of staging) to.staged.add(index);
  }
  const fenced = to.open !== null;
  to.open ??= new Set();
  countTables(to.open, work, means.pool);
  if (!fenced) {
    await run(session, 'begin');
    await fence(to, part, means);
  }
  noteFolds(to.counts, part);
  to.refused = null;
  const again = new Map<number, Again>();
  const clock = clockOf(to, part);
  const write = async ({ index, writing, fold, states }: (typeof work)[number]) => {
    to.refused = index;
    if (fold.trail !== null && part.end === null) to.untimed.set(index, writing);
    const keys =
      fold.trail === null
        ? await writeTable(session, writing, fold, states, means.signal)
        : await writeVersions(session, writing, fold, clock, means.signal);
    const before = again.get(index)?.keys ?? [];
    if (keys.length > 0) again.set(index, { writing, keys: before.concat(keys), versions: fold.trail !== null });
  };
  await noteUnseen(session, work, means.caughtUp, means.signal);
  for (const one of work) await write(one);
  const below = await unloggedOf(to, part, work, again, fenced, means);
  for (const one of below) await write(one);
  if (again.size > 0) {
    const last = clock({ transaction: Math.max(part.end?.transactions ?? 0, 1) - 1, event: 0 });
    for (const [index, one] of again) {
      to.refused = index;
      const version = one.writing.versions?.loadReread(last.time, last.ordinal, part.events);
      await reread(session, index, one, one.versions ? version : undefined, means);
    }
    // Taken after the rows were read: they can't be newer.
    const written = await means.written();
    for (const index of again.keys())
      for (const one of [index, ...means.links.held(index)]) to.reread.set(one, written);
  }
  to.refused = null;
  for (const statement of letterStatements(to.letters, database, [...work, ...below], part.end?.position ?? null))
    await run(session, statement);
  for (const statement of part.besides ?? []) await run(session, statement);
  if (part.end === null) return;
  await setTimes(to, part.times);
  const reached = part.pass ? to.position : part.end.position;
  for (const index of means.due(database, reached, to.reread)) {
    if ((await findOrphans(session, means.links, means.writings, index, means.capture)) === 0) continue;
    to.waiting = true;
    to.reread.set(index, await means.written());
  }
  const marks = means.mark(database, reached, to.reread);
  for (const statement of marks.statements) await run(session, statement);
  for (const statement of countStatements(to, part.times[0], means.claim)) await run(session, statement);
  if (fenced) await moveTo(to, part.end, means);
  await run(session, 'commit');
  to.open = null;
  if (part.pass) to.part = part.pass;
  else {
    to.position = part.end.position;
    to.ordinal += part.end.transactions;
    if (to.part && means.reached(to.position, to.part.until)) to.part = null;
  }
  to.reread.clear();
  to.untimed.clear();
  to.counts.clear();
  to.below.clear();
  settleLetters(to.letters);
  marks.settle();
}

/** Rows that foreign keys changed below the log, to be written like the part's own. */
async function unloggedOf(
  to: Applied,
  part: Part,
  work: readonly Part['folds'][number][],
  again: ReadonlyMap<number, Again>,
  fenced: boolean,
  means: Means,
) {
  const { writings, pool, versions } = means;
  const found = await findUnlogged(to, work, again, means);
  const transaction = Math.max(part.end?.transactions ?? 0, 1) - 1;
  const below = [...found].map(([index, keys]) => {
    const how = { large: fenced || part.end === null, versions: versions.has(index), transaction, event: part.events };
    const one = foldOfUnlogged(to, index, writings[index] as Writing, keys, how);
    to.below.set(index, one);
    return { ...one, states: sorted(one.fold) };
  });
  if (to.open !== null) countTables(to.open, below, pool);
  return below;
}

/** Keys that have to be read from the source; `versions`: what is found becomes versions. */
type Again = { readonly writing: Writing; readonly keys: readonly string[]; readonly versions: boolean };

/** Writes one table's states; returns the keys whose rows have to be read from the source. No row stays under those. */
async function writeTable(
  session: Session,
  writing: Writing,
  fold: TableFold,
  states: Sorted,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { gone, reread: unknown, parts, whole } = states;
  if (fold.emptied) await run(session, writing.emptyTable);
  const deleted = unknown.length === 0 ? gone : gone.concat(unknown);
  if (deleted.length > 0) {
    await load(session, writing, writing.loadKeys, () => keyLines(deleted), undefined, signal);
    await run(session, writing.deleteStaged);
    await run(session, writing.emptyStage);
  }
  let absent: string[] = [];
  if (parts.length > 0) {
    await load(
      session,
      writing,
      writing.loadParts,
      () => partLines(writing, parts),
      () => rowLines(parts),
      signal,
    );
    const found = await rows(session, writing.findAbsent);
    absent = found.map((row) => (parts[Number(row['n'])] as readonly [string, unknown])[0]);
    await run(session, writing.updateStaged);
    await run(session, writing.emptyStage);
  }
  if (whole > 0) {
    const lines = () => wholeLines(fold, whole);
    await loadRows(session, writing, () => wholeKeys(fold), lines, lines, signal);
  }
  return absent.length === 0 ? unknown : absent.concat(unknown);
}

/** Reads rows again from the source and writes them whole. Keys without a row there stay deleted. */
async function reread(
  session: Session,
  index: number,
  { writing, keys }: Again,
  version: string | undefined,
  { capture, signal }: Means,
): Promise<void> {
  async function* read(): AsyncGenerator<Batch, ChunkRead, undefined> {
    let count = 0;
    for (let i = 0; i < keys.length; i += REREAD_KEYS) {
      const found = yield* capture.reread(index, keys.slice(i, i + REREAD_KEYS));
      count += found.rows;
    }
    return { rows: count, rules: [] };
  }
  if (version !== undefined) await load(session, writing, version, read, undefined, signal);
  else await loadRows(session, writing, () => keys, read, undefined, signal);
}

/** Whole rows go straight into the place. Where keys may be held equal, they must all be there afterwards, each under its own key. */
async function loadRows(
  session: Session,
  writing: Writing,
  keys: () => readonly string[],
  lines: Lines,
  again: Lines | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (!writing.exact) {
    await load(session, writing, writing.loadRows, lines, again, signal);
    return;
  }
  const { table: source } = writing.followed;
  await load(session, writing, writing.loadKeys, () => keyLines(keys()), undefined, signal);
  await run(session, writing.deleteStaged);
  const loaded = await load(session, writing, writing.loadRows, lines, again, signal);
  const [found] = await rows(session, writing.countStaged);
  if (Number(found?.['n']) !== loaded)
    throw new DestinationRejected(
      `Two rows of ${source.ref.schema}.${source.ref.name} have keys (${source.key.join(', ')}) that the destination holds equal.`,
      'Make the keys differ in what the destination compares, or choose another `key` in the table’s options.',
    );
  await run(session, writing.emptyStage);
}

/** Keys per statement at the source (EXACTNESS.md §6). */
const REREAD_KEYS = 1000;

function needsStage({ exact, versions }: Writing, { gone, reread: unknown, parts, whole }: Sorted): boolean {
  if (versions !== null) return true;
  return (exact && whole > 0) || gone.length > 0 || unknown.length > 0 || parts.length > 0;
}

/** Only a source transaction whose changes do not fit into memory comes to that: its tables can't be sorted. */
function countTables(
  written: Set<string>,
  work: readonly { readonly writing: Writing; readonly states: Sorted }[],
  { dialect }: Pool,
): void {
  for (const { writing, states } of work) {
    written.add(writing.followed.place);
    if (needsStage(writing, states)) written.add(writing.stage.name);
  }
  if (written.size + 3 > dialect.transactionTables)
    throw new DestinationRejected(
      `A large source transaction changes more tables than the ${dialect.transactionTables} that a transaction of the destination writes, staging tables included.`,
      'Load the tables anew with `full`, and follow them in several pipelines.',
    );
}
