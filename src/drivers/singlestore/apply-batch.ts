import type { LogEvent } from '../changes.ts';
import {
  endTransaction,
  type FoldKind,
  foldChange,
  foldOfRest,
  foldTruncate,
  newFold,
  type TableFold,
} from './fold.ts';
import { noteEmptied, noteState } from './trail.ts';

/** Source transactions on their way into one destination transaction, folded as they come. */
export type Batch = {
  /** By table index. */
  readonly folds: (TableFold | undefined)[];
  readonly touched: number[];
  /** Folds which remember keys of the source transaction that goes on. */
  readonly open: Set<TableFold>;
  /** Tables whose changes make versions, and how many of a key at most. */
  readonly versions: Versions;
  /** Commit times at the source of the transactions in it, ms. */
  readonly times: number[];
  /** Changes so far, those of earlier parts of the transaction included. */
  events: number;
  changes: number;
  bytes: number;
  transactions: number;
};

/** Tables (by index) that keep versions, how many of a key a batch brings at most, and what else is asked of tables. */
export type Versions = {
  readonly tables: ReadonlySet<number>;
  readonly most: number;
  readonly kinds?: readonly FoldKind[];
};

/** A batch is written when it holds so much. Larger ones fold better and cost memory and latency; measured in docs/destination.md. */
const BATCH_BYTES = 16 * 1024 * 1024;
const BATCH_CHANGES = 50_000;
/** Each may need its staging table, and SingleStore takes 1,024 tables in a transaction (EXACTNESS.md §6). */
const BATCH_TABLES = 440;
/** The same as a share of fewer. */
const BATCH_SHARE = 0.44;
const NONE: Versions = { tables: new Set(), most: 0 };
/** What a change takes besides its bytes. */
const CHANGE_BYTES = 128;

/** An empty batch. `rest`: the source transaction of this one goes on in it. */
export function newBatch(tables: number, versions: Versions = NONE, rest?: Batch): Batch {
  const batch: Batch = {
    folds: new Array<TableFold | undefined>(tables).fill(undefined),
    touched: [],
    open: new Set(),
    versions,
    times: [],
    // What was read again has the number after the part's last.
    events: rest ? rest.events + 1 : 0,
    changes: 0,
    bytes: 0,
    transactions: 0,
  };
  if (!rest) return batch;
  for (const index of rest.touched) {
    const before = rest.folds[index];
    const fold = before === undefined ? null : foldOfRest(before);
    if (fold === null) continue;
    batch.folds[index] = fold;
    batch.touched.push(index);
    batch.open.add(fold);
  }
  return batch;
}

/** Folds one event; returns its table's index, -1 for events without one. */
export function foldEvent(batch: Batch, event: LogEvent): number {
  switch (event.kind) {
    case 'insert':
    case 'update':
    case 'delete': {
      const fold = batch.folds[event.table] ?? foldOf(batch, event.table);
      foldChange(fold, event);
      fold.last = batch.transactions;
      if (fold.trail !== null) {
        const moment = { transaction: batch.transactions, event: batch.events };
        if (event.oldKey !== null) noteState(fold, event.oldKey, moment, batch.versions.most);
        noteState(fold, event.key, moment, batch.versions.most);
      }
      batch.events++;
      if (event.kind === 'insert' || event.oldKey !== null) batch.open.add(fold);
      batch.changes++;
      batch.bytes += bytesOf(event);
      return event.table;
    }
    case 'truncate': {
      const fold = foldOf(batch, event.table);
      foldTruncate(fold);
      fold.last = batch.transactions;
      noteEmptied(fold, { transaction: batch.transactions, event: batch.events }, batch.versions.most);
      batch.changes++;
      batch.events++;
      return event.table;
    }
    default:
      return -1;
  }
}

/** The source transaction has ended; `at`: its commit time. */
export function endOfTransaction(batch: Batch, at: number): void {
  batch.transactions++;
  batch.times.push(at);
  if (batch.open.size === 0) return;
  for (const fold of batch.open) endTransaction(fold);
  batch.open.clear();
}

/** Whether it is time to write. `transactionTables`: how many one transaction may write. */
export function isFull(batch: Batch, transactionTables = Number.POSITIVE_INFINITY): boolean {
  const tables = Math.min(BATCH_TABLES, transactionTables * BATCH_SHARE);
  return isMuch(batch.changes, batch.bytes) || batch.touched.length >= tables;
}

/** Whether so many changes are worth a write. */
export function isMuch(changes: number, bytes: number): boolean {
  return changes >= BATCH_CHANGES || bytes >= BATCH_BYTES;
}

/** Memory that an event keeps; 0 for events without a change. */
export function bytesOf(event: LogEvent): number {
  if (event.kind !== 'insert' && event.kind !== 'update' && event.kind !== 'delete') return 0;
  return event.to - event.from + event.key.length + CHANGE_BYTES;
}

function foldOf(batch: Batch, index: number): TableFold {
  const present = batch.folds[index];
  if (present) return present;
  const fold = newFold({ ...batch.versions.kinds?.[index], versions: batch.versions.tables.has(index) });
  batch.folds[index] = fold;
  batch.touched.push(index);
  return fold;
}

/** Whether no transaction is open after an event. */
export function endsTransaction({ kind }: LogEvent): boolean {
  return kind === 'commit' || kind === 'progress';
}

/** Whether an event is a change of a table. */
export function isChange({ kind }: LogEvent): boolean {
  return kind !== 'commit' && kind !== 'progress' && kind !== 'structure';
}

/** How many changes a fold has taken. */
export function countsOf(index: number, fold: TableFold | undefined) {
  return { index, inserted: fold?.inserted ?? 0, updated: fold?.updated ?? 0, deleted: fold?.deleted ?? 0 };
}
