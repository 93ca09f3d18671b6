import { isPermanent, Misconfigured, StructureChanged, UnsupportedValue } from '../errors.ts';
import { denied, type Maker, passing, tlsRefused, wrong } from '../server-errors.ts';

/** What mysql2 and Node attach to errors. */
type ServerError = Error & { readonly errno?: number; readonly code?: string; readonly sqlMessage?: string };

/**
 * Turns whatever mysql2 threw into a class of `errors.ts`, or into a plain error, which callers take as transient. Messages are the
 * server's own or fixed ones; statements and passwords are left out.
 */
export function translate(error: unknown): Error {
  if (isPermanent(error)) return error;
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.name === 'AbortError') return error;
  const { errno, code } = error as ServerError;
  const text = (error as ServerError).sqlMessage ?? error.message;
  const known = (errno !== undefined && BY_NUMBER[errno]) || (code !== undefined && BY_CODE[code]) || undefined;
  if (known) return numbered(known(text), errno);
  if (/unknown plugin|auth.*plugin/i.test(text))
    return new Misconfigured(
      `The server wants a login method that is not supported: ${text}`,
      'Give the user a password login: mysql_native_password or caching_sha2_password.',
    );
  // mysql2 gives every failure in the TLS handshake one code: a connection that was cut in it says nothing of TLS.
  const cut = /\b(ECONNRESET|EPIPE|ETIMEDOUT|ECONNABORTED)\b|disconnected/.test(text);
  if (code !== undefined && !cut && /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|^ERR_SSL|HANDSHAKE_SSL/.test(code))
    return tlsRefused(text);
  return transient(text, errno, code);
}

/** The error number of the server, of a translated or untranslated error; undefined for anything else. */
export function errorNumber(error: unknown): number | undefined {
  return error instanceof Error ? (error as ServerError).errno : undefined;
}

function transient(text: string, errno: number | undefined, code: string | undefined): Error {
  const shown = errno !== undefined && errno > 0 ? `MySQL error ${errno}: ${text}` : `${text}`;
  return numbered(new Error(code === 'ECONNREFUSED' ? `The server can't be reached: ${shown}` : shown), errno);
}

function numbered(error: Error, errno: number | undefined): Error {
  return errno === undefined ? error : Object.assign(error, { errno });
}

const changed: Maker = (text) => new StructureChanged(text, 'The load starts over with the new structure.');

const GRANT_READ = "Grant the source user SELECT on the selected tables: GRANT SELECT ON <database>.* TO '<user>'@'%'.";
const CHECK_LOGIN = 'Check uid and pwd, and that the user may log in from this host.';

/** Server errors by number (MySQL and MariaDB agree on these). */
const BY_NUMBER: Readonly<Record<number, Maker>> = {
  1040: passing('Raise max_connections or lower extract_threads.'),
  1044: denied(GRANT_READ),
  1045: denied(CHECK_LOGIN),
  1049: wrong('Check `db`.'),
  1054: changed,
  1064: wrong("Check the table's `where` condition; it is SQL of the source without the word WHERE."),
  1129: passing('Run FLUSH HOSTS (or TRUNCATE performance_schema.host_cache) at the source.'),
  1130: denied('Create the source user for this host, or for any host with %.'),
  1142: denied(GRANT_READ),
  1143: denied(GRANT_READ),
  1146: changed,
  1153: (text) =>
    new UnsupportedValue(
      `A row is larger than the server sends: ${text}`,
      'Raise max_allowed_packet at the source above the largest row.',
    ),
  1226: passing("Raise the user's resource limit."),
  1227: denied('Grant the privilege that the message names to the source user.'),
  1251: wrong('Give the source user a login method of this server version, e.g. mysql_native_password.'),
  1356: denied('Check the view and the rights of its definer.'),
  1370: denied('Grant EXECUTE on the routine that the view or condition uses.'),
  1412: changed,
  1524: wrong("The login plugin of the source user is not loaded at the server; change the user's login method."),
  1698: denied(CHECK_LOGIN),
  1820: denied('The password of the source user has expired: set a new one with ALTER USER.'),
  1862: denied('The password of the source user has expired: set a new one with ALTER USER.'),
  3118: denied('The account is locked: ALTER USER … ACCOUNT UNLOCK.'),
  3159: denied('The server accepts encrypted connections only: set ssl_mode to require.'),
  3554: denied('Choose another table: this one belongs to the server.'),
  4151: denied('The account is locked: ALTER USER … ACCOUNT UNLOCK.'),
};

/** Errors of the client library and of Node. */
const BY_CODE: Readonly<Record<string, Maker>> = {
  HANDSHAKE_NO_SSL_SUPPORT: () =>
    new Misconfigured('The server does not offer TLS.', 'Set ssl_mode to disable, or enable TLS at the server.'),
  ERR_INVALID_ARG_VALUE: wrong('Check the connection parameters.'),
};
