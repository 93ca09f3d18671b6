import { formatColumnType } from '../column-types.ts';
import { UnsupportedValue } from '../errors.ts';
import type { TableOptions } from '../model.ts';
import type { Relation, SourceColumn, SourceIndex } from './catalog.ts';
import { quoteTable } from './sql.ts';
import type { Mapping } from './types.ts';

/** The key of a table at the destination, and what users should know about it. */
export type Key = { readonly columns: readonly SourceColumn[]; readonly warnings: readonly string[] };

/**
 * Chooses the key: the user's, else the primary key, else the replica identity index, else a NOT NULL unique index; among these the first
 * whose columns the log carries for a delete (EXACTNESS.md §8). `copied`: columns that are not left out. Throws `UnsupportedValue`.
 */
export function chooseKey(relation: Relation, copied: readonly SourceColumn[], options: TableOptions): Key {
  const usable = relation.indexes.filter((index) => columnsOf(index, copied) !== undefined);
  if (options.key !== undefined && options.key.length > 0) return chosenKey(relation, usable, copied, options.key);
  const rank = (index: SourceIndex): number =>
    index.primary ? 0 : index.identity && relation.identity === 'i' ? 1 : 2;
  const candidates = usable
    .filter((index) => index.primary || index.immediate)
    .sort((a, b) => rank(a) - rank(b) || a.columns.length - b.columns.length);
  const best = candidates.find((index) => carried(relation, index.columns)) ?? candidates[0];
  if (!best)
    return {
      columns: [],
      warnings: relation.kind === 'r' || relation.kind === 'p' ? [keylessWarning(relation)] : [],
    };
  return { columns: columnsOf(best, copied) ?? [], warnings: identityWarnings(relation, best) };
}

/** Whether the log names these columns when it reports a delete. */
export function carried(relation: Relation, columns: readonly number[]): boolean {
  if (relation.identity === 'f') return true;
  const index = relation.indexes.find((one) =>
    relation.identity === 'i' ? one.identity : relation.identity === 'd' && one.primary && one.immediate,
  );
  return index !== undefined && columns.every((column) => index.columns.includes(column));
}

/**
 * Whether no two rows share the key at any moment. Said only of an index that is the replica identity: such a one is never deferrable, and tables in
 * a publication can't be changed without one.
 */
export function isImmediate(relation: Relation, key: readonly SourceColumn[]): boolean {
  if (relation.identity === 'f' || key.length === 0 || !publishable(relation)) return false;
  const index = relation.indexes.find((one) => (relation.identity === 'i' ? one.identity : one.primary));
  return index?.immediate === true && index.columns.every((number) => key.some((column) => column.number === number));
}

/** Whether a publication may hold the table without making its own updates fail at the source. */
export function publishable(relation: Relation): boolean {
  if ((relation.kind !== 'r' && relation.kind !== 'p') || relation.persistence !== 'p') return false;
  const identified =
    relation.identity === 'f' ||
    relation.indexes.some((one) =>
      relation.identity === 'i' ? one.identity : relation.identity === 'd' && one.primary && one.immediate,
    );
  return identified && relation.storage.every((leaf) => leaf.kind === 'r' && leaf.identified);
}

function columnsOf(index: SourceIndex, copied: readonly SourceColumn[]): SourceColumn[] | undefined {
  const columns = index.columns.map((number) => copied.find((column) => column.number === number));
  return columns.every((column) => column?.notNull) ? (columns as SourceColumn[]) : undefined;
}

