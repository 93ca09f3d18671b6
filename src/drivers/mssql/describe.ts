import { createHash } from 'node:crypto';
import { type Fit, fit as typeFit } from '../column-types.ts';
import { chooseCursor } from '../cursor.ts';
import { applyOptions, checkCondition, refusedTable } from '../description.ts';
import { Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Described, DescribeRequest, LeftOut, Table, TableOptions } from '../model.ts';
import { hasText } from '../table-key.ts';
import { type CatalogTable, readTables } from './catalog.ts';
import { type Instance, newest, pin, readInstances } from './cdc-instances.ts';
import type { Connection } from './connection.ts';
import { isUnknown } from './errors.ts';
import { chooseKey } from './key.ts';
import type { CaptureMode } from './options.ts';
import { chunkSelect, EVERYTHING } from './range.ts';
import { readTracked, type Tracked } from './tracked.ts';
import { type CatalogColumn, columnType } from './types.ts';

/**
 * Describes tables in a few statements for all of them; a missing or refused one is an `error` entry. `choose`: which of a table's capture
 * instances counts, where it is followed by CDC.
 */
export async function describeTables(
  connection: Connection,
  mode: CaptureMode,
  requests: readonly DescribeRequest[],
  choose: (instances: readonly Instance[], request: number) => Instance | undefined = newest,
): Promise<Described[]> {
  const catalog = await readTables(
    connection,
    requests.map(({ ref }) => ref),
  );
  const instances = mode === 'cdc' ? await readInstances(connection) : [];
  const tracked = new Map(mode === 'tracking' ? (await readTracked(connection)).map((one) => [one.id, one]) : []);
  const described: Described[] = [];
  for (const [index, { ref, options }] of requests.entries()) {
    try {
      const found = catalog[index];
      if (!found)
        throw new Misconfigured(
          `The table ${ref.schema}.${ref.name} does not exist, or the user may not see it.`,
          'Check the name, and grant the source user SELECT on it.',
        );
      const instance = choose(
        instances.filter(({ table }) => table === found.id),
        index,
      );
      const table = describeTable(ref, found, options, mode, instance, tracked.get(found.id));
      await checkCondition(
        ref,
        options.where,
        'Correct `where`; it is T-SQL without the word WHERE.',
        (where) => connection.query(`${chunkSelect(table, where, EVERYTHING)} AND 1 = 0`),
        (error) => isUnknown(error) && !connection.broken(),
      );
      described.push({ ref, table });
    } catch (error) {
      described.push(refusedTable(ref, error));
    }
  }
  return described;
}

/** `instance`: the capture instance that changes come from, of a source that is followed by CDC. `tracked`: of one that is by change tracking. */
export function describeTable(
  ref: DescribeRequest['ref'],
  found: CatalogTable,
  options: TableOptions,
  mode: CaptureMode,
  instance?: Instance,
  tracked?: Tracked,
): Table {
  const where = `${ref.schema}.${ref.name}`;
  const leftOut: LeftOut[] = [];
  const warnings: string[] = [];
  const kept: CatalogColumn[] = [];
  for (const column of found.columns) {
    const reason =
      leaveOut(column, mode, instance) ??
      (columnType(column, false) === null ? `The type ${column.full} is not known.` : null);
    if (reason === null) kept.push(column);
    else leftOut.push({ name: column.name, sourceType: column.full, reason });
  }
  if (kept.length === 0)
    throw new UnsupportedValue(`${where} has no column that can be copied.`, 'Deselect the table.');
  const key = chooseKey(where, found, kept, options.key, mode === 'tracking', warnings);
  const own = kept.map((column): Column => {
    const type = columnType(column, key.includes(column.name));
    if (type === null) throw new RangeError('a column without a type was kept');
    return { name: column.name, type, nullable: column.nullable, sourceType: column.full, masked: false };
  });
  const columns = applyOptions(where, own, key, options, fitOf);
  const followed = key.length > 0 && found.kind === 'table';
  const cursor =
    mode === 'cursor' && followed ? chooseCursor(where, cursorColumns(kept), options.cursor, warnings) : [];
  if (mode === 'cdc' && found.kind === 'table') warnings.push(...cdcWarnings(found, instance));
  if (key.length > 0 && mode !== 'none' && kept.some((column) => key.includes(column.name) && foldsCase(column)))
    warnings.push(
      'The key holds text that the source compares without regard to case or width: an update that changes only that may leave the old row beside the new one, which `validate` finds.',
    );
  return {
    ref,
    kind: found.kind === 'view' ? 'view' : found.partitions > 1 ? 'partitioned' : 'table',
    columns,
    leftOut,
    key,
    ...(isImmediate(found, key) ? { immediate: true } : {}),
    ...(cursor.length > 0 ? { cursor } : {}),
    textKey: hasText(columns, key),
    approxRows: found.rows,
    approxBytes: found.bytes,
    structure: structureOf(kept, columns, leftOut, key, cursor),
    // A memory-optimized table is read in another way; changes come from one capture instance, or from one beginning of change tracking.
    storage: found.memory ? 'memory' : instance ? pin(instance) : (tracked?.began ?? ''),
    warnings,
  };
}

