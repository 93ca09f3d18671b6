import { isPermanent, Misconfigured, PositionLost, StructureChanged, UnsupportedValue } from '../errors.ts';
import { denied, type Maker, tlsRefused, wrong } from '../server-errors.ts';

/** What the client library's errors carry, whatever their class. */
type ClientError = Error & {
  readonly code?: number | string;
  readonly codeName?: string;
  readonly hostname?: string;
  readonly syscall?: string;
  readonly reason?: { readonly servers?: ReadonlyMap<string, { readonly error?: Error | null }> };
};

/** The error number of the server, of a translated or untranslated error; undefined for anything else. */
export function errorNumber(error: unknown): number | undefined {
  const code = error instanceof Error ? (error as ClientError).code : undefined;
  return typeof code === 'number' ? code : undefined;
}

/** An error of the client library in our words: without a cause, and a named one where trying again does not help. */
export function translate(error: unknown): Error {
  if (isPermanent(error)) return error;
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.name === 'AbortError') return error;
  const { code, message } = error as ClientError;
  const inner = innerError(error as ClientError);
  if (typeof code === 'number') {
    const known = BY_NUMBER[code]?.(message);
    return Object.assign(known ?? new Error(`MongoDB error ${code}: ${message}`), { code });
  }
  const text = inner?.message ?? message;
  const detail = `${(inner as ClientError | undefined)?.code ?? code ?? ''} ${text}`;
  if (/querySrv|queryTxt/.test(detail))
    return new Error(
      `DNS has no cluster of this name (${text}). Check \`host\`: for a cluster by its one name it is what stands in mongodb+srv://<host>.`,
    );
  if (/CERT|SELF_SIGNED|self-signed|UNABLE_TO_|certificate|altnames/i.test(detail)) return tlsRefused(text);
  if (
    /ERR_SSL|wrong version number|EPROTO|alert (?:handshake|number)|client network socket disconnected before secure/i.test(
      detail,
    )
  )
    return new Misconfigured(
      `The TLS connection was refused: ${text}`,
      'The server does not offer TLS, or wants a client certificate: check ssl_mode, ssl_cert and ssl_key.',
    );
  if (/ENOTFOUND|EAI_AGAIN/.test(detail))
    return new Error(`The server's name is not known to DNS: ${text}. Check \`host\`.`);
  if (/ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|timed out|Server selection/i.test(detail))
    return new Error(
      `The server can't be reached: ${text}. Check \`host\` and \`port\`; a replica set is reached by the names that its members give (rs.conf()), or as one server with the option \`directConnection\` in \`jdbc_options\`.`,
    );
  return new Error(text);
}

/** What lies behind "server selection timed out": the first error of a server. */
function innerError(error: ClientError): Error | undefined {
  for (const { error: one } of error.reason?.servers?.values() ?? []) if (one) return innermost(one);
  return innermost(error);
}

function innermost(error: Error): Error {
  return error.cause instanceof Error && error.cause !== error ? innermost(error.cause) : error;
}

const lost: Maker = (text) =>
  new PositionLost(
    `The source can't continue its change stream from the stored position: ${text}`,
    'Load the tables again, and give the oplog more room: replSetResizeOplog, or storage.oplogMinRetentionHours.',
  );
const CHECK_LOGIN = 'Check uid, pwd and auth_source (the database that the user is defined in).';
const GRANT =
  'Give the source user the role `read` on each database: db.getSiblingDB("<auth_source>").grantRolesToUser("<user>", [{role: "read", db: "<database>"}]); change streams over several databases need readAnyDatabase on admin.';

/** https://www.mongodb.com/docs/manual/reference/error-codes/ */
const BY_NUMBER: Readonly<Record<number, Maker>> = {
  2: wrong("Check the table's `where`: it is a filter as in find(), as JSON."),
  9: wrong("Check the table's `where`: it is a filter as in find(), as JSON."),
  13: denied(GRANT),
  18: denied(CHECK_LOGIN),
  26: (text) => new StructureChanged(text, 'The load starts over with the collection that is there now.'),
  166: (text) => new StructureChanged(text, 'Views have no change stream: they are loaded whole.'),
  175: (text) => new StructureChanged(text, 'The load starts over with the collection that is there now.'),
  260: lost,
  280: lost,
  286: lost,
  334: wrong('Give the user a SCRAM password, or set authMechanism in `jdbc_options`.'),
  8000: denied(`${CHECK_LOGIN} For Atlas also the network access list of the project.`),
  10334: (text) =>
    new UnsupportedValue(
      `An event of the change stream is larger than the server sends: ${text}`,
      'Upgrade the source to MongoDB 7.0 (or 6.0.9), which splits such events; or load the tables again.',
    ),
  40585: lost,
  40647: lost,
  40573: () => noReplicaSet(),
};

/** Whether the server has told an error that is in no list here, so that nobody knows whether it would go away. */
export function isUnknown(error: unknown): boolean {
  const number = errorNumber(error);
  return number !== undefined && BY_NUMBER[number] === undefined;
}

/** No oplog. */
export function noReplicaSet(): Misconfigured {
  return new Misconfigured(
    'The source is a single server without an oplog, and change capture needs a replica set or a sharded cluster.',
    'Set replication.replSetName in its configuration, restart it and run rs.initiate(); or set `capture` to none for full extracts only.',
  );
}
