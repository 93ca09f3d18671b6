import type { RowChange } from '../changes.ts';
import { appendNull, NEWLINE, TAB } from '../load-text.ts';
import { type RowText, room, skipCell, writeCell } from './cells.ts';
import type { LogColumn } from './log-columns.ts';
import type { RowPlan } from './log-layout.ts';
import type { Repairs } from './repairs.ts';
import { damaged } from './table-map.ts';

/**
 * Rows of one event as changes. An image of a row is a bitmap of NULLs and the cells of those columns that the event's bitmap of present
 * columns names; an update has two images. What is read of the first image is the key, and what the second does not hold.
 */
export type RowSink = {
  readonly out: RowText;
  readonly repairs: Repairs;
  /** Index of the table. */
  readonly table: number;
  /** How many key columns there are. */
  readonly keys: number;
  emit(change: RowChange): void;
};

/** The columns of an image. */
export type Image = { readonly columns: readonly LogColumn[]; readonly all: boolean; readonly places: Int32Array };

const NOTHING = new Uint8Array(0);
/** Where each key's text stands, from the row's start on. */
const from: number[] = [];
const to: number[] = [];
/** Where each key's bytes stand in the two images. */
const keyAt: number[] = [];
const keyEnd: number[] = [];

/** The image that a bitmap at `at` describes. `places`: by place in the row's columns its place in the image, -1 where it is absent. */
export function readImage(plan: RowPlan, bytes: Buffer, at: number): Image {
  const columns: LogColumn[] = [];
  const places = new Int32Array(plan.columns.length).fill(-1);
  for (const [place, column] of plan.columns.entries())
    if (((bytes[at + (place >> 3)] as number) >> (place & 7)) & 1) {
      places[place] = columns.length;
      columns.push(column);
    }
  return { columns, all: columns.length === plan.columns.length, places };
}

/** Reads `bytes[p, end)`, whole rows, into `sink`; returns how many. `second` is the image after an update. */
export function readRows(
  kind: RowChange['kind'],
  plan: RowPlan,
  first: Image,
  second: Image | undefined,
  bytes: Buffer,
  p: number,
  end: number,
  sink: RowSink,
): number {
  const { out } = sink;
  out.fixed = plan.room;
  let rows = 0;
  while (p < end) {
    const before = p;
    out.start = out.at;
    room(out, 0);
    if (kind === 'delete') p = deleted(plan, first, bytes, p, end, sink);
    else if (kind === 'insert')
      p = first.all
        ? inserted(first, bytes, p, end, sink)
        : partial('insert', plan, undefined, first, bytes, p, end, sink);
    else if (second?.all && first.all) p = updated(first, second, bytes, p, end, sink);
    else p = partial('update', plan, first, second as Image, bytes, p, end, sink);
    if (!(p <= end) || p === before) throw damaged('a row');
    rows++;
  }
  return rows;
}

function inserted(image: Image, bytes: Buffer, p: number, end: number, sink: RowSink): number {
  p = writeImage(image, bytes, p, end, sink, false);
  emitRow('insert', null, null, sink);
  return p;
}

/** Writes a whole image as a row. With `compare` the key's bytes are held against those in `keyAt`; equal ones give true in `sameKey`. */
function writeImage(image: Image, bytes: Buffer, p: number, end: number, sink: RowSink, compare: boolean): number {
  const { columns } = image;
  const { out, repairs } = sink;
  let nulls = p;
  p += (columns.length + 7) >> 3;
  if (p > end) throw damaged('a row');
  let bits = 0;
  sameKey = true;
  for (let i = 0; i < columns.length; i++) {
    const column = columns[i] as LogColumn;
    if ((i & 7) === 0) bits = bytes[nulls++] as number;
    const isNull = (bits & 1) === 1;
    bits >>= 1;
    if (column.target < 0) {
      if (!isNull) p = skipCell(column, bytes, p);
      continue;
    }
    const begin = out.at - out.start;
    const cell = p;
    if (isNull) out.at = appendNull(out.data, out.at);
    else p = writeCell(out, column, bytes, p, end, repairs);
    if (column.key >= 0) {
      from[column.key] = begin;
      to[column.key] = out.at - out.start;
      if (compare && sameKey)
        sameKey = sameBytes(bytes, keyAt[column.key] as number, keyEnd[column.key] as number, cell, p);
    }
    out.data[out.at++] = TAB;
  }
  out.data[out.at - 1] = NEWLINE;
  return p;
}

let sameKey = true;

function sameBytes(bytes: Buffer, at: number, end: number, other: number, otherEnd: number): boolean {
  if (end - at !== otherEnd - other) return false;
  for (; at < end; at++, other++) if (bytes[at] !== bytes[other]) return false;
  return true;
}

/** Finds the key's cells of an image and its end. */
function scanImage(image: Image, bytes: Buffer, p: number, end: number): number {
  const { columns } = image;
  const nulls = p;
  p += (columns.length + 7) >> 3;
  for (let i = 0; i < columns.length; i++) {
    const column = columns[i] as LogColumn;
    const isNull = ((bytes[nulls + (i >> 3)] as number) >> (i & 7)) & 1;
    const cell = p;
    if (!isNull) p = skipCell(column, bytes, p);
    if (column.key >= 0) {
      keyAt[column.key] = isNull ? -1 : cell;
      keyEnd[column.key] = isNull ? -1 : p;
    }
  }
  if (!(p <= end)) throw damaged('a row');
  return p;
}

