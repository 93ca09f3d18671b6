import { createHash } from 'node:crypto';
import { formatColumnType, isText, parseColumnType, fit as typeFit } from '../column-types.ts';
import { UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, LeftOut, Table, TableOptions } from '../model.ts';
import type { Relation, SourceColumn, Storage } from './catalog.ts';
import { chooseKey, isImmediate, keyProblem, needsRoom, roomPerColumn } from './key.ts';
import { type LogForm, type Mapping, mapKey, mapType, type Special } from './types.ts';

/** What the server says that decides types (`connection.ts`). */
export type Facts = { readonly version: number; readonly moneyScale: number };

/** A key column without a length of its own, to be measured: `room` is what it gets at least, in bytes. */
export type OpenKey = { readonly name: string; readonly binary: boolean; readonly room: number };

/** How one copied column is read. */
export type Cell = { readonly sql: string; readonly special: Special | undefined; readonly log: LogForm };

const MASKED: ColumnType = { kind: 'varchar', length: 1 };
/**
 * A table as it will be copied. `measured`: bytes of the longest values of the open key columns (`openKeys`); a key that its room does not hold gets twice that.
 * Throws `UnsupportedValue` when the table can't be copied with these options.
 */
export function describeTable(
  relation: Relation,
  options: TableOptions,
  facts: Facts,
  measured: ReadonlyMap<string, number>,
): Table {
  const { copied, leftOut } = copiedColumns(relation, facts);
  checkOptions(relation, copied, options);
  const key = chooseKey(relation, copied, options);
  const mappings = new Map(copied.map((column) => [column.name, mapType(column.type, facts.moneyScale)]));
  const open = new Map(openKeysOf(key.columns, mappings, options).map((one) => [one.name, one]));
  const keyNames = new Set(key.columns.map((column) => column.name));
  const columns = copied.map((column): Column => {
    const mapping = mappings.get(column.name) as Mapping;
    const isKey = keyNames.has(column.name);
    const masked = options.mask?.includes(column.name) ?? false;
    if (masked && isKey)
      throw new UnsupportedValue(
        `The key column "${column.name}" can't be masked.`,
        'Remove it from `mask`, or choose another `key`.',
      );
    const openKey = open.get(column.name);
    const natural = openKey ? keyed(mapping, openKey, measured.get(column.name) ?? 0) : mapping.type;
    const type = masked ? MASKED : (chosenType(column, natural, mapping, options, isKey) ?? natural);
    const ruled = cellOf(column, { type, masked }, isKey, facts.moneyScale).special !== undefined;
    return {
      name: column.name,
      type,
      nullable: !isKey && (!column.notNull || masked || ruled),
      sourceType: column.typeText,
      masked,
    };
  });
  const problem = key.columns
    .map((column) =>
      keyProblem(column.name, { ...mapType(column.type, facts.moneyScale), type: typeOf(columns, column.name) }),
    )
    .find((one) => one);
  if (problem) throw problem;
  return {
    ref: relation.ref,
    kind: relation.kind === 'r' ? 'table' : relation.kind === 'p' ? 'partitioned' : 'view',
    columns,
    leftOut,
    key: key.columns.map((column) => column.name),
    ...(isImmediate(relation, key.columns) ? { immediate: true as const } : {}),
    textKey:
      key.columns.length > 0 &&
      (isView(relation) ||
        key.columns.some((column) => isLoose(mappings.get(column.name), typeOf(columns, column.name)))),
    approxRows: sum(relation.storage.map((one) => one.rows)),
    approxBytes: sum(relation.storage.map((one) => one.bytes)),
    structure: structureOf(relation, copied, key.columns, options, facts),
    storage: storageOf(relation.storage),
    warnings: [...key.warnings, ...relationWarnings(relation)],
  };
}

/** The key columns whose longest value decides their type at the destination; [] for most tables. */
export function openKeys(relation: Relation, options: TableOptions, facts: Facts): OpenKey[] {
  const { copied } = copiedColumns(relation, facts);
  const key = chooseKey(relation, copied, options);
  const mappings = new Map(copied.map((column) => [column.name, mapType(column.type, facts.moneyScale)]));
  return openKeysOf(key.columns, mappings, options);
}

