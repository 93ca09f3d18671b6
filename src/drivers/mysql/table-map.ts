/** A table as a TABLE_MAP event describes it, ahead of the rows that refer to its number. */
export type TableMap = {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly MappedColumn[];
  /** Column names are there (`binlog_row_metadata` = FULL). */
  readonly named: boolean;
};

export type MappedColumn = {
  /** The type's number in the log; ENUM and SET with their own. */
  readonly type: number;
  /** Up to two bytes that say more, as a number: what they mean depends on the type. */
  readonly meta: number;
  readonly name: string | undefined;
  readonly unsigned: boolean | undefined;
  readonly collation: number | undefined;
  /** Labels of an ENUM or SET, in the column's charset. */
  readonly labels: readonly Buffer[] | undefined;
};

export const TYPE = {
  tiny: 1,
  short: 2,
  long: 3,
  float: 4,
  double: 5,
  timestamp: 7,
  longlong: 8,
  int24: 9,
  date: 10,
  time: 11,
  datetime: 12,
  year: 13,
  newdate: 14,
  varchar: 15,
  bit: 16,
  timestamp2: 17,
  datetime2: 18,
  time2: 19,
  blobCompressed: 140,
  varcharCompressed: 141,
  vector: 242,
  json: 245,
  decimal: 246,
  enum: 247,
  set: 248,
  blob: 252,
  varString: 253,
  string: 254,
  geometry: 255,
} as const;

const NUMBERS: ReadonlySet<number> = new Set([
  TYPE.tiny,
  TYPE.short,
  TYPE.int24,
  TYPE.long,
  TYPE.longlong,
  TYPE.float,
  TYPE.double,
  TYPE.decimal,
  TYPE.year,
]);
const TEXTS: ReadonlySet<number> = new Set([
  TYPE.varchar,
  TYPE.varString,
  TYPE.string,
  TYPE.blob,
  TYPE.blobCompressed,
  TYPE.varcharCompressed,
]);

/** Why bytes of the log can't be read: it is damaged, or written by a server that this version does not know. */
export function damaged(what: string): Error {
  return new Error(`The log holds ${what} that can't be read: it is damaged, or of a version that is not known.`);
}

/** A length of one to nine bytes at `p`; -1 with too few bytes. Returns the position behind it through `cursor.at`. */
export function readLength(bytes: Buffer, cursor: { at: number }, end: number): number {
  const first = bytes[cursor.at++];
  if (first === undefined || cursor.at > end) throw damaged('a length');
  if (first < 251) return first;
  const width = first === 252 ? 2 : first === 253 ? 3 : first === 254 ? 8 : 0;
  if (width === 0 || cursor.at + width > end) throw damaged('a length');
  const length = bytes.readUIntLE(cursor.at, Math.min(width, 6));
  cursor.at += width;
  return length;
}

/** `bytes[start, end)` is the event's body behind the table's number and the flags, without checksum. */
export function parseTableMap(bytes: Buffer, start: number, end: number): TableMap {
  const cursor = { at: start };
  const schema = nameAt(bytes, cursor, end);
  const name = nameAt(bytes, cursor, end);
  const count = readLength(bytes, cursor, end);
  const typesAt = cursor.at;
  cursor.at += count;
  const metaBytes = readLength(bytes, cursor, end);
  let metaAt = cursor.at;
  const metaEnd = metaAt + metaBytes;
  cursor.at = metaEnd + ((count + 7) >> 3);
  if (cursor.at > end) throw damaged('a description of a table');
  const types: number[] = [];
  const metas: number[] = [];
  for (let i = 0; i < count; i++) {
    const type = bytes[typesAt + i] as number;
    const width = metaWidth(type);
    if (metaAt + width > metaEnd) throw damaged('a description of a table');
    let meta = width === 0 ? 0 : width === 1 ? (bytes[metaAt] as number) : bytes.readUInt16LE(metaAt);
    metaAt += width;
    let real = type;
    if (type === TYPE.string) [real, meta] = stringType(meta);
    types.push(real);
    metas.push(meta);
  }
  if (metaAt !== metaEnd) throw damaged('a description of a table');
  const more = optional(bytes, cursor.at, end, types);
  return {
    schema,
    name,
    named: more.names.length === count && count > 0,
    columns: types.map((type, i) => ({
      type,
      meta: metas[i] as number,
      name: more.names[i],
      unsigned: more.unsigned.get(i),
      collation: more.collations.get(i),
      labels: more.labels.get(i),
    })),
  };
}

/** The table alone, without a look at the rest. */
export function tableName(
  bytes: Buffer,
  start: number,
  end: number,
): { readonly schema: string; readonly name: string } {
  const cursor = { at: start };
  const schema = nameAt(bytes, cursor, end);
  return { schema, name: nameAt(bytes, cursor, end) };
}

