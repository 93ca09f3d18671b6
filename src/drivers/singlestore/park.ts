import { DestinationRejected } from '../errors.ts';
import type { Batch, ChunkRead } from '../model.ts';
import type { Applied } from './apply-database.ts';
import { partLines, rowLines, sorted } from './apply-lines.ts';
import { load } from './apply-load.ts';
import { type Means, type Part, writePart } from './apply-write.ts';
import { checkClaim, openClaimed } from './claim.ts';
import { destroy, run, transaction } from './connection.ts';
import type { Row, TableFold } from './fold.ts';
import { leaveStatements } from './followed.ts';
import { isRefusal, letterStatements, MOST_LETTERS, setAside } from './letters.ts';
import { withSession } from './pool.ts';
import { explain } from './rejects.ts';
import { ensureStages, type Writing } from './stage.ts';
import { type Step, versionsOf } from './trail.ts';

type Work = Part['folds'][number];

/**
 * Writes a part as `writePart` does, and deals with refused rows: the transaction is undone, they are found and put aside (or their table is), and the
 * part is written again. What an open transaction has written before can't be written again: then letters are stored on their own, and the
 * attempt ends; the next one puts those keys aside in time.
 */
export async function writeAccepted(to: Applied, part: Part, means: Means): Promise<void> {
  const goesOn = to.open !== null;
  // Not tried inside a large transaction: a refusal there ends the attempt.
  if (goesOn || part.end === null) for (const one of part.folds) asideUntried(to, one);
  for (;;) {
    const { seq } = to;
    const open = part.folds.filter(({ index }) => !to.dropped.has(index));
    try {
      return await writePart(to, { ...part, folds: open }, means);
    } catch (error) {
      const refused = open.find(({ index }) => index === to.refused) ?? to.below.get(to.refused ?? -1);
      if (!isRefusal(error) || !refused || means.onRowError === 'pipeline') throw error;
      destroy(to.session);
      to.session = await openClaimed(means.pool, means.claim, to.database);
      if (means.signal.aborted) destroy(to.session);
      to.seq = seq;
      to.open = null;
      to.reread.clear();
      to.untimed.clear();
      to.counts.clear();
      to.below.clear();
      to.letters.gone.clear();
      await putAside(to, refused, means, error, goesOn);
      if (!goesOn) continue;
      // Letters of rows that the transaction takes away stay until it is durable.
      const letters = { ...to.letters, known: new Map<number, Set<string>>() };
      await transaction(to.session, async () => {
        await checkClaim(to.session, means.claim, to.database);
        for (const statement of letterStatements(letters, to.database, [refused], null))
          await run(to.session, statement);
      });
      throw new Error(`${error.message} The large transaction it belongs to is written again without it.`);
    }
  }
}

/**
 * Finds what was refused and puts it aside: rows, or the whole table. An earlier version of a row is left out; `whole`: then its later ones are put aside,
 * too, as the letter is all that the next attempt knows of it.
 */
async function putAside(to: Applied, refused: Work, means: Means, error: Error, whole: boolean): Promise<void> {
  const { index, writing, fold } = refused;
  const { followed } = writing;
  if (means.onRowError === 'park') {
    const found = await refusedItems(refused, means);
    if (found.size === 0) throw error;
    let few = true;
    for (const [{ key, step }, reason] of found)
      if (!whole && step !== undefined && step !== fold.trail?.steps.get(key)?.at(-1)) step.state = 'gone';
      else few = setAside(to.letters, index, followed, fold, key, reason) && few;
    if (few) return;
  }
  to.letters.fresh.delete(index);
  to.dropped.add(index);
  const { name, message } = error;
  const action = error instanceof DestinationRejected ? error.action : '';
  const why = { class: name, message, action };
  await transaction(to.session, async () => {
    await checkClaim(to.session, means.claim, to.database);
    const leaving = { id: followed.id, database: to.database, state: 'error', error: why } as const;
    for (const statement of leaveStatements(means.claim, leaving)) await run(to.session, statement);
  });
}

