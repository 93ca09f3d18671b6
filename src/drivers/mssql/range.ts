import type { Table } from '../model.ts';
import { quoteName, quoteTable, quoteText } from './sql.ts';
import { selectList } from './types.ts';

/** A key column that bounds are of. `collation`: of char and varchar, whose code page a literal must have. */
export type Bounded = { readonly name: string; readonly type: string; readonly collation?: string };

/**
 * A chunk's range of keys: `from` inclusive, `to` exclusive, either open; values as text, for a prefix of the columns, in the server's own
 * order. Stored at the destination as JSON: add fields, never rename.
 */
export type Range = {
  readonly columns: readonly Bounded[];
  readonly from?: readonly string[];
  readonly to?: readonly string[];
};

/** The whole table. */
export const EVERYTHING = '{}';

export function encodeRange(range: Range): string {
  return JSON.stringify(range);
}

/** null: the whole table. Throws for a text that `encodeRange` did not make: it becomes SQL. */
function decodeRange(text: string): Range | null {
  if (text === EVERYTHING) return null;
  const range = JSON.parse(text) as Range;
  if (
    !Array.isArray(range.columns) ||
    !range.columns.every(({ type, collation = 'x' }) => TYPE.test(type) && /^\w+$/.test(collation))
  )
    throw new Error('A stored range of a chunk is damaged.');
  return range;
}

const TYPE = /^[a-z0-9]+(\((max|\d+(,\d+)?)\))?$/;

/** A value of a column as T-SQL of the column's own type, so that its index serves and its order holds. */
export function literal({ type, collation }: Bounded, value: string): string {
  const word = type.replace(/\(.*/, '');
  if (/int$|^bit$/.test(word)) {
    if (!/^-?\d+$/.test(value)) throw new Error('A stored value does not look like its column.');
    return value;
  }
  if (word === 'binary' || word === 'varbinary' || word === 'timestamp') {
    if (!/^([0-9A-F]{2})*$/.test(value)) throw new Error('A stored value does not look like its column.');
    return `0x${value}`;
  }
  if (word === 'nchar' || word === 'nvarchar') return quoteText(value);
  const style = STYLES[word];
  const text = collation === undefined ? quoteText(value) : `${quoteText(value)} COLLATE ${collation}`;
  return `CONVERT(${type}, ${text}${style === undefined ? '' : `, ${style}`})`;
}

/** How `cell` prints them: without it a session's DATEFORMAT would decide. */
const STYLES: Readonly<Record<string, number>> = { date: 23, smalldatetime: 120, datetime: 121, datetime2: 121 };

/** The statement that reads a chunk. */
export function chunkSelect(table: Table, where: string | undefined, range: string): string {
  const bounds = decodeRange(range);
  const conditions: string[] = [];
  if (bounds) conditions.push(rangeCondition(bounds));
  // On lines of their own: the condition may end in a comment.
  if (where !== undefined && where.trim() !== '') conditions.push(`(\n${where}\n)`);
  const hint = table.storage === 'memory' ? ' WITH (SNAPSHOT)' : '';
  return `SELECT ${selectList(table.columns)} FROM ${quoteTable(table.ref)}${hint} WHERE ${conditions.length > 0 ? conditions.join(' AND ') : '1 = 1'}`;
}

function rangeCondition({ columns, from, to }: Range): string {
  const parts: string[] = [];
  if (from) parts.push(compare(columns, from, '>', '>='));
  if (to) parts.push(compare(columns, to, '<', '<'));
  return parts.length === 0 ? '1 = 1' : parts.join(' AND ');
}

/** `(a, b) >= (x, y)` as `a >= x AND (a > x OR (a = x AND b >= y))`: T-SQL has no row comparison. `strict` compares all but the last column. */
export function compare(
  columns: readonly Bounded[],
  bound: readonly string[],
  strict: '<' | '>',
  last: '<' | '>' | '>=',
): string {
  const names = columns.map(({ name }) => quoteName(name));
  const values = bound.map((value, i) => literal(columns[i] as Bounded, value));
  const expand = (at: number): string =>
    at === values.length - 1
      ? `${names[at]} ${last} ${values[at]}`
      : `${names[at]} ${strict} ${values[at]} OR (${names[at]} = ${values[at]} AND (${expand(at + 1)}))`;
  return values.length === 1 ? expand(0) : `${names[0]} ${strict}= ${values[0]} AND (${expand(0)})`;
}
