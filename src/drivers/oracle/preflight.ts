import { isPermanent } from '../errors.ts';
import type { Finding, Table, TableRef } from '../model.ts';
import { describeTables } from './describe.ts';
import { errorCode, noDictionary } from './errors.ts';
import { dictionaryStart } from './log-files.ts';
import type { OracleOptions } from './options.ts';
import type { Container, Session } from './session.ts';
import { currentScn } from './split.ts';
import { quoteName } from './types.ts';

/** Views that the engine reads where the logs are listed. */
const LOG_VIEWS = ['v$log', 'v$logfile', 'v$log_history', 'v$archived_log', 'v$archive_dest_status', 'v$thread'];

/** Everything that would make a load or a later delta fail. With no tables: the server only. Changes nothing. */
export async function preflight(
  session: Session,
  mining: Session,
  options: OracleOptions,
  container: Container,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const error = (code: string, message: string, table?: TableRef): void => {
    findings.push({ severity: 'error', code, message, ...(table === undefined ? {} : { table }) });
  };
  const warn = (code: string, message: string, table?: TableRef): void => {
    findings.push({ severity: 'warning', code, message, ...(table === undefined ? {} : { table }) });
  };
  if (container.name === 'CDB$ROOT' && options.pluggableName === undefined)
    error(
      'pdb',
      'This is the root of a container database, which holds no tables of yours. Set `pdb` to the pluggable database.',
    );
  const logged = options.capture === 'log' ? await checkLog(session, mining, options, container, error, warn) : null;
  if (tables.length === 0) return findings;
  const described = await describeTables(
    session,
    tables.map((ref) => ({ ref, options: {} })),
    // Which columns are cursors, only a table's options say.
    options.capture === 'cursor' ? 'none' : options.capture,
  );
  const groups = logged === null || logged.all ? new Map<string, Set<string>>() : await logGroups(session, tables);
  for (const one of described) {
    const { ref } = one;
    if ('error' in one) {
      error('table', `${one.error.message} ${one.error.action}`, ref);
      continue;
    }
    const right = await canRead(session, one.table);
    if (right !== null) error('grant', right, ref);
    if (logged !== null)
      checkTable(one.table, logged, groups.get(`${ref.schema}\0${ref.name}`) ?? new Set(), error, warn);
  }
  return findings;
}

type Logged = { readonly all: boolean; readonly keys: boolean };
type Say = (code: string, message: string, table?: TableRef) => void;

async function checkLog(
  session: Session,
  mining: Session,
  options: OracleOptions,
  container: Container,
  error: Say,
  warn: Say,
): Promise<Logged | null> {
  let row: readonly unknown[] | undefined;
  try {
    [row] = await session.query(
      'select log_mode, supplemental_log_data_min, supplemental_log_data_pk, supplemental_log_data_all, force_logging, open_mode, database_role from v$database',
    );
  } catch (problem) {
    error(
      'grant',
      `V$DATABASE can't be read (${(problem as Error).message}). Run: GRANT SELECT ON SYS.V_$DATABASE TO <user>, or GRANT SELECT_CATALOG_ROLE TO <user>.`,
    );
    return null;
  }
  const [mode, least, keys, all, force, open, role] = (row ?? []).map((value) => String(value ?? ''));
  if (mode !== 'ARCHIVELOG')
    error(
      'archivelog',
      'The database is not in archive log mode, so its log is overwritten. Run in SQL*Plus as SYSDBA: SHUTDOWN IMMEDIATE; STARTUP MOUNT; ALTER DATABASE ARCHIVELOG; ALTER DATABASE OPEN. On RDS set a backup retention above 0.',
    );
  if (least === 'NO')
    error(
      'supplemental_log',
      "The log does not say which row a change is about. Run: ALTER DATABASE ADD SUPPLEMENTAL LOG DATA (on RDS: EXEC rdsadmin.rdsadmin_util.alter_supplemental_logging('ADD')).",
    );
  if (force === 'NO')
    warn(
      'force_logging',
      'Direct-path loads with NOLOGGING write nothing to the log, and no reader of it can see them. Run: ALTER DATABASE FORCE LOGGING.',
    );
  if (open !== '' && !open?.startsWith('READ WRITE'))
    error(
      'open_mode',
      `The database is open as ${open} (${role}). LogMiner needs the primary: connect to it, or use rds.oraclefem.`,
    );
  if (
    container.id > 1 &&
    options.pluggableName === undefined &&
    options.mining === undefined &&
    session.facts.major < 19
  )
    error(
      'pdb',
      'Before version 19 LogMiner does not run inside a pluggable database: set `db` to the root’s service with a common user (C##…), and `pdb` to this database.',
    );
  const control = options.mode.remote ? session : mining;
  for (const view of LOG_VIEWS) await checkView(control, view, error);
  await checkView(session, 'gv$transaction', error);
  await checkView(mining, 'v$logmnr_contents', error);
  const [packaged] = await mining.query(
    "select count(*) from all_objects where owner = 'SYS' and object_name = 'DBMS_LOGMNR'",
  );
  if (Number(packaged?.[0] ?? 0) === 0)
    error(
      'grant',
      'DBMS_LOGMNR can’t be called. Run: GRANT EXECUTE ON SYS.DBMS_LOGMNR TO <user>, or GRANT EXECUTE_CATALOG_ROLE TO <user>.',
    );
  const rights = new Set((await mining.query('select privilege from session_privs')).map((one) => String(one[0])));
  if (mining.facts.major >= 12 ? !rights.has('LOGMINING') : !rights.has('SELECT ANY TRANSACTION'))
    error(
      'grant',
      mining.facts.major >= 12
        ? 'The user may not mine the log. Run: GRANT LOGMINING TO <user>.'
        : 'The user may not mine the log. Run: GRANT SELECT ANY TRANSACTION TO <user>.',
    );
  if (options.mode.remote) await checkDictionary(session, error);
  return { all: all === 'YES', keys: keys === 'YES' };
}