function chosenKey(
  relation: Relation,
  usable: readonly SourceIndex[],
  copied: readonly SourceColumn[],
  names: readonly string[],
): Key {
  const columns = names.map((name) => {
    const column = copied.find((one) => one.name === name);
    if (!column)
      throw new UnsupportedValue(
        `The key column "${name}" does not exist, or is not copied.`,
        "Correct the table's `key`.",
      );
    return column;
  });
  if (new Set(names).size !== names.length)
    throw new UnsupportedValue('A column is named twice in the key.', "Correct the table's `key`.");
  // Views have no index to prove the key: its rows are loaded without replacing, so that a double key is found.
  if (relation.kind !== 'r' && relation.kind !== 'p') return { columns, warnings: [] };
  const numbers = columns.map((column) => column.number);
  const index = usable.find((one) => one.columns.every((column) => numbers.includes(column)));
  if (!index) {
    const list = names.map((name) => `"${name}"`).join(', ');
    throw new UnsupportedValue(
      `Nothing at the source keeps the key (${list}) unique and NOT NULL.`,
      `Run: create unique index concurrently on ${quoteTable(relation.ref)} (${list}); and set its columns NOT NULL; or choose another \`key\`.`,
    );
  }
  return { columns, warnings: carried(relation, numbers) ? [] : [uncarried(relation, index.name)] };
}

function identityWarnings(relation: Relation, index: SourceIndex): string[] {
  if (relation.kind !== 'r' && relation.kind !== 'p') return [];
  return carried(relation, index.columns) && publishable(relation) ? [] : [uncarried(relation, index.name)];
}

function uncarried(relation: Relation, index: string): string {
  const table = quoteTable(relation.ref);
  if (relation.persistence === 'u')
    return `${table} is unlogged: the log has no changes of it; a delta can't follow it.`;
  if (relation.storage.some((leaf) => leaf.kind === 'f'))
    return `${table} has foreign tables as partitions, whose changes are not in the log; a delta can't follow it.`;
  return `The log does not name the key of ${table} in deletes, so a delta can't follow it. Run: alter table ${table} replica identity using index "${index}"; (on each partition too), or: replica identity full.`;
}

function keylessWarning(relation: Relation): string {
  const table = quoteTable(relation.ref);
  return `${table} has no primary key and no NOT NULL unique index: it is loaded whole in one piece, and deltas leave it out. Add a key at the source.`;
}

/** Bytes that one key has room for at every destination (InnoDB; utf8mb4 counts 4 bytes a character). */
const KEY_BYTES = 3072;

/** Whether the key's value has no length of its own that fits beside the others: such columns are measured. */
export function needsRoom(mapping: Mapping, columns: number): boolean {
  const { type } = mapping;
  if (type.kind === 'text' || type.kind === 'blob' || type.kind === 'json') return true;
  return type.kind === 'varchar' && type.length * 4 > KEY_BYTES / columns;
}

/** Bytes for each key column that has no length of its own: an equal share of what the other columns leave. */
export function roomPerColumn(mappings: readonly Mapping[]): number {
  const open = mappings.filter((mapping) => needsRoom(mapping, mappings.length)).length;
  const fixed = mappings
    .filter((mapping) => !needsRoom(mapping, mappings.length))
    .reduce((sum, mapping) => sum + keyBytes(mapping), 0);
  return open === 0 ? 0 : Math.max(Math.floor((KEY_BYTES - fixed) / open) - LENGTH_BYTES, 16);
}

/** Bytes that a value's length takes beside it. */
const LENGTH_BYTES = 2;

function keyBytes({ type }: Mapping): number {
  if (type.kind === 'varchar' || type.kind === 'char') return type.length * 4 + LENGTH_BYTES;
  if (type.kind === 'binary') return type.length + LENGTH_BYTES;
  return type.kind === 'decimal' ? 32 : 8;
}

/** Why a column of this type can't be part of a key, or undefined. */
export function keyProblem(name: string, mapping: Mapping): UnsupportedValue | undefined {
  if (mapping.type.kind !== 'float' && mapping.type.kind !== 'double') return undefined;
  return new UnsupportedValue(
    `The key column "${name}" is ${formatColumnType(mapping.type)}: equal numbers may differ in their last digit at the destination.`,
    'Choose another unique key with `key`, or give the column an exact type with `types`, e.g. VARCHAR(32).',
  );
}
