import type { RowChange } from '../changes.ts';

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
   * Keys that rows have moved to in the current source transaction; null: none; 'many': too many to remember. With a deferrable key two rows may share
   * a key until the transaction ends, and the log does not say which of them a later change is about.
   */
  moved: Set<string> | 'many' | null;
  inserted: number;
  updated: number;
  deleted: number;
};

/** Beyond this a set of keys would cost more memory than rereading them is worth. */
const MOST_MOVED = 100_000;

const TAB = 9;
const NEWLINE = 10;

/** A table without changes. */
export function newFold(): TableFold {
  return { states: new Map(), emptied: false, moved: null, inserted: 0, updated: 0, deleted: 0 };
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
  if (change.kind === 'insert') fold.inserted++;
  else fold.updated++;
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
  fold.moved = null;
}

/** A source transaction has ended. */
export function endTransaction(fold: TableFold): void {
  fold.moved = null;
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
  const certain = fold.moved === null || (fold.moved !== 'many' && !fold.moved.has(key));
  if (certain && fold.emptied) fold.states.delete(key);
  else fold.states.set(key, certain ? 'gone' : 'reread');
  return certain;
}

function arrive(fold: TableFold, key: string): void {
  if (fold.moved === 'many') return;
  fold.moved ??= new Set();
  fold.moved.add(key);
  if (fold.moved.size > MOST_MOVED) fold.moved = 'many';
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
