import { NEWLINE } from '../load-text.ts';
import type { Batch } from '../model.ts';
import { recycled } from '../recycled.ts';

/** Where rows are written as load text: one row at a time, each whole in one buffer. */
export type RowText = {
  data: Buffer;
  at: number;
  /** Where the current row begins; what stands before it is whole rows. */
  start: number;
  /** A buffer of at least so many bytes, for the current row and those that follow. Takes what `data` holds before `start`. */
  readonly next: (least: number) => Buffer;
};

/** Buffers of so many bytes hold many rows. */
const BUFFER_BYTES = 262_144;

/** Makes sure that `bytes` more fit behind what the current row has so far, which may move. */
export function room(out: RowText, bytes: number): void {
  if (out.data.length - out.at < bytes) move(out, bytes);
}

/** Characters that a cell of load text stands for. */
export function charactersOf(cell: Buffer): number {
  let characters = 0;
  for (let i = 0; i < cell.length; i++) {
    const byte = cell[i] as number;
    // An escape stands for one.
    if (byte === 0x5c) i++;
    if ((byte & 0xc0) !== 0x80) characters++;
  }
  return characters;
}

function move(out: RowText, bytes: number): void {
  const { data, start, at } = out;
  const so = at - start;
  // A long row grows by half at a time, so that it is not copied again and again.
  const next = out.next(so + bytes + (so > BUFFER_BYTES ? so >> 1 : 0));
  data.copy(next, 0, start, at);
  out.data = next;
  out.start = 0;
  out.at = so;
}

/** Rows whose bytes stay where they are for as long as somebody holds on to them. */
export function createKeptRows(): RowText {
  return {
    data: Buffer.allocUnsafeSlow(BUFFER_BYTES),
    at: 0,
    start: 0,
    next: (least) => Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES, least)),
  };
}

/** Rows that leave in batches, whose buffers are written again. */
export type RowBatches = {
  readonly text: RowText;
  /** Ends the current row. */
  endRow(): void;
  /** Batches that are full; with `all` what there is of the next one too. */
  take(all: boolean): Batch[];
  readonly rows: number;
};

export function createRowBatches(): RowBatches {
  const buffers = recycled(BUFFER_BYTES);
  let ready: Batch[] = [];
  let rows = 0;
  let batchRows = 0;

  function emit(): void {
    if (text.start > 0)
      ready.push({ data: text.data.subarray(0, text.start), rows: batchRows, release: buffers.giver(text.data) });
    batchRows = 0;
  }
  const text: RowText = {
    data: buffers.take(),
    at: 0,
    start: 0,
    next(least) {
      emit();
      return least > BUFFER_BYTES ? Buffer.allocUnsafeSlow(least) : buffers.take();
    },
  };
  return {
    text,
    endRow() {
      room(text, 1);
      text.data[text.at++] = NEWLINE;
      text.start = text.at;
      rows++;
      batchRows++;
    },
    take(all) {
      if (all && text.start > 0) {
        emit();
        text.data = buffers.take();
        text.at = 0;
        text.start = 0;
      }
      const taken = ready;
      ready = [];
      return taken;
    },
    get rows() {
      return rows;
    },
  };
}
