import { formatColumnType } from '../column-types.ts';
import { Misconfigured, UnsupportedValue } from '../errors.ts';
import type { ColumnType } from '../model.ts';
import type { CatalogTable } from './catalog.ts';
import { type CatalogColumn, columnType } from './types.ts';

/**
 * The user's key, else the primary key, else the first unique index of NOT NULL columns without a filter; [] when there is none
 * (EXACTNESS.md §8). `copied`: names of columns that are copied. `mode`: change tracking tells rows by their primary key only.
 */
export function chooseKey(
  where: string,
  table: CatalogTable,
  copied: ReadonlySet<string>,
  wanted: readonly string[] | undefined,
  tracking: boolean,
  warnings: string[],
): string[] {
  if (wanted !== undefined && wanted.length > 0) return userKey(where, table, copied, wanted, tracking);
  const refusals: string[] = [];
  for (const index of table.indexes) {
    if (!index.unique || index.filtered || (tracking && !index.primary)) continue;
    const refusal = refuseIndex(table, copied, index.columns);
    if (refusal === null) return [...index.columns];
    refusals.push(`${index.primary ? 'The primary key' : `The unique index ${index.name}`} ${refusal}`);
  }
  if (table.kind !== 'view')
    warnings.push(
      refusals.length > 0
        ? `No usable key: ${refusals.join('; ')}. The table is copied whole, and deltas skip it.`
        : `The table has no primary key${tracking ? '' : ' and no unique index of NOT NULL columns'}: it is copied whole, and deltas skip it.`,
    );
  return [];
}

function refuseIndex(table: CatalogTable, copied: ReadonlySet<string>, names: readonly string[]): string | null {
  for (const name of names) {
    const column = table.columns.find((one) => one.name === name);
    if (!column || !copied.has(name)) return `holds ${name}, which is not copied`;
    if (column.nullable) return `holds ${name}, which may be NULL`;
    const refusal = refuseKeyType(column);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refuseKeyType(column: CatalogColumn): string | null {
  const type = columnType(column, true) as ColumnType;
  if (type.kind === 'float' || type.kind === 'double') return `holds the float column ${column.name}`;
  if (type.kind === 'text' || type.kind === 'blob' || type.kind === 'json')
    return `holds ${column.name}, whose type ${formatColumnType(type)} is too long for a key`;
  return null;
}

function userKey(
  where: string,
  table: CatalogTable,
  copied: ReadonlySet<string>,
  wanted: readonly string[],
  tracking: boolean,
): string[] {
  for (const name of wanted) {
    const column = table.columns.find((one) => one.name === name);
    if (!column || !copied.has(name))
      throw new Misconfigured(`The key column ${name} of ${where} does not exist or is not copied.`, 'Correct `key`.');
    if (column.nullable)
      throw new UnsupportedValue(
        `The key column ${name} of ${where} may be NULL.`,
        'Choose NOT NULL columns in `key`.',
      );
    const refusal = refuseKeyType(column);
    if (refusal !== null)
      throw new UnsupportedValue(`The key of ${where} ${refusal}.`, 'Choose other columns in `key`.');
  }
  const primary = table.indexes.find((index) => index.primary);
  if (
    tracking &&
    (primary?.columns.length !== wanted.length || !wanted.every((name) => primary.columns.includes(name)))
  )
    throw new UnsupportedValue(
      `Change tracking tells the rows of ${where} by their primary key only.`,
      'Unset `key`, or use CDC (rds.mscdcm).',
    );
  if (
    table.kind !== 'view' &&
    !table.indexes.some((index) => index.columns.slice(0, wanted.length).every((name) => wanted.includes(name)))
  )
    throw new UnsupportedValue(
      `${where} has no index that begins with the chosen key.`,
      `Create one at the source: CREATE INDEX flow_key ON ${where} (${wanted.join(', ')}).`,
    );
  return [...wanted];
}
