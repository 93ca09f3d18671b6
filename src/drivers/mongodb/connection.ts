import { createSecureContext } from 'node:tls';
import { BSON, type ClientSession, type Document, MongoClient, type MongoClientOptions } from 'mongodb';
import { AccessDenied, Misconfigured } from '../errors.ts';
import { errorNumber, translate } from './errors.ts';
import type { MongoOptions } from './options.ts';
import { offersTls } from './tls.ts';

/** What decides how a server is talked to. */
export type ServerFacts = {
  readonly version: string;
  /** The version's numbers, for comparison. */
  readonly numbers: readonly number[];
  /** Name of the replica set; undefined: none. */
  readonly setName: string | undefined;
  /** A router of a sharded cluster. */
  readonly sharded: boolean;
  /** Cursors belong to sessions. */
  readonly sessions: boolean;
};

/** An open client, and commands over it. All errors are translated; commands end when their signal aborts. */
export type Connection = {
  readonly facts: ServerFacts;
  command(database: string, command: Document, more?: CommandOptions): Promise<Document>;
  /** A session for the commands of one cursor; undefined where the server has none. */
  session(): ClientSession | undefined;
  close(): Promise<void>;
};

export type CommandOptions = {
  readonly session?: ClientSession | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Documents of a cursor's batch stay bytes. */
  readonly rawBatch?: boolean;
};

const SELECT_MS = 10_000;

/** Connects, logs in and asks what the server is. A sharded cluster is talked to over one of its routers, which its cursors belong to. */
export async function connect(options: MongoOptions, signal?: AbortSignal): Promise<Connection> {
  const tls = options.ssl === 'disable' ? false : options.srv || options.ssl !== 'prefer' || (await offersTls(options));
  const first = await connectTo(options, options.hosts, tls, signal);
  if (!first.facts.sharded || options.hosts.length === 1) return first;
  await first.close();
  let failure: unknown;
  for (const host of options.hosts) {
    try {
      return await connectTo(options, [host], tls, signal);
    } catch (error) {
      signal?.throwIfAborted();
      failure ??= error;
    }
  }
  throw failure;
}

async function connectTo(
  options: MongoOptions,
  hosts: readonly string[],
  tls: boolean,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  signal?.throwIfAborted();
  const client = makeClient(options, hosts, tls);
  const abort = () => void client.close().catch(() => {});
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await client.connect();
    const hello = await sayHello(client);
    const { version } = await client.db('admin').command({ buildInfo: 1 });
    return connection(client, hello, String(version));
  } catch (error) {
    await client.close().catch(() => {});
    throw signal?.aborted ? signal.reason : explained(translate(error), options, tls);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** What servers don't say: whether user, password or database of a login are wrong, and that they want TLS. */
function explained(error: Error, { user, authSource }: MongoOptions, tls: boolean): Error {
  if (!tls && /^connection .* closed$/.test(error.message))
    return new Error(
      `The server closes connections without an answer (${error.message}). It may want TLS: check \`ssl_mode\`; or another server listens at \`port\`.`,
    );
  if (errorNumber(error) !== AUTHENTICATION_FAILED) return error;
  return Object.assign(
    new AccessDenied(
      `The source refuses the login of ${user || 'nobody'}, a user of the database ${authSource}.`,
      'Check uid, pwd and auth_source: the database that the user is defined in, which db.getSiblingDB("admin").system.users.find() shows.',
    ),
    { code: AUTHENTICATION_FAILED },
  );
}
const AUTHENTICATION_FAILED = 18;

/** Servers that speak the protocol of an older one know the greeting by its first name only. */
async function sayHello(client: MongoClient): Promise<Document> {
  const admin = client.db('admin');
  return admin.command({ hello: 1 }).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== COMMAND_NOT_FOUND) throw error;
    return admin.command({ isMaster: 1 });
  });
}
const COMMAND_NOT_FOUND = 59;

function makeClient(options: MongoOptions, hosts: readonly string[], tls: boolean): MongoClient {
  const { user, password, ca, cert, key, ssl, srv, more } = options;
  const query = new URLSearchParams(more);
  for (const name of ['serverSelectionTimeoutMS', 'connectTimeoutMS'])
    if (!query.has(name)) query.set(name, String(SELECT_MS));
  const url = `mongodb${srv ? '+srv' : ''}://${hosts.join(',')}/?${query}`;
  const settings: MongoClientOptions = {
    appName: 'flow-ingest',
    readPreference: 'primary',
    retryReads: true,
    tls,
    ...(user !== '' && { auth: { username: user, password }, authSource: options.authSource }),
    ...(tls && ssl === 'verify-ca' && { tlsAllowInvalidHostnames: true }),
    ...(tls && !srv && (ssl === 'prefer' || ssl === 'require') && { tlsAllowInvalidCertificates: true }),
    ...(tls && (ca ?? cert ?? key) !== undefined && { secureContext: secureContext(ca, cert, key) }),
  };
  try {
    return new MongoClient(url, settings);
  } catch (error) {
    throw new Misconfigured(
      `The connection options are refused: ${(error as Error).message}`,
      'Check host, auth_source and jdbc_options.',
    );
  }
}

function secureContext(ca?: string, cert?: string, key?: string) {
  try {
    return createSecureContext({
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...((key ?? cert) && { key: key ?? cert }),
    });
  } catch (error) {
    throw new Misconfigured(
      `The certificates can't be used: ${(error as Error).message}`,
      'Set ssl_ca, ssl_cert and ssl_key to PEM texts or files.',
    );
  }
}

function connection(client: MongoClient, hello: Document, version: string): Connection {
  const facts: ServerFacts = {
    version,
    numbers: version.split(/[.-]/).slice(0, 3).map(Number),
    setName: typeof hello['setName'] === 'string' ? hello['setName'] : undefined,
    sharded: hello['msg'] === 'isdbgrid',
    sessions: typeof hello['logicalSessionTimeoutMinutes'] === 'number',
  };
  return {
    facts,
    async command(database, command, { session, signal, rawBatch } = {}) {
      try {
        return await client.db(database).command(command, {
          // An id of a cursor is a long and must stay one.
          promoteLongs: false,
          promoteBuffers: false,
          ...(session && { session }),
          ...(signal && { signal }),
          ...(rawBatch && { fieldsAsRaw: { firstBatch: true, nextBatch: true } }),
        });
      } catch (error) {
        throw signal?.aborted ? signal.reason : translate(error);
      }
    },
    session: () => (facts.sessions ? client.startSession({ causalConsistency: false }) : undefined),
    close: () => client.close().catch(() => {}),
  };
}

/** Whether the server's version is at least this. */
export function isAtLeast({ numbers }: ServerFacts, ...least: readonly number[]): boolean {
  for (const [i, number] of least.entries()) {
    const ours = numbers[i] ?? 0;
    if (ours !== number) return ours > number;
  }
  return true;
}

/** A number of an answer, whatever type it has on the wire; NaN where there is none. */
export function numberOf(value: unknown): number {
  if (value instanceof BSON.Int32 || value instanceof BSON.Double) return value.value;
  if (BSON.Long.isLong(value)) return value.toNumber();
  return typeof value === 'number' ? value : Number.NaN;
}
