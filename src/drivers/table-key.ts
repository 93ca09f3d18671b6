import { formatColumnType, isText } from './column-types.ts';
import { Misconfigured, UnsupportedValue } from './errors.ts';
import type { Column, ColumnType } from './model.ts';

/** What a table of an SQL source says of the keys that it could have. */
export type KeyTable = {
  /** `schema.table`, for messages. */
  readonly where: string;
  readonly view: boolean;
  /** All columns of the source. */
  readonly columns: readonly { readonly name: string; readonly nullable: boolean }[];
  /** Types of the copied ones, as they are in a key. */
  readonly types: ReadonlyMap<string, ColumnType>;
  /** Columns of every index in order, unique or not; '' for an expression. */
  readonly indexes: readonly (readonly string[])[];
  /** The source's words for types of inexact numbers. */
  readonly inexact: string;
};

/** Why these columns, together or one alone, can't be the key; null when they can. */
export function refuseKey(table: KeyTable, names: readonly string[]): string | null {
  for (const name of names) {
    const refusal = refuseColumn(table, name);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refuseColumn({ columns, types, inexact }: KeyTable, name: string): string | null {
  if (name === '') return 'holds an expression';
  const column = columns.find((one) => one.name === name);
  const type = types.get(name);
  if (!column || !type) return `holds ${name}, which is not copied`;
  if (column.nullable) return `holds ${name}, which may be NULL`;
  if (type.kind === 'float' || type.kind === 'double') return `holds the ${inexact} column ${name}`;
  if (type.kind === 'text' || type.kind === 'blob' || type.kind === 'json')
    return `holds ${name}, whose type ${formatColumnType(type)} is too long for a key`;
  return null;
}

/** The columns of the option `key`, as the source spells them. Throws `Misconfigured` or `UnsupportedValue` where they can't be the key. */
export function userKey(table: KeyTable, wanted: readonly string[]): string[] {
  const { where } = table;
  const key = wanted.map((name) => {
    const column =
      table.columns.find((one) => one.name === name) ??
      table.columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
    if (!column || !table.types.has(column.name))
      throw new Misconfigured(`The key column ${name} of ${where} does not exist or is not copied.`, 'Correct `key`.');
    if (column.nullable)
      throw new UnsupportedValue(
        `The key column ${name} of ${where} may be NULL.`,
        'Choose NOT NULL columns in `key`.',
      );
    const refusal = refuseColumn(table, column.name);
    if (refusal !== null)
      throw new UnsupportedValue(`The key of ${where} ${refusal}.`, 'Choose other columns in `key`.');
    return column.name;
  });
  if (new Set(key).size !== key.length)
    throw new Misconfigured(`The key of ${where} names a column twice.`, 'Correct `key`.');
  return key;
}

/** Throws `UnsupportedValue` for a key by which the source could find rows only by reading all of them. */
export function requireIndex({ where, view, indexes }: KeyTable, key: readonly string[]): void {
  const indexed = indexes.some(
    (parts) => parts.length >= key.length && parts.slice(0, key.length).every((part) => key.includes(part)),
  );
  if (!view && !indexed)
    throw new UnsupportedValue(
      `${where} has no index that begins with the chosen key.`,
      `Create one at the source: CREATE INDEX flow_key ON ${where} (${key.join(', ')}).`,
    );
}

/** What users are told of a table without a key. `refusals`: of the keys that the source has. */
export function keyless(refusals: readonly string[], none = 'no primary key and no NOT NULL unique key'): string {
  return refusals.length === 0
    ? `The table has ${none}: it is copied whole, and deltas skip it.`
    : `No usable key: ${refusals.join('; ')}. The table is copied whole, and deltas skip it.`;
}

/** Whether there is text in the key, which a destination may compare in another way than the source (`Table.textKey`). */
export function hasText(columns: readonly Column[], key: readonly string[]): boolean {
  return columns.some(({ name, type }) => key.includes(name) && isText(type));
}
