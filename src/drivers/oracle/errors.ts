import {
  AccessDenied,
  isPermanent,
  Misconfigured,
  PositionLost,
  StructureChanged,
  UnsupportedValue,
} from '../errors.ts';
import { denied, type Maker, passing, wrong } from '../server-errors.ts';

/** What oracledb attaches to errors. */
type ServerError = Error & { readonly code?: string; readonly errorNum?: number };

/**
 * Turns whatever oracledb threw into a class of `errors.ts`, or into a plain error, which callers take as transient. Messages are the
 * server's own with its ORA number; statements and passwords are left out.
 */
export function translate(error: unknown): Error {
  if (isPermanent(error)) return error;
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.name === 'AbortError') return error;
  const code = errorCode(error);
  const [line = ''] = error.message.split(/\n(?!Cause: )|Help: /);
  const text = line.trim();
  const known = code === undefined ? undefined : BY_CODE[code];
  const made = known ? known(text) : new Error(text === '' ? 'The Oracle client failed without a word.' : text);
  return code === undefined ? made : Object.assign(made, { code });
}

/** `ORA-01555`, `NJS-518`, … of a translated or untranslated error; undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, message } = error as ServerError;
  // A refusal of the listener and errors inside PL/SQL say their own number in the text.
  const inner = /\bORA-(\d{5})\b/.exec(message)?.[0];
  if (inner !== undefined && (code === undefined || code.startsWith('NJS-'))) return inner;
  return code;
}

/** Whether the server has told an error that is in no list here, so that nobody knows whether it would go away. */
export function isUnknown(error: unknown): boolean {
  const code = errorCode(error);
  return code?.startsWith('ORA-') === true && BY_CODE[code] === undefined;
}

const changed: Maker = (text) => new StructureChanged(text, 'The load starts over with the table as it is now.');

/** A view, a virtual column or a condition meets a row that it can't compute: that does not pass by itself. */
const uncomputable: Maker = (text) =>
  new UnsupportedValue(
    text,
    'Correct the rows at the source, or the view, virtual column or `where` that computes with them.',
  );

const SERVICE = 'Set `db` to a service of the database (lsnrctl services lists them), or to sid:<SID>.';
const GRANT_READ =
  'Run: GRANT SELECT, FLASHBACK ON <schema>.<table> TO <user> (or SELECT ANY TABLE and FLASHBACK ANY TABLE).';
const GRANT_LOGS =
  'Run: GRANT LOGMINING, SELECT_CATALOG_ROLE TO <user>; GRANT EXECUTE ON SYS.DBMS_LOGMNR TO <user> (in a container database with CONTAINER=ALL).';

