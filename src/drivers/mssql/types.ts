import { MAX_VARCHAR } from '../column-types.ts';
import type { Column, ColumnType } from '../model.ts';
import { quoteName } from './sql.ts';

/** A column as the catalog shows it. */
export type CatalogColumn = {
  readonly id: number;
  readonly name: string;
  /** The server's own type below an alias: `nvarchar`. */
  readonly word: string;
  /** As people write it: `nvarchar(20)`. */
  readonly full: string;
  /** Bytes; -1: max. */
  readonly bytes: number;
  readonly precision: number;
  readonly scale: number;
  readonly nullable: boolean;
  readonly collation: string;
  readonly computed: boolean;
  readonly deterministic: boolean;
  readonly hasDefault: boolean;
  /** Why it can't be selected or would say nothing of its own; '' : it is an ordinary column. */
  readonly odd: '' | 'column set' | 'encrypted' | 'graph' | 'hidden';
};

const LONGTEXT: ColumnType = { kind: 'text', size: 'long' };
const LONGBLOB: ColumnType = { kind: 'blob', size: 'long' };

/** The type at the destination (docs/sources/mssql.md holds the table); null for a type that this version does not know. */
export function columnType(column: CatalogColumn, inKey: boolean): ColumnType | null {
  const { word, bytes, precision, scale } = column;
  switch (word) {
    case 'bit':
      return { kind: 'int', bytes: 1, unsigned: false };
    case 'tinyint':
      return { kind: 'int', bytes: 1, unsigned: true };
    case 'smallint':
      return { kind: 'int', bytes: 2, unsigned: false };
    case 'int':
      return { kind: 'int', bytes: 4, unsigned: false };
    case 'bigint':
      return { kind: 'int', bytes: 8, unsigned: false };
    case 'decimal':
    case 'numeric':
      // The destination has 30 digits after the point.
      return scale > 30 ? varchar(precision + 3) : { kind: 'decimal', precision, scale };
    case 'money':
      return { kind: 'decimal', precision: 19, scale: 4 };
    case 'smallmoney':
      return { kind: 'decimal', precision: 10, scale: 4 };
    case 'float':
      return { kind: 'double' };
    case 'real':
      return { kind: 'float' };
    case 'date':
      return { kind: 'date' };
    // A key must keep the seventh digit, which no time type of the destination has.
    case 'time':
      return scale === 7 && inKey ? varchar(16) : { kind: 'time', fraction: scale === 0 ? 0 : 6 };
    case 'datetime2':
      return scale === 7 && inKey ? varchar(27) : { kind: 'datetime', fraction: scale === 0 ? 0 : 6 };
    case 'datetime':
      return { kind: 'datetime', fraction: 6 };
    case 'smalldatetime':
      return { kind: 'datetime', fraction: 0 };
    case 'datetimeoffset':
      return varchar(inKey ? 27 : 34);
    case 'char':
    case 'nchar': {
      const length = word === 'char' ? bytes : bytes / 2;
      return length <= 255 ? { kind: 'char', length } : varchar(length);
    }
    case 'varchar':
      return bytes < 0 ? LONGTEXT : varchar(bytes);
    case 'nvarchar':
      return bytes < 0 ? LONGTEXT : varchar(bytes / 2);
    case 'text':
    case 'ntext':
    case 'xml':
    case 'geometry':
    case 'geography':
    case 'vector':
      return LONGTEXT;
    case 'binary':
    case 'varbinary':
      return bytes < 0 ? LONGBLOB : { kind: 'binary', length: Math.max(1, bytes) };
    case 'image':
      return LONGBLOB;
    case 'timestamp':
      return { kind: 'binary', length: 8 };
    case 'uniqueidentifier':
      return varchar(36);
    case 'hierarchyid':
      return varchar(inKey ? 768 : 4000);
    case 'sql_variant':
      return { kind: 'text', size: 'normal' };
    case 'json':
      return { kind: 'json' };
    default:
      return null;
  }
}

function varchar(length: number): ColumnType {
  return length <= MAX_VARCHAR ? { kind: 'varchar', length: Math.max(1, length) } : LONGTEXT;
}

/**
 * How a value that the client gives becomes load text. `plain`: needs no escaping; `instant`: a date, or date and time, with the rules of
 * EXACTNESS.md §9; `clock`: a time of day; `variant`: a letter for its kind, then text or hex.
 */
export type Encoding = 'plain' | 'text' | 'bit' | 'number' | 'hex' | 'instant' | 'clock' | 'variant';

/** A column as the writer sees it. */
export type RowField = { readonly name: string; readonly encoding: Encoding; readonly key: boolean };
/** What to select for a column, and how its value travels. */
export type Cell = { readonly expression: string; readonly encoding: Encoding };

/**
 * The cell of a described column; it depends on nothing but the column, so that stored tables can be read. Whatever the client would round,
 * shift or read by a code page comes as Unicode text (reference/drivers.md §3.1). `name`: what has its value.
 */
