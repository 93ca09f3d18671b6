import { AccessDenied, isPermanent, Misconfigured, StructureChanged, UnsupportedValue } from '../errors.ts';

/** What a failure was about, for its message: `table` quoted for people, `where` if the user's own condition was part of the statement. */
export type About = {
  readonly table?: string;
  readonly where?: 'checking' | 'reading' | undefined;
  readonly server?: string;
  readonly user?: string;
};

type ServerError = Error & { readonly code?: string };

const TLS_CODES = /^(ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(VERIFY|GET)|HOSTNAME_MISMATCH|EPROTO)/;

/**
 * Turns whatever `pg` threw into a class of `errors.ts`, or into a plain (transient) error with the server's main message only: its detail
 * may hold row values, and a cause would be stored in histories.
 */
export function failure(error: unknown, about: About = {}): Error {
  if (isPermanent(error)) return error;
  if (error instanceof DOMException && error.name === 'AbortError') return error;
  const { code = '', message = String(error) } = (error instanceof Error ? error : {}) as ServerError;
  const of = about.table === undefined ? '' : ` of table ${about.table}`;
  const user = about.user ?? 'the user';
  if (code === '28P01' || code === '28000' || /SASL|password authentication|client password/i.test(message))
    return new AccessDenied(
      `PostgreSQL refused the login of ${user}${code === '28000' ? `: ${message}` : ': wrong user or password'}.`,
      'Check `uid` and `pwd`, and that pg_hba.conf of the server admits this user from the worker.',
    );
  if (code === '3D000')
    return new Misconfigured(
      `The PostgreSQL server has no such database: ${message}.`,
      'Set `db` to an existing database.',
    );
  if (TLS_CODES.test(code) || /server does not support SSL/.test(message))
    return new AccessDenied(
      `No trusted TLS connection to PostgreSQL: ${message}${code === '' ? '' : ` (${code})`}.`,
      'Check `ssl_mode` and `ssl_ca`, or turn TLS on at the server.',
    );
  if (
    /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/.test(code) ||
    /timeout expired/.test(message)
  )
    return new Error(
      `Can't reach PostgreSQL${about.server === undefined ? '' : ` at ${about.server}`} (${code || 'timeout'}): check host, port and firewall.`,
    );
  if (code === '42501')
    return new AccessDenied(
      `PostgreSQL denies access${of}: ${message}.`,
      /row-level security/.test(message)
        ? `Grant ${user} BYPASSRLS, or disable row security: a filtered copy would miss rows.`
        : `Grant ${user} what is missing: USAGE on the schema and SELECT on the table.`,
    );
  if (code === '22021' || code === '22P05')
    return new UnsupportedValue(
      `A text value${of} is not valid UTF-8: ${message}.`,
      'Correct the value at the source, or leave its column out with `mask`.',
    );
  if (about.where !== 'checking' && ['42P01', '42703', '42704', '3F000'].includes(code)) {
    return new StructureChanged(`The structure${of} changed: ${message}.`, 'The load starts over by itself.');
  }
  if (about.where && /^(42|22)/.test(code))
    return new Misconfigured(
      `PostgreSQL refuses the condition (\`where\`)${of}: ${message}.`,
      "Correct the table's `where`.",
    );
  return new Error(
    `PostgreSQL${of === '' ? '' : `, reading${of.slice(3)}`}: ${message}${code === '' ? '' : ` (${code})`}`,
  );
}

/** Runs `work`; what it throws comes out as `failure` says. */
export async function explained<T>(about: About, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw failure(error, about);
  }
}
