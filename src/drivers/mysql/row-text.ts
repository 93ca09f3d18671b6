import { UnsupportedValue } from '../errors.ts';
import { appendBytes, appendHex, appendNull, appendText, findEscape, GROWTH, NEWLINE, TAB } from '../load-text.ts';
import type { Batch, RuleUse } from '../model.ts';
import { recycled } from '../recycled.ts';
import { isValidDate } from './dates.ts';
import { geometryText } from './geometry.ts';
import { createRepairs } from './repairs.ts';
import type { Encoding, RowField } from './types.ts';
import { vectorText } from './vector.ts';

/**
 * Rows of the text protocol as load text. A field of the protocol is a length of one byte (for up to 250 bytes) and the bytes; a field of
 * load text is the bytes and a tab. So the length byte becomes the tab in place, and a row without NULL, long or escaped fields is copied
 * as one piece: fields are looked at, not moved.
 */

export type RowWriter = {
  /** A whole row of at most `WHOLE_ROW_BYTES` at `packet[start, end)`. Overwrites the length bytes in `packet`. */
  row(packet: Buffer, start: number, end: number): void;
  /** A piece of a row that is larger, or that the network has cut: bytes in order, over packet borders. */
  piece(bytes: Buffer, start: number, end: number): void;
  /** Ends a row that came in pieces. */
  endPieces(): void;
  /** Takes what is written so far; null when there is nothing. */
  flush(): Batch | null;
  readonly rows: number;
  uses(): RuleUse[];
};

/** Rows up to this size are handled whole, so that one buffer always has room. */
export const WHOLE_ROW_BYTES = 65_536;
const BATCH_BYTES = 262_144;
/** `\N` and a tab for a NULL of one byte. */
const NULL_GROWTH = 3;
const PLAIN = 0;
const TEXT = 1;
const JSON_TEXT = 2;
const DATE = 3;
const HEX = 4;
const CONVERTED = 5;
const CODES: Readonly<Record<Encoding, number>> = {
  plain: PLAIN,
  text: TEXT,
  json: JSON_TEXT,
  hex: HEX,
  date: DATE,
  geometry: CONVERTED,
  vector: CONVERTED,
};