export function cell(column: Column, name: string = quoteName(column.name)): Cell {
  if (column.masked) return { expression: 'CONVERT(nvarchar(1), NULL)', encoding: 'plain' };
  const [word = ''] = /^[a-z_0-9]+/.exec(column.sourceType) ?? [];
  const { kind } = column.type;
  const plain = (type: string, style?: number): Cell => ({
    expression: `CONVERT(${type}, ${name}${style === undefined ? '' : `, ${style}`})`,
    encoding: 'plain',
  });
  const dated = (type: string, style: number): Cell => ({
    ...plain(type, style),
    encoding: kind === 'date' || kind === 'datetime' ? 'instant' : kind === 'time' ? 'clock' : 'plain',
  });
  switch (word) {
    case 'bit':
      return { expression: name, encoding: 'bit' };
    case 'tinyint':
    case 'smallint':
    case 'int':
    case 'bigint':
    case 'uniqueidentifier':
      return { expression: name, encoding: 'plain' };
    case 'float':
    case 'real':
      return { expression: name, encoding: 'number' };
    case 'decimal':
    case 'numeric':
      return plain('nvarchar(41)');
    case 'money':
    case 'smallmoney':
      return plain('nvarchar(30)', 2);
    case 'date':
      return dated('nvarchar(10)', 23);
    case 'time':
      return { ...plain('nvarchar(16)', 121), encoding: kind === 'time' ? 'clock' : 'plain' };
    case 'smalldatetime':
      return dated('nvarchar(19)', 120);
    case 'datetime':
      return dated('nvarchar(23)', 121);
    case 'datetime2':
      return dated('nvarchar(27)', 121);
    case 'datetimeoffset': {
      const utc = kind === 'datetime' || kind === 'date' || (kind === 'varchar' && column.type.length === 27);
      if (!utc) return plain('nvarchar(34)', 121);
      return {
        expression: `CONVERT(nvarchar(27), CONVERT(datetime2(7), SWITCHOFFSET(${name}, N'+00:00')), 121)`,
        encoding: kind === 'varchar' ? 'plain' : 'instant',
      };
    }
    case 'char':
    case 'varchar': {
      // A character has at least one byte in any code page. Values of a limit arrive in one piece, which is cheaper.
      const [, bytes = 'max'] = /\((\d+)\)/.exec(column.sourceType) ?? [];
      const size = Number(bytes) <= 4000 ? bytes : 'max';
      return { expression: `CONVERT(nvarchar(${size}), ${name})`, encoding: 'text' };
    }
    case 'text':
    case 'ntext':
    case 'xml':
    case 'json':
    case 'vector':
      return { expression: `CONVERT(nvarchar(max), ${name})`, encoding: 'text' };
    case 'binary':
    case 'varbinary':
      return { expression: name, encoding: 'hex' };
    case 'timestamp':
      return { expression: `CONVERT(binary(8), ${name})`, encoding: 'hex' };
    case 'image':
      return { expression: `CONVERT(varbinary(max), ${name})`, encoding: 'hex' };
    case 'hierarchyid':
      return { expression: `${name}.ToString()`, encoding: 'plain' };
    case 'geometry':
    case 'geography':
      return {
        expression: `N'SRID=' + CONVERT(nvarchar(11), ${name}.STSrid) + N';' + ${name}.AsTextZM()`,
        encoding: 'plain',
      };
    case 'sql_variant':
      return { expression: variant(name), encoding: 'variant' };
    default:
      return { expression: name, encoding: 'text' };
  }
}

/**
 * The cells of columns as a list of SELECT; `from`: what has them, with its point. A lone cell has a name of its own: the client takes a
 * result whose only column is called as FOR JSON and FOR XML call theirs for pieces of one text.
 */
export function selectList(columns: readonly Column[], from = ''): string {
  const cells = columns.map((column) => cell(column, `${from}${quoteName(column.name)}`).expression);
  return cells.length === 1 ? `${cells[0]} AS lone` : cells.join(', ');
}

/** Each base type in the form that loses nothing: CONVERT alone would cut floats to six digits and dates to minutes. */
function variant(name: string): string {
  const styled = (type: string, style: number): string =>
    `N't' + CONVERT(nvarchar(40), CONVERT(${type}, ${name}), ${style})`;
  return (
    `CASE CONVERT(nvarchar(128), SQL_VARIANT_PROPERTY(${name}, N'BaseType'))` +
    ` WHEN N'float' THEN N'f' + CONVERT(nvarchar(16), CONVERT(binary(8), CONVERT(float, ${name})), 2)` +
    ` WHEN N'real' THEN N'r' + CONVERT(nvarchar(8), CONVERT(binary(4), CONVERT(real, ${name})), 2)` +
    ` WHEN N'binary' THEN N't0x' + CONVERT(nvarchar(max), CONVERT(varbinary(8000), ${name}), 2)` +
    ` WHEN N'varbinary' THEN N't0x' + CONVERT(nvarchar(max), CONVERT(varbinary(8000), ${name}), 2)` +
    ` WHEN N'money' THEN ${styled('money', 2)} WHEN N'smallmoney' THEN ${styled('money', 2)}` +
    ` WHEN N'datetime' THEN ${styled('datetime', 121)} WHEN N'smalldatetime' THEN ${styled('datetime2(0)', 121)}` +
    ` WHEN N'datetime2' THEN ${styled('datetime2(7)', 121)} WHEN N'datetimeoffset' THEN ${styled('datetimeoffset(7)', 121)}` +
    ` WHEN N'date' THEN ${styled('date', 23)} WHEN N'time' THEN ${styled('time(7)', 121)}` +
    ` ELSE N't' + CONVERT(nvarchar(max), ${name}) END`
  );
}

/** The columns of rows of a table. */
export function fieldsOf(columns: readonly Column[], key: readonly string[]): RowField[] {
  return columns.map((column) => ({
    name: column.name,
    encoding: cell(column).encoding,
    key: key.includes(column.name),
  }));
}
