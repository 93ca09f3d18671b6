import { UnsupportedValue } from '../errors.ts';
import type { ColumnType } from '../model.ts';
import { type KeyTable, keyless, refuseKey, requireIndex, userKey } from '../table-key.ts';
import type { CatalogTable } from './catalog.ts';
import { type CatalogColumn, columnType } from './types.ts';

/**
 * The user's key, else the primary key, else the first unique index of NOT NULL columns without a filter; [] when there is none
 * (EXACTNESS.md §8). `copied`: columns that are copied. `tracking`: change tracking tells rows by their primary key only.
 */
export function chooseKey(
  where: string,
  table: CatalogTable,
  copied: readonly CatalogColumn[],
  wanted: readonly string[] | undefined,
  tracking: boolean,
  warnings: string[],
): string[] {
  const keys: KeyTable = {
    where,
    view: table.kind === 'view',
    columns: table.columns,
    types: new Map(copied.map((column) => [column.name, columnType(column, true) as ColumnType])),
    indexes: table.indexes.map((index) => index.columns),
    inexact: 'float',
  };
  if (wanted !== undefined && wanted.length > 0) {
    const key = userKey(keys, wanted);
    if (tracking) checkPrimary(where, table, key);
    requireIndex(keys, key);
    return key;
  }
  const refusals: string[] = [];
  for (const index of table.indexes) {
    if (!index.unique || index.filtered || (tracking && !index.primary)) continue;
    const refusal = refuseKey(keys, index.columns);
    if (refusal === null) return [...index.columns];
    refusals.push(`${index.primary ? 'The primary key' : `The unique index ${index.name}`} ${refusal}`);
  }
  if (!keys.view)
    warnings.push(keyless(refusals, `no primary key${tracking ? '' : ' and no unique index of NOT NULL columns'}`));
  return [];
}

function checkPrimary(where: string, table: CatalogTable, key: readonly string[]): void {
  const primary = table.indexes.find((index) => index.primary);
  if (primary?.columns.length !== key.length || !key.every((name) => primary.columns.includes(name)))
    throw new UnsupportedValue(
      `Change tracking tells the rows of ${where} by their primary key only.`,
      'Unset `key`, or use CDC (rds.mscdcm).',
    );
}
