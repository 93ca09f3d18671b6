import { MAX_VARBINARY, MAX_VARCHAR } from '../column-types.ts';
import type { ColumnType } from '../model.ts';
import type { SourceType } from './source-type.ts';

/** Values that no destination type of the same kind holds, found in the rows on their way (`special-values.ts`). */
export type Special = 'number' | 'infinite' | 'date' | 'datetime';

/**
 * How the text of a value in the log becomes the bytes that `Mapping.cell` gives (`log-cell.ts`). `verbatim`: digits, letters and signs that
 * nothing escapes. `unknown`: the text does not say, so that the row must be read again.
 */
export type LogForm =
  | 'verbatim'
  | 'text'
  | 'number'
  | 'bool'
  | 'money'
  | 'bits'
  | 'hex'
  | 'date'
  | 'timestamp'
  | 'timestamptz'
  | 'utc'
  | 'point'
  | 'json'
  | 'masked'
  | 'unknown';

/** How a source type arrives: its type at the destination and the cheapest SQL that prints a value exactly as load text wants it. */
export type Mapping = {
  readonly type: ColumnType;
  /** The cell of a row, given the quoted column. */
  readonly cell: (column: string) => string;
  /** The value as text, for columns that the user turns into text and for keys that the destination can't hold otherwise. */
  readonly text: (column: string) => string;
  /** The same from the log: as `cell`, and as `text`. */
  readonly log: LogForm;
  readonly logText: LogForm;
  readonly special?: Special;
  /** Two different values can't compare equal as text at any destination: no letters that differ in case, no spaces at the end. */
  readonly canonical?: boolean;
};

/** A text mark in front of a date that is out of range; COPY writes it as it is, and `special-values.ts` finds it. */
export const OUT_OF_RANGE = '\u0002';

const LONGTEXT: ColumnType = { kind: 'text', size: 'long' };
const JSON_TYPE: ColumnType = { kind: 'json' };
const bare = (column: string): string => column;
const asText = (column: string): string => `${column}::text`;
const asJson = (column: string): string => `to_json(${column})`;

function varchar(length: number): ColumnType {
  return length <= MAX_VARCHAR ? { kind: 'varchar', length } : LONGTEXT;
}

function plain(type: ColumnType, more: Partial<Mapping> = {}): Mapping {
  return { type, cell: bare, text: asText, log: 'text', logText: 'text', ...more };
}

/** A type whose text `to_json` turns into JSON. */
function jsonOf(more: Partial<Mapping> = {}): Mapping {
  return { type: JSON_TYPE, cell: asJson, text: asText, log: 'json', logText: 'text', ...more };
}

/** pg_catalog types whose text is taken as it is, with its longest length where that is known. Rows of docs/sources/postgres.md. */
const TEXT_TYPES: Readonly<Record<string, number>> = {
  name: 63,
  char: 4,
  inet: 50,
  cidr: 50,
  macaddr: 17,
  macaddr8: 23,
  oid: 10,
  xid: 10,
  cid: 10,
  xid8: 20,
  tid: 18,
  pg_lsn: 17,
  timetz: 24,
  interval: 80,
};
const CANONICAL: ReadonlySet<string> = new Set([
  'inet',
  'cidr',
  'macaddr',
  'macaddr8',
  'oid',
  'xid',
  'cid',
  'xid8',
  'tid',
  'pg_lsn',
  'timetz',
  'interval',
]);

/** Maps a type; everything unknown arrives as its text in LONGTEXT. `moneyScale`: `Server.moneyScale`. */
export function mapType(type: SourceType, moneyScale: number): Mapping {
  switch (type.kind) {
    case 'enum':
      return plain({ kind: 'varchar', length: 256 });
    case 'composite':
    case 'range':
      return jsonOf();
    case 'array': {
      // The text of money depends on lc_monetary, so that its digits would not be those of a plain money column.
      const isMoney = type.element?.name === 'money' && type.element.schema === 'pg_catalog';
      return isMoney ? jsonOf({ cell: (c) => `to_json(${c}::numeric[])`, logText: 'unknown' }) : jsonOf();
    }
    default:
      return type.schema === 'pg_catalog' ? mapBuiltIn(type, moneyScale) : mapExtension(type);
  }
}

