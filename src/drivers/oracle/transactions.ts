import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import type { Carry } from '../changes.ts';
import type { Table } from '../model.ts';

/** One thing that a transaction does to a followed table. */
export type Entry = {
  readonly kind: 'insert' | 'update' | 'delete' | 'reread' | 'truncate' | 'structure';
  readonly table: number;
  readonly rowId: string;
  readonly key: string;
  readonly oldKey: string | null;
  readonly line: Uint8Array | null;
  readonly missing: readonly number[] | null;
  /** Of `structure`. */
  readonly now?: Table | null;
  readonly reason?: string;
  readonly carry?: Carry;
};

/**
 * Transactions that are open in the log. What they do is kept until they commit: in memory, and beyond a limit in files that go
 * with the process.
 */
export type Transactions = {
  /** `start`: where the log must be read from to see this transaction whole. */
  add(xid: string, start: bigint, entry: Entry): void;
  /**
   * Takes back the latest change of a row. Where the log does not say which row that is, or did not show its change, every row of the table
   * that the transaction touches is in doubt.
   */
  undo(xid: string, table: number, rowId: string): void;
  /** Whether rows of a table are in doubt in a transaction. */
  doubted(xid: string, table: number): boolean;
  has(xid: string): boolean;
  /** The smallest `start`; undefined: none is open. */
  oldest(): bigint | undefined;
  /** What a transaction did, in order and in pieces. It stays open until `end`. */
  entries(xid: string): Generator<readonly Entry[], void, undefined>;
  end(xid: string): void;
  /** Bytes in memory and in files. */
  size(): { readonly memory: number; readonly files: number };
  close(): void;
};

type Open = {
  readonly start: bigint;
  tail: (Entry | null)[];
  tailBytes: number;
  /** Pieces in the file, in order. */
  spilled: { readonly at: number; readonly length: number }[];
  file: number | null;
  readonly doubted: Set<number>;
};

/** Open transactions are kept in memory up to this size, in files beyond it. */
export const buffer = { bytes: 67_108_864 };

/** A transaction's entries are written in pieces of about this size. */
const PIECE_BYTES = 4_194_304;

export function createTransactions(memoryBytes: number): Transactions {
  const all = new Map<string, Open>();
  let memory = 0;

  function spillLargest(): void {
    while (memory > memoryBytes / 2) {
      let largest: [string, Open] | undefined;
      for (const one of all) if (!largest || one[1].tailBytes > largest[1].tailBytes) largest = one;
      if (!largest || largest[1].tail.length === 0) return;
      spill(largest[1]);
    }
  }

  function spill(open: Open): void {
    open.file ??= openNameless();
    const bytes = serialize(open.tail.filter((entry) => entry !== null));
    const at = open.spilled.reduce((sum, one) => sum + one.length, 0);
    for (let done = 0; done < bytes.length; ) done += writeSync(open.file, bytes, done, bytes.length - done, at + done);
    open.spilled.push({ at, length: bytes.length });
    memory -= open.tailBytes;
    open.tail = [];
    open.tailBytes = 0;
  }

  function load(open: Open, piece: { readonly at: number; readonly length: number }): Entry[] {
    const bytes = Buffer.allocUnsafe(piece.length);
    for (let done = 0; done < bytes.length; ) {
      const got = readSync(open.file as number, bytes, done, bytes.length - done, piece.at + done);
      if (got === 0) throw new Error('The file of a large transaction was cut short.');
      done += got;
    }
    return deserialize(bytes) as Entry[];
  }

  return {
    add(xid, start, entry) {
      let open = all.get(xid);
      if (!open) {
        open = { start, tail: [], tailBytes: 0, spilled: [], file: null, doubted: new Set() };
        all.set(xid, open);
      }
      const bytes = sizeOf(entry);
      open.tail.push(entry);
      open.tailBytes += bytes;
      memory += bytes;
      if (memory > memoryBytes) {
        if (open.tailBytes >= PIECE_BYTES) spill(open);
        spillLargest();
      }
    },

    undo(xid, table, rowId) {
      const open = all.get(xid);
      if (!open || open.doubted.has(table)) return;
      for (;;) {
        if (rowId === '') break;
        for (let i = open.tail.length - 1; i >= 0; i--) {
          const entry = open.tail[i];
          if (!entry || entry.rowId !== rowId || entry.table !== table) continue;
          // Undo goes backward: nearly always this is the last one.
          if (i === open.tail.length - 1) open.tail.pop();
          else open.tail[i] = null;
          const bytes = sizeOf(entry);
          open.tailBytes -= bytes;
          memory -= bytes;
          return;
        }
        // Undo goes backward: a row that is so far away was most likely not shown.
        const piece = memory > 2 * memoryBytes ? undefined : open.spilled.pop();
        if (!piece) break;
        const entries = load(open, piece);
        ftruncateSync(open.file as number, piece.at);
        const bytes = entries.reduce((sum, one) => sum + sizeOf(one), 0);
        open.tail = [...entries, ...open.tail];
        open.tailBytes += bytes;
        memory += bytes;
      }
      open.doubted.add(table);
    },

    doubted: (xid, table) => all.get(xid)?.doubted.has(table) ?? false,

    has: (xid) => all.has(xid),

    oldest() {
      let oldest: bigint | undefined;
      for (const { start } of all.values()) if (oldest === undefined || start < oldest) oldest = start;
      return oldest;
    },

    *entries(xid) {
      const open = all.get(xid);
      if (!open) return;
      for (const piece of open.spilled) yield* slices(load(open, piece));
      yield* slices(open.tail.filter((entry) => entry !== null));
    },

    end(xid) {
      const open = all.get(xid);
      if (!open) return;
      all.delete(xid);
      memory -= open.tailBytes;
      if (open.file !== null) closeSync(open.file);
    },

    size: () => ({
      memory,
      files: [...all.values()].reduce((sum, open) => sum + open.spilled.reduce((own, one) => own + one.length, 0), 0),
    }),

    close() {
      for (const { file } of all.values()) if (file !== null) closeSync(file);
      all.clear();
      memory = 0;
    },
  };
}

/** A file without a name: it goes with its process, however that ends. */
function openNameless(): number {
  const folder = mkdtempSync(join(tmpdir(), 'flow-oracle-'));
  try {
    return openSync(join(folder, 'transaction'), 'wx+', 0o600);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** So much is handed on at a time. */
const SLICE_BYTES = 262_144;

function* slices(entries: readonly Entry[]): Generator<readonly Entry[], void, undefined> {
  let from = 0;
  let bytes = 0;
  for (const [index, entry] of entries.entries()) {
    bytes += sizeOf(entry);
    if (bytes < SLICE_BYTES) continue;
    yield entries.slice(from, index + 1);
    from = index + 1;
    bytes = 0;
  }
  if (from < entries.length) yield entries.slice(from);
}

function sizeOf({ key, line }: Entry): number {
  return 200 + 2 * key.length + (line?.length ?? 0);
}
