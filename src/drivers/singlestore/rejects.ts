import { AccessDenied, DestinationRejected, isPermanent } from '../errors.ts';
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
  readonly column: string | undefined;
  readonly row: number | undefined;
  readonly key: string | undefined;
};

const AT_ROW = /\bat (?:row|line) (\d+)/i;
const DUPLICATE = /Duplicate entry '([\s\S]*)' for key/i;

/**
 * Reads the text of an error or warning of LOAD DATA. Values in it are left out, except the key that appeared twice: messages are stored
 * in histories, and a cell may be a secret.
 */
export function readReject(text: string, columns: readonly string[]): Reject {
  const row = AT_ROW.exec(text);
  const at = row ? Number(row[1]) : undefined;
  const duplicate = DUPLICATE.exec(text);
  if (duplicate) return { reason: 'its key is already there', column: undefined, row: at, key: duplicate[1] };
  return { reason: reasonOf(text), column: columnOf(text, columns), row: at, key: undefined };
}

const REASONS: readonly (readonly [RegExp, string])[] = [
  [/data too long|too long for column/i, 'the value is too long for the column'],
  [/data truncated/i, 'the value does not fit the column'],
  [/out of range/i, 'the number is out of the range of the column'],
  [/incorrect integer value|incorrect (decimal|double|float) value|invalid number/i, 'the text is not a number'],
  [/incorrect (datetime|date|time|timestamp|year) value|invalid date/i, 'the text is not a valid date or time'],
  [/incorrect string value|invalid .*character string/i, 'the text is not valid UTF-8'],
  [/cannot be null|null supplied to not null|set to default value/i, 'the value is NULL, the column is not nullable'],
  [/json/i, 'the text is not valid JSON'],
  [/doesn't contain data for all columns|contained? (fewer|less) /i, 'the row has too few columns'],
  [/contained more data than/i, 'the row has too many columns'],
  [
    /larger than max_allowed_packet|packet bigger|max_allowed_packet/i,
    'the value is larger than `max_allowed_packet` of the destination',
  ],
  [/row size too large/i, 'the row is too large for a row of the destination'],
];

function reasonOf(text: string): string {
  const found = REASONS.find(([pattern]) => pattern.test(text));
  if (found) return found[1];
  // Whatever stands in quotes may be a cell.
  return text.replace(/'[^']*'/g, '…').slice(0, 300);
}

/** The column that a text names: the last quoted or qualified name in it which is one of the table's. */
function columnOf(text: string, columns: readonly string[]): string | undefined {
  const byLength = [...columns].sort((a, b) => b.length - a.length);
  const named = byLength.filter((column) =>
    [
      `column '${column}'`,
      `\`${column.replaceAll('`', '``')}\` at row`,
      `\`${column}\` at row`,
      `.${column}'`,
      `constraint \`${column}\``,
      `CONSTRAINT \`${column}\``,
      `.\`${column}\``,
    ].some((words) => text.toLowerCase().includes(words.toLowerCase())),
  );
  return named[0];
}
