import { formatColumnType } from '../column-types.ts';
import { AccessDenied, DestinationRejected, isPermanent } from '../errors.ts';
import type { Column } from '../model.ts';
import { numberOf } from './connection.ts';

/** No grant: 1044 database, 1142 table, 1143 column, 1227 a global right, 1370 routine, 1410 may not create users. */
const NO_GRANT: ReadonlySet<number> = new Set([1044, 1142, 1143, 1227, 1370]);

/**
 * Server errors that trying again does not cure (singlestore.md §4: fail fast only on known numbers, retry all others). Leaf errors come
 * wrapped, so the text is kept.
 */
const PERMANENT: ReadonlySet<number> = new Set([
  1048, 1054, 1059, 1060, 1062, 1064, 1067, 1068, 1069, 1070, 1071, 1074, 1075, 1101, 1102, 1103, 1113, 1115, 1117,
  1118, 1146, 1148, 1163, 1166, 1167, 1231, 1253, 1264, 1265, 1273, 1292, 1300, 1364, 1366, 1367, 1406, 1411, 1425,
  1426, 1427, 1439, 3140, 3141, 3948, 4025, 4161,
]);

/** Turns a driver's or server's error into one of `errors.ts` where it is permanent; others become plain errors without statement or cause. */
export function explain(error: unknown): Error {
  if (isPermanent(error)) return error;
  const number = numberOf(error);
  if (number === 0) return error instanceof Error ? error : new Error(String(error));
  const said = `${serverText(error)} (error ${number})`;
  if (NO_GRANT.has(number))
    return new AccessDenied(
      `The destination refused a statement: ${said}.`,
      'Grant the right named in the message to the destination user; the connection test lists all of them.',
    );
  if (PERMANENT.has(number))
    return new DestinationRejected(
      `The destination refused a statement: ${said}.`,
      'See the message; correct the table or the destination.',
    );
  return Object.assign(new Error(`The destination answered: ${said}.`), { errno: number });
}

/** The server's words without the full stop at their end. */
export function serverText(error: unknown): string {
  const { sqlMessage, message } = error as { sqlMessage?: string; message?: string };
  return (sqlMessage ?? message ?? 'no text').replace(/\.$/, '');
}

/** What a server's text says about a refused row: which column, why, and which row of the load (from 1). */
export type Reject = {
  readonly reason: string;
  readonly column: Column | undefined;
  readonly row: number | undefined;
  /** The key that appeared twice. */
  readonly key: string | undefined;
  /** The text says neither row nor value: it is one that is no valid UTF-8, or no valid JSON in `column`. */
  readonly invalid: 'utf8' | 'json' | undefined;
};

const AT_ROW = /\bat (?:row|line) (\d+)/i;
const DUPLICATE = /Duplicate entry '([\s\S]*)' for key/i;

/**
 * Reads the text of an error or warning of LOAD DATA. Values in it are left out, except the key that appeared twice: messages are stored
 * in histories, and a cell may be a secret.
 */
export function readReject(text: string, columns: readonly Column[]): Reject {
  const at = AT_ROW.exec(text);
  const row = at ? Number(at[1]) : undefined;
  const duplicate = DUPLICATE.exec(text);
  if (duplicate)
    return { reason: 'its key is already there', column: undefined, row, key: duplicate[1], invalid: undefined };
  const column = columnOf(text, columns);
  const json = column?.type.kind === 'json' && !/null/i.test(text);
  const utf8 = /incorrect string value|invalid .*character string/i.test(text);
  return {
    reason: reasonOf(text, column),
    column,
    row,
    key: undefined,
    invalid: utf8 ? 'utf8' : json ? 'json' : undefined,
  };
}

/** Reasons that do not depend on the column's type. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/cannot be null|null supplied to not null|set to default value/i, 'the value is NULL, the column is not nullable'],
  [/incorrect string value|invalid .*character string/i, 'the text is not valid UTF-8'],
  [/max_allowed_packet|packet bigger/i, 'the value is larger than `max_allowed_packet` of the destination'],
  [/row size too large/i, 'the row is too large for a row of the destination'],
  [/doesn't contain data for all columns|contained? (fewer|less) /i, 'the row has too few columns'],
  [/contained more data than|was truncated; it contained/i, 'the row has too many columns'],
];

/** The servers use few words for many reasons (`Data truncated` also for a date that does not exist); the column's type tells them apart. */
function reasonOf(text: string, column: Column | undefined): string {
  const found = REASONS.find(([pattern]) => pattern.test(text));
  if (found) return found[1];
  // Whatever stands in quotes may be a cell.
  if (column === undefined) return text.replace(/(['"])[\s\S]*\1/g, '…').slice(0, 300);
  const type = formatColumnType(column.type);
  switch (column.type.kind) {
    case 'json':
      return 'the text is not valid JSON';
    case 'date':
    case 'time':
    case 'datetime':
    case 'year':
      return `the text is not a valid ${type}`;
    case 'int':
    case 'decimal':
    case 'float':
    case 'double':
      if (/out of range/i.test(text)) return `the number is out of the range of ${type}`;
      if (/incorrect/i.test(text)) return `the text is not a number that ${type} takes`;
      return `the number has more digits than ${type} keeps`;
    default:
      return `the value is too long for ${type}`;
  }
}

/** The column that a text names: the longest name in it which stands where servers put column names. */
function columnOf(text: string, columns: readonly Column[]): Column | undefined {
  const lower = text.toLowerCase();
  return [...columns]
    .sort((a, b) => b.name.length - a.name.length)
    .find(({ name }) => {
      const plain = name.toLowerCase();
      const quoted = plain.replaceAll('`', '``');
      return [
        `column '${plain}'`,
        `.${plain}'`,
        `\`${quoted}\` at`,
        `.\`${quoted}\``,
        `.${quoted}\``,
        `constraint \`${quoted}\``,
      ].some((words) => lower.includes(words));
    });
}