async function checkView(session: Session, view: string, error: Say): Promise<void> {
  const problem = await session.query(`select 1 from ${view} where 1 = 0`).then(
    () => null,
    (thrown: Error) => thrown,
  );
  // V$LOGMNR_CONTENTS answers only while LogMiner runs: that it isn't says that the user may ask.
  if (problem === null || errorCode(problem) === 'ORA-01306') return;
  const name = view.toUpperCase().replace('V$', 'V_$');
  error(
    'grant',
    `${view.toUpperCase()} can't be read (${problem.message}). Run: GRANT SELECT ON SYS.${name} TO <user>, or GRANT SELECT_CATALOG_ROLE TO <user>.`,
  );
}

async function checkDictionary(session: Session, error: Say): Promise<void> {
  const found = await dictionaryStart(session, BigInt(await currentScn(session))).catch((problem: Error) => {
    // A missing right has been told already.
    if (isPermanent(problem)) return 0n;
    throw problem;
  });
  if (found !== null) return;
  const { message, action } = noDictionary();
  error('dictionary', `${message} ${action}`);
}

/** Supplemental logging by table: `ALL COLUMN LOGGING`, `PRIMARY KEY LOGGING`, … */
async function logGroups(session: Session, tables: readonly TableRef[]): Promise<Map<string, Set<string>>> {
  const groups = new Map<string, Set<string>>();
  for (let from = 0; from < tables.length; from += 400) {
    const some = tables.slice(from, from + 400);
    const places = some.map((_, index) => `(:${2 * index + 1}, :${2 * index + 2})`).join(', ');
    const rows = await session.query(
      `select owner, table_name, log_group_type from all_log_groups where (owner, table_name) in (${places})`,
      some.flatMap((ref) => [ref.schema, ref.name]),
    );
    for (const [owner, name, kind] of rows) {
      const id = `${owner}\0${name}`;
      groups.set(id, (groups.get(id) ?? new Set()).add(String(kind)));
    }
  }
  return groups;
}

function checkTable(table: Table, logged: Logged, groups: ReadonlySet<string>, error: Say, warn: Say): void {
  if (table.key.length === 0 || table.kind === 'view' || logged.all || groups.has('ALL COLUMN LOGGING')) return;
  const name = `${quoteName(table.ref.schema)}.${quoteName(table.ref.name)}`;
  const statement = `ALTER TABLE ${name} ADD SUPPLEMENTAL LOG DATA (ALL) COLUMNS`;
  if (logged.keys || groups.has('PRIMARY KEY LOGGING')) {
    warn(
      'supplemental_log',
      `Changes of ${name} carry the key and the changed columns only; columns that a statement does not name are kept as they are. For whole rows run: ${statement}.`,
      table.ref,
    );
    return;
  }
  error(
    'supplemental_log',
    `The log does not carry the key of ${name} with each change. Run: ${statement}.`,
    table.ref,
  );
}

/** Whether the user may read the table as of an SCN; null, or what to run. */
async function canRead(session: Session, table: Table): Promise<string | null> {
  const name = `${quoteName(table.ref.schema)}.${quoteName(table.ref.name)}`;
  try {
    await session.query(`select 1 from ${name} where 1 = 0`);
    if (table.kind !== 'view')
      await session.query(`select 1 from ${name} as of scn (${await currentScn(session)}) where 1 = 0`);
    return null;
  } catch (problem) {
    const code = errorCode(problem);
    if (code === 'ORA-00942') return `${name} can't be read. Run: GRANT SELECT ON ${name} TO <user>.`;
    if (code === 'ORA-01031' || code === 'ORA-01749')
      return `${name} can't be read as of an SCN. Run: GRANT FLASHBACK ON ${name} TO <user>.`;
    // A table that has only just been made has no past yet.
    if (code === 'ORA-01466') return null;
    throw problem;
  }
}
