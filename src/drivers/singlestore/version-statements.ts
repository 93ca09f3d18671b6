import type { Column } from '../model.ts';
import { VERSION_COLUMNS, versionSets } from './history.ts';
import { quote, sql } from './sql.ts';

/** The statements that write versions of rows. Each has one shape, whatever the batch holds. */
export type VersionStatements = {
  /** Whole versions, straight into the copy; lines begin with the version columns. */
  readonly loadVersions: string;
  /** Versions of which some columns are known, into the stage: number, masks, version columns, row. */
  readonly loadParts: string;
  /** Numbers of staged parts whose rows the copy does not hold. */
  readonly findAbsent: string;
  /** Makes the staged parts versions, with what they miss from the row that is current. */
  readonly insertStaged: string;
  /** Keys into the stage with number and what ends their current rows: time, ordinal, event. */
  readonly loadEnds: string;
  readonly endStaged: string;
  /** Ends all rows that are current, as the table was emptied. */
  endAll(time: string, ordinal: number, event: number): string;
  /** Rows as they are now at the source, as versions of one moment. */
  loadReread(time: string, ordinal: number, event: number): string;
  /** Sets the times of a transaction whose commit time was not known when its first parts were written. */
  setTimes(time: string, ordinal: number): readonly string[];
};

/** What the statements are made of. */
export type VersionMeans = {
  readonly live: string;
  readonly staged: string;
  /** Columns and key of the source's table. */
  readonly columns: readonly Column[];
  readonly key: readonly Column[];
  /** The stage's own: the row's number, and the masks with the columns they stand for. */
  readonly numbers: readonly Column[];
  /** Finds the rows `t` of a staged key `s`. */
  readonly match: string;
  readonly known: (index: number) => string;
  readonly load: (into: string, fields: readonly Column[], replace?: boolean, sets?: readonly string[]) => string;
};

/** Writes them down. */
export function versionStatements(means: VersionMeans): VersionStatements {
  const { live, staged, columns, key, numbers, match, known, load } = means;
  const [number] = numbers as [Column];
  const own = VERSION_COLUMNS.map((column) => quote(column.name));
  const versionColumn = (name: string) => VERSION_COLUMNS.find((column) => column.name === name) as Column;
  const current = `${match} and t.\`_is_current\` = 1`;
  const cells = columns.map((column, i) => {
    const name = quote(column.name);
    return key.includes(column) ? `s.${name}` : `if(${known(i)}, s.${name}, t.${name})`;
  });
  const ends = (from: string, time: string, ordinal: string, event: string) =>
    `set ${from}\`_valid_to\` = ${time}, ${from}\`_is_current\` = 0, ${from}\`_ordinal_to\` = ${ordinal} ` +
    `where ${from}\`_is_current\` = 1 and (${from}\`_ordinal\` < ${ordinal} or (${from}\`_ordinal\` = ${ordinal} and ${from}\`_event\` < ${event}))`;
  return {
    loadVersions: load(live, [...VERSION_COLUMNS, ...columns], false),
    loadParts: load(staged, [...numbers, ...VERSION_COLUMNS, ...columns]),
    findAbsent: `select s.${quote(number.name)} as \`n\` from ${staged} as s left join ${live} as t on ${current} where t.\`_event\` is null`,
    insertStaged: `insert into ${live} (${[...own, ...columns.map((column) => quote(column.name))].join(', ')}) select ${[...own.map((name) => `s.${name}`), ...cells].join(', ')} from ${staged} as s join ${live} as t on ${current}`,
    loadEnds: load(staged, [number, ...['_valid_from', '_ordinal', '_event'].map(versionColumn), ...key]),
    endStaged: `update ${live} as t join ${staged} as s on ${match} ${ends('t.', 's.`_valid_from`', 's.`_ordinal`', 's.`_event`')}`,
    endAll: (time, ordinal, event) => `update ${live} ${ends('', sql`${time}`, String(ordinal), String(event))}`,
    loadReread: (time, ordinal, event) => load(live, columns, false, versionSets(time, ordinal, event)),
    setTimes: (time, ordinal) => [
      `update ${live} ${sql`set [_valid_from] = ${time} where [_ordinal] = ${ordinal}`}`,
      `update ${live} ${sql`set [_valid_to] = ${time} where [_ordinal_to] = ${ordinal}`}`,
    ],
  };
}