/** How the columns of a described table are read, in its order; undefined when one is gone. */
export function cellsOf(relation: Relation, table: Table, facts: Facts): Cell[] | undefined {
  const cells: Cell[] = [];
  for (const column of table.columns) {
    const source = relation.columns.find((one) => one.name === column.name);
    if (!source) return undefined;
    cells.push(cellOf(source, column, table.key.includes(column.name), facts.moneyScale));
  }
  return cells;
}

/** Beyond so many a partitioned table's files are named by a digest: any change among them is then taken for one of its rows. */
const LISTED = 500;

/** Names storage files: other text, other files. Recreating or attaching a partition changes it too. */
export function storageOf(storage: readonly Pick<Storage, 'oid' | 'filenode'>[]): string {
  const files = storage.map((one) => `${one.oid}:${one.filenode}`).join();
  return storage.length > LISTED ? digest(files) : files;
}

/** The files that a table's storage names, by oid; undefined: it is a digest. */
export function storageFiles(table: Table): Map<number, number> | undefined {
  if (table.storage === '') return new Map();
  if (!table.storage.includes(':')) return undefined;
  return new Map(table.storage.split(',').map((file) => file.split(':').map(Number) as [number, number]));
}

/** Columns that both a read and the log give, and those that are left out with the reason. */
export function copiedColumns(relation: Relation, facts: Facts): { copied: SourceColumn[]; leftOut: LeftOut[] } {
  const leftOut: LeftOut[] = [];
  const copied = relation.columns.filter((column) => {
    const reason =
      column.generated === 'virtual'
        ? 'It is a virtual generated column, which the log never carries.'
        : column.generated === 'stored' && facts.version < 180000
          ? 'It is a generated column, which the log carries only from PostgreSQL 18 on.'
          : undefined;
    if (reason !== undefined) leftOut.push({ name: column.name, sourceType: column.typeText, reason });
    return reason === undefined;
  });
  if (copied.length === 0)
    throw new UnsupportedValue(
      `Table ${relation.ref.schema}.${relation.ref.name} has no column that can be copied.`,
      'Deselect it.',
    );
  return { copied, leftOut };
}

function checkOptions(relation: Relation, copied: readonly SourceColumn[], options: TableOptions): void {
  const known = new Set(copied.map((column) => column.name));
  for (const name of [...(options.mask ?? []), ...Object.keys(options.types ?? {})])
    if (!known.has(name))
      throw new UnsupportedValue(
        `Table ${relation.ref.schema}.${relation.ref.name} has no copied column "${name}".`,
        'Correct `mask` or `types` of the table.',
      );
  const seen = new Map<string, string>();
  for (const { name } of copied) {
    const twin = seen.get(name.toLowerCase());
    if (twin !== undefined)
      throw new UnsupportedValue(
        `The columns "${twin}" and "${name}" differ only in case, which the destination does not tell apart.`,
        'Rename one of them at the source.',
      );
    seen.set(name.toLowerCase(), name);
  }
}

/** How a column is read, and the same from the log. */
export function cellOf(
  source: Pick<SourceColumn, 'name' | 'type'>,
  column: Pick<Column, 'type' | 'masked'>,
  isKey: boolean,
  moneyScale: number,
): Cell {
  if (column.masked) return { sql: 'null::text', special: undefined, log: 'masked' };
  const mapping = mapType(source.type, moneyScale);
  const name = `"${source.name.replaceAll('"', '""')}"`;
  // Text holds every value, so that no rule applies: `types` is a way to keep NaN and infinite dates.
  if (mapping.special !== undefined && isText(column.type))
    return { sql: mapping.text(name), special: undefined, log: mapping.logText };
  const { cell, log } = isKey ? mapKey(mapping, 0) : mapping;
  return { sql: cell(name), special: mapping.special, log };
}

