import { createHash } from 'node:crypto';
import { formatColumnType, parseColumnType, fit as typeFit } from '../column-types.ts';
import type { CursorSettings } from '../cursor.ts';
import { isPermanent, Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Described, DescribeRequest, LeftOut, Table, TableOptions } from '../model.ts';
import { cascadeOf } from './cascades.ts';
import { type CatalogIndex, type CatalogTable, readTables } from './catalog.ts';
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
      if (options.where !== undefined && options.where.trim() !== '')
        await checkCondition(connection, table, options.where);
      described.push({ ref, table });
    } catch (error) {
      if (!isPermanent(error)) throw error;
      described.push({ ref, error: { class: error.name, message: error.message, action: error.action } });
    }
  }
  return described;
}

/** Lets the server parse and resolve a condition, without a row. */
async function checkCondition(connection: Connection, table: Table, where: string): Promise<void> {
  try {
    await connection.query(`${chunkSelect(table, where, EVERYTHING)} and false`);
  } catch (error) {
    if (!isPermanent(error) || error.name === 'AccessDenied') throw error;
    throw new Misconfigured(
      `The condition of ${table.ref.schema}.${table.ref.name} is refused by the source: ${error.message}`,
      'Correct `where`; it is SQL of the source without the word WHERE.',
    );
  }
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
  const key = chooseKey(where, found, own, options.key, warnings);
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
    textKey: chosen.some((column) => key.includes(column.name) && isText(column.type)),
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
  where: string,
  table: CatalogTable,
  own: ReadonlyMap<string, ColumnType>,
  wanted: readonly string[] | undefined,
  warnings: string[],
): string[] {
  if (wanted !== undefined && wanted.length > 0) return userKey(where, table, own, wanted);
  const refusals: string[] = [];
  for (const index of table.indexes) {
    if (!index.unique) continue;
    const refusal = refuseIndex(table, own, index);
    if (refusal === null) return index.parts.map((part) => part.column).filter((name) => !isRowEnd(table, name));
    refusals.push(`${index.name === 'PRIMARY' ? 'The primary key' : `The unique key ${index.name}`} ${refusal}`);
  }
  if (refusals.some((refusal) => refusal.includes('FLOAT')))
    throw new UnsupportedValue(
      `${where} has no usable key: ${refusals.join('; ')}.`,
      'Choose exact columns with the `key` option of the table.',
    );
  if (table.type !== 'VIEW')
    warnings.push(
      refusals.length === 0
        ? 'The table has no primary key and no NOT NULL unique key: it is copied whole, and deltas skip it.'
        : `No usable key: ${refusals.join('; ')}. The table is copied whole, and deltas skip it.`,
    );
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

/** Why a unique index can't be the key; null when it can. */
function refuseIndex(table: CatalogTable, own: ReadonlyMap<string, ColumnType>, index: CatalogIndex): string | null {
  for (const part of index.parts) {
    if (part.column === '') return 'holds an expression';
    const column = table.columns.find((one) => one.name === part.column);
    const type = own.get(part.column);
    if (!column || !type) return `holds ${part.column}, which is not copied`;
    if (column.nullable) return `holds ${part.column}, which may be NULL`;
    const refusal = refuseKeyType(part.column, type);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refuseKeyType(name: string, type: ColumnType): string | null {
  if (type.kind === 'float' || type.kind === 'double') return `holds the FLOAT or DOUBLE column ${name}`;
  if (type.kind === 'text' || type.kind === 'blob' || type.kind === 'json')
    return `holds ${name}, whose type ${formatColumnType(type)} is too long for a key`;
  return null;
}

function userKey(
  where: string,
  table: CatalogTable,
  own: ReadonlyMap<string, ColumnType>,
  wanted: readonly string[],
): string[] {
  const key = wanted.map((name) => {
    const column =
      table.columns.find((one) => one.name === name) ??
      table.columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
    const type = column && own.get(column.name);
    if (!column || !type)
      throw new Misconfigured(`The key column ${name} of ${where} does not exist or is not copied.`, 'Correct `key`.');
    if (column.nullable)
      throw new UnsupportedValue(
        `The key column ${name} of ${where} may be NULL.`,
        'Choose NOT NULL columns in `key`.',
      );
    const refusal = refuseKeyType(name, type);
    if (refusal !== null)
      throw new UnsupportedValue(`The key of ${where} ${refusal}.`, 'Choose other columns in `key`.');
    return column.name;
  });
  if (new Set(key).size !== key.length)
    throw new Misconfigured(`The key of ${where} names a column twice.`, 'Correct `key`.');
  const indexed = table.indexes.some(
    (index) =>
      index.parts.length >= key.length && index.parts.slice(0, key.length).every((part) => key.includes(part.column)),
  );
  if (table.type !== 'VIEW' && !indexed)
    throw new UnsupportedValue(
      `${where} has no index that begins with the chosen key.`,
      `Create one at the source: CREATE INDEX flow_key ON ${where} (${key.join(', ')}).`,
    );
  return key;
}

/** Options `types` and `mask`; both are refused where they would change a key (EXACTNESS.md §8). */
function applyOptions(
  where: string,
  columns: readonly Column[],
  key: readonly string[],
  options: TableOptions,
): Column[] {
  const types = options.types ?? {};
  for (const name of [...Object.keys(types), ...(options.mask ?? [])])
    if (!columns.some((column) => column.name === name))
      throw new Misconfigured(`${where} has no copied column ${name}.`, 'Correct `types` or `mask`.');
  return columns.map((column) => {
    const inKey = key.includes(column.name);
    const masked = options.mask?.includes(column.name) ?? false;
    if (masked && inKey)
      throw new UnsupportedValue(
        `The key column ${column.name} of ${where} can't be masked.`,
        'Take it out of `mask`, or choose another key.',
      );
    if (masked) return { ...column, type: { kind: 'varchar', length: 1 }, nullable: true, masked };
    const wanted = Object.hasOwn(types, column.name) ? types[column.name] : undefined;
    if (wanted === undefined) return column;
    const type = parseColumnType(wanted);
    const fits = typeFit(column.type, type);
    if (fits === 'never' || (inKey && fits === 'narrows'))
      throw new UnsupportedValue(
        `${where}.${column.name} (${column.sourceType}) can't be copied as ${formatColumnType(type)}${fits === 'never' ? '' : ', since it is in the key'}.`,
        'Correct `types`.',
      );
    return { ...column, type };
  });
}

function isText(type: ColumnType): boolean {
  return type.kind === 'char' || type.kind === 'varchar' || type.kind === 'text';
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
