import { basename, win32 } from 'node:path';
import type { LogFile } from './log-files.ts';
import type { ResultRow, Session } from './session.ts';
import { quoteText } from './types.ts';

/** One row of V$LOGMNR_CONTENTS. */
export type RedoRow = {
  readonly scn: bigint;
  /** By the server's clock and zone, `YYYY-MM-DD HH24:MI:SS`. */
  readonly time: string;
  readonly xid: string;
  readonly operation: number;
  /** It takes back an earlier change of its transaction. */
  readonly undoes: boolean;
  readonly status: number;
  readonly info: string;
  readonly owner: string;
  readonly table: string;
  readonly object: string;
  readonly rowId: string;
  readonly sql: string;
};

/** Operation codes of V$LOGMNR_CONTENTS. */
export const OPERATION = {
  insert: 1,
  delete: 2,
  update: 3,
  ddl: 5,
  start: 6,
  commit: 7,
  missingScn: 34,
  rollback: 36,
  unsupported: 255,
} as const;
/** Of LOBs (9, 10, 11, 29), LONG (28), XML (68, 70, 71) and texts of up to 32 KB (91, 92, 93). */
export const LONG_OPERATIONS: ReadonlySet<number> = new Set([9, 10, 11, 28, 29, 68, 70, 71, 91, 92, 93]);

export type ContentsFilter = {
  /** The pluggable database; undefined: all rows are of the one database. */
  readonly container: string | undefined;
  readonly tables: readonly { readonly schema: string; readonly name: string }[];
};

const ROWS_AT_ONCE = 2_000;
const TABLES_AT_ONCE = 900;

/** Gives LogMiner its files and starts it. `folder`: where the mining database finds them; the dictionary is then in the logs. */
export async function startMining(
  session: Session,
  files: readonly LogFile[],
  from: bigint,
  to: bigint,
  remote: boolean,
  folder: string | undefined,
): Promise<void> {
  for (const [index, file] of files.entries())
    await session.query(
      `begin sys.dbms_logmnr.add_logfile(logfilename => :1, options => sys.dbms_logmnr.${index === 0 ? 'new' : 'addfile'}); end;`,
      [folder === undefined ? file.name : pathIn(folder, file.name)],
    );
  const dictionary = remote
    ? 'sys.dbms_logmnr.dict_from_redo_logs + sys.dbms_logmnr.ddl_dict_tracking'
    : 'sys.dbms_logmnr.dict_from_online_catalog';
  await session.query(
    `begin sys.dbms_logmnr.start_logmnr(startscn => ${from}, endscn => ${to}, options => ${dictionary} + sys.dbms_logmnr.no_rowid_in_stmt); end;`,
  );
}

/** Ends LogMiner; the session can start it again. */
export async function stopMining(session: Session): Promise<void> {
  await session.query('begin sys.dbms_logmnr.end_logmnr(); end;');
}

function pathIn(folder: string, name: string): string {
  const file = name.includes('\\') ? win32.basename(name) : basename(name);
  return `${folder.replace(/[\\/]+$/, '')}${folder.includes('\\') ? '\\' : '/'}${file}`;
}

/** Rows with `from` ≤ SCN ≤ `to` in the order of the log, statements that are spread over several rows put together. */
export async function* contents(
  session: Session,
  from: bigint,
  to: bigint,
  filter: ContentsFilter,
): AsyncGenerator<readonly RedoRow[], void, undefined> {
  let joined = '';
  // A continuation has no more than its text for certain.
  let first: ResultRow | undefined;
  for await (const some of session.rows(contentsSelect(from, to, filter), [], ROWS_AT_ONCE)) {
    const rows: RedoRow[] = [];
    for (const row of some) {
      const sql = row[12] === null ? '' : String(row[12]);
      first ??= row;
      if (String(row[11]) === '1') {
        joined += sql;
        continue;
      }
      rows.push(redoRowOf(first, joined === '' ? sql : joined + sql));
      joined = '';
      first = undefined;
    }
    yield rows;
  }
  if (first !== undefined) throw new Error('The log ended in the middle of a statement.');
}

function redoRowOf(row: ResultRow, sql: string): RedoRow {
  return {
    scn: BigInt(String(row[0]).trim()),
    time: String(row[1] ?? ''),
    xid: String(row[2] ?? '').toUpperCase(),
    operation: Number(row[3]),
    undoes: String(row[4]) === '1',
    status: Number(row[5] ?? 0),
    info: String(row[6] ?? ''),
    owner: String(row[7] ?? ''),
    table: String(row[8] ?? ''),
    object: String(row[9] ?? ''),
    rowId: String(row[10] ?? ''),
    sql,
  };
}

/** The statement that reads the log. */
export function contentsSelect(from: bigint, to: bigint, { container, tables }: ContentsFilter): string {
  const names: string[] = [];
  for (let at = 0; at < tables.length; at += TABLES_AT_ONCE) {
    const some = tables.slice(at, at + TABLES_AT_ONCE);
    names.push(
      `(seg_owner, table_name) in (${some.map(({ schema, name }) => `(${quoteText(schema)}, ${quoteText(name)})`).join(', ')})`,
    );
  }
  return [
    "select to_char(scn), to_char(timestamp, 'YYYY-MM-DD HH24:MI:SS'), rawtohex(xid), operation_code, rollback, status, info, seg_owner, table_name, data_obj#, row_id, csf, sql_redo",
    `from v$logmnr_contents where scn >= ${from} and scn <= ${to}`,
    ...(container === undefined
      ? []
      : [
          // A gap in the log is of no container.
          `and (src_con_name = ${quoteText(container)} or operation_code = 34)`,
        ]),
    "and (operation_code in (6, 7, 34, 36) or (operation_code = 5 and (info is null or info not like 'INTERNAL DDL%'))",
    `or (operation_code in (1, 2, 3, 9, 10, 11, 28, 29, 68, 70, 71, 91, 92, 93, 255) and (seg_owner = 'UNKNOWN'${names.map((one) => ` or ${one}`).join('')})))`,
  ].join(' ');
}
