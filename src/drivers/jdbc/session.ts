import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Misconfigured } from '../errors.ts';
import { type About, failure, withoutSecrets } from './failure.ts';
import type { Field, Texts } from './frames.ts';
import { type Jvm, startJvm } from './jvm.ts';
import type { JdbcOptions } from './options.ts';
import { javaArguments, javaTools } from './runtime.ts';
import { jvmFolder } from './scratch.ts';
import { propertiesOf, setUp } from './settings.ts';

/** Databases that are known to need something of their own; every other one is `other`. */
export type Product = 'postgres' | 'mysql' | 'sqlite' | 'h2' | 'hsqldb' | 'derby' | 'oracle' | 'snowflake' | 'other';

/** What the driver says of the database. */
export type Facts = {
  readonly product: Product;
  readonly productName: string;
  readonly version: string;
  readonly driverName: string;
  readonly driverVersion: string;
  /** In front of and behind a name; '' where the database has no quoted names. */
  readonly quote: string;
  /** The JDBC catalog that the connection stands in; '' where there is none. */
  readonly catalog: string;
  /** What tables lie in: schemas, catalogs (MySQL), or nothing (SQLite). */
  readonly level: 'schema' | 'catalog' | 'none';
};

export type Session = { readonly jvm: Jvm; readonly facts: Facts };

/** Longest that a JVM may take to start and log in: an operator who waits for a test of a connection is answered within a minute. */
const OPENING_MS = 45_000;

/** Opens a connection in a JVM of its own. Aborting ends the attempt. Throws translated errors. */
export async function connect(options: JdbcOptions, signal?: AbortSignal, withinMs = OPENING_MS): Promise<Session> {
  const jvm = await start(options, signal);
  const late = AbortSignal.timeout(withinMs);
  const stop = (): void => void jvm.stop();
  signal?.addEventListener('abort', stop, { once: true });
  late.addEventListener('abort', stop, { once: true });
  try {
    const { driver, url, database } = options;
    const request = [driver, url, propertiesOf(options), database || null, setUp(options)];
    const [row] = await jvm.ask('O', request);
    return { jvm, facts: checked(factsOf(row ?? []), options) };
  } catch (error) {
    await jvm.stop();
    signal?.throwIfAborted();
    if (late.aborted)
      throw new Error(
        `The database did not answer the login by JDBC within ${withinMs / 1000} s. Check the host and port in \`url\`, and firewalls.`,
      );
    throw failure(error, options, { doing: 'opening' });
  } finally {
    signal?.removeEventListener('abort', stop);
    late.removeEventListener('abort', stop);
  }
}

async function start(options: JdbcOptions, signal: AbortSignal | undefined): Promise<Jvm> {
  const { java, javac } = javaTools();
  const temporary = await jvmFolder();
  try {
    const args = await javaArguments(options, temporary, { java, javac });
    signal?.throwIfAborted();
    const clean = (text: string): string => withoutSecrets(text, options);
    return startJvm({ java, args, heapMb: options.heapMb, temporary, clean });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Asks the JVM; errors come out translated. */
export async function ask(
  { jvm }: Session,
  options: JdbcOptions,
  about: About,
  operation: string,
  fields: readonly Field[],
): Promise<Texts> {
  try {
    return await jvm.ask(operation, fields);
  } catch (error) {
    throw failure(error, options, about);
  }
}

const PRODUCTS: readonly (readonly [RegExp, Product])[] = [
  [/^postgresql/i, 'postgres'],
  [/mysql|mariadb|singlestore|memsql/i, 'mysql'],
  [/^sqlite/i, 'sqlite'],
  [/^h2/i, 'h2'],
  [/^hsql/i, 'hsqldb'],
  [/derby/i, 'derby'],
  [/^oracle/i, 'oracle'],
  [/^snowflake/i, 'snowflake'],
];

function factsOf(row: readonly (string | null)[]): Facts {
  const [name, version, driverName, driverVersion, quote, catalog, , schemas, catalogs] = row.map((one) => one ?? '');
  const productName = name ?? '';
  return {
    product: PRODUCTS.find(([pattern]) => pattern.test(productName))?.[1] ?? 'other',
    productName,
    version: version ?? '',
    driverName: driverName ?? '',
    driverVersion: driverVersion ?? '',
    quote: (quote ?? '').trim(),
    catalog: catalog ?? '',
    level: schemas === '1' ? 'schema' : catalogs === '1' ? 'catalog' : 'none',
  };
}

/**
 * Names the database as far as JDBC tells it: its product, and a digest of the catalog and of the place in the URL (what stands before its
 * options and behind a login).
 */
export function identityOf({ productName, catalog, level }: Facts, { url }: Pick<JdbcOptions, 'url'>): string {
  const place = (url.split(/[?;]/)[0] ?? '').replace(/^.*@/, '');
  const digest = createHash('sha256').update(JSON.stringify([place, level === 'schema' ? catalog : '']));
  return `${productName}:${digest.digest('base64url').slice(0, 12)}`;
}

function checked(facts: Facts, { database, user }: JdbcOptions): Facts {
  if (database === '' || facts.level === 'none' || facts.catalog.toLowerCase() === database.toLowerCase()) return facts;
  if (facts.level === 'catalog')
    throw new Misconfigured(
      `There is no database ${database} that ${user} may use: correct \`db\` (it may be case-sensitive), or grant rights on it.`,
      'Correct `db`, or unset it.',
    );
  throw new Misconfigured(
    `The URL leads to the database ${facts.catalog || '(none)'}, not to ${database}: name it in \`url\`, and unset \`db\`.`,
    'Name the database in `url` as the driver’s manual says, and unset `db` or set it to the same.',
  );
}
