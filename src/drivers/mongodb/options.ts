import { Misconfigured } from '../errors.ts';
import type { Params } from '../model.ts';
import { malformed, pem, portOf, type SslMode, sslMode, word } from '../params.ts';

/** Options of a MongoDB source, read from its parameters (docs/sources/mongodb.md). */
export type MongoOptions = {
  /** Servers as `name:port`, one at least; with `srv` the one name whose DNS records list them. */
  readonly hosts: readonly string[];
  readonly srv: boolean;
  readonly user: string;
  readonly password: string;
  /** Only this database is shown; '' for all that the user may see. */
  readonly database: string;
  /** The database that the user is defined in. */
  readonly authSource: string;
  readonly ssl: SslMode;
  /** PEM texts: certificates to trust (undefined: those of the system), client certificate and its key. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Further options of a MongoDB connection string. */
  readonly more: URLSearchParams;
  /** `none`: no change stream is needed, and positions are ''. */
  readonly capture: 'log' | 'none';
  /** Extended JSON with the type of every number. */
  readonly canonical: boolean;
  /** Which top-level fields have columns: none, those of a sample, or those that `types` names. */
  readonly fields: 'none' | 'sampled' | 'named';
  /** The document's column holds every field, also those that have a column. */
  readonly whole: boolean;
};

/** Throws `Misconfigured` for a missing or malformed parameter. */
export function mongoOptions(params: Params): MongoOptions {
  const written = params['host'] ?? '';
  const atlas = params['type'] === 'rds.mongoatlas';
  const list = written.replace(/^mongodb(\+srv)?:\/\//, '').replace(/\/$/, '');
  // Atlas gives either one name for its DNS records, or the long list of its servers.
  const srv =
    written.startsWith('mongodb+srv://') || (atlas && !written.startsWith('mongodb://') && !/[,:]/.test(list));
  const port = portOf(params, 'port', 27_017);
  const names = list.split(',').map((name) => name.trim());
  if (names.some((name) => !HOST.test(name)) || (srv && (names.length > 1 || !/^[^:]+\.[^:]+$/.test(list))))
    throw malformed(
      'host',
      srv
        ? 'the one name of the cluster, such as cluster0.abcde.mongodb.net'
        : 'names or addresses of servers, separated by commas, each with :port where it differs',
    );
  const user = params['uid'] ?? '';
  const ssl = sslMode(params);
  return {
    hosts: names.map((name) => (srv || /(?:^[^:]*|\]):\d+$/.test(name) ? name : `${name}:${port}`)),
    srv,
    user,
    password: params['pwd'] ?? '',
    database: params['db'] ?? '',
    authSource: params['auth_source'] || 'admin',
    // Atlas has TLS everywhere, with certificates that the system knows.
    ssl: atlas && ssl === 'prefer' ? 'verify-full' : ssl,
    ca: pem(params, 'ssl_ca'),
    cert: pem(params, 'ssl_cert'),
    key: pem(params, 'ssl_key'),
    more: further(params),
    capture: word(params, 'capture', ['log', 'none']),
    canonical: word(params, 'bson_json', ['relaxed', 'canonical']) === 'canonical',
    fields: word(params, 'document_fields', ['none', 'sampled', 'named']),
    whole: word(params, 'document_column', ['rest', 'whole']) === 'whole',
  };
}

/** A name or address, IPv6 in brackets, with or without a port. */
const HOST = /^(?:\[[0-9a-fA-F:.%]+\]|[^\s:/@?#[\],]+)(?::\d{1,5})?$/;

/** Names that have a parameter of their own, or that change what an exact copy rests on. */
const OWN =
  /^(?:authsource|tls.*|ssl.*|username|password|readpreference.*|readconcern.*|maxstaleness.*|loadbalanced)$/i;

function further(params: Params): URLSearchParams {
  const more = new URLSearchParams((params['jdbc_options'] ?? '').replace(/^[?&]/, ''));
  for (const name of more.keys())
    if (OWN.test(name) || !/^\w+$/.test(name))
      throw new Misconfigured(
        `The connection option ${name.slice(0, 40)} can't be set in jdbc_options.`,
        'Use auth_source and the ssl_ parameters; rows are always read from the primary.',
      );
  return more;
}
