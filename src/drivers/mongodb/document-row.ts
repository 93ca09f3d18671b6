import { UnsupportedValue } from '../errors.ts';
import { appendNull, TAB } from '../load-text.ts';
import type { ColumnType, RuleUse, Table } from '../model.ts';
import { afterText, documentEnd, findId, TYPE, valueEnd } from './bson-bytes.ts';
import { appendField, type FieldKind, hasRoomFor } from './field-kinds.ts';
import { appendId } from './id-text.ts';
import { appendDocument, appendValue, type JsonForm, jsonForm } from './json-text.ts';
import { charactersOf, type RowText, room } from './row-text.ts';

/** The names of the columns, as in SingleStore's own pipelines from MongoDB: the key, and all other fields. */
export const ID = '_id';
export const MORE = '_more';

/** What the document's column holds: stored as its `sourceType`, so that a copy goes on as it was loaded. Add words, never rename. */
export type DocumentForm = {
  readonly canonical: boolean;
  /** Every field, `_id` too; else those that have no column of their own. */
  readonly whole: boolean;
  /** Fields that have no column are told (`takeUses`): columns were found by a sample. */
  readonly sampled: boolean;
};

export function documentWords({ canonical, whole, sampled }: DocumentForm): string {
  return [
    'document',
    ...(canonical ? ['canonical'] : []),
    ...(whole ? ['whole'] : []),
    ...(sampled ? ['sampled'] : []),
  ].join(' ');
}

type FieldForm = {
  readonly kind: FieldKind;
  readonly type: ColumnType;
  readonly masked: boolean;
  readonly json: JsonForm;
};

/** How documents of a table become rows. */
export type RowForm = DocumentForm & {
  readonly json: JsonForm;
  /** The other fields are not copied (`mask`). */
  readonly masked: boolean;
  /** Characters that the key has room for. */
  readonly keyLength: number;
  /** Rows without an `_id` are possible (views). */
  readonly view: boolean;
  /** Columns of top-level fields in their order, and their places by name (latin1). */
  readonly fields: readonly FieldForm[];
  readonly places: ReadonlyMap<string, number>;
  /** Values that stayed in the document since the last look, by field. */
  readonly kept: Map<string, number>;
};

export function rowForm(table: Table): RowForm {
  const more = table.columns.find(({ name }) => name === MORE);
  const id = table.columns.find(({ name }) => name === ID);
  const words = new Set(more?.sourceType.split(' '));
  const fields = table.columns.filter(({ name }) => name !== ID && name !== MORE);
  const canonical = words.has('canonical');
  return {
    canonical,
    whole: words.has('whole'),
    sampled: words.has('sampled'),
    json: jsonForm(canonical, more?.type.kind === 'json'),
    masked: more?.masked ?? false,
    keyLength: id?.type.kind === 'varchar' ? id.type.length : Number.POSITIVE_INFINITY,
    view: !table.key.includes(ID),
    fields: fields.map(({ sourceType, type, masked }) => ({
      kind: sourceType as FieldKind,
      type,
      masked,
      json: jsonForm(canonical, type.kind === 'json'),
    })),
    places: new Map(fields.map(({ name }, index) => [Buffer.from(name).toString('latin1'), index])),
    kept: new Map(),
  };
}

/** Appends the cells of the document at `p`, without the newline. Throws `UnsupportedValue` for one that can't be copied exactly. */
export function appendRow(out: RowText, form: RowForm, bytes: Buffer, p: number, end: number): void {
  const last = documentEnd(bytes, p, end);
  const id = findId(bytes, p, last);
  const start = out.at - out.start;
  if (id >= 0) {
    appendId(out, bytes[id] as number, bytes, id + 5, last);
    checkKey(form, out.data.subarray(out.start + start, out.at));
  } else if (form.view) appendNothing(out);
  else throw new Error('The source sent a document without an _id.');
  tab(out);
  const skipped =
    form.fields.length > 0 || form.sampled ? appendFields(out, form, bytes, p, last, id) : form.whole ? -1 : id;
  if (form.masked) appendNothing(out);
  else appendDocument(out, form.json, bytes, p, last + 1, skipped);
}

