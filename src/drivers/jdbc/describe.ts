import { createHash } from 'node:crypto';
import { formatColumnType, parseColumnType, fit as typeFit } from '../column-types.ts';
import { UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, LeftOut, Table, TableOptions } from '../model.ts';
import { hasText } from '../table-key.ts';
import { type CatalogColumn, type CatalogTable, kindOf } from './catalog.ts';
import type { Facts } from './session.ts';
import { type Mapping, mapType } from './types.ts';

const MASKED: ColumnType = { kind: 'varchar', length: 1 };

/** A table as it will be copied. Throws `UnsupportedValue` when it can't be with these options. */
export function describeTable(facts: Facts, found: CatalogTable, options: TableOptions): Table {
  const where = `${found.ref.schema}.${found.ref.name}`;
  const { copied, mappings, leftOut, warnings } = copiedColumns(facts, found, where);
  checkOptions(where, copied, options);
  const key = chooseKey(where, found, copied, options);
  const columns = copied.map((column): Column => {
    const mapping = mappings.get(column.name) as Mapping;
    const isKey = key.includes(column.name);
    const masked = options.mask?.includes(column.name) ?? false;
    if (masked && isKey)
      throw new UnsupportedValue(
        `The key column "${column.name}" of ${where} can't be masked.`,
        'Take it out of `mask`, or choose another `key`.',
      );
    const natural = isKey ? keyType(column, mapping.type, key.length) : mapping.type;
    const type = masked ? MASKED : chosenType(where, column, natural, mapping, options, isKey);
    return {
      name: column.name,
      type,
      nullable: !isKey && (column.nullable || masked || mapping.special === true),
      sourceType: sourceType(column),
      masked,
    };
  });
  for (const name of key) checkKey(where, columns.find((column) => column.name === name) as Column);
  return {
    ref: found.ref,
    kind: kindOf(found.type),
    columns,
    leftOut,
    key,
    textKey: hasText(columns, key),
    // JDBC has no word for them that costs nothing.
    approxRows: 0,
    approxBytes: 0,
    structure: structureOf(found, columns, key),
    storage: '',
    warnings: key.length === 0 && kindOf(found.type) !== 'view' ? [...warnings, keyless(where)] : warnings,
  };
}

/** How the columns of a described table are read, in its order; undefined when one is gone. */
export function mappingsOf(facts: Facts, found: CatalogTable, table: Table): Mapping[] | undefined {
  const mappings: Mapping[] = [];
  for (const { name } of table.columns) {
    const column = found.columns.find((one) => one.name === name);
    const mapping = column && mapType(facts, column);
    if (!mapping || 'reason' in mapping) return undefined;
    mappings.push(mapping);
  }
  return mappings;
}

function copiedColumns(
  facts: Facts,
  found: CatalogTable,
  where: string,
): { copied: CatalogColumn[]; mappings: Map<string, Mapping>; leftOut: LeftOut[]; warnings: string[] } {
  const mappings = new Map<string, Mapping>();
  const leftOut: LeftOut[] = [];
  const warnings: string[] = [];
  const copied = found.columns.filter((column) => {
    const mapping = mapType(facts, column);
    if ('reason' in mapping) {
      leftOut.push({ name: column.name, sourceType: sourceType(column), reason: mapping.reason });
      return false;
    }
    mappings.set(column.name, mapping);
    if (mapping.warning !== undefined) warnings.push(mapping.warning);
    return true;
  });
  if (copied.length === 0)
    throw new UnsupportedValue(`${where} has no column that can be copied.`, 'Deselect the table.');
  const seen = new Map<string, string>();
  for (const { name } of copied) {
    const twin = seen.get(name.toLowerCase());
    if (twin !== undefined)
      throw new UnsupportedValue(
        `The columns "${twin}" and "${name}" of ${where} differ only in case, which the destination does not tell apart.`,
        'Rename one of them at the source, or copy a view.',
      );
    seen.set(name.toLowerCase(), name);
  }
  return { copied, mappings, leftOut, warnings };
}

function checkOptions(where: string, copied: readonly CatalogColumn[], options: TableOptions): void {
  for (const name of [...Object.keys(options.types ?? {}), ...(options.mask ?? [])])
    if (!copied.some((column) => column.name === name))
      throw new UnsupportedValue(`${where} has no copied column "${name}".`, 'Correct `types` or `mask` of the table.');
}

