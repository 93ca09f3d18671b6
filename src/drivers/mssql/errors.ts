import { AccessDenied, isPermanent, Misconfigured, StructureChanged, UnsupportedValue } from '../errors.ts';
import { denied, type Maker, passing, tlsRefused, wrong } from '../server-errors.ts';

/** What `mssql` and tedious below it attach to errors: the server's number, a word of their own for what befell the connection, what it came of. */
type ServerError = Error & {
  readonly number?: number;
  readonly code?: string;
  readonly cause?: unknown;
  readonly originalError?: unknown;
};

/** What to do where the server has no TLS. */
export const NO_TLS = 'Set ssl_mode to prefer or disable.';

/**
 * Turns whatever `mssql` threw into a class of `errors.ts`, or into a plain error, which callers take as transient. Messages are the
 * server's own or fixed ones; statements and passwords are left out. Numbers: Microsoft Learn, "Database Engine events and errors".
 */
export function translate(error: unknown): Error {
  if (isPermanent(error)) return error;
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.name === 'AbortError' || translated.has(error)) return error;
  const errors = error instanceof AggregateError ? (error.errors as ServerError[]) : [error as ServerError];
  const found =
    errors.find(({ number }) => number !== undefined && BY_NUMBER[number]) ?? errors[0] ?? (error as ServerError);
  const { number, code } = found;
  const text = found.message;
  const known = (number !== undefined && BY_NUMBER[number]) || undefined;
  if (known) return numbered(known(text), number);
  const deepest = deepestCode(found);
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|^ERR_SSL/.test(`${deepest} ${code ?? ''}`) || /certificate/i.test(text))
    return tlsRefused(text);
  if (code === 'EENCRYPT')
    return /requires encryption/.test(text)
      ? new AccessDenied('The server accepts encrypted connections only.', 'Set ssl_mode to require or verify-full.')
      : new Misconfigured('The server does not offer TLS.', NO_TLS);
  if (code === 'EINSTLOOKUP' || /^Failed to connect to \S+\\\S+ in \d/.test(text))
    return new Error(
      `The named instance was not found: ${text}. SQL Server Browser must run and UDP port 1434 be open; or set \`port\` to the instance's own port.`,
    );
  const shown = number === undefined ? text : `SQL Server error ${number}: ${text}`;
  return numbered(
    new Error(
      deepest === 'ECONNREFUSED' || text.startsWith('Failed to connect')
        ? `The server can't be reached: ${shown}`
        : shown,
    ),
    number,
  );
}

/**
 * What a reader of changes throws instead: a table that was dropped or altered while it was read is told of by the next look, of that table
 * alone, while `StructureChanged` would end the whole stream.
 */
export function toldLater(error: unknown): unknown {
  return error instanceof StructureChanged ? new Error(error.message) : error;
}

/** The server's number of a translated or untranslated error; undefined for anything else. */
export function errorNumber(error: unknown): number | undefined {
  return error instanceof Error ? (error as ServerError).number : undefined;
}

/** Whether the server has told an error that is in no list here, so that nobody knows whether it would go away. */
export function isUnknown(error: unknown): boolean {
  const number = errorNumber(error);
  return number !== undefined && BY_NUMBER[number] === undefined;
}

function deepestCode(error: ServerError): string {
  let code = error.code ?? '';
  let one: unknown = causeOf(error);
  for (let depth = 0; one instanceof Error && depth < 5; depth++) {
    code = (one as ServerError).code ?? code;
    one = causeOf(one);
  }
  return code;
}

function causeOf(error: ServerError): unknown {
  return error.cause ?? error.originalError;
}

/** Plain errors that were translated: a second time would garble their words. */
const translated = new WeakSet<Error>();

function numbered(error: Error, number: number | undefined): Error {
  translated.add(error);
  return number === undefined ? error : Object.assign(error, { number });
}

const changed: Maker = (text) => new StructureChanged(text, 'The load starts over with the new structure.');

/** A view, a computed column or a condition meets a row that it can't compute: that does not pass by itself. */
const uncomputable: Maker = (text) =>
  new UnsupportedValue(
    text,
    'Correct the rows at the source, or the view, computed column or `where` that computes with them.',
  );

const READ = 'Grant the source user SELECT on the selected tables: GRANT SELECT ON SCHEMA::<schema> TO <user>.';
const CONDITION = "Check the table's `where` condition; it is T-SQL without the word WHERE.";
const SNAPSHOT_ON = 'Run ALTER DATABASE <database> SET ALLOW_SNAPSHOT_ISOLATION ON.';

/** Server errors by number. */
const BY_NUMBER: Readonly<Record<number, Maker>> = {
  102: wrong(CONDITION),
  105: wrong(CONDITION),
  156: wrong(CONDITION),
  207: changed,
  208: changed,
  229: denied(READ),
  230: denied(READ),
  262: denied('Grant the permission that the message names to the source user.'),
  297: denied('Grant the permission that the message names to the source user.'),
  300: denied('Grant the permission that the message names to the source user, e.g. GRANT VIEW DATABASE STATE.'),
  371: changed,
  911: wrong('Check `db`.'),
  916: denied('Create the user in that database: CREATE USER <user> FOR LOGIN <login>.'),
  942: passing('The database is offline.'),
  945: passing('The database can not be opened: see the error log of the server.'),
  1205: passing('The read was chosen as deadlock victim; it is tried again.'),
  3948: passing('It is tried again.'),
  3952: wrong(SNAPSHOT_ON),
  3960: passing('It is tried again.'),
  3961: changed,
  3966: passing('tempdb has no room for row versions: give it more, or end the oldest snapshot transaction.'),
  4060: denied('Check `db`, and create the user in that database: CREATE USER <user> FOR LOGIN <login>.'),
  4064: denied("Set `db`, or the login's default database: ALTER LOGIN <login> WITH DEFAULT_DATABASE = <database>."),
  10928: passing('Raise the service tier, or lower extract_threads.'),
  17142: passing('The server is paused.'),
  18401: passing('The server is being upgraded.'),
  18451: passing('The server shuts down.'),
  18452: denied(
    'Windows logins of untrusted domains are refused: use a SQL Server login and mixed authentication mode.',
  ),
  18456: denied(
    'Check uid and pwd. The error log of the server tells why (state 58: the server takes Windows logins only; 7: the login is disabled).',
  ),
  18461: passing('The server is in single-user mode.'),
  18462: denied('The login was deleted: create it again.'),
  18463: denied('The password may not be used now: set another one with ALTER LOGIN.'),
  18464: denied('The password is too short for the policy: set another one with ALTER LOGIN.'),
  18470: denied('The account is disabled: ALTER LOGIN <login> ENABLE.'),
  18486: denied("The account is locked: ALTER LOGIN <login> WITH PASSWORD = '…' UNLOCK."),
  18487: denied("The password has expired: ALTER LOGIN <login> WITH PASSWORD = '…'."),
  18488: denied("The password must be changed: ALTER LOGIN <login> WITH PASSWORD = '…', CHECK_POLICY as you need it."),
  40613: passing('The database is not available now (Azure SQL); it is tried again.'),
  40615: denied("Allow the worker's address in the firewall of the Azure SQL server."),
  41332: wrong('A memory-optimized table can not be read under snapshot isolation.'),
  220: uncomputable,
  232: uncomputable,
  241: uncomputable,
  242: uncomputable,
  245: uncomputable,
  248: uncomputable,
  295: uncomputable,
  517: uncomputable,
  535: uncomputable,
  8114: uncomputable,
  8115: uncomputable,
  8134: uncomputable,
  8169: uncomputable,
};