/** `emit` gets every full batch. `refuse`: a value that only a rule could carry is an error (`on_unrepresentable=error`). */
export function createRowWriter(
  table: string,
  fields: readonly RowField[],
  refuse: boolean,
  emit: (batch: Batch) => void,
): RowWriter {
  const codes = Uint8Array.from(fields, (field) => CODES[field.encoding]);
  const last = codes.length - 1;
  const repairs = createRepairs(table, fields, refuse);
  const buffers = recycled(BATCH_BYTES);
  let out = buffers.take();
  let at = 0;
  let rows = 0;
  let batchRows = 0;
  let rowStart = 0;

  function flush(): Batch | null {
    if (at === 0) return null;
    const batch = { data: out.subarray(0, at), rows: batchRows, release: buffers.giver(out) };
    out = buffers.take();
    at = 0;
    batchRows = 0;
    rowStart = -1;
    return batch;
  }

  /** Makes sure that `bytes` fit. */
  function room(bytes: number): void {
    if (out.length - at >= bytes) return;
    const batch = flush();
    if (batch) emit(batch);
    if (out.length < bytes) out = Buffer.allocUnsafeSlow(bytes);
  }

  function endRow(): void {
    out[at++] = NEWLINE;
    rows++;
    batchRows++;
  }

  function row(packet: Buffer, start: number, end: number): void {
    room((end - start) * NULL_GROWTH + 64);
    rowStart = at;
    let from = start + 1;
    let p = start;
    for (let column = 0; column <= last; column++) {
      let length = packet[p] as number;
      if (column > 0) packet[p] = TAB;
      p++;
      if (length > 250) {
        // NULL, or a length of 2, 3 or 8 bytes: what stands so far, tab included, is moved out first.
        if (column > 0) at = appendBytes(out, at, packet, from, p);
        if (length === 251) {
          at = appendNull(out, at);
          from = p;
          continue;
        }
        const width = length === 252 ? 2 : length === 253 ? 3 : 6;
        length = packet.readUIntLE(p, width);
        p += width === 6 ? 8 : width;
        from = p;
      }
      const stop = p + length;
      const code = codes[column] as number;
      if (code === TEXT || code === JSON_TEXT) {
        const dirty = findEscape(packet, p, stop);
        if (dirty !== stop) {
          at = appendBytes(out, at, packet, from, dirty);
          at = appendText(out, at, packet, dirty, stop);
          from = stop;
        } else if (code === JSON_TEXT && length === 0) refuseEmptyJson(column);
      } else if (code !== PLAIN && (code !== DATE || !isValidDate(packet, p))) {
        at = appendBytes(out, at, packet, from, p);
        value(packet, p, stop, column);
        // A converted value may have grown more than anything else in a row.
        if (code === CONVERTED) room((end - stop) * NULL_GROWTH + 64);
        from = stop;
      }
      p = stop;
    }
    if (p !== end) throw new Error('The server sent a row that does not match its columns.');
    at = appendBytes(out, at, packet, from, end);
    endRow();
    repairs.settle(out, rowStart, at);
  }

  /** No JSON is empty: MySQL sends an empty text, without a word, for one that is longer than it may build. */
  function refuseEmptyJson(column: number): never {
    throw new UnsupportedValue(
      `${table}.${fields[column]?.name} holds a JSON value that is larger than max_allowed_packet of the source, which can't send it.`,
      'Raise max_allowed_packet at the source above the largest JSON text.',
    );
  }

  /** A whole value that is not copied as it is. */
  function value(bytes: Buffer, start: number, end: number, column: number): void {
    const code = codes[column];
    if (code === HEX) {
      room((end - start) * GROWTH);
      at = appendHex(out, at, bytes, start, end);
    } else if (code === DATE) {
      const text = bytes.toString('latin1', start, end);
      at += out.write(repairs.repair(column, text), at, 'latin1');
    } else {
      const raw = bytes.subarray(start, end);
      const text = fields[column]?.encoding === 'vector' ? vectorText(raw) : geometryText(raw);
      for (let i = 0; i < text.length; i += WHOLE_ROW_BYTES) {
        const part = text.slice(i, i + WHOLE_ROW_BYTES);
        room(part.length);
        at += out.write(part, at, 'latin1');
      }
    }
  }

  const pieces = createPieces();
  function createPieces() {
    let column = -1;
    /** Bytes of the current field still to come; -1 while its length is read. */
    let left = 0;
    const prefix = Buffer.alloc(9);
    let prefixLength = 0;
    /** Parts of a value that must be seen whole. */
    let parts: Buffer[] = [];

    function open(length: number): void {
      left = length;
      prefixLength = 0;
      if (length > 0) return;
      if (codes[column] === JSON_TEXT) refuseEmptyJson(column);
      close();
    }
    function close(): void {
      if (parts.length > 0 || isWhole(column)) {
        const whole = Buffer.concat(parts);
        parts = [];
        room(64);
        if (codes[column] === DATE && isValidDate(whole, 0)) at = appendBytes(out, at, whole, 0, whole.length);
        else value(whole, 0, whole.length, column);
      }
      left = -1;
    }
    function isWhole(index: number): boolean {
      return codes[index] === DATE || codes[index] === CONVERTED;
    }
    /** Reads one byte of a field's length. */
    function lengthByte(byte: number): void {
      if (prefixLength === 0) {
        column++;
        if (column > last) throw new Error('The server sent a row that does not match its columns.');
        room(64);
        if (column > 0) out[at++] = TAB;
        if (byte === 251) {
          at = appendNull(out, at);
          return;
        }
        if (byte < 251) {
          open(byte);
          return;
        }
      }
      prefix[prefixLength++] = byte;
      const first = prefix[0];
      const wanted = first === 252 ? 3 : first === 253 ? 4 : 9;
      if (prefixLength === wanted) open(prefix.readUIntLE(1, Math.min(wanted - 1, 6)));
    }
    return {
      piece(bytes: Buffer, start: number, end: number): void {
        if (column === -1 && left === 0) {
          left = -1;
          rowStart = -1;
        }
        let p = start;
        while (p < end) {
          if (left < 0) {
            lengthByte(bytes[p++] as number);
            continue;
          }
          const stop = Math.min(end, p + left, p + WHOLE_ROW_BYTES);
          if (isWhole(column)) parts.push(Buffer.from(bytes.subarray(p, stop)));
          else {
            room((stop - p) * GROWTH);
            const code = codes[column];
            if (code === TEXT || code === JSON_TEXT) at = appendText(out, at, bytes, p, stop);
            else if (code === HEX) at = appendHex(out, at, bytes, p, stop);
            else at = appendBytes(out, at, bytes, p, stop);
          }
          left -= stop - p;
          p = stop;
          if (left === 0) close();
        }
      },
      endPieces(): void {
        if (column !== last || left > 0 || prefixLength > 0)
          throw new Error('The server sent a row that does not match its columns.');
        column = -1;
        left = 0;
        room(1);
        endRow();
        repairs.settle(out, rowStart, at);
      },
    };
  }

  return {
    row,
    ...pieces,
    flush,
    get rows() {
      return rows;
    },
    uses: repairs.uses,
  };
}
