import type { Batch, ChunkRead } from '../model.ts';
import { recycled } from '../recycled.ts';
import type { Row, TableFold } from './fold.ts';
import { maskFields, type Writing } from './stage.ts';
import type { Moment, Version } from './trail.ts';

/** The lines of a fold's loads: states by key, as load text in pieces that are worth a write. */

/** Bytes gathered for one piece; longer rows are pieces of their own and are not copied. */
const GATHERED_BYTES = 128 * 1024;

/** What a fold comes to, by statement. */
export type Sorted = {
  readonly gone: readonly string[];
  readonly reread: readonly string[];
  /** Rows of which some columns are known, with their keys; the index is the row's number in the stage. */
  readonly parts: readonly (readonly [string, Row])[];
  readonly whole: number;
};

/** Sorts the states of a fold. */
export function sorted(fold: TableFold): Sorted {
  const gone: string[] = [];
  const reread: string[] = [];
  const parts: (readonly [string, Row])[] = [];
  let whole = 0;
  for (const [key, state] of fold.states) {
    if (state === 'gone') gone.push(key);
    else if (state === 'reread') reread.push(key);
    else if (state.missing !== null) parts.push([key, state]);
    else whole++;
  }
  return { gone, reread, parts, whole };
}

/** Keys of the whole rows of a fold. */
export function wholeKeys(fold: TableFold): string[] {
  const keys: string[] = [];
  for (const [key, state] of fold.states) if (typeof state === 'object' && state.missing === null) keys.push(key);
  return keys;
}

/** All whole rows of a fold. */
export function wholeLines(fold: TableFold, count: number): AsyncGenerator<Batch, ChunkRead, undefined> {
  return gathered(rowsOf(fold), count);
}

/** Keys as lines of the stage, numbered. */
export function keyLines(keys: readonly string[]): AsyncGenerator<Batch, ChunkRead, undefined> {
  return gathered(numbered(keys), keys.length);
}

/** Known columns of rows as lines of the stage: number, masks, row. */
export function partLines(
  writing: Writing,
  parts: readonly (readonly [string, Row])[],
): AsyncGenerator<Batch, ChunkRead, undefined> {
  return gathered(prefixed(writing, parts), parts.length);
}

/** Rows as they are, without number and masks. */
export function rowLines(parts: readonly (readonly [string, Row])[]): AsyncGenerator<Batch, ChunkRead, undefined> {
  return gathered(plain(parts), parts.length);
}

/** Versions as lines of the copy, or of the stage if `writing` is given: number, masks, version columns, row. */
export function versionLines(
  versions: readonly Version[],
  at: Clock,
  writing: Writing | null,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  return gathered(dated(versions, at, writing), versions.length);
}

/** Keys as lines of the stage, with what ends their rows. */
export function endLines(
  ends: readonly { readonly key: string; readonly step: Moment }[],
  at: Clock,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  return gathered(ended(ends, at), ends.length);
}

/** Time and number of a batch's transactions, as text. */
export type Clock = (moment: Moment) => { readonly time: string; readonly ordinal: number };

function* dated(versions: readonly Version[], at: Clock, writing: Writing | null): Generator<Line> {
  for (let i = 0; i < versions.length; i++) {
    const { row, step, end } = versions[i] as Version;
    const from = at(step);
    const to = end === null ? null : at(end);
    const period = `${from.time}\t${to?.time ?? '\\N'}\t${to ? 0 : 1}\t${from.ordinal}\t${to?.ordinal ?? '\\N'}\t${step.event}\t`;
    const staged = writing === null ? '' : `${i}\t${maskFields(writing, row.missing ?? [])}`;
    yield { ...piece(staged + period), rows: 0 };
    yield { data: row.data, from: row.from, to: row.to, rows: 1 };
  }
}

function* ended(ends: readonly { readonly key: string; readonly step: Moment }[], at: Clock) {
  for (let i = 0; i < ends.length; i++) {
    const { key, step } = ends[i] as (typeof ends)[number];
    const { time, ordinal } = at(step);
    yield piece(`${i}\t${time}\t${ordinal}\t${step.event}\t${key}\n`);
  }
}

type Line = Pick<Row, 'data' | 'from' | 'to'> & { readonly rows: 0 | 1 };

function* rowsOf(fold: TableFold): Generator<Pick<Row, 'data' | 'from' | 'to'>> {
  for (const state of fold.states.values()) if (typeof state === 'object' && state.missing === null) yield state;
}

function* plain(parts: readonly (readonly [string, Row])[]): Generator<Pick<Row, 'data' | 'from' | 'to'>> {
  for (const [, row] of parts) yield row;
}

function* numbered(keys: readonly string[]): Generator<Pick<Row, 'data' | 'from' | 'to'>> {
  for (let i = 0; i < keys.length; i++) yield piece(`${i}\t${keys[i]}\n`);
}

function* prefixed(writing: Writing, parts: readonly (readonly [string, Row])[]): Generator<Line> {
  // Rows of one table mostly miss the same columns.
  const masks = new Map<string, string>();
  for (let i = 0; i < parts.length; i++) {
    const [, { data, from, to, missing }] = parts[i] as readonly [string, Row];
    const unknown = String(missing);
    const mask = masks.get(unknown) ?? maskFields(writing, missing ?? []);
    masks.set(unknown, mask);
    const prefix = Buffer.from(`${i}\t${mask}`, 'latin1');
    yield { data: prefix, from: 0, to: prefix.length, rows: 0 };
    yield { data, from, to, rows: 1 };
  }
}

/** Keys are latin1 characters, one per byte. */
function piece(text: string): Pick<Row, 'data' | 'from' | 'to'> {
  const data = Buffer.from(text, 'latin1');
  return { data, from: 0, to: data.length };
}

async function* gathered(
  lines: Iterable<Pick<Line, 'data' | 'from' | 'to'> & { readonly rows?: 0 | 1 }>,
  count: number,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const buffers = recycled(GATHERED_BYTES);
  let out = buffers.take();
  let at = 0;
  let ended = 0;
  for (const { data, from, to, rows } of lines) {
    const length = to - from;
    if (at + length > GATHERED_BYTES && at > 0) {
      yield { data: out.subarray(0, at), rows: ended, release: buffers.giver(out) };
      out = buffers.take();
      at = 0;
      ended = 0;
    }
    if (length > GATHERED_BYTES) {
      yield { data: data.subarray(from, to), rows: rows ?? 1 };
      continue;
    }
    if (length < SHORT) for (let i = from; i < to; i++) out[at++] = data[i] as number;
    else {
      out.set(data.subarray(from, to), at);
      at += length;
    }
    ended += rows ?? 1;
  }
  if (at > 0) yield { data: out.subarray(0, at), rows: ended };
  return { rows: count, rules: [] };
}

/** Up to here copying byte by byte costs less than making a view. */
const SHORT = 48;
