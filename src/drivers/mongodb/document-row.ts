import { appendNull, TAB } from '../load-text.ts';
import type { Table } from '../model.ts';
import { documentEnd, findId } from './bson-bytes.ts';
import { appendId } from './id-text.ts';
import { appendDocument, type JsonForm, jsonForm } from './json-text.ts';
import { type RowText, room } from './row-text.ts';

/** The names of the columns, as in SingleStore's own pipelines from MongoDB: the key, and all other fields. */
export const ID = '_id';
export const MORE = '_more';

/** How documents of a table become rows. */
export type RowForm = {
  readonly json: JsonForm;
  /** The other fields are not copied (`mask`). */
  readonly masked: boolean;
  /** Rows without an `_id` are possible (views). */
  readonly view: boolean;
};

/** `canonical`: as the connection's `bson_json` says. */
export function rowForm(table: Table, canonical: boolean): RowForm {
  const more = table.columns.find(({ name }) => name === MORE);
  return {
    json: jsonForm(canonical, more?.type.kind === 'json'),
    masked: more?.masked ?? false,
    view: !table.key.includes(ID),
  };
}

/** Appends the cells of the document at `p`, without the newline. Throws `UnsupportedValue` for one that can't be copied exactly. */
export function appendRow(out: RowText, form: RowForm, bytes: Buffer, p: number, end: number): void {
  const last = documentEnd(bytes, p, end);
  const id = findId(bytes, p, last);
  if (id >= 0) appendId(out, bytes[id] as number, bytes, id + 5, last);
  else if (form.view) {
    room(out, 2);
    out.at = appendNull(out.data, out.at);
  } else throw new Error('The source sent a document without an _id.');
  room(out, 3);
  out.data[out.at++] = TAB;
  if (form.masked) out.at = appendNull(out.data, out.at);
  else appendDocument(out, form.json, bytes, p, last + 1, id);
}