/** Whether an index of these columns, or of some of them, keeps rows apart: this server checks at every statement. */
function isImmediate(found: CatalogTable, key: readonly string[]): boolean {
  return found.indexes.some((one) => one.unique && !one.filtered && one.columns.every((name) => key.includes(name)));
}

function leaveOut(column: CatalogColumn, mode: CaptureMode, instance: Instance | undefined): string | null {
  switch (column.odd) {
    case 'column set':
      return 'A column set: it shows sparse columns that are copied themselves.';
    case 'encrypted':
      return 'An encrypted column (Always Encrypted): only clients with its key can read it.';
    case 'hidden':
      return 'The server masks its values for this user (dynamic data masking): GRANT UNMASK.';
    case 'graph':
      return 'A column of a graph table that the server keeps to itself.';
  }
  if (column.computed && !column.deterministic && mode !== 'none')
    return 'A computed column that is not deterministic: it changes without a change that could be followed.';
  if (mode === 'cdc' && instance) {
    if (column.computed) return 'A computed column: CDC carries no values of them. Compute it at the destination.';
    if (!instance.columns.some(({ id }) => id === column.id))
      return `The capture instance ${instance.name} does not hold it: make a second one with EXEC sys.sp_cdc_enable_table.`;
  }
  return null;
}

function cursorColumns(columns: readonly CatalogColumn[]) {
  return columns.map(({ name, word, nullable }) => ({
    name,
    nullable,
    clock:
      word === 'timestamp'
        ? ('version' as const)
        : /^(date|small|datetime)/.test(word) && word !== 'date'
          ? ('time' as const)
          : null,
  }));
}

function cdcWarnings(found: CatalogTable, instance: Instance | undefined): string[] {
  if (!instance) return ['CDC is not enabled for the table: it is copied whole, and deltas can not follow it.'];
  return found.partitions > 1 && instance.partitionSwitch
    ? [
        'A partition that is switched in or out is in no change table: `validate` finds it; or enable CDC with @allow_partition_switch = 0.',
      ]
    : [];
}

function foldsCase(column: CatalogColumn): boolean {
  return column.collation !== '' && !/_BIN2?(_|$)/.test(column.collation) && !/_CS_AS_KS_WS/.test(column.collation);
}

/** An offset is text by itself; as a date and time it is brought to UTC, which a key must not be. */
function fitOf(column: Column, type: ColumnType): Fit {
  return column.sourceType.startsWith('datetimeoffset') && type.kind === 'datetime'
    ? 'narrows'
    : typeFit(column.type, type);
}

/**
 * A digest of all that decides what a reader sees, then the columns' ids in order: they tell a column that was dropped and made again, and
 * one that was renamed. `+` marks one that may have had a value in every row from its first moment.
 */
function structureOf(
  kept: readonly CatalogColumn[],
  copied: readonly Column[],
  leftOut: readonly LeftOut[],
  key: readonly string[],
  cursor: readonly string[],
): string {
  const columns = kept.map(({ full, nullable, collation, computed }) => [full, nullable, collation, computed]);
  const digest = createHash('sha256')
    .update(JSON.stringify([columns, copied, leftOut, key, cursor]))
    .digest('base64url')
    .slice(0, 22);
  const ids = kept.map(
    ({ id, hasDefault, computed, nullable }) => `${id}${hasDefault || computed || !nullable ? '+' : ''}`,
  );
  return `${digest} ${ids.join(',')}`;
}
