import type { Column, Table } from '../model.ts';
import type { Charsets } from './charsets.ts';
import { labelsOf } from './labels.ts';
import { type LogColumn, OP } from './log-columns.ts';
import { decimalBytes } from './number-text.ts';
import { type MappedColumn, type TableMap, TYPE } from './table-map.ts';
import { fractionBytes } from './temporals.ts';
import { cell } from './types.ts';

/** What the catalog says of a table's columns, by their places in its rows; undefined at places that the source user may not see. */
export type Layout = readonly ({ readonly name: string; readonly charset: string } | undefined)[];

/** How a table's rows are decoded, or why they can't be. */
export type RowPlan = { readonly columns: readonly LogColumn[]; readonly room: number };

/**
 * Compares a table with what the log says of its rows. `layout` is given where the catalog still shows the table as it is described. A text is
 * the difference, in words for people.
 */
export function planRows(
  table: Table,
  map: TableMap,
  layout: Layout | undefined,
  charsets: Charsets,
): RowPlan | string {
  const { columns } = map;
  if (
    !map.named &&
    layout &&
    (columns.length < layout.length || columns.slice(layout.length).some((one) => !isRowHash(one)))
  )
    return `the log shows ${columns.length} columns where ${layout.length} are known`;
  if (!map.named && !layout && (table.leftOut.length > 0 || columns.length !== table.columns.length))
    return 'its structure has changed, and the log does not name its columns (binlog_row_metadata is not FULL)';
  const planned: LogColumn[] = [];
  const seen = new Set<number>();
  for (const [place, mapped] of columns.entries()) {
    const known = layout?.[place];
    const name = mapped.name ?? known?.name ?? (layout ? undefined : table.columns[place]?.name);
    if (map.named && known && known.name !== name) return `the column ${known.name} is now ${name}`;
    const target = name === undefined ? -1 : table.columns.findIndex((column) => column.name === name);
    if (target < 0) {
      const hidden = (layout && place < layout.length && known === undefined) || isRowHash(mapped);
      if (!hidden && !table.leftOut.some((column) => column.name === name)) return `the column ${name} is new`;
      planned.push(skipped(mapped, name ?? ''));
      continue;
    }
    seen.add(target);
    const column = table.columns[target] as Column;
    const difference = typeDifference(column, mapped);
    if (difference) return difference;
    const charset = charsetOf(mapped, known?.charset, charsets);
    const mine = known?.charset ?? '';
    if (mapped.collation !== undefined && mine !== '' && charset !== mine)
      return `the charset of ${column.name} is now ${charset}`;
    const made = logColumn(column, mapped, target, table.key.indexOf(column.name), charset, charsets);
    if (typeof made === 'string') return made;
    planned.push(made);
  }
  const gone = table.columns.find((_, index) => !seen.has(index));
  if (gone) return `the column ${gone.name} is gone`;
  return { columns: planned, room: planned.reduce((sum, column) => sum + column.room + 3, 64) };
}

/** MariaDB keeps the hash of a long unique key in a column at the table's end that its catalog does not show. */
function isRowHash({ type, name }: MappedColumn): boolean {
  return type === TYPE.longlong && (name === undefined || /^DB_ROW_HASH_\d+$/.test(name));
}

function charsetOf(mapped: MappedColumn, known: string | undefined, charsets: Charsets): string | undefined {
  return (mapped.collation === undefined ? undefined : charsets.ofCollation(mapped.collation)) ?? known;
}

/** Charsets that rows of this table need, so that their tables can be loaded first. */
export function charsetsIn(map: TableMap, layout: Layout | undefined, charsets: Charsets): string[] {
  return map.columns.flatMap((mapped, place) => charsetOf(mapped, layout?.[place]?.charset, charsets) ?? []);
}

function skipped(mapped: MappedColumn, name: string): LogColumn {
  return {
    ...shape(mapped),
    name,
    op: OP.masked,
    target: -1,
    key: -1,
    repaired: false,
    labels: [],
    decode: null,
    room: 3,
  };
}