/** Puts the states of keys aside that have a letter, durable or of this transaction, and takes the letters of those away that are gone. */
function asideUntried({ letters }: Applied, { index, writing, fold }: Work): void {
  const fresh = letters.fresh.get(index);
  const known = letters.known.get(index) ?? new Set<string>();
  for (const key of new Set([...known, ...(fresh?.keys() ?? [])])) {
    const state = fold.states.get(key) ?? (fold.emptied ? 'gone' : undefined);
    if (state === undefined) continue;
    if (state === 'gone') {
      // The transaction may have written the letter already.
      if (fresh?.delete(key)) letters.known.set(index, known.add(key));
      continue;
    }
    setAside(letters, index, writing.followed, fold, key, 'An earlier state was refused; this one was not tried.');
  }
}

/** A row to try; `step`: it is a version. */
type Item = { readonly key: string; readonly row: Row | null; readonly step?: Step };

/** What a fold would write, by how it is tried. */
function itemsOf(fold: TableFold): { readonly parts: Item[]; readonly whole: Item[]; readonly unknown: Item[] } {
  const again = (keys: readonly string[]): Item[] => keys.map((key) => ({ key, row: null }));
  if (fold.trail !== null) {
    const parts = [...versionsOf(fold.trail, false)];
    const asked = [...fold.trail.steps].filter(([, steps]) => steps.at(-1)?.state === 'reread').map(([key]) => key);
    return {
      parts,
      whole: [...versionsOf(fold.trail, true)],
      unknown: again([...asked, ...parts.filter(({ end }) => end === null).map(({ key }) => key)]),
    };
  }
  const { parts, reread } = sorted(fold);
  const whole = [...fold.states].flatMap(([key, row]) =>
    typeof row === 'object' && row.missing === null ? [{ key, row }] : [],
  );
  return {
    parts: parts.map(([key, row]) => ({ key, row })),
    whole,
    unknown: again([...reread, ...parts.map(([key]) => key)]),
  };
}

/** The rows of a fold that the destination refuses, with its reason; each is tried in a transaction that is undone. */
async function refusedItems({ index, writing, fold }: Work, means: Means): Promise<Map<Item, string>> {
  const { parts, whole, unknown } = itemsOf(fold);
  const found = new Map<Item, string>();
  const collect = async (
    items: readonly Item[],
    lines: (some: readonly (readonly [string, Row])[]) => AsyncGenerator<Batch, ChunkRead, undefined>,
    statement: string,
  ) => {
    if (found.size > MOST_LETTERS) return;
    const some = items.map(({ key, row }) => [key, row as Row] as const);
    const words = items.length === 0 ? null : await attempt(writing, statement, () => lines(some), means);
    if (words === null) return;
    const [only] = items;
    if (items.length === 1 && only) {
      found.set(only, words);
      return;
    }
    const half = items.length >> 1;
    await collect(items.slice(0, half), lines, statement);
    await collect(items.slice(half), lines, statement);
  };
  if (parts.length > 0) await ensureStages(means.pool, [writing]);
  await collect(parts, (some) => partLines(writing, some), writing.loadParts);
  await collect(whole, rowLines, writing.tryRows);
  if (found.size > 0) return found;
  // It was a row that had been read from the source.
  for (const one of unknown) await collect([one], () => means.capture.reread(index, [one.key]), writing.tryRows);
  return found;
}

/** Tries a load; the reason of a refusal, null if there is none. */
async function attempt(
  writing: Writing,
  statement: string,
  lines: () => AsyncGenerator<Batch, ChunkRead, undefined>,
  means: Means,
): Promise<string | null> {
  try {
    await withSession(means.pool, async (session) => {
      await run(session, 'begin');
      await load(session, writing, statement, lines, undefined, means.signal);
      await run(session, 'rollback');
    });
    return null;
  } catch (error) {
    if (isRefusal(error)) return error.message;
    throw explain(error);
  }
}
