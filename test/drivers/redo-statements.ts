import type { RedoValue } from '../../src/drivers/oracle/redo-reader.ts';
import type { RedoStatement } from '../../src/drivers/oracle/redo-statement.ts';

/** Statements of SQL_REDO drawn at random, and both parsers' words for what they say. */

export const COLUMNS = ['ID', 'Two Words', 'a,b', 'x.y', "it's", 'WHERE', 'V = 1 and', 'W'] as const;

/** Numbers from a seed, the same on every machine (mulberry32). */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const PIECES = [
  'a',
  'Z9',
  ' ',
  ',',
  ')',
  '(',
  '||',
  "''",
  '"',
  '=',
  ' and ',
  ' where ',
  ' set ',
  'values',
  ';',
  '\n',
  '\t',
  '\\',
  'é',
  '漢',
  '🙂',
  'NULL',
  '--',
  '/*',
  'IS NULL',
  '\r\n',
];

function text(random: (below: number) => number): string {
  return Array.from({ length: random(8) }, () => PIECES[random(PIECES.length)]).join('');
}

function digits(random: (below: number) => number, count: number): string {
  return Array.from({ length: count }, () => random(10)).join('');
}

function value(random: (below: number) => number): string {
  switch (random(14)) {
    case 0:
      return 'NULL';
    case 1:
      return `HEXTORAW('${Array.from({ length: random(6) }, () => ['0a', 'FF', '00', '5C'][random(4)]).join('')}')`;
    case 2:
      return `TO_DATE('${random(2) ? ' ' : '-'}20${digits(random, 2)}-01-0${1 + random(9)} 0${random(10)}:00:00', 'SYYYY-MM-DD HH24:MI:SS')`;
    case 3:
      return `TO_TIMESTAMP('2020-02-02 00:00:00.${digits(random, random(10))}')`;
    case 4:
      return `TO_TIMESTAMP_TZ('2024-02-14 10:58:02.${digits(random, 6)} ${random(2) ? '+' : '-'}0${random(10)}:30')`;
    case 5:
      return `TO_YMINTERVAL('+0${random(10)}-1${random(2)}')`;
    case 6:
      return `TO_DSINTERVAL('-0${random(10)} 0${random(10)}:59:59.${digits(random, 6)}')`;
    case 7:
      return Array.from(
        { length: 1 + random(2) },
        () => `UNISTR('${['abc', '\\0412\\044B', '\\D83D\\DE42', 'x y', '\\00E9'][random(5)]}')`,
      ).join(random(2) ? ' || ' : '||');
    case 8:
      return `'${random(2) ? '-' : ''}${digits(random, 1 + random(30))}.${digits(random, 3)}'`;
    case 9:
      return random(2) ? 'EMPTY_CLOB()' : 'EMPTY_BLOB()';
    case 10:
      return 'Unsupported Type';
    case 11:
      return random(2) ? `${random(1000)}` : `'${digits(random, 3)}E+0${digits(random, 2)}'`;
    default:
      return `'${text(random)}'`;
  }
}

export function statement(random: (below: number) => number): string {
  const some = COLUMNS.filter(() => random(3) > 0);
  const columns = some.length > 0 ? some : [COLUMNS[0]];
  const alias = random(2) ? 'a.' : '';
  // As LogMiner ends and parts them: without a semicolon, or with spaces between values, the other parser loses or keeps too much.
  const end = ';';
  const conditions = (names: readonly string[]) =>
    names
      .map((name) => {
        const drawn = value(random);
        return drawn === 'NULL' ? `${alias}"${name}" IS NULL` : `${alias}"${name}" = ${drawn}`;
      })
      .join(' and ');
  const table = `"S"."T"${alias === '' ? '' : ' a'}`;
  switch (random(3)) {
    case 0:
      return `insert into "S"."T"${random(2) ? ' ' : ''}(${columns.map((name) => `"${name}"`).join(',')}) values (${columns.map(() => value(random)).join(',')})${end}`;
    case 1: {
      const set = COLUMNS.filter(() => random(3) === 0);
      const assigned = (set.length > 0 ? set : [COLUMNS[1]]).map((name) => `${alias}"${name}" = ${value(random)}`);
      return `update ${table} set ${assigned.join(', ')} where ${conditions(columns)}${end}`;
    }
    default:
      return `delete from ${table} where ${conditions(columns)}${end}`;
  }
}

/** What the other parser answers for a statement, in its line of text, from what this project's parser says. */
export function answerOf(parsed: RedoStatement): string {
  const before = COLUMNS.map((name) => shown(parsed.where.get(name)));
  const after = COLUMNS.map((name) => {
    const set = parsed.set.get(name);
    // A value that the log does not show: the other parser keeps the one before, this one has the row read again.
    const kept = !parsed.set.has(name) || set?.form === 'unsupported';
    return shown(kept && parsed.kind === 'update' ? parsed.where.get(name) : set);
  });
  if (parsed.kind === 'insert') return `INSERT\t\t${after.join(',')}`;
  if (parsed.kind === 'delete') return `DELETE\t${before.join(',')}\t`;
  return `UPDATE\t${before.join(',')}\t${after.join(',')}`;
}

function shown(value: RedoValue | undefined): string {
  if (value === null || value === undefined || value.form === 'unsupported') return '-';
  return Buffer.from(
    value.form === 'empty' || value.form === 'text' || value.form === 'bare'
      ? value.text
      : `${value.form}:${value.text}`,
  ).toString('base64');
}

const FORMS: Readonly<Record<string, string>> = {
  HEXTORAW: 'hex',
  TO_DATE: 'date',
  TO_TIMESTAMP: 'timestamp',
  TO_TIMESTAMP_TZ: 'timestamp_tz',
  TO_YMINTERVAL: 'interval_ym',
  TO_DSINTERVAL: 'interval_ds',
};

/** The other parser's line with its calls, which it leaves as they stand, put into the same words. */
export function normalised(line: string): string {
  return line
    .split('\t')
    .map((part, index) =>
      index === 0
        ? part
        : part
            .split(',')
            .map((cell) => {
              if (cell === '-' || cell === '' || cell === '?') return cell === '?' ? '-' : cell;
              const raw = Buffer.from(cell, 'base64').toString('utf8');
              if (raw === 'EMPTY_CLOB()' || raw === 'EMPTY_BLOB()') return '';
              const call = /^([A-Z_]+)\('([^']*)'(?:, '[^']*')?\)$/.exec(raw);
              const form = call && FORMS[call[1] ?? ''];
              return form ? Buffer.from(`${form}:${call[2]}`).toString('base64') : cell;
            })
            .join(','),
    )
    .join('\t');
}
