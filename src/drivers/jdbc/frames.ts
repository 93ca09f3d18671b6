import type { Readable } from 'node:stream';

/** Texts in rows, as the JVM answers what is no reading. */
export type Texts = readonly (readonly (string | null)[])[];

/** A request's fields: numbers (4 bytes), texts (length and UTF-8, -1 for null) and lists of texts. java/Request.java reads them. */
export type Field = number | string | null | readonly (string | null)[];

/** A request with its length in front. */
export function encodeRequest(operation: string, fields: readonly Field[]): Buffer {
  const parts: Buffer[] = [Buffer.from(operation, 'latin1'), ...fields.map(encodeField)];
  const payload = Buffer.concat(parts);
  const length = Buffer.alloc(4);
  length.writeInt32BE(payload.length);
  return Buffer.concat([length, payload]);
}

function encodeField(field: Field): Buffer {
  if (typeof field === 'number') {
    const number = Buffer.alloc(4);
    number.writeInt32BE(field);
    return number;
  }
  if (Array.isArray(field)) return Buffer.concat([encodeField(field.length), ...field.map(encodeField)]);
  if (field === null) return encodeField(-1);
  const utf8 = Buffer.from(field as string, 'utf8');
  return Buffer.concat([encodeField(utf8.length), utf8]);
}

/** Reads the fields of a whole payload in their order. */
export type Fields = { number(): number; long(): number; text(): string | null; row(): (string | null)[] };

export function fieldsOf(payload: Buffer): Fields {
  let at = 0;
  const number = (): number => {
    const value = payload.readInt32BE(at);
    at += 4;
    return value;
  };
  const text = (): string | null => {
    const length = number();
    if (length < 0) return null;
    at += length;
    return payload.toString('utf8', at - length, at);
  };
  return {
    number,
    long() {
      const value = payload.readBigInt64BE(at);
      at += 8;
      return Number(value);
    },
    text,
    row: () => Array.from({ length: number() }, text),
  };
}

/** The JVM's frames, read only as far as they are asked for. */
export type FrameReader = {
  /** The next frame's letter and length; null: the stream has ended. Its payload must be read before the next one. */
  head(): Promise<{ readonly type: string; readonly length: number } | null>;
  /** So many bytes of the payload, gathered. */
  take(length: number): Promise<Buffer>;
  /** At least one and at most so many bytes of the payload, as they have come. */
  some(most: number): Promise<Buffer>;
};

const HEAD_BYTES = 5;

/** Reads frames from a JVM's standard output. An end inside of a frame throws. */
export function frameReader(stream: Readable): FrameReader {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Buffer = Buffer.alloc(0);

  async function pull(): Promise<boolean> {
    const next = await chunks.next();
    if (next.done) return false;
    rest = next.value;
    return true;
  }

  async function some(most: number): Promise<Buffer> {
    while (rest.length === 0)
      if (!(await pull())) throw new Error('The JVM of the JDBC driver ended in the middle of an answer.');
    const piece = rest.subarray(0, most);
    rest = rest.subarray(piece.length);
    return piece;
  }

  async function take(length: number): Promise<Buffer> {
    const first = length === 0 ? rest.subarray(0, 0) : await some(length);
    if (first.length === length) return first;
    const whole = Buffer.allocUnsafeSlow(length);
    let filled = first.copy(whole);
    while (filled < length) filled += (await some(length - filled)).copy(whole, filled);
    return whole;
  }

  return {
    some,
    take,
    async head() {
      if (rest.length === 0 && !(await pull())) return null;
      const head = await take(HEAD_BYTES);
      return { type: String.fromCharCode(head[0] as number), length: head.readInt32BE(1) };
    },
  };
}