/** Sizes of a column's cells; `op` of those whose type says it all. */
function shape({ type, meta }: MappedColumn) {
  const fixed = (width: number, op: number, a = 0, b = 0) => ({ width, prefix: 0, op, a, b, compressed: false });
  const variable = (prefix: number, a = 0) => ({ width: 0, prefix, op: OP.text, a, b: 0, compressed: false });
  const fraction = meta & 255;
  switch (type) {
    case TYPE.tiny:
      return fixed(1, OP.signed);
    case TYPE.short:
      return fixed(2, OP.signed);
    case TYPE.int24:
      return fixed(3, OP.signed);
    case TYPE.long:
      return fixed(4, OP.signed);
    case TYPE.longlong:
      return fixed(8, OP.signed);
    case TYPE.float:
      return fixed(4, OP.float);
    case TYPE.double:
      return fixed(8, OP.double);
    case TYPE.decimal:
      return fixed(decimalBytes(meta & 255, meta >> 8), OP.decimal, meta & 255, meta >> 8);
    case TYPE.year:
      return fixed(1, OP.year);
    case TYPE.date:
    case TYPE.newdate:
      return fixed(3, OP.date);
    case TYPE.time:
      return fixed(3, OP.oldTime);
    case TYPE.datetime:
      return fixed(8, OP.oldDatetime);
    case TYPE.timestamp:
      return fixed(4, OP.oldTimestamp);
    case TYPE.time2:
      return fixed(3 + fractionBytes(fraction), OP.time, fraction);
    case TYPE.datetime2:
      return fixed(5 + fractionBytes(fraction), OP.datetime, fraction);
    case TYPE.timestamp2:
      return fixed(4 + fractionBytes(fraction), OP.timestamp, fraction);
    case TYPE.bit:
      return fixed((meta >> 8) + ((meta & 255) > 0 ? 1 : 0), OP.bits);
    case TYPE.enum:
      return fixed(meta, OP.enum);
    case TYPE.set:
      return fixed(meta, OP.set);
    case TYPE.varchar:
    case TYPE.varString:
    case TYPE.string:
      return variable(meta < 256 ? 1 : 2, type === TYPE.string ? meta : 0);
    case TYPE.varcharCompressed:
      return { ...variable(meta < 256 ? 1 : 2), compressed: true };
    case TYPE.blobCompressed:
      return { ...variable(meta), compressed: true };
    default:
      return variable(meta);
  }
}

const INTEGERS: Readonly<Record<string, number>> = {
  tinyint: TYPE.tiny,
  smallint: TYPE.short,
  mediumint: TYPE.int24,
  int: TYPE.long,
  bigint: TYPE.longlong,
};
const TEMPORALS: Readonly<Record<string, readonly [old: number, now: number]>> = {
  time: [TYPE.time, TYPE.time2],
  datetime: [TYPE.datetime, TYPE.datetime2],
  timestamp: [TYPE.timestamp, TYPE.timestamp2],
};
/** Whatever holds bytes with their length; how the server stores each type differs between versions. */
const VARIABLE: ReadonlySet<number> = new Set([
  TYPE.varchar,
  TYPE.varString,
  TYPE.string,
  TYPE.blob,
  TYPE.varcharCompressed,
  TYPE.blobCompressed,
  TYPE.json,
  TYPE.geometry,
  TYPE.vector,
]);

