import { isUtf8 } from 'node:buffer';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { TableRef } from '../model.ts';
import { afterText, documentEnd, valueEnd } from './bson-bytes.ts';
import type { Connection } from './connection.ts';
import { bufferOf, openCursor } from './cursor.ts';
import { ID, MORE } from './document-row.ts';
import { commonKind, type FieldKind, kindOfValue } from './field-kinds.ts';
import { readConcernOf } from './read.ts';

/** Top-level fields of a sample, with the kind that holds all values of it. */
export type SampledFields = {
  readonly fields: ReadonlyMap<string, FieldKind>;
  /** Fields whose names can't be those of columns, or are one column too many. */
  readonly left: readonly string[];
};

/** So many documents are looked at from either end of the collection, or until they are so many bytes. */
const DOCUMENTS = 500;
const BYTES = 8_388_608;
const PAGE = 100;
/**
 * MariaDB takes 8,126 bytes of a row besides what is kept apart: of short texts four bytes for each character, of others and of numbers up to 40. What users
 * choose comes on top.
 */
const ROW_BYTES = 6_500;

function bytesOf(kind: FieldKind): number {
  return kind === 'objectId' ? 97 : kind === 'decimal' ? 183 : 40;
}

/** Looks at the first and the last documents in the order of `_id` (`ends`; else at the first ones that come). */
export async function sampleFields(
  connection: Connection,
  ref: TableRef,
  ends: boolean,
  canonical: boolean,
): Promise<SampledFields> {
  const kinds = new Map<string, Seen>();
  for (const direction of ends ? [1, -1] : [0])
    for await (const document of documents(connection, ref, direction)) look(kinds, document, canonical);
  const left: string[] = [];
  const fields = new Map<string, FieldKind>();
  const taken = new Set([ID, MORE]);
  let free = ROW_BYTES;
  // Where there are too many, those that most documents have.
  const often = [...kinds].sort(([a, { count: m }], [b, { count: n }]) => n - m || (a < b ? -1 : 1));
  for (const [name, { kind }] of often) {
    // Columns that differ only in case are one.
    const column = Buffer.from(name, 'latin1').toString();
    const isColumn =
      isUtf8(Buffer.from(name, 'latin1')) &&
      free >= bytesOf(kind ?? 'any') &&
      isName(column) &&
      !taken.has(folded(column));
    if (isColumn) {
      taken.add(folded(column));
      free -= bytesOf(kind ?? 'any');
      // Only nulls so far.
      fields.set(column, kind ?? 'any');
    } else left.push(column);
  }
  return { fields, left: left.sort() };
}

/** A structure with the sample that it is made of, so that it can be described again whatever the documents are by then (`DescribeRequest.like`). */
export function withSample(structure: string, sample: SampledFields | undefined): string {
  if (!sample) return structure;
  return `${structure}.${deflateRawSync(JSON.stringify([...sample.fields])).toString('base64url')}`;
}

/** The sample that a structure was made of; undefined: none. */
export function sampledIn(structure: string | undefined): SampledFields | undefined {
  const text = structure?.split('.')[1];
  if (text === undefined) return undefined;
  return { fields: new Map(JSON.parse(inflateRawSync(Buffer.from(text, 'base64url')).toString())), left: [] };
}

/** Whether every destination takes it as the name of a column. */
export function isName(name: string): boolean {
  return /^[^\p{Cc}\p{Cs}\uffff\u{10000}-\u{10ffff}]{1,64}$/u.test(name) && !/\s$/.test(name);
}

/** Names that destinations take for one column have one text; theirs of İ is i, unlike Unicode's. */
export function folded(name: string): string {
  return name.replaceAll('İ', 'i').toLowerCase();
}

async function* documents(
  connection: Connection,
  { schema, name }: TableRef,
  direction: number,
): AsyncGenerator<Uint8Array> {
  const readConcern = readConcernOf(connection, undefined);
  const sort = direction !== 0 && { sort: { _id: direction } };
  const cursor = await openCursor(
    connection,
    schema,
    { find: name, ...sort, limit: DOCUMENTS, batchSize: PAGE, ...(readConcern && { readConcern }) },
    { batchSize: PAGE },
  );
  try {
    let bytes = 0;
    for (let page = cursor.first; ; page = await cursor.next()) {
      for (const document of page.documents) {
        yield document;
        bytes += document.length;
      }
      if (page.last || bytes > BYTES) return;
    }
  } finally {
    await cursor.close();
  }
}

type Seen = { readonly kind: FieldKind | undefined; readonly count: number };

function look(kinds: Map<string, Seen>, document: Uint8Array, canonical: boolean): void {
  const bytes = bufferOf(document);
  const last = documentEnd(bytes, document.byteOffset, document.byteOffset + document.length);
  for (let at = document.byteOffset + 4; at < last; ) {
    const from = afterText(bytes, at + 1, last);
    const name = bytes.toString('latin1', at + 1, from - 1);
    const type = bytes[at] as number;
    const to = valueEnd(type, bytes, from, last);
    if (name !== ID) {
      const { kind, count } = kinds.get(name) ?? { kind: undefined, count: 0 };
      kinds.set(name, { kind: commonKind(kind, kindOfValue(type, bytes, from), canonical), count: count + 1 });
    }
    at = to;
  }
}
