import { createHash } from 'node:crypto';
import { formatColumnType, parseColumnType, fit as typeFit } from '../column-types.ts';
import { chooseCursor } from '../cursor.ts';
import { isPermanent, Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Described, DescribeRequest, LeftOut, Table, TableOptions } from '../model.ts';
import { type CatalogTable, readTables } from './catalog.ts';
import { missingGrant } from './errors.ts';
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
      if (options.where !== undefined && options.where.trim() !== '')
        await checkCondition(session, table, options.where);
      described.push({ ref, table });
    } catch (error) {
      if (!isPermanent(error)) throw error;
      described.push({ ref, error: { class: error.name, message: error.message, action: error.action } });
    }
  }
  return described;
}

/** Lets the server parse and resolve a condition, without a row. */
async function checkCondition(session: Session, table: Table, where: string): Promise<void> {
  try {
    await session.query(`${chunkSelect(table, where, {})} and 1 = 0`);
  } catch (error) {
    if (!isPermanent(error) || error.name === 'AccessDenied') throw error;
    throw new Misconfigured(
      `The condition of ${table.ref.schema}.${table.ref.name} is refused by the source: ${error.message}`,
      'Correct `where`; it is SQL of the source without the word WHERE.',
    );
  }
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
  const key = refusal !== null ? [] : chooseKey(where, found, own, options.key, warnings);
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
    textKey: chosen.some((column) => key.includes(column.name) && isText(column.type)),
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
  where: string,
  table: CatalogTable,
  own: ReadonlyMap<string, ColumnType>,
  wanted: readonly string[] | undefined,
  warnings: string[],
): string[] {
  if (wanted !== undefined && wanted.length > 0) return userKey(where, table, own, wanted);
  const refusals: string[] = [];
  for (const key of table.keys) {
    const refusal = key.columns.map((name) => refuseColumn(table, own, name)).find((one) => one !== null);
    if (refusal === undefined) return [...key.columns];
    refusals.push(`${key.primary ? 'the primary key' : `the unique key ${key.name}`} ${refusal}`);
  }
  if (!table.view)
    warnings.push(
      refusals.length === 0
        ? 'The table has no primary key and no NOT NULL unique key: it is copied whole, and deltas skip it.'
        : `No usable key: ${refusals.join('; ')}. The table is copied whole, and deltas skip it.`,
    );
  return [];
}

/** Why a column can't be in the key; null when it can. */
function refuseColumn(table: CatalogTable, own: ReadonlyMap<string, ColumnType>, name: string): string | null {
  const type = own.get(name);
  const column = table.columns.find((one) => one.name === name);
  if (!type || !column) return `holds ${name}, which is not copied`;
  if (column.nullable) return `holds ${name}, which may be NULL`;
  if (type.kind === 'float' || type.kind === 'double') return `holds the BINARY_FLOAT or BINARY_DOUBLE column ${name}`;
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
    if (!column || !own.has(column.name))
      throw new Misconfigured(`The key column ${name} of ${where} does not exist or is not copied.`, 'Correct `key`.');
    const refusal = refuseColumn(table, own, column.name);
    if (refusal !== null)
      throw new UnsupportedValue(`The key of ${where} ${refusal}.`, 'Choose other columns in `key`.');
    return column.name;
  });
  if (new Set(key).size !== key.length)
    throw new Misconfigured(`The key of ${where} names a column twice.`, 'Correct `key`.');
  const indexed = table.indexes.some(
    (parts) => parts.length >= key.length && parts.slice(0, key.length).every((part) => key.includes(part)),
  );
  if (!table.view && !indexed)
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

/** Whether the source keeps the key unique at every moment. */
function isImmediate(found: CatalogTable, key: readonly string[]): boolean {
  return key.length > 0 && found.keys.some((one) => !one.deferrable && one.columns.every((name) => key.includes(name)));
}

function isText(type: ColumnType): boolean {
  return type.kind === 'char' || type.kind === 'varchar' || type.kind === 'text';
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
