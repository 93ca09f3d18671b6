import { createHash } from 'node:crypto';
import type { CursorSettings } from '../cursor.ts';
import { applyOptions, checkCondition, refusedTable } from '../description.ts';
import { Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Described, DescribeRequest, LeftOut, Table, TableOptions } from '../model.ts';
import { hasText, type KeyTable, keyless, refuseKey, requireIndex, userKey } from '../table-key.ts';
import { cascadeOf } from './cascades.ts';
import { type CatalogTable, readTables } from './catalog.ts';
import type { Connection } from './connection.ts';
import { followedByCursor } from './cursor.ts';
import { EVERYTHING } from './range.ts';
import { chunkSelect } from './read.ts';
import { type CatalogColumn, columnType } from './types.ts';

/**
 * Describes tables in a few statements for all of them; a missing or refused one is an `error` entry. `byCursor`: they are followed by cursor
 * columns, not by the log.
 */
export async function describeTables(
  connection: Connection,
  requests: readonly DescribeRequest[],
  byCursor?: CursorSettings,
): Promise<Described[]> {
  const catalog = await readTables(
    connection,
    requests.map((request) => request.ref),
  );
  const described: Described[] = [];
  for (const [index, { ref, options }] of requests.entries()) {
    try {
      const found = catalog[index];
      if (!found)
        throw new Misconfigured(
          `The table ${ref.schema}.${ref.name} does not exist, or the user may not see it.`,
          'Check the name, and grant the source user SELECT on it.',
        );
      const own = describeTable(ref, found, options, byCursor === undefined);
      const table = byCursor ? followedByCursor(own, found, options, byCursor) : own;
      await checkCondition(
        ref,
        options.where,
        'Correct `where`; it is SQL of the source without the word WHERE.',
        (where) => connection.query(`${chunkSelect(table, where, EVERYTHING)} and false`),
      );
      described.push({ ref, table });
    } catch (error) {
      described.push(refusedTable(ref, error));
    }
  }
  return described;
}

function describeTable(ref: DescribeRequest['ref'], found: CatalogTable, options: TableOptions, byLog: boolean): Table {
  const where = `${ref.schema}.${ref.name}`;
  if (!['BASE TABLE', 'VIEW', 'SYSTEM VERSIONED'].includes(found.type))
    throw new UnsupportedValue(
      `${where} is a ${found.type.toLowerCase()}, not a table.`,
      'Select tables or views only.',
    );
  const leftOut: LeftOut[] = [];
  const warnings: string[] = [];
  const columns: Column[] = [];
  const own = new Map<string, ColumnType>();
  for (const column of found.columns) {
    const reason = leaveOut(column);
    const type = reason === null ? naturalType(found, column) : null;
    if (type === null)
      leftOut.push({
        name: column.name,
        sourceType: column.full,
        reason: reason ?? `The type ${column.full} is not known.`,
      });
    else {
      own.set(column.name, type);
      columns.push({ name: column.name, type, nullable: column.nullable, sourceType: column.full, masked: false });
    }
  }
  if (columns.length === 0)
    throw new UnsupportedValue(`${where} has no column that can be copied.`, 'Deselect the table.');
  if (found.columns.some((column, index) => column.position !== index + 1))
    warnings.push('Some columns are hidden from the source user, who has no right on them: they are not copied.');
  if (found.type === 'SYSTEM VERSIONED')
    warnings.push(
      `A system-versioned table: its current rows are copied, not their history${byLog ? ', and deltas can not follow it' : ''}.`,
    );
  const keys: KeyTable = {
    where,
    view: found.type === 'VIEW',
    columns: found.columns,
    types: own,
    indexes: found.indexes.map(({ parts }) => parts.map(({ column }) => column)),
    inexact: 'FLOAT or DOUBLE',
  };
  const key = chooseKey(keys, found, options.key, warnings);
  const chosen = applyOptions(where, columns, key, options);
  const cascades = found.cascades.map((one) => cascadeOf(one, found.columns, chosen, key));
  return {
    ref,
    kind: found.type === 'VIEW' ? 'view' : found.partitioned ? 'partitioned' : 'table',
    columns: chosen,
    leftOut,
    key,
    ...(isImmediate(found, key) ? { immediate: true } : {}),
    ...(cascades.length > 0 ? { cascades } : {}),
    textKey: hasText(chosen, key),
    approxRows: found.rows,
    approxBytes: found.bytes,
    structure: structureOf(found, chosen, key),
    storage: '',
    warnings,
  };
}

/** Why a column is not copied; null for those that are. */
function leaveOut(column: CatalogColumn): string | null {
  // The change log carries no values of virtual columns (EXACTNESS.md §7); MariaDB before 10.2.1 says only VIRTUAL.
  if (/^VIRTUAL\b/i.test(column.extra) || /VIRTUAL GENERATED/i.test(column.extra))
    return 'A virtual generated column: the change log does not carry it. Make it STORED, or compute it at the destination.';
  return null;
}

function naturalType(table: CatalogTable, column: CatalogColumn): ColumnType | null {
  if (column.word === 'longtext' && table.jsonChecked.has(column.name)) return { kind: 'json' };
  return columnType(column);
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
  for (const index of table.indexes) {
    if (!index.unique) continue;
    const names = index.parts.map((part) => part.column);
    const refusal = refuseKey(keys, names);
    if (refusal === null) return names.filter((name) => !isRowEnd(table, name));
    refusals.push(`${index.name === 'PRIMARY' ? 'The primary key' : `The unique key ${index.name}`} ${refusal}`);
  }
  if (refusals.some((refusal) => refusal.includes('FLOAT')))
    throw new UnsupportedValue(
      `${keys.where} has no usable key: ${refusals.join('; ')}.`,
      'Choose exact columns with the `key` option of the table.',
    );
  if (!keys.view) warnings.push(keyless(refusals));
  return [];
}

/** Whether an index of these columns, or of some of them, keeps rows apart: at every moment, as these servers know no deferred keys. */
function isImmediate(table: CatalogTable, key: readonly string[]): boolean {
  return table.indexes.some(
    (index) => index.unique && index.parts.every((part) => part.prefix === 0 && key.includes(part.column)),
  );
}

/** MariaDB adds the end of a row's validity to the unique keys of a system-versioned table; current rows are unique without it. */
function isRowEnd(table: CatalogTable, name: string): boolean {
  const column = table.columns.find((one) => one.name === name);
  return table.type === 'SYSTEM VERSIONED' && column?.word === 'timestamp' && /^STORED GENERATED/i.test(column.extra);
}

/** A digest of all that decides what a reader sees: columns with types, charsets and generation, how they are copied, the key, and what the log leaves out. */
export function structureOf(table: CatalogTable, copied: readonly Column[], key: readonly string[]): string {
  const columns = table.columns.map((column) => [
    column.name,
    column.full,
    column.nullable,
    column.charset,
    column.collation,
    /GENERATED|VIRTUAL|PERSISTENT/i.exec(column.extra)?.[0] === undefined ? '' : column.extra,
  ]);
  const { cascades } = table;
  return createHash('sha256')
    .update(JSON.stringify(cascades.length === 0 ? [columns, copied, key] : [columns, copied, key, cascades]))
    .digest('base64url')
    .slice(0, 22);
}
