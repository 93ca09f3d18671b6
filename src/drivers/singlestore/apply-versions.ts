import { type Clock, endLines, rowLines, versionLines } from './apply-lines.ts';
import { load } from './apply-load.ts';
import { rows, run, type Session } from './connection.ts';
import type { TableFold } from './fold.ts';
import type { Writing } from './stage.ts';
import { endsOf, type Trail, versionsOf } from './trail.ts';

/**
 * Writes what a batch says of a table that keeps versions; returns the keys whose rows have to be read from the source: none of their versions is
 * current. Parts come first: they need the rows that end after them.
 */
export async function writeVersions(
  session: Session,
  writing: Writing,
  fold: TableFold,
  at: Clock,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { versions: statements } = writing;
  const { trail } = fold;
  if (statements === null || trail === null) throw new Error('The table keeps no versions.');
  const again = new Set<string>();
  for (const [key, steps] of trail.steps) if (steps.at(-1)?.state === 'reread') again.add(key);

  const parts = [...versionsOf(trail, false)];
  if (parts.length > 0) {
    const lines = () => versionLines(parts, at, writing);
    const plain = () => rowLines(parts.map(({ key, row }) => [key, row] as const));
    await load(session, writing, statements.loadParts, lines, plain, signal);
    const absent = await rows(session, statements.findAbsent);
    for (const row of absent) {
      const { key, end } = parts[Number(row['n'])] as (typeof parts)[number];
      if (end === null) again.add(key);
    }
    const made = await run(session, statements.insertStaged);
    if (made.affected !== parts.length - absent.length)
      throw new Error(`${parts.length - absent.length} parts of versions became ${made.affected} rows.`);
    await run(session, writing.emptyStage);
  }
  await endRows(session, writing, trail, at, signal);
  const whole = [...versionsOf(trail, true)];
  if (whole.length > 0) {
    const lines = () => versionLines(whole, at, null);
    const plain = () => rowLines(whole.map(({ key, row }) => [key, row] as const));
    await load(session, writing, statements.loadVersions, lines, plain, signal);
  }
  return [...again];
}

/** Rows of before the batch end with the first change of their key, or when the table was emptied. */
async function endRows(
  session: Session,
  writing: Writing,
  trail: Trail,
  at: Clock,
  signal: AbortSignal,
): Promise<void> {
  const { versions: statements } = writing;
  const ends = [...endsOf(trail)];
  if (ends.length > 0 && statements) {
    await load(session, writing, statements.loadEnds, () => endLines(ends, at), undefined, signal);
    await run(session, statements.endStaged);
    await run(session, writing.emptyStage);
  }
  if (trail.emptied === null || !statements) return;
  const { time, ordinal } = at(trail.emptied);
  await run(session, statements.endAll(time, ordinal, trail.emptied.event));
}
