import { MAX_VARBINARY, MAX_VARCHAR } from '../column-types.ts';
import type { ColumnType } from '../model.ts';
import type { CatalogColumn } from './catalog.ts';
import type { Facts } from './session.ts';

/**
 * How the JVM turns a value into load text (java/Cell.java): `y` year, `n` any number, `b` boolean, `t` text, `c` CLOB, `o` text
 * of a type that JDBC does not know, `x` bytes, `X` BLOB, `D` date, `T` time, `S` timestamp, `Z` moment in UTC.
 */
export type Encoding = 'y' | 'n' | 'b' | 't' | 'c' | 'o' | 'x' | 'X' | 'D' | 'T' | 'S' | 'Z';

export type Mapping = {
  readonly type: ColumnType;
  readonly encoding: Encoding;
  /** What to select for the quoted column, where that is not the column itself. */
  readonly select?: (column: string) => string;
  /** A rule may put NULL in place of a value. */
  readonly special?: true;
  /** Shown to users. */
  readonly warning?: string;
};

/** Why a column can't be copied. */
export type Refusal = { readonly reason: string };

const LONGTEXT: ColumnType = { kind: 'text', size: 'long' };
const JSON_TYPE: ColumnType = { kind: 'json' };
const DATETIME: ColumnType = { kind: 'datetime', fraction: 6 };
const ANY_DECIMAL: ColumnType = { kind: 'decimal', precision: 65, scale: 30 };
const int = (bytes: 1 | 2 | 4 | 8, unsigned = false): ColumnType => ({ kind: 'int', bytes, unsigned });

/** Numbers of java.sql.Types. */
const TYPES = {
  bit: -7,
  tinyint: -6,
  smallint: 5,
  integer: 4,
  bigint: -5,
  float: 6,
  real: 7,
  double: 8,
  numeric: 2,
  decimal: 3,
  char: 1,
  varchar: 12,
  longvarchar: -1,
  date: 91,
  time: 92,
  timestamp: 93,
  binary: -2,
  varbinary: -3,
  longvarbinary: -4,
  javaObject: 2000,
  struct: 2002,
  array: 2003,
  blob: 2004,
  clob: 2005,
  ref: 2006,
  datalink: 70,
  boolean: 16,
  nchar: -15,
  nvarchar: -9,
  longnvarchar: -16,
  nclob: 2011,
  sqlxml: 2009,
  rowid: -8,
  timestampZone: 2014,
} as const;

/** Databases whose arrays and types of their own have a text that means the value. */
const PRINTS_ALL: readonly Facts['product'][] = ['postgres', 'h2', 'hsqldb', 'snowflake', 'mysql'];

/** The type at the destination and the way there; docs/sources/jdbc.md holds the table. */
export function mapType(facts: Facts, column: CatalogColumn): Mapping | Refusal {
  return facts.product === 'sqlite' ? bySqlite(column) : (byName(facts, column) ?? byNumber(facts, column));
}

/** SQLite keeps any value in any column: the declared type says what is meant, and its length binds nobody (sqlite.org/datatype3.html). */
function bySqlite({ name, typeName }: CatalogColumn): Mapping {
  const declared = typeName.toLowerCase();
  if (/int/.test(declared)) return { type: int(8), encoding: 'n' };
  if (/bool/.test(declared)) return { type: int(1), encoding: 'n' };
  const numbers = `Column "${name}": a number in it is a time in milliseconds since 1970, as SQLite's driver writes them; other programs write seconds: \`date_precision=seconds\` in \`jdbc_options\` says so.`;
  if (/^(datetime|timestamp)/.test(declared)) return { type: DATETIME, encoding: 'S', warning: numbers };
  if (/^date/.test(declared)) return { type: { kind: 'date' }, encoding: 'D', warning: numbers };
  if (/char|clob|text|json|time|uuid/.test(declared)) return { type: LONGTEXT, encoding: 'n' };
  if (/blob/.test(declared) || declared === '') return { type: { kind: 'blob', size: 'long' }, encoding: 'x' };
  if (/real|floa|doub/.test(declared)) return { type: { kind: 'double' }, encoding: 'n', special: true };
  return {
    type: LONGTEXT,
    encoding: 'n',
    warning: `Column "${name}": SQLite keeps numbers of any size in ${typeName}; they are copied as text. Set \`types\` to a DECIMAL that holds them all.`,
  };
}