function chosenType(
  column: SourceColumn,
  natural: ColumnType,
  mapping: Mapping,
  options: TableOptions,
  isKey: boolean,
): ColumnType | undefined {
  const text = options.types?.[column.name];
  if (text === undefined) return undefined;
  const type = parseColumnType(text);
  const fits = typeFit(isKey ? natural : mapping.type, type);
  // A key without a length of its own has no natural limit that the user's could narrow; a longer key is a row error.
  const open =
    isKey && ['text', 'blob', 'json'].includes(mapping.type.kind) && ['varchar', 'binary'].includes(type.kind);
  if (fits === 'never' || (fits === 'narrows' && isKey && !open))
    throw new UnsupportedValue(
      `Column "${column.name}" (${column.typeText}) can't become ${formatColumnType(type)}${fits === 'never' ? '' : ': it is part of the key, which may not be narrowed'}.`,
      'Change the `types` of the table.',
    );
  return type;
}

function openKeysOf(
  key: readonly SourceColumn[],
  mappings: ReadonlyMap<string, Mapping>,
  options: TableOptions,
): OpenKey[] {
  const all = key.map((column) => mappings.get(column.name) as Mapping);
  const room = roomPerColumn(all);
  return key.flatMap((column, index) => {
    const mapping = all[index] as Mapping;
    if (!needsRoom(mapping, all.length) || options.types?.[column.name] !== undefined) return [];
    return [{ name: column.name, binary: mapping.type.kind === 'blob', room }];
  });
}

function keyed(mapping: Mapping, open: OpenKey, longest: number): ColumnType {
  const room = longest <= open.room ? open.room : 2 * longest;
  if (mapping.type.kind !== 'varchar') return mapKey(mapping, room).type;
  return { kind: 'varchar', length: Math.min(mapping.type.length, Math.floor(room / 4)) };
}

/** Whether two keys that differ might compare equal as strings at a destination (`Table.textKey`). */
function isLoose(mapping: Mapping | undefined, type: ColumnType): boolean {
  return (
    (isText(type) && isText(mapping?.type ?? type) && mapping?.canonical !== true) ||
    (isText(type) && mapping?.type.kind === 'json')
  );
}

/** Views, materialised views and foreign tables: no log reports their changes, and pages or indexes can't be relied on. */
export function isView(relation: Relation): boolean {
  return relation.kind !== 'r' && relation.kind !== 'p';
}

function typeOf(columns: readonly Column[], name: string): ColumnType {
  return (columns.find((column) => column.name === name) as Column).type;
}

function relationWarnings(relation: Relation): string[] {
  const table = `${relation.ref.schema}.${relation.ref.name}`;
  if (relation.children)
    return [`${table} has child tables by inheritance: only its own rows are copied; select the children beside it.`];
  return isView(relation)
    ? [`${table} is not an ordinary table: it is copied by full extracts, and no delta can follow it.`]
    : [];
}

function structureOf(
  relation: Relation,
  copied: readonly SourceColumn[],
  key: readonly SourceColumn[],
  options: TableOptions,
  facts: Facts,
): string {
  const columns = copied.map((column) => [column.number, column.name, column.typeText, column.type, column.notNull]);
  const { mask = [], types = {} } = options;
  const all = digest([
    relation.oid,
    relation.kind,
    columns,
    key.map((column) => column.number),
    mask,
    types,
    facts.moneyScale,
  ]);
  return `${all}.${relation.oid}.${numbersOf(copied)}`;
}

/** Which table a structure is of, and the numbers of its copied columns, whatever the options; undefined: it does not say. */
export function structureParts(
  table: Table,
): { readonly oid: number; readonly numbers: readonly number[] } | undefined {
  const [, oid, ranges] = table.structure.split('.');
  if (oid === undefined || ranges === undefined) return undefined;
  const numbers = ranges.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  return { oid: Number(oid), numbers };
}

/** A column that was dropped and added again has another number: its values are others, though the log describes it just the same. */
function numbersOf(copied: readonly SourceColumn[]): string {
  const ranges: [number, number][] = [];
  for (const { number } of copied) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join();
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
