import { createHash } from 'node:crypto';
import { chooseCursor } from '../cursor.ts';
import { applyOptions, checkCondition, refusedTable } from '../description.ts';
import { UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Described, DescribeRequest, LeftOut, Table, TableOptions } from '../model.ts';
import { hasText, type KeyTable, keyless, refuseKey, requireIndex, userKey } from '../table-key.ts';
import { type CatalogTable, readTables } from './catalog.ts';
import { isUnknown, missingGrant } from './errors.ts';
import type { OracleOptions } from './options.ts';
import { chunkSelect } from './read.ts';
import type { Session } from './session.ts';
import { type CatalogColumn, columnType, fullType } from './types.ts';

/** Describes tables in a few statements for all of them; a missing or refused one is an `error` entry. `capture`: how changes will be learned. */
export async function describeTables(
  session: Session,
  requests: readonly DescribeRequest[],
  capture: OracleOptions['capture'],
): Promise<Described[]> {
  const catalog = await readTables(
    session,
    requests.map((request) => request.ref),
  );
  const described: Described[] = [];
  for (const [index, { ref, options }] of requests.entries()) {
    try {
      const found = catalog[index];
      if (!found) throw missingGrant(`${ref.schema}.${ref.name}`);
      const table = describeTable(ref, found, options, capture);
      await checkCondition(
        ref,
        options.where,
        'Correct `where`; it is SQL of the source without the word WHERE.',
        (where) => session.query(`${chunkSelect(table, where, {})} and 1 = 0`),
        (error) => isUnknown(error) && !session.broken(),
      );
      described.push({ ref, table });
    } catch (error) {
      described.push(refusedTable(ref, error));
    }
  }
  return described;
}

function describeTable(
  ref: DescribeRequest['ref'],
  found: CatalogTable,
  options: TableOptions,
  capture: OracleOptions['capture'],
): Table {
  const where = `${ref.schema}.${ref.name}`;
  if (found.temporary)
    throw new UnsupportedValue(`${where} is a temporary table: each session has rows of its own.`, 'Deselect it.');
  const leftOut: LeftOut[] = [];
  const warnings: string[] = [];
  const columns: Column[] = [];
  const own = new Map<string, ColumnType>();
  for (const column of found.columns) {
    const type = columnType(column);
    const sourceType = fullType(column);
    if (typeof type === 'string') leftOut.push({ name: column.name, sourceType, reason: type });
    else {
      own.set(column.name, type);
      const repaired = type.kind === 'float' || type.kind === 'double';
      columns.push({ name: column.name, type, nullable: column.nullable || repaired, sourceType, masked: false });
    }
  }
  if (columns.length === 0)
    throw new UnsupportedValue(`${where} has no column that can be copied.`, 'Deselect the table.');
  const refusal = capture === 'log' ? unmined(ref.name, found) : null;
  if (refusal !== null && (options.key?.length ?? 0) === 0)
    warnings.push(
      `LogMiner can't follow it, because ${refusal}: it is copied whole, and deltas skip it (keyless_delta).`,
    );
  if (refusal !== null && options.key !== undefined && options.key.length > 0)
    throw new UnsupportedValue(
      `LogMiner can't follow ${where}, because ${refusal}.`,
      'Take its `key` away: it is copied whole then.',
    );
  const keys: KeyTable = {
    where,
    view: found.view,
    columns: found.columns,
    types: own,
    indexes: found.indexes,
    inexact: 'BINARY_FLOAT or BINARY_DOUBLE',
  };
  const key = refusal !== null ? [] : chooseKey(keys, found, options.key, warnings);
  const keyed = columns.map((column) =>
    key.includes(column.name) ? { ...column, nullable: nullableOf(found, column.name) } : column,
  );
  const chosen = applyOptions(where, keyed, key, options);
  const cursor =
    capture === 'cursor' && key.length > 0 && !found.view
      ? chooseCursor(where, cursorColumns(found, columns), options.cursor, warnings)
      : [];
  return {
    ref,
    kind: found.view ? 'view' : found.partitioned ? 'partitioned' : 'table',
    columns: chosen,
    leftOut,
    key,
    ...(isImmediate(found, key) ? { immediate: true } : {}),
    ...(cursor.length > 0 ? { cursor } : {}),
    textKey: hasText(chosen, key),
    approxRows: found.rows ?? 0,
    approxBytes: found.bytes ?? 0,
    structure: structureOf(found, chosen, key, cursor),
    storage: '',
    warnings,
  };
}

/** Columns of dates and times may tell when a row was written; Oracle has no type that counts versions. */
function cursorColumns(found: CatalogTable, columns: readonly Column[]) {
  return columns.map(({ name, sourceType }) => ({
    name,
    nullable: nullableOf(found, name),
    clock: /^(?:DATE$|TIMESTAMP)/.test(sourceType) ? ('time' as const) : null,
  }));
}

/** Why LogMiner gives no usable rows of a table (Oracle Utilities, "Supported data types and table storage attributes"); null: it does. */
function unmined(name: string, found: CatalogTable): string | null {
  if (found.view) return null;
  if (found.indexOrganized) return 'it is index-organized';
  if (found.external) return 'it is an external table';
  const long = [name, ...found.columns.map((column) => column.name)].find((one) => Buffer.byteLength(one) > 30);
  return long === undefined ? null : `the name ${long} is longer than 30 bytes`;
}

function nullableOf(found: CatalogTable, name: string): boolean {
  return found.columns.find((column) => column.name === name)?.nullable ?? true;
}

/** The user's key, else the primary key, else the first NOT NULL unique key; [] when there is none (EXACTNESS.md §8). */
function chooseKey(
  keys: KeyTable,
  table: CatalogTable,
  wanted: readonly string[] | undefined,
  warnings: string[],
): string[] {
  if (wanted !== undefined && wanted.length > 0) {
    const key = userKey(keys, wanted);
    requireIndex(keys, key);
    return key;
  }
  const refusals: string[] = [];
  for (const key of table.keys) {
    const refusal = refuseKey(keys, key.columns);
    if (refusal === null) return [...key.columns];
    refusals.push(`${key.primary ? 'the primary key' : `the unique key ${key.name}`} ${refusal}`);
  }
  if (!keys.view) warnings.push(keyless(refusals));
  return [];
}

/** Whether the source keeps the key unique at every moment. */
function isImmediate(found: CatalogTable, key: readonly string[]): boolean {
  return key.length > 0 && found.keys.some((one) => !one.deferrable && one.columns.every((name) => key.includes(name)));
}

/** A digest of all that decides what a reader sees: columns with their types, how they are copied, and the key. */
function structureOf(
  found: CatalogTable,
  copied: readonly Column[],
  key: readonly string[],
  cursor: readonly string[],
): string {
  const columns = found.columns.map((column: CatalogColumn) => [
    column.name,
    fullType(column),
    column.nullable,
    column.virtual,
  ]);
  return createHash('sha256')
    .update(JSON.stringify(cursor.length === 0 ? [columns, copied, key] : [columns, copied, key, cursor]))
    .digest('base64url')
    .slice(0, 22);
}