const BY_CODE: Readonly<Record<string, Maker>> = {
  'ORA-00904': changed,
  'ORA-00933': wrong("Check the table's `where` condition; it is SQL of the source without the word WHERE."),
  'ORA-00936': wrong("Check the table's `where` condition; it is SQL of the source without the word WHERE."),
  'ORA-00942': changed,
  'ORA-01005': denied('Set `pwd`: the server takes no login without a password.'),
  'ORA-01017': denied('Check uid and pwd; Oracle passwords are case-sensitive.'),
  'ORA-01031': denied('Grant the privilege that the statement needs; docs/sources/oracle.md lists all of them.'),
  'ORA-01033': passing('The instance is starting or stopping.'),
  'ORA-01034': passing('The instance is down: start it.'),
  'ORA-01045': denied('Run: GRANT CREATE SESSION TO <user>.'),
  'ORA-01291': passing('A log file that LogMiner needs is not there.'),
  'ORA-01292': passing('LogMiner has no log file to read.'),
  'ORA-01325': wrong(
    'Turn archive log mode on: SHUTDOWN IMMEDIATE; STARTUP MOUNT; ALTER DATABASE ARCHIVELOG; ALTER DATABASE OPEN.',
  ),
  'ORA-01466': changed,
  'ORA-01555': passing('UNDO_RETENTION is shorter than the read took: raise it at the source.'),
  'ORA-08181': changed,
  'ORA-12505': wrong(SERVICE),
  'ORA-12514': wrong(SERVICE),
  'ORA-12516': passing('The listener has no free handler: raise PROCESSES at the source, or lower extract_threads.'),
  'ORA-12519': passing('The listener has no free handler: raise PROCESSES at the source, or lower extract_threads.'),
  'ORA-12541': passing('No listener answers at this host and port.'),
  'ORA-16000': wrong('The database is open read only: connect to the primary, or use full extracts.'),
  'ORA-28000': denied('The account is locked. Run: ALTER USER <user> ACCOUNT UNLOCK.'),
  'ORA-28001': denied('The password has expired. Run: ALTER USER <user> IDENTIFIED BY <new password>.'),
  'ORA-28002': denied('The password will expire soon. Run: ALTER USER <user> IDENTIFIED BY <new password>.'),
  'ORA-28009': denied('Use another account than SYS.'),
  'ORA-28365': wrong(
    'The encryption wallet of the source is closed: open it with ADMINISTER KEY MANAGEMENT SET KEYSTORE OPEN.',
  ),
  'ORA-06550': denied(GRANT_LOGS),
  'ORA-65040': wrong(
    'Log Miner does not run inside this pluggable database: connect to the root (`db`), and name the database in `pdb`.',
  ),
  'ORA-65011': wrong('Correct `pdb`: SELECT NAME FROM V$PDBS lists the pluggable databases.'),
  'ORA-01284': passing('LogMiner can not open this log file. Check the path on its host (`mining_folder`).'),
  'ORA-01295': wrong(
    'The dictionary that LogMiner reads is of another database: with a mining database the logs must hold their own, EXECUTE DBMS_LOGMNR_D.BUILD(OPTIONS => DBMS_LOGMNR_D.STORE_IN_REDO_LOGS).',
  ),
  'ORA-01371': wrong(
    'The logs hold no whole dictionary. Run at the source: EXECUTE DBMS_LOGMNR_D.BUILD(OPTIONS => DBMS_LOGMNR_D.STORE_IN_REDO_LOGS).',
  ),
  'ORA-00308': passing('A log file can not be opened.'),
  'ORA-00310': passing('A log file holds another sequence than the one that was asked for.'),
  'ORA-00334': passing('A log file can not be read.'),
  'ORA-30076': (text) => new UnsupportedValue(text, 'Correct the value at the source.'),
  'NJS-116': denied(
    'The password verifier of the account is too old for thin mode: reset the password (ALTER USER … IDENTIFIED BY …), or set `thick_client`.',
  ),
  'NJS-138': wrong(
    'This server is older than 12.1: set `thick_client` to the folder of the Oracle client libraries on the worker.',
  ),
  'NJS-533': wrong(
    'The server insists on native network encryption, which thin mode lacks: set `thick_client`, or use TLS (ssl_mode).',
  ),
  'NJS-505': wrong('Check ssl_ca, ssl_cert and ssl_key.'),
  'NJS-506': wrong('Check that `port` is the TLS port of the listener, and ssl_ca.'),
  'NJS-507': wrong('The certificate is of another host: set ssl_mode to verify-ca, or correct `host`.'),
  'NJS-508': wrong('The certificate is of another host: set ssl_mode to verify-ca, or correct `host`.'),
  'NJS-510': passing('Check host, port and firewalls.'),
  'NJS-511': passing('No listener answers at this host and port.'),
  'NJS-518': wrong(SERVICE),
  'NJS-519': wrong(SERVICE),
  'NJS-530': wrong('Check `host`: its name is not known on the worker.'),
  'DPI-1047': wrong('Set `thick_client` to the folder of the Oracle client libraries (libclntsh) on the worker.'),
  'ORA-01426': uncomputable,
  'ORA-01428': uncomputable,
  'ORA-01476': uncomputable,
  'ORA-01722': uncomputable,
  'ORA-01830': uncomputable,
  'ORA-01839': uncomputable,
  'ORA-01841': uncomputable,
  'ORA-01843': uncomputable,
  'ORA-01847': uncomputable,
  'ORA-01850': uncomputable,
  'ORA-01858': uncomputable,
  'ORA-01861': uncomputable,
  'ORA-06502': uncomputable,
};

/** The log no longer holds what comes next. */
export function logGone(what: string): PositionLost {
  return new PositionLost(
    `${what} The changes in it can not be read any more.`,
    'Bring the file back (RMAN: RESTORE ARCHIVELOG …) and try again, or load the tables again; keep archived logs for longer (RMAN retention; on RDS rdsadmin_util.set_configuration).',
  );
}

const BUILD =
  'Run at the source: EXECUTE DBMS_LOGMNR_D.BUILD(OPTIONS => DBMS_LOGMNR_D.STORE_IN_REDO_LOGS); ALTER SYSTEM ARCHIVE LOG CURRENT.';

/** Another database knows the tables only by a dictionary in the logs, written before the changes and before the transactions they are of. */
export function noDictionary(): Misconfigured {
  return new Misconfigured(
    'No archived log from before the oldest open transaction holds a whole dictionary, without which the mining database can not read changes.',
    BUILD,
  );
}

/** A view or package of the log can't be used: what to run. Any other error is the same. */
export function logRight(error: Error, what: string): Error {
  const code = errorCode(error);
  if (code !== 'ORA-00942' && code !== 'ORA-01031' && code !== 'ORA-06550') return error;
  return Object.assign(new AccessDenied(`The source user may not use ${what}: ${error.message}`, GRANT_LOGS), { code });
}

/** An object is missing, or a grant on it is: Oracle says the same of both. */
export function missingGrant(what: string): AccessDenied {
  return new AccessDenied(`The source user may not read ${what}, or it does not exist.`, GRANT_READ);
}