function mapBuiltIn(type: SourceType, moneyScale: number): Mapping {
  const length = type.modifier < 4 ? undefined : type.modifier - 4;
  switch (type.name) {
    case 'bool':
      return plain(
        { kind: 'int', bytes: 1, unsigned: false },
        { cell: (c) => `${c}::int`, text: (c) => `${c}::int::text`, log: 'bool', logText: 'bool' },
      );
    case 'int2':
      return plain({ kind: 'int', bytes: 2, unsigned: false }, { log: 'verbatim' });
    case 'int4':
      return plain({ kind: 'int', bytes: 4, unsigned: false }, { log: 'verbatim' });
    case 'int8':
      return plain({ kind: 'int', bytes: 8, unsigned: false }, { log: 'verbatim' });
    case 'numeric':
      return mapNumeric(type.modifier);
    case 'money':
      return plain(
        { kind: 'decimal', precision: 19, scale: moneyScale },
        { cell: (c) => `${c}::numeric`, text: (c) => `${c}::numeric::text`, log: 'money', logText: 'money' },
      );
    case 'float4':
      return plain({ kind: 'float' }, { special: 'infinite', log: 'number' });
    case 'float8':
      return plain({ kind: 'double' }, { special: 'infinite', log: 'number' });
    case 'bpchar':
      if (length === undefined) return plain(LONGTEXT);
      return plain(length <= 255 ? { kind: 'char', length } : varchar(length));
    case 'varchar':
      return plain(length === undefined ? LONGTEXT : varchar(length));
    case 'text':
    case 'xml':
      return plain(LONGTEXT);
    case 'bytea':
      return plain({ kind: 'blob', size: 'long' }, { cell: (c) => `encode(${c},'hex')`, log: 'hex' });
    case 'uuid':
      return plain({ kind: 'varchar', length: 36 }, { canonical: true, log: 'verbatim' });
    case 'date':
      return dated({ kind: 'date' }, 'date', bare, '1000-01-01', '9999-12-31');
    case 'timestamp':
      return dated({ kind: 'datetime', fraction: 6 }, 'datetime', bare, '1000-01-01', '9999-12-31 23:59:59.999999');
    case 'timestamptz':
      return dated(
        { kind: 'datetime', fraction: 6 },
        'datetime',
        utc,
        '1000-01-01 00:00:00Z',
        '9999-12-31 23:59:59.999999Z',
      );
    case 'time':
      return plain({ kind: 'time', fraction: 6 }, { log: 'verbatim' });
    case 'json':
    case 'jsonb':
      return plain(JSON_TYPE);
    case 'bit':
      return mapBit(type.modifier);
    case 'varbit':
      return plain(type.modifier < 1 ? LONGTEXT : varchar(type.modifier), { canonical: true });
    case 'point':
      return plain(varchar(64), { cell: pointText, text: pointText, log: 'point', logText: 'point' });
    default: {
      const longest = TEXT_TYPES[type.name];
      return longest === undefined ? plain(LONGTEXT) : plain(varchar(longest), { canonical: CANONICAL.has(type.name) });
    }
  }
}

/** Types of extensions, by name wherever they are installed. PostGIS prints geometries as EWKB in hex, which is exact and keeps the SRID. */
function mapExtension(type: SourceType): Mapping {
  switch (type.name) {
    case 'hstore':
      return jsonOf();
    case 'vector':
    case 'halfvec':
      // Their text is a JSON array already.
      return plain(JSON_TYPE);
    default:
      return plain(LONGTEXT);
  }
}

/**
 * numeric(p,s) keeps its digits. Without precision it is DECIMAL(65,30), as documented; what has more digits is refused by the
 * destination, row by row. A declared precision that no DECIMAL holds becomes text, which is exact.
 */
function mapNumeric(modifier: number): Mapping {
  if (modifier < 4) return plain({ kind: 'decimal', precision: 65, scale: 30 }, { special: 'infinite', log: 'number' });
  const declared = ((modifier - 4) >> 16) & 0xffff;
  // Eleven bits with sign since 15; older servers only have scales that read the same.
  const declaredScale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  const scale = Math.max(declaredScale, 0);
  const precision = Math.max(declared - Math.min(declaredScale, 0), scale);
  if (precision > 65 || scale > 30) return plain(LONGTEXT);
  return plain({ kind: 'decimal', precision, scale }, { special: 'number', log: 'number' });
}

/** BIT(n ≤ 64) is a number (EXACTNESS.md §9); int8 has a sign, which the 64th bit must not become. */
function mapBit(length: number): Mapping {
  if (length > 64) return plain(varchar(length), { canonical: true });
  const number = (c: string): string =>
    length < 64 ? `${c}::int8` : `case when ${c}::int8 < 0 then ${c}::int8 + 18446744073709551616 else ${c}::int8 end`;
  return plain({ kind: 'int', bytes: 8, unsigned: true }, { cell: number, log: 'bits' });
}

// The cast follows the session's time zone, which is UTC, and is cheaper than `at time zone`.
const utc = (column: string): string => `${column}::timestamp`;

/** Dates outside the destination's range come with a mark in front. Infinities compare as larger or smaller than everything. */
function dated(
  type: ColumnType,
  special: Special,
  print: (column: string) => string,
  first: string,
  last: string,
): Mapping {
  const source = type.kind === 'date' ? 'date' : print === utc ? 'timestamptz' : 'timestamp';
  return {
    type,
    special,
    log: source,
    logText: source === 'timestamptz' ? 'utc' : 'text',
    text: (c) => `${print(c)}::text`,
    cell: (c) =>
      `case when ${c} between ${source} '${first}' and ${source} '${last}' then ${print(c)}::text else e'\\x02' || ${print(c)}::text end`,
  };
}

function pointText(column: string): string {
  return `'POINT(' || ${column}[0] || ' ' || ${column}[1] || ')'`;
}

/**
 * The mapping of a column that is part of the key. Text without a known length and binary values get `room` bytes at the destination, and
 * what has no order there (JSON) arrives as PostgreSQL's text of it.
 */
export function mapKey(mapping: Mapping, room: number): Mapping {
  const { kind } = mapping.type;
  if (kind === 'blob') return { ...mapping, type: { kind: 'binary', length: Math.min(room, MAX_VARBINARY) } };
  if (kind === 'text') return { ...mapping, type: varchar(Math.min(Math.floor(room / 4), MAX_VARCHAR)) };
  if (kind === 'json')
    return {
      type: varchar(Math.min(Math.floor(room / 4), MAX_VARCHAR)),
      cell: mapping.text,
      text: mapping.text,
      log: mapping.logText,
      logText: mapping.logText,
    };
  return mapping;
}
