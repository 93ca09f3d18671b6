import { damaged } from './log-bytes.ts';

const COPY_DATA = 0x64;
const HEADER = 5;
/** No message is longer: 1 GB is PostgreSQL's limit. */
const LONGEST = 0x40000000;

/** Cuts chunks into messages: CopyData is given, all others go to `other`, in order. */
export function framer(chunks: Buffer[], to: { taken(bytes: number): void; other(bytes: Buffer): void }) {
  const header = Buffer.alloc(HEADER);
  let headerFilled = 0;
  let chunk: Buffer | undefined;
  let at = 0;
  /** The message that spans chunks. */
  let whole: Buffer | undefined;
  let filled = 0;
  let type = 0;
  const result: { data: Buffer; from: number; to: number; next(): boolean } = { data: header, from: 0, to: 0, next };

  function next(): boolean {
    for (;;) {
      if (chunk === undefined || at === chunk.length) {
        chunk = chunks.shift();
        at = 0;
        if (chunk === undefined) return false;
        to.taken(chunk.length);
        continue;
      }
      if (whole !== undefined) {
        const part = Math.min(whole.length - filled, chunk.length - at);
        chunk.copy(whole, filled, at, at + part);
        filled += part;
        at += part;
        if (filled < whole.length) continue;
        const message = whole;
        whole = undefined;
        if (given(message, 0, message.length)) return true;
        continue;
      }
      let length: number;
      if (headerFilled === 0 && chunk.length - at >= HEADER) {
        type = chunk[at] as number;
        length = chunk.readUInt32BE(at + 1) - 4;
        at += HEADER;
      } else {
        const part = Math.min(HEADER - headerFilled, chunk.length - at);
        chunk.copy(header, headerFilled, at, at + part);
        headerFilled += part;
        at += part;
        if (headerFilled < HEADER) continue;
        headerFilled = 0;
        type = header[0] as number;
        length = header.readUInt32BE(1) - 4;
      }
      if (length < 0 || length > LONGEST) throw damaged(`a message of ${length} bytes`);
      if (chunk.length - at < length) {
        whole = Buffer.allocUnsafeSlow(length);
        filled = 0;
        continue;
      }
      at += length;
      if (given(chunk, at - length, at)) return true;
    }
  }

  function given(data: Buffer, from: number, end: number): boolean {
    if (type === COPY_DATA) {
      result.data = data;
      result.from = from;
      result.to = end;
      return true;
    }
    const head = Buffer.alloc(HEADER);
    head[0] = type;
    head.writeUInt32BE(end - from + 4, 1);
    to.other(Buffer.concat([head, data.subarray(from, end)]));
    return false;
  }

  return result;
}