function nameAt(bytes: Buffer, cursor: { at: number }, end: number): string {
  const length = bytes[cursor.at] ?? 0;
  const from = cursor.at + 1;
  cursor.at = from + length + 1;
  if (cursor.at > end || bytes[cursor.at - 1] !== 0) throw damaged('a name');
  return bytes.toString('utf8', from, from + length);
}

function metaWidth(type: number): number {
  switch (type) {
    case TYPE.varchar:
    case TYPE.varcharCompressed:
    case TYPE.varString:
    case TYPE.string:
    case TYPE.decimal:
    case TYPE.bit:
    case TYPE.enum:
    case TYPE.set:
      return 2;
    case TYPE.float:
    case TYPE.double:
    case TYPE.blob:
    case TYPE.blobCompressed:
    case TYPE.json:
    case TYPE.geometry:
    case TYPE.vector:
    case TYPE.timestamp2:
    case TYPE.datetime2:
    case TYPE.time2:
      return 1;
    default:
      return 0;
  }
}

/** CHAR, BINARY, ENUM and SET share a number: the first byte tells them apart and lends two bits to lengths over 255. */
function stringType(meta: number): [type: number, meta: number] {
  const first = meta & 255;
  const second = meta >> 8;
  if ((first & 0x30) !== 0x30) return [first | 0x30, second | (((first & 0x30) ^ 0x30) << 4)];
  return [first, second];
}

type Optional = {
  readonly names: string[];
  readonly unsigned: Map<number, boolean>;
  readonly collations: Map<number, number>;
  readonly labels: Map<number, Buffer[]>;
};

const FIELD = { signs: 1, charset: 2, charsets: 3, names: 4, sets: 5, enums: 6, labelCharset: 10, labelCharsets: 11 };

function optional(bytes: Buffer, at: number, end: number, types: readonly number[]): Optional {
  const found: Optional = { names: [], unsigned: new Map(), collations: new Map(), labels: new Map() };
  const indexes = (wanted: (type: number) => boolean) => types.flatMap((type, i) => (wanted(type) ? [i] : []));
  const cursor = { at };
  while (cursor.at < end) {
    const field = bytes[cursor.at++] as number;
    const length = readLength(bytes, cursor, end);
    const stop = cursor.at + length;
    if (stop > end) throw damaged('a description of a table');
    const numbers = (): number[] => {
      const list: number[] = [];
      while (cursor.at < stop) list.push(readLength(bytes, cursor, stop));
      return list;
    };
    if (field === FIELD.signs) {
      for (const [n, i] of indexes((type) => NUMBERS.has(type)).entries())
        found.unsigned.set(i, (((bytes[cursor.at + (n >> 3)] ?? 0) >> (7 - (n & 7))) & 1) === 1);
    } else if (field === FIELD.charset || field === FIELD.labelCharset) {
      const columns = indexes((type) => (field === FIELD.charset ? TEXTS.has(type) : isLabelled(type)));
      const [usual = 0, ...pairs] = numbers();
      for (const column of columns) found.collations.set(column, usual);
      for (let n = 0; n + 1 < pairs.length; n += 2) {
        const column = columns[pairs[n] as number];
        if (column !== undefined) found.collations.set(column, pairs[n + 1] as number);
      }
    } else if (field === FIELD.charsets || field === FIELD.labelCharsets) {
      const columns = indexes((type) => (field === FIELD.charsets ? TEXTS.has(type) : isLabelled(type)));
      const list = numbers();
      if (list.length === columns.length)
        for (const [n, column] of columns.entries()) found.collations.set(column, list[n] as number);
    } else if (field === FIELD.names)
      while (cursor.at < stop) found.names.push(text(bytes, cursor, stop).toString('utf8'));
    else if (field === FIELD.sets || field === FIELD.enums) {
      for (const column of indexes((type) => type === (field === FIELD.sets ? TYPE.set : TYPE.enum))) {
        if (cursor.at >= stop) break;
        const count = readLength(bytes, cursor, stop);
        found.labels.set(
          column,
          Array.from({ length: Math.min(count, 65_536) }, () => text(bytes, cursor, stop)),
        );
      }
    }
    cursor.at = stop;
  }
  return found;
}

function isLabelled(type: number): boolean {
  return type === TYPE.enum || type === TYPE.set;
}

function text(bytes: Buffer, cursor: { at: number }, end: number): Buffer {
  const length = readLength(bytes, cursor, end);
  const from = cursor.at;
  cursor.at += length;
  if (cursor.at > end) throw damaged('a description of a table');
  return Buffer.from(bytes.subarray(from, cursor.at));
}
