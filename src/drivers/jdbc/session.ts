import { Misconfigured } from '../errors.ts';
import { type About, failure, withoutSecrets } from './failure.ts';
import type { Field, Texts } from './frames.ts';
import { type Jvm, startJvm } from './jvm.ts';
import type { JdbcOptions } from './options.ts';
import { javaArguments, TOOLS, type Tools } from './runtime.ts';

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

/** Opens a connection in a JVM of its own. Aborting ends the attempt. Throws translated errors. */
export async function connect(options: JdbcOptions, signal?: AbortSignal, tools: Tools = TOOLS): Promise<Session> {
  const args = await javaArguments(options, tools);
  signal?.throwIfAborted();
  const jvm = startJvm(tools.java, args, options.heapMb, (text) => withoutSecrets(text, options));
  const abort = (): void => void jvm.stop();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const request = [options.driver, options.url, propertiesOf(options), options.database || null];
    const [row] = await jvm.ask('O', request);
    return { jvm, facts: checked(factsOf(row ?? []), options) };
  } catch (error) {
    await jvm.stop();
    throw signal?.aborted ? signal.reason : failure(error, options, { doing: 'opening' });
  } finally {
    signal?.removeEventListener('abort', abort);
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

const MYSQL_DRIVERS = /^(org\.mariadb|com\.mysql|com\.singlestore)\./;

/** Name and value in turns. What the URL names is the user's to say. */
function propertiesOf({ driver, url, user, password }: JdbcOptions): string[] {
  const wanted: Record<string, string> = MYSQL_DRIVERS.test(driver)
    ? {
        // TINYINT(1) holds numbers.
        tinyInt1isBit: 'false',
        // A reader that is held back must not be dropped.
        sessionVariables: "time_zone='+00:00',net_write_timeout=86400",
      }
    : driver === 'org.postgresql.Driver'
      ? { ApplicationName: 'flow-ingest' }
      : {};
  const named = (name: string): boolean => url.toLowerCase().includes(`${name.toLowerCase()}=`);
  const more = Object.entries(wanted).filter(([name]) => !named(name));
  return ['user', user, 'password', password, ...more.flat()];
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

function checked(facts: Facts, { database }: JdbcOptions): Facts {
  if (database === '' || facts.level !== 'schema' || facts.catalog.toLowerCase() === database.toLowerCase())
    return facts;
  throw new Misconfigured(
    `The URL leads to the database ${facts.catalog || '(none)'}, not to ${database}: name it in \`url\`, and unset \`db\`.`,
    'Name the database in `url` as the driver’s manual says, and unset `db` or set it to the same.',
  );
}