function updated(first: Image, second: Image, bytes: Buffer, p: number, end: number, sink: RowSink): number {
  p = scanImage(first, bytes, p, end);
  p = writeImage(second, bytes, p, end, sink, true);
  const key = sink.keys === 0 ? '' : rowKey(sink);
  const oldKey = sameKey ? null : oldKeyText(first, bytes, end, sink);
  emitRow('update', oldKey === key ? null : oldKey, null, sink, key);
  return p;
}

/** The key that `scanImage` found, as text. Written behind the row and taken away again. */
function oldKeyText(image: Image, bytes: Buffer, end: number, sink: RowSink): string {
  const { out, repairs } = sink;
  const at = out.at - out.start;
  const parts: string[] = [];
  for (const column of image.columns) {
    if (column.key < 0) continue;
    const cell = keyAt[column.key] as number;
    room(out, 64);
    if (cell < 0) out.at = appendNull(out.data, out.at);
    else writeCell(out, column, bytes, cell, end, repairs);
    parts[column.key] = out.data.toString('latin1', out.start + at, out.at);
    out.at = out.start + at;
  }
  return parts.join('\t');
}

function deleted(plan: RowPlan, image: Image, bytes: Buffer, p: number, end: number, sink: RowSink): number {
  if (!image.all) requireKey(plan, image);
  p = scanImage(image, bytes, p, end);
  const key = oldKeyText(image, bytes, end, sink);
  sink.emit({ kind: 'delete', table: sink.table, key, oldKey: null, data: NOTHING, from: 0, to: 0, missing: null });
  return p;
}

function rowKey({ out, keys }: RowSink): string {
  if (keys === 1) return out.data.toString('latin1', out.start + (from[0] as number), out.start + (to[0] as number));
  let key = '';
  for (let i = 0; i < keys; i++) {
    if (i > 0) key += '\t';
    key += out.data.toString('latin1', out.start + (from[i] as number), out.start + (to[i] as number));
  }
  return key;
}

function emitRow(
  kind: 'insert' | 'update',
  oldKey: string | null,
  missing: readonly number[] | null,
  sink: RowSink,
  key: string = rowKey(sink),
): void {
  const { out } = sink;
  sink.repairs.settle(out.data, out.start, out.at);
  sink.emit({ kind, table: sink.table, key, oldKey, data: out.data, from: out.start, to: out.at, missing });
}

/** Thrown where an image lacks a key column: the table can't be followed like that. */
export class KeyMissing extends Error {}

function requireKey(plan: RowPlan, ...images: (Image | undefined)[]): void {
  for (const [place, column] of plan.columns.entries())
    if (column.key >= 0 && !images.some((image) => image && (image.places[place] as number) >= 0))
      throw new KeyMissing(
        `The log's rows do not hold the key column ${column.name}: SET GLOBAL binlog_row_image = 'FULL' at the source, and reconnect its writers.`,
      );
}

/** Where the cells of an image begin; -1 for NULL. Returns the image's end through `ends`. */
function cellsOf(image: Image, bytes: Buffer, p: number, end: number): { cells: number[]; end: number } {
  const cells: number[] = [];
  const nulls = p;
  p += (image.columns.length + 7) >> 3;
  for (const [i, column] of image.columns.entries()) {
    const isNull = ((bytes[nulls + (i >> 3)] as number) >> (i & 7)) & 1;
    cells.push(isNull ? -1 : p);
    if (!isNull) p = skipCell(column, bytes, p);
  }
  if (!(p <= end)) throw damaged('a row');
  return { cells, end: p };
}

/** A row whose images lack columns (`binlog_row_image` = MINIMAL or NOBLOB). What stands only in the first image has not changed. */
function partial(
  kind: 'insert' | 'update',
  plan: RowPlan,
  first: Image | undefined,
  second: Image,
  bytes: Buffer,
  p: number,
  end: number,
  sink: RowSink,
): number {
  const { out, repairs } = sink;
  requireKey(plan, first, second);
  const before = first ? cellsOf(first, bytes, p, end) : { cells: [], end: p };
  const after = cellsOf(second, bytes, before.end, end);
  const missing: number[] = [];
  const olds: (string | undefined)[] = [];
  for (const [place, column] of plan.columns.entries()) {
    if (column.target < 0) continue;
    const old = first ? (first.places[place] as number) : -1;
    const now = second.places[place] as number;
    const cell = now >= 0 ? after.cells[now] : old >= 0 ? before.cells[old] : undefined;
    const begin = out.at - out.start;
    if (cell === undefined || cell < 0) {
      if (cell === undefined) missing.push(column.target);
      room(out, 0);
      out.at = appendNull(out.data, out.at);
    } else writeCell(out, column, bytes, cell, end, repairs);
    if (column.key >= 0) {
      from[column.key] = begin;
      to[column.key] = out.at - out.start;
      if (old >= 0) keyAt[column.key] = before.cells[old] as number;
      else olds[column.key] = out.data.toString('latin1', out.start + begin, out.at);
    }
    out.data[out.at++] = TAB;
  }
  out.data[out.at - 1] = NEWLINE;
  const key = rowKey(sink);
  let oldKey: string | null = null;
  if (first) {
    const texts = oldKeyText(
      { ...first, columns: first.columns.filter((column) => column.key >= 0) },
      bytes,
      end,
      sink,
    ).split('\t');
    oldKey = Array.from({ length: sink.keys }, (_, i) => olds[i] ?? texts[i] ?? '').join('\t');
  }
  emitRow(kind, oldKey === key ? null : oldKey, missing.length > 0 ? missing : null, sink, key);
  return after.end;
}
