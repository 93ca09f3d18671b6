import { Misconfigured } from './errors.ts';
import type { Position } from './model.ts';

/**
 * Changes found by a column that tells when a row was last written, for sources whose log can't be read. Deletes leave no trace there:
 * `validate` finds them. What all databases share: which column, and where a look stands.
 */

/**
 * Where the source stood at a moment: its clock (ms since 1970, UTC) and, where it has one, its counter of versions in decimal digits, so
 * that every row with a lesser version is committed and seen. Stored at the destination as JSON: add fields, never rename.
 */
export type Mark = { readonly t: number; readonly v?: string };

export function encodeMark(mark: Mark): Position {
  return JSON.stringify(mark) as Position;
}

/** null for '', the position of a source that is not followed. */
export function decodeMark(position: string): Mark | null {
  return position === '' ? null : (JSON.parse(position) as Mark);
}

/** Whether a look at `position` sees everything that was there at `goal`. */
export function markReached(position: string, goal: string): boolean {
  const [here, there] = [decodeMark(position), decodeMark(goal)];
  if (!here || !there) return true;
  return here.t >= there.t && (there.v === undefined || (here.v !== undefined && BigInt(here.v) >= BigInt(there.v)));
}

/** The latest of several marks: what lies before it is there already. At least one. */
export function latestMark(positions: readonly Position[]): Mark {
  const marks = positions.map(decodeMark).filter((mark) => mark !== null);
  const versions = marks.flatMap(({ v }) => (v === undefined ? [] : [BigInt(v)]));
  const v = versions.reduce((most, one) => (one > most ? one : most), -1n);
  return { t: Math.max(0, ...marks.map(({ t }) => t)), ...(v >= 0n && { v: String(v) }) };
}

/** A column that might be a cursor. `clock`: its values are times, or versions that the source counts by itself; null: neither. */
export type CursorColumn = {
  readonly name: string;
  readonly nullable: boolean;
  readonly clock: 'time' | 'version' | null;
};

/**
 * The cursor columns of a table: those of its `cursor` option, else its version column. A row counts as changed when any of them says so.
 * Throws `Misconfigured` where there is none. Adds what users should know to `warnings`.
 */
export function chooseCursor(
  where: string,
  columns: readonly CursorColumn[],
  wanted: readonly string[] | undefined,
  warnings: string[],
): string[] {
  const chosen = wanted !== undefined && wanted.length > 0 ? wanted : versionOf(columns);
  for (const name of chosen) {
    const column = columns.find((one) => one.name === name);
    if (!column?.clock)
      throw new Misconfigured(
        `The cursor column ${name} of ${where} does not exist, or is neither a date with time nor a row version.`,
        'Correct `cursor`.',
      );
  }
  const used = columns.filter(({ name }) => chosen.includes(name));
  if (used.length === 0)
    throw new Misconfigured(
      `${where} has no column that is known to tell when a row was last written.`,
      'Set `cursor` of the table to such columns, or use a type that copies it by full extracts.',
    );
  warnings.push('Deleted rows are not seen by a cursor: `validate` finds them.');
  if (used.every(({ nullable }) => nullable))
    warnings.push(`Rows whose ${chosen.join(' and ')} is NULL are copied by loads only.`);
  return [...chosen];
}

function versionOf(columns: readonly CursorColumn[]): string[] {
  const found = columns.find(({ clock }) => clock === 'version');
  return found ? [found.name] : [];
}

/**
 * From when on a cursor of times must be read, ms as a wall clock would show them, so that a row whose transaction was long in committing is
 * seen: `overlapMs` before the last look. Values may be in UTC or in the source's own zone, `offsetMinutes` east of it: the earlier of both
 * counts, and an hour more where clocks may have been changed.
 */
export function timeFrom(mark: Mark, overlapMs: number, offsetMinutes: number): number {
  const zone = offsetMinutes === 0 ? 0 : Math.min(0, offsetMinutes * 60_000) - 3_600_000;
  return Math.max(0, mark.t - overlapMs + zone);
}
