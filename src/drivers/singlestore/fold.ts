import type { RowChange } from '../changes.ts';
import { newTrail, type Trail } from './trail.ts';

/**
 * Folds the changes of a table to one state per key (EXACTNESS.md §6), so that a batch writes each row once. Pure; keys are strings of the
 * key's bytes. A state is forgotten as soon as it is written.
 */

/** A row as load text: `data[from..to)`. Columns in `missing` hold `\N` and are not known; null: it is whole. */
export type Row = Pick<RowChange, 'data' | 'from' | 'to' | 'missing'>;

/**
 * What is to become of a key: no row; the row as the source has it now (`reread`: the log does not say all of it); a whole row; or some columns
 * of the row that the destination holds under this key.
 */
export type State = 'gone' | 'reread' | Row;

/** The changes of one table since the last write. */
export type TableFold = {
  readonly states: Map<string, State>;
  /** The table was emptied before all that `states` says. */
  emptied: boolean;
  /**
   * Keys that rows have come to in the source transaction that goes on, by a change of key or an insert; null: none, or the key is an immediate one. With a
   * deferrable key two rows may share a key until the transaction ends, and the log does not say which of them a later delete is about. Many keys become bits of their
   * hashes: then a few others are taken for them, and read again for nothing.
   */
  came: Set<string> | Uint32Array | null;
  /** More such keys, of inserts: most transactions never ask for them. */
  readonly inserts: string[];
  /** Of tables that keep versions: what their rows went through; null: only what becomes of them counts. */
  readonly trail: Trail | null;
  readonly kind: FoldKind;
  /** Of tables whose keys others refer to: keys that a row has left at any moment. */
  readonly left: Set<string>;
  /** Keys that rows have come to by an insert, where it is not known that none was there. */
  readonly made: Set<string>;
  inserted: number;
  updated: number;
  deleted: number;
  /** The last transaction of the batch, counted from 0, that changed the table. */
  last: number;
};

/** What is asked of a table's changes. */
export type FoldKind = {
  /** They become versions. */
  readonly versions?: boolean;
  /** No two rows share a key at any moment (`Table.immediate`). */
  readonly immediate?: boolean;
  /** Keys that rows have left (`left`), and those that rows came to unseen (`made`), matter to other tables. */
  readonly parent?: boolean;
  readonly between?: boolean;
};

/** Beyond this keys cost too much memory. */
const MOST_CAME = 100_000;

const TAB = 9;
const NEWLINE = 10;

/** A table without changes. */
export function newFold(kind: FoldKind = {}): TableFold {
  const trail = kind.versions ? newTrail() : null;
  return {
    states: new Map(),
    emptied: false,
    came: null,
    inserts: [],
    trail,
    kind,
    left: new Set(),
    made: new Set(),
    inserted: 0,
    updated: 0,
    deleted: 0,
    last: 0,
  };
}

/** Takes one change. The change object itself becomes the state of its key, so its bytes must stay until the fold is written. */
export function foldChange(fold: TableFold, change: RowChange): void {
  const { states } = fold;
  const { key } = change;
  if (change.kind === 'delete') {
    fold.deleted++;
    leave(fold, key);
    return;
  }
  if (change.kind === 'insert') {
    fold.inserted++;
    if (fold.kind.between) noteMade(fold, key);
    if (!fold.kind.immediate && fold.inserts.push(key) > MOST_CAME) settleInserts(fold);
  } else fold.updated++;
  if (change.oldKey !== null && change.oldKey !== key) {
    const before = stateOf(fold, change.oldKey);
    const certain = leave(fold, change.oldKey);
    const base = certain && typeof before === 'object' && before.missing === null ? before : 'reread';
    states.set(
      key,
      change.missing === null ? change : base === 'reread' ? base : overlay(base, change, change.missing),
    );
    arrive(fold, key);
    return;
  }
  if (change.missing === null) {
    states.set(key, change);
    return;
  }
  const before = stateOf(fold, key);
  if (before === undefined) states.set(key, change);
  else if (before === 'gone' || before === 'reread') states.set(key, 'reread');
  else states.set(key, overlay(before, change, change.missing));
}

/** The table was emptied: what was there before does not matter any more. */
export function foldTruncate(fold: TableFold): void {
  fold.states.clear();
  fold.emptied = true;
  endTransaction(fold);
}

