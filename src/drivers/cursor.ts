import { createHash } from 'node:crypto';
import { Misconfigured, PositionLost } from './errors.ts';
import type { Position, Table } from './model.ts';

/**
 * Changes found by a column that tells when a row was last written, for sources whose log can't be read. Deletes leave no trace there:
 * `validate` finds them. What all databases share: which column, and where a look stands.
 */

/**
 * Where the source stood at a moment: its clock (ms since 1970, UTC) and, where it has one, its counter of versions in decimal digits, so
 * that every row with a lesser version is committed and seen. `o`: when the oldest transaction began that was open then, where the source
 * tells; its rows are of that time or later. Stored at the destination as JSON: add fields, never rename.
 */
export type Mark = { readonly t: number; readonly v?: string; readonly o?: number };

export function encodeMark(mark: Mark): Position {
  return JSON.stringify(mark) as Position;
}

/** null for '', the position of a source that is not followed. Throws `PositionLost` for one of another way to capture changes. */
export function decodeMark(position: string): Mark | null {
  if (position === '') return null;
  const mark = position.startsWith('{') ? (JSON.parse(position) as Partial<Mark>) : {};
  if (typeof mark.t !== 'number')
    throw new PositionLost('The stored position is of another way to capture changes.', 'Run a full extract.');
  return mark as Mark;
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
  const last = marks.reduce((latest, one) => (one.t > latest.t ? one : latest), { t: 0 } as Mark);
  return { ...last, ...(v >= 0n && { v: String(v) }) };
}

/** A column that might be a cursor. `clock`: its values are times, or versions that the source counts by itself; null: neither. */
export type CursorColumn = {
  readonly name: string;
  readonly nullable: boolean;
  readonly clock: 'time' | 'version' | null;
  /** Times without a zone, by whatever clock their writers go. Absent: in UTC, or in the source's own zone as its driver knows it. */
  readonly local?: true;
  /** Whether an index begins with it; absent: not known. */
  readonly indexed?: boolean;
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
        `The cursor column ${name} of ${where} does not exist, or is neither a date with time nor a row version. ${candidates(columns)}`,
        'Correct `cursor`.',
      );
  }
  const used = columns.filter(({ name }) => chosen.includes(name));
  if (used.length === 0)
    throw new Misconfigured(
      `${where} has no column that is known to tell when a row was last written. ${candidates(columns)}`,
      'Set `cursor` of the table to such columns, or use a type that copies it by full extracts.',
    );
  warnings.push('Deleted rows are not seen by a cursor: `validate` finds them.');
  if (used.every(({ nullable }) => nullable))
    warnings.push(`Rows whose ${chosen.join(' and ')} is NULL are copied by loads only.`);
  const slow = used.filter(({ indexed }) => indexed === false);
  if (slow.length > 0)
    warnings.push(
      `No index begins with ${slow.map(({ name }) => name).join(', nor with ')}: each look for changes reads the whole table.`,
    );
  return [...chosen];
}

/** What a user might choose. */
function candidates(columns: readonly CursorColumn[]): string {
  const names = columns.filter(({ clock }) => clock !== null).map(({ name }) => name);
  return names.length === 0 ? 'No column of it could be one.' : `These could be: ${names.join(', ')}.`;
}

function versionOf(columns: readonly CursorColumn[]): string[] {
  const found = columns.find(({ clock }) => clock === 'version');
  return found ? [found.name] : [];
}

/** How a source is followed by cursors of times. */
export type CursorSettings = {
  /** How far behind the last look rows are looked for, ms. */
  readonly overlapMs: number;
  /** The zone that times without one are of, as an IANA name; undefined: not known, so that any is possible. */
  readonly zone: string | undefined;
};

/** `cursor_overlap` and `cursor_zone` of a source. Throws `Misconfigured`. */
export function cursorSettings(params: Readonly<Record<string, string>>): CursorSettings {
  const overlap = Number(params['cursor_overlap'] || 600);
  if (!Number.isInteger(overlap) || overlap < 0)
    throw new Misconfigured('The parameter cursor_overlap is malformed.', 'Set cursor_overlap to a number of seconds.');
  const zone = params['cursor_zone'] || undefined;
  try {
    if (zone !== undefined) zoneMs(zone, 0);
  } catch {
    throw new Misconfigured(
      `The time zone ${zone} of cursor_zone is not known.`,
      'Set cursor_zone to an IANA name such as UTC or America/New_York.',
    );
  }
  return { overlapMs: overlap * 1000, zone };
}