/** What is wrong between a described column and the log; undefined when they agree. */
function typeDifference(column: Column, mapped: MappedColumn): string | undefined {
  const source = column.sourceType.toLowerCase();
  const word = /^[a-z0-9]+/.exec(source)?.[0] ?? '';
  const other = `the column ${column.name} is not ${column.sourceType} any more`;
  const [first = '', second = ''] = /^[a-z0-9]+\((\d+)(?:,(\d+))?\)/.exec(source)?.slice(1) ?? [];
  const integer = INTEGERS[word];
  if (integer !== undefined) {
    const unsigned = source.includes('unsigned');
    return mapped.type === integer && (mapped.unsigned === undefined || mapped.unsigned === unsigned)
      ? undefined
      : other;
  }
  const temporal = TEMPORALS[word];
  if (temporal) {
    const digits = Number(first || '0');
    return mapped.type === temporal[0] || (mapped.type === temporal[1] && (mapped.meta & 255) === digits)
      ? undefined
      : other;
  }
  const same = (type: number, meta?: number) =>
    mapped.type === type && (meta === undefined || mapped.meta === meta) ? undefined : other;
  switch (word) {
    case 'float':
      return same(TYPE.float);
    case 'double':
      return same(TYPE.double);
    case 'decimal':
      return same(TYPE.decimal, Number(first || '10') + Number(second || '0') * 256);
    case 'year':
      return same(TYPE.year);
    case 'date':
      return mapped.type === TYPE.newdate ? undefined : same(TYPE.date);
    case 'bit': {
      const bits = Number(first || '1');
      return same(TYPE.bit, (bits & 7) + (bits >> 3) * 256);
    }
    case 'enum':
      return same(TYPE.enum);
    case 'set':
      return same(TYPE.set);
    default:
      return VARIABLE.has(mapped.type) ? undefined : other;
  }
}

function logColumn(
  column: Column,
  mapped: MappedColumn,
  target: number,
  key: number,
  charset: string | undefined,
  charsets: Charsets,
): LogColumn | string {
  const base = {
    ...shape(mapped),
    name: column.name,
    target,
    key,
    repaired: false,
    labels: [],
    decode: null,
    room: 80,
  };
  const source = column.sourceType.toLowerCase();
  const word = /^[a-z0-9]+/.exec(source)?.[0] ?? '';
  if (column.masked) return { ...base, op: OP.masked };
  const { encoding } = cell(column);
  const repaired = encoding === 'date';
  if (base.width > 0) {
    const labelled = base.op === OP.enum || base.op === OP.set;
    if (labelled) {
      const labels = labelsOf(column, mapped, charset, charsets);
      if (!labels) return `the values of ${column.name} can't be told`;
      const longest = labels.map((label) => label.length + 1);
      const room = base.op === OP.enum ? Math.max(80, ...longest) : longest.reduce((sum, length) => sum + length, 80);
      return { ...base, labels, room };
    }
    if (base.op === OP.signed) return { ...base, op: source.includes('unsigned') ? OP.unsigned : OP.signed };
    if (base.op === OP.year) return { ...base, a: source === 'year(2)' ? 2 : 4 };
    return { ...base, ...fraction(base.op, source), repaired };
  }
  switch (word) {
    case 'json':
      return { ...base, op: OP.json };
    case 'uuid':
      return { ...base, op: OP.uuid, a: 16, b: source.includes('old') ? 1 : 0 };
    case 'inet4':
      return { ...base, op: OP.inet4, a: 4 };
    case 'inet6':
      return { ...base, op: OP.inet6, a: 16 };
  }
  if (encoding === 'geometry') return { ...base, op: OP.geometry };
  if (encoding === 'vector') return { ...base, op: OP.vector };
  if (encoding === 'hex')
    return { ...base, op: OP.hex, a: word === 'binary' ? Number(/\d+/.exec(source)?.[0] ?? '1') : 0 };
  if (charset === undefined)
    return `the charset of ${column.name} is not known: its table has changed, and the log does not tell (binlog_row_metadata is not FULL)`;
  return { ...base, op: OP.text, decode: charsets.decoder(charset) };
}

/** MariaDB's old temporal types with a fraction are longer; the log tells their digits nowhere, the type's name does. */
function fraction(op: number, source: string): { width?: number; a?: number } {
  const digits = Number(/^[a-z]+\((\d)\)/.exec(source)?.[1] ?? '0');
  if (digits === 0) return {};
  if (op === OP.oldTime) return { width: [3, 4, 4, 5, 5, 5, 6][digits] as number, a: digits };
  if (op === OP.oldDatetime) return { width: [5, 6, 6, 7, 7, 7, 8][digits] as number, a: digits };
  if (op === OP.oldTimestamp) return { width: 4 + ([0, 1, 1, 2, 2, 3, 3][digits] as number), a: digits };
  return {};
}