/** What drivers give under a number that says less than the type's name. */
function byName({ product }: Facts, column: CatalogColumn): Mapping | undefined {
  const name = column.typeName.toLowerCase();
  if (/^jsonb?$/.test(name)) return { type: JSON_TYPE, encoding: 't' };
  if (name === 'uuid') return { type: varchar(36), encoding: 't' };
  if (/with (local )?time zone|^timestamp_?(l?tz)$|^datetimeoffset/.test(name) && !/^time(tz|\(| with)/.test(name))
    return { type: DATETIME, encoding: 'Z' };
  if (/^time(\(\d+\))? with time zone|^timetz/.test(name)) return { type: varchar(40), encoding: 't' };
  if (/^binary_(float|double)$/.test(name))
    return { type: { kind: name.endsWith('float') ? 'float' : 'double' }, encoding: 'n', special: true };
  // Its digits float: no DECIMAL holds them all.
  if (/^decfloat/.test(name)) return { type: LONGTEXT, encoding: 't' };
  if (/^interval/.test(name)) return { type: varchar(80), encoding: 't' };
  if (product === 'mysql') {
    if (name === 'year') return { type: { kind: 'year' }, encoding: 'y' };
    // The text protocol rounds FLOAT to six digits; as a DOUBLE expression all of them come.
    if (/^float/.test(name)) return { type: { kind: 'float' }, encoding: 'n', select: (c) => `${c}+0e0` };
    if (/^bit/.test(name)) return { type: int(8, true), encoding: 'n', select: (c) => `${c}+0` };
    if (/^time$/.test(name)) return { type: { kind: 'time', fraction: 6 }, encoding: 'T' };
    if (/^(enum|set)\b/.test(name)) return { type: varchar(column.size), encoding: 't' };
    if (/unsigned/.test(name)) return unsigned(name);
  }
  if (product === 'postgres') {
    if (name === 'money')
      return {
        type: { kind: 'decimal', precision: 21, scale: 4 },
        encoding: 'n',
        select: (c) => `cast(${c} as numeric)`,
      };
    if (name === 'bit') return { type: column.size > 0 ? varchar(column.size) : LONGTEXT, encoding: 't' };
    if (/^(inet|cidr|macaddr8?|varbit|pg_lsn|tid|xid8?|cid)$/.test(name))
      return { type: varchar(name === 'varbit' ? 0 : 50), encoding: 't' };
  }
  if (product === 'snowflake' && /^(variant|object|array)$/.test(name)) return { type: JSON_TYPE, encoding: 't' };
  return undefined;
}

function unsigned(name: string): Mapping | undefined {
  const bytes = ({ tinyint: 1, smallint: 2, mediumint: 4, int: 4, integer: 4, bigint: 8 } as const)[
    name.split(/[ (]/)[0] ?? ''
  ];
  return bytes === undefined ? undefined : { type: int(bytes, true), encoding: 'n' };
}

function byNumber(facts: Facts, column: CatalogColumn): Mapping | Refusal {
  const { product } = facts;
  switch (column.jdbcType) {
    case TYPES.bit:
      if (column.size > 1)
        return { type: column.size <= MAX_VARCHAR ? varchar(column.size + 4) : LONGTEXT, encoding: 't' };
      return { type: int(1), encoding: 'b' };
    case TYPES.boolean:
      return { type: int(1), encoding: 'b' };
    // JDBC's TINYINT may be signed or not.
    case TYPES.tinyint:
      return { type: product === 'mysql' ? int(1) : int(2), encoding: 'n' };
    case TYPES.smallint:
      return { type: int(2), encoding: 'n' };
    case TYPES.integer:
      return { type: int(4), encoding: 'n' };
    case TYPES.bigint:
      return { type: int(8), encoding: 'n' };
    case TYPES.real:
      return { type: { kind: 'float' }, encoding: 'n', special: true };
    case TYPES.float:
    case TYPES.double:
      return { type: { kind: 'double' }, encoding: 'n', special: true };
    case TYPES.numeric:
    case TYPES.decimal:
      return decimal(column);
    case TYPES.char:
    case TYPES.nchar:
      return {
        type: 0 < column.size && column.size <= 255 ? { kind: 'char', length: column.size } : varchar(column.size),
        encoding: 't',
      };
    case TYPES.varchar:
    case TYPES.nvarchar:
      return { type: varchar(column.size), encoding: 't' };
    case TYPES.longvarchar:
    case TYPES.longnvarchar:
    case TYPES.sqlxml:
      return { type: LONGTEXT, encoding: 't' };
    case TYPES.clob:
    case TYPES.nclob:
      return {
        type: LONGTEXT,
        encoding: product === 'mysql' || product === 'postgres' ? 't' : 'c',
      };
    case TYPES.rowid:
      return { type: varchar(64), encoding: 't' };
    case TYPES.binary:
    case TYPES.varbinary:
    case TYPES.longvarbinary: {
      const known = 0 < column.size && column.size <= MAX_VARBINARY;
      return { type: known ? { kind: 'binary', length: column.size } : { kind: 'blob', size: 'long' }, encoding: 'x' };
    }
    case TYPES.blob:
      return {
        type: { kind: 'blob', size: 'long' },
        encoding: product === 'mysql' ? 'x' : 'X',
      };
    case TYPES.date:
      return { type: { kind: 'date' }, encoding: 'D' };
    case TYPES.time:
      return { type: { kind: 'time', fraction: 6 }, encoding: 'T' };
    case TYPES.timestamp:
      return { type: DATETIME, encoding: 'S' };
    case TYPES.timestampZone:
      return { type: DATETIME, encoding: 'Z' };
    case TYPES.javaObject:
    case TYPES.struct:
    case TYPES.ref:
    case TYPES.datalink:
      return unprinted(column);
    case TYPES.array:
      return PRINTS_ALL.includes(product) ? { type: LONGTEXT, encoding: 't' } : unprinted(column);
    default:
      return {
        type: LONGTEXT,
        encoding: 'o',
        ...(PRINTS_ALL.includes(product)
          ? {}
          : {
              warning: `Column "${column.name}": JDBC does not know the type ${column.typeName}; its text is copied as the driver prints it.`,
            }),
      };
  }
}

function unprinted(column: CatalogColumn): Refusal {
  return {
    reason: `A value of type ${column.typeName} has no text of its own: cast it in a view at the source, and copy the view.`,
  };
}

/** Declared digits are kept. Without a precision (0, or a number beyond any that can be declared) it is DECIMAL(65,30), as PostgreSQL's NUMERIC is documented; what has more digits is refused row by row. */
function decimal({ size, scale }: CatalogColumn): Mapping {
  const places = Math.max(scale ?? 0, 0);
  const open = size <= 0 || size > 1000 || (scale ?? 0) < -84;
  if (open) return { type: ANY_DECIMAL, encoding: 'n', special: true };
  const precision = Math.max(size - Math.min(scale ?? 0, 0), places);
  if (precision > 65 || places > 30) return { type: LONGTEXT, encoding: 'n' };
  return { type: { kind: 'decimal', precision, scale: places }, encoding: 'n', special: true };
}

function varchar(length: number): ColumnType {
  return 0 < length && length <= MAX_VARCHAR ? { kind: 'varchar', length } : LONGTEXT;
}