/** A source transaction has ended: each key has one row again. */
export function endTransaction(fold: TableFold): void {
  fold.came = null;
  fold.inserts.length = 0;
}

/** The table's changes in the rest of a source transaction that is written in parts. */
export function foldOfRest(before: TableFold): TableFold | null {
  settleInserts(before);
  return before.came === null ? null : { ...newFold(before.kind), came: before.came };
}

/** Whether a write has anything to do. */
export function isEmpty(fold: TableFold): boolean {
  return !fold.emptied && fold.states.size === 0;
}

/** The state of a key; in an emptied table a key without one is gone. */
function stateOf(fold: TableFold, key: string): State | undefined {
  return fold.states.get(key) ?? (fold.emptied ? 'gone' : undefined);
}

/** The row under a key goes away; false: it may have been another row than the one that stays there. */
function leave(fold: TableFold, key: string): boolean {
  settleInserts(fold);
  if (fold.kind.parent) fold.left.add(key);
  const certain = fold.came === null || !(fold.came instanceof Set ? fold.came.has(key) : hasBits(fold.came, key));
  if (certain && fold.emptied) fold.states.delete(key);
  else fold.states.set(key, certain ? 'gone' : 'reread');
  return certain;
}

/** No row was there, although the log may not have said that one had left. */
function noteMade(fold: TableFold, key: string): void {
  const before = stateOf(fold, key);
  if (before === undefined) fold.made.add(key);
  else if (before !== 'gone') fold.left.add(key);
}

function arrive(fold: TableFold, key: string): void {
  if (fold.kind.immediate) return;
  fold.came ??= new Set();
  if (!(fold.came instanceof Set)) {
    setBits(fold.came, key);
    return;
  }
  fold.came.add(key);
  if (fold.came.size <= MOST_CAME) return;
  const bits = new Uint32Array(2 ** (BITS - 5));
  for (const one of fold.came) setBits(bits, one);
  fold.came = bits;
}

/** Hashes are numbers of so many bits: 4 MB, in which a key is taken for one of a million others once in 300 times. */
const BITS = 25;

function setBits(bits: Uint32Array, key: string): void {
  for (const bit of hashesOf(key)) bits[bit >>> 5] = (bits[bit >>> 5] as number) | (1 << (bit & 31));
}

function hasBits(bits: Uint32Array, key: string): boolean {
  return hashesOf(key).every((bit) => ((bits[bit >>> 5] as number) & (1 << (bit & 31))) !== 0);
}

/** Two halves of one FNV-1a, mixed: keys are mostly numbers in a row. */
function hashesOf(key: string): readonly [number, number] {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  const again = Math.imul(hash ^ (hash >>> 13) ^ 0x9e3779b9, 0xc2b2ae35);
  return [(mixed ^ (mixed >>> 13)) >>> (32 - BITS), (again ^ (again >>> 16)) >>> (32 - BITS)];
}

function settleInserts(fold: TableFold): void {
  for (const key of fold.inserts) arrive(fold, key);
  fold.inserts.length = 0;
}

/** `top` where it knows a column, `base` elsewhere; what neither knows stays missing. */
export function overlay(base: Row, top: Row, missing: readonly number[]): Row {
  const unknown = new Set(missing);
  const below = cellEnds(base);
  const above = cellEnds(top);
  if (below.length !== above.length) throw new Error('Two rows of one table have different numbers of columns.');
  const out = new Uint8Array(base.to - base.from + top.to - top.from);
  let at = 0;
  for (let i = 0; i < above.length; i++) {
    const [row, ends] = unknown.has(i) ? [base, below] : [top, above];
    const start = i === 0 ? row.from : (ends[i - 1] as number) + 1;
    // The separator goes with the cell.
    const cell = row.data.subarray(start, (ends[i] as number) + 1);
    out.set(cell, at);
    at += cell.length;
  }
  const still = base.missing === null ? [] : base.missing.filter((i) => unknown.has(i));
  return { data: out.slice(0, at), from: 0, to: at, missing: still.length > 0 ? still : null };
}

/** Where each cell ends: at its tab, the last at the newline. Inside cells both are written with a backslash. */
function cellEnds({ data, from, to }: Row): number[] {
  const ends: number[] = [];
  for (let i = from; i < to; i++) {
    const byte = data[i];
    if (byte === TAB || byte === NEWLINE) ends.push(i);
  }
  return ends;
}