/**
 * A described table as it is followed by its cursor columns; the same where nothing follows it (no key, a view). Throws `Misconfigured`. Another
 * choice of columns is another structure.
 */
export function withCursor(
  table: Table,
  columns: readonly CursorColumn[],
  wanted: readonly string[] | undefined,
  { zone }: CursorSettings,
): Table {
  if (table.key.length === 0 || table.kind === 'view') return table;
  const warnings: string[] = [];
  const cursor = chooseCursor(`${table.ref.schema}.${table.ref.name}`, columns, wanted, warnings);
  const local = columns.filter((one) => one.local === true && cursor.includes(one.name));
  if (local.length > 0 && zone === undefined)
    warnings.push(
      `Times of ${local.map(({ name }) => name).join(' and ')} carry no zone: each look reads the last ${ANY_ZONE_HOURS} hours again, so that writers may use any. Set \`cursor_zone\` of the source where all use one.`,
    );
  const digest = createHash('sha256').update(JSON.stringify(cursor)).digest('base64url').slice(0, 8);
  return {
    ...table,
    cursor,
    structure: `${table.structure}.${digest}`,
    warnings: [...table.warnings, ...warnings],
  };
}

/** From when on rows are read, as `YYYY-MM-DD HH:MM:SS`: by columns whose times are in UTC, and by those without a zone. */
export type Since = { readonly utc: string; readonly local: string };

/** No zone is further west: its clocks show the earliest time. */
const ANY_ZONE_HOURS = 12;
/** Clocks are put right by so much without anyone's noticing. */
const CLOCK_STEP_MS = 60_000;

/**
 * Where a look at the time `now` of the source begins that follows on one at `mark`. Throws `PositionLost` when the source's clock was set back by
 * more than the overlap: rows may have been written before the mark, by the new clock, that nobody has seen.
 */
export function sinceOf(mark: Mark, now: number, { overlapMs, zone }: CursorSettings): Since {
  const from = fromOf(mark, now, overlapMs);
  // Where clocks were set back since, times begin again below those of the beginning.
  const shift = zone === undefined ? -ANY_ZONE_HOURS * HOUR_MS : Math.min(zoneMs(zone, from), zoneMs(zone, now));
  return { utc: wall(from), local: wall(Math.max(0, from + shift)) };
}

const HOUR_MS = 3_600_000;

function fromOf(mark: Mark, now: number, overlapMs: number): number {
  if (now < mark.t - Math.max(overlapMs, CLOCK_STEP_MS))
    throw new PositionLost(
      `The clock of the source went back from ${wall(mark.t)} to ${wall(now)} UTC: what was written meanwhile can't be told from what was seen.`,
      'Run a full extract.',
    );
  return Math.max(0, Math.min(mark.t, mark.o ?? mark.t, now) - overlapMs);
}

function wall(ms: number): string {
  return new Date(Math.floor(ms)).toISOString().slice(0, 19).replace('T', ' ');
}

/** How far a zone's clocks are before UTC at a moment, ms. Throws `RangeError` for a zone that nobody knows. */
function zoneMs(zone: string, at: number): number {
  const parts = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' }).formatToParts(at);
  const text = parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = /GMT([+-])(\d+):(\d+)(?::(\d+))?/.exec(text) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours) * HOUR_MS + Number(minutes) * 60_000 + Number(seconds) * 1000);
}

/**
 * From when on a cursor of times must be read, ms as a wall clock would show them, so that a row whose transaction was long in committing is
 * seen: `overlapMs` before the last look. Values may be in UTC or in the source's own zone, `offsetMinutes` east of it: the earlier of both
 * counts, and an hour more where clocks may have been changed. Throws like `sinceOf`.
 */
export function timeFrom(mark: Mark, now: number, overlapMs: number, offsetMinutes: number): number {
  const zone = offsetMinutes === 0 ? 0 : Math.min(0, offsetMinutes * 60_000) - HOUR_MS;
  return Math.max(0, fromOf(mark, now, overlapMs) + zone);
}