/** Appends the cells of fields that have a column; the elements that the document's column leaves out. */
function appendFields(out: RowText, form: RowForm, bytes: Buffer, p: number, last: number, id: number): Set<number> {
  const found = new Array<number>(form.fields.length).fill(-1);
  const skipped = new Set<number>(form.whole ? [] : [id]);
  for (let at = p + 4; at < last; ) {
    const from = afterText(bytes, at + 1, last);
    const name = bytes.toString('latin1', at + 1, from - 1);
    const place = form.places.get(name);
    // Of two fields of one name the second stays where it is.
    if (place !== undefined && found[place] === -1) found[place] = at;
    else if (form.sampled && at !== id) keep(form, name);
    if (place !== undefined && form.fields[place]?.masked) skipped.add(at);
    at = valueEnd(bytes[at] as number, bytes, from, last);
  }
  for (const [place, field] of form.fields.entries()) {
    const at = found[place] as number;
    if (at < 0 || field.masked) appendNothing(out);
    else if (appendCell(out, field, form.canonical, bytes, at, last)) {
      if (!form.whole) skipped.add(at);
    } else {
      appendNothing(out);
      if (bytes[at] !== TYPE.null) keep(form, bytes.toString('latin1', at + 1, afterText(bytes, at + 1, last) - 1));
    }
    tab(out);
  }
  return skipped;
}

/** Appends the cell of the element at `at`; false, and nothing appended, where the column can't hold exactly this. */
function appendCell(
  out: RowText,
  { kind, type, json }: FieldForm,
  canonical: boolean,
  bytes: Buffer,
  at: number,
  last: number,
): boolean {
  const begin = out.at - out.start;
  const from = afterText(bytes, at + 1, last);
  if (kind === 'any') appendValue(out, json, bytes[at] as number, bytes, from, last, 0);
  else if (!appendField(out, kind, canonical, bytes[at] as number, bytes, from, last)) return false;
  if (hasRoomFor(type, out.data.subarray(out.start + begin, out.at))) return true;
  out.at = out.start + begin;
  return false;
}

/** A destination would refuse a longer key, and everything that comes with it. */
function checkKey(form: RowForm, key: Buffer): void {
  if (hasRoom(form, key)) return;
  throw new UnsupportedValue(
    `The _id ${key.toString('utf8', 0, 60)}… is longer than VARCHAR(${form.keyLength}).`,
    'Give the key more room: set `types` of the table to {"_id":"VARCHAR(<n>)"}, up to 700.',
  );
}

/** Whether the key has room for an `_id`, given as load text. */
export function hasRoom({ keyLength }: RowForm, key: Buffer): boolean {
  return key.length <= keyLength || charactersOf(key) <= keyLength;
}

function appendNothing(out: RowText): void {
  room(out, 2);
  out.at = appendNull(out.data, out.at);
}

function tab(out: RowText): void {
  room(out, 3);
  out.data[out.at++] = TAB;
}

/** So many fields are told by name. */
const MOST_NAMES = 100;

function keep({ kept }: RowForm, name: string): void {
  const count = kept.get(name);
  if (count !== undefined || kept.size < MOST_NAMES) kept.set(name, (count ?? 0) + 1);
}

/** Uses of rules since the last look: fields and values that stayed in the document, and `mask` in so many rows. */
export function takeUses(table: Table, form: RowForm, rows: number): RuleUse[] {
  const masked = rows > 0 ? table.columns.filter((column) => column.masked) : [];
  const kept = [...form.kept].map(([name, count]) => [Buffer.from(name, 'latin1').toString(), count] as const);
  form.kept.clear();
  return [
    ...masked.map(({ name }): RuleUse => ({ rule: 'mask', column: name, count: rows, examples: [] })),
    ...kept.map(([column, count]): RuleUse => ({ rule: 'kept_in_document', column, count, examples: [] })),
  ];
}