/** The user's key, else the primary key. Unique indexes don't count: JDBC does not tell those that hold all rows from those that don't. */
function chooseKey(
  where: string,
  found: CatalogTable,
  copied: readonly CatalogColumn[],
  options: TableOptions,
): string[] {
  if (options.key === undefined || options.key.length === 0)
    return found.key.every((name) => copied.some((column) => column.name === name)) ? [...found.key] : [];
  const isView = kindOf(found.type) === 'view';
  const key = options.key.map((name) => {
    const column = copied.find((one) => one.name === name);
    if (!column)
      throw new UnsupportedValue(
        `The key column "${name}" of ${where} does not exist, or is not copied.`,
        'Correct `key`.',
      );
    // Drivers know nothing of the columns of views; a NULL in a key is refused at the destination.
    if (column.nullable && !isView)
      throw new UnsupportedValue(
        `The key column "${name}" of ${where} may be NULL.`,
        'Choose NOT NULL columns in `key`.',
      );
    return column.name;
  });
  if (new Set(key).size !== key.length)
    throw new UnsupportedValue(`The key of ${where} names a column twice.`, 'Correct `key`.');
  return key;
}

/** Bytes that a key has room for at every destination; utf8mb4 counts 4 a character. */
const KEY_BYTES = 3072;

/** Texts and bytes in a key have a length: their own where it fits, else an equal share of a key's room. A longer one is refused, never cut. */
function keyType(column: CatalogColumn, type: ColumnType, columns: number): ColumnType {
  const room = Math.floor((KEY_BYTES - 16 * columns) / columns);
  switch (type.kind) {
    case 'text':
    case 'json':
      return { kind: 'varchar', length: Math.floor(room / 4) };
    case 'varchar':
      return { kind: 'varchar', length: Math.min(type.length, Math.floor(room / 4)) };
    case 'blob':
      return { kind: 'binary', length: column.size > 0 ? Math.min(column.size, room) : room };
    case 'binary':
      return { kind: 'binary', length: Math.min(type.length, room) };
    default:
      return type;
  }
}

function chosenType(
  where: string,
  column: CatalogColumn,
  natural: ColumnType,
  mapping: Mapping,
  options: TableOptions,
  isKey: boolean,
): ColumnType {
  const wanted = Object.hasOwn(options.types ?? {}, column.name) ? options.types?.[column.name] : undefined;
  if (wanted === undefined) return natural;
  const type = parseColumnType(wanted);
  const fits = typeFit(isKey ? natural : mapping.type, type);
  // A key without a length of its own has none that the user's could narrow.
  const open =
    isKey && ['text', 'blob', 'json'].includes(mapping.type.kind) && ['varchar', 'binary'].includes(type.kind);
  if (fits === 'never' || (fits === 'narrows' && isKey && !open))
    throw new UnsupportedValue(
      `Column "${column.name}" of ${where} (${sourceType(column)}) can't become ${formatColumnType(type)}${fits === 'never' ? '' : ': it is part of the key, which may not be narrowed'}.`,
      'Change the `types` of the table.',
    );
  return type;
}

function checkKey(where: string, { name, type }: Column): void {
  if (type.kind !== 'float' && type.kind !== 'double') return;
  throw new UnsupportedValue(
    `The key column "${name}" of ${where} is ${formatColumnType(type)}: equal numbers may differ in their last digit at the destination.`,
    'Choose another `key`, or give the column an exact type with `types`, e.g. VARCHAR(32).',
  );
}

/** The type in the source's words: its name, with the digits that it was declared with where the name lacks them. */
function sourceType({ typeName, jdbcType, size, scale }: CatalogColumn): string {
  if (typeName.includes('(') || size <= 0 || size > 1_000_000) return typeName;
  if (jdbcType === 2 || jdbcType === 3) return `${typeName}(${size},${scale ?? 0})`;
  return [1, 12, -15, -9, -2, -3].includes(jdbcType) ? `${typeName}(${size})` : typeName;
}

function keyless(where: string): string {
  return `${where} has no primary key: it is read whole by one statement. Name a \`key\` if other columns are unique and NOT NULL.`;
}

/** A digest of all that decides what a reader sees. */
function structureOf(found: CatalogTable, columns: readonly Column[], key: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([found.type, found.columns, columns, key]))
    .digest('base64url')
    .slice(0, 22);
}
