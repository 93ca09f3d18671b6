import { isRefusedDate } from './rules-value.ts';
import { isLoad, loadColumns, loadTarget } from './rules-write.ts';
import { type Session, tableInfo } from './session.ts';
import type { Statement } from './statement.ts';
import { findWords, isWord } from './tokens.ts';

const TAB = 9;
const NEWLINE = 10;
const BACKSLASH = 92;
/** No date is written longer than this. */
const LONGEST = 32;

/** Looks at the bytes of a LOAD DATA; returns the first refused date, again and again once it was found. */
export type DateScanner = (chunk: Buffer) => string | undefined;

/**
 * A scanner for the date columns of a LOAD DATA in the default format (tab, newline, backslash). Undefined when the
 * statement has another format, its table is not known or no date column is loaded straight from a field.
 */
export function scanDates(statement: Statement, session: Session): DateScanner | undefined {
  if (
    !isLoad(statement) ||
    findWords(statement.tokens, ['BY']) >= 0 ||
    statement.tokens.some((token) => isWord(token, 'FORMAT'))
  )
    return undefined;
  const target = loadTarget(statement);
  const info = target && tableInfo(session, target);
  if (!info) return undefined;
  const listed = loadColumns(statement.tokens).map((token) =>
    token.kind === 'variable' ? '' : token.value.toLowerCase(),
  );
  const columns = listed.length > 0 ? listed : [...info.columns.keys()];
  const wanted = columns.map((column) => /^(DATE|DATETIME|TIMESTAMP)\b/.test(info.columns.get(column) ?? ''));
  return wanted.includes(true) ? scanFields(wanted) : undefined;
}

function scanFields(wanted: boolean[]): DateScanner {
  const field = Buffer.alloc(LONGEST);
  let length = 0;
  let column = 0;
  let escaped = false;
  let found: string | undefined;
  const endField = () => {
    if (wanted[column] && length < LONGEST) {
      const text = field.toString('latin1', 0, length);
      if (isRefusedDate(text)) found ??= text;
    }
    length = 0;
  };
  return (chunk) => {
    for (let i = 0; i < chunk.length && found === undefined; i++) {
      const byte = chunk[i] ?? 0;
      if (escaped) escaped = false;
      else if (byte === BACKSLASH) escaped = true;
      else if (byte === TAB) {
        endField();
        column++;
        continue;
      } else if (byte === NEWLINE) {
        endField();
        column = 0;
        continue;
      }
      if (wanted[column] && length < LONGEST) field[length++] = byte;
    }
    return found;
  };
}
