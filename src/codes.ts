/** The documented type codes and connection parameters as pure data: what a name means, its default and its rule. */

export type DriverName = 'postgres' | 'mysql' | 'mssql' | 'oracle' | 'mongodb' | 'jdbc' | 'singlestore';

/** How a source's changes are learned: from its log, CDC tables, change tracking, change streams, a timestamp cursor, or not at all. */
export type Capture = 'log' | 'cdc' | 'tracking' | 'stream' | 'timestamp' | 'none';

export type Code = {
  readonly code: string;
  readonly product: string;
  readonly extract: string;
  readonly driver: DriverName;
  readonly capture: Capture;
  /** null: the reference names none. */
  readonly port: number | null;
  /** Destination database without a `db` at the destination: `<database>_<schema>` or `<schema>`. */
  readonly naming: 'database_schema' | 'schema';
  /** The log connection stays open between slices. */
  readonly continuous: boolean;
};

function code(
  [name, product, extract]: readonly [string, string, string],
  driver: DriverName,
  capture: Capture,
  more: { port: number | null; naming: Code['naming']; continuous?: boolean },
): Code {
  return { code: name, product, extract, driver, capture, continuous: false, ...more };
}

const oracle = { port: 1521, naming: 'database_schema' } as const;
const mssql = { port: 1433, naming: 'database_schema' } as const;
const mysql = { port: 3306, naming: 'schema' } as const;
const mongodb = { port: null, naming: 'schema' } as const;

/** The 23 documented source codes, in the reference's order. */
export const sourceCodes: readonly Code[] = [
  code(['rds.oracle11lm', 'Oracle', 'Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lfm', 'Oracle', 'Fast Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmrm', 'Oracle', 'Remote Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmc', 'Oracle', 'Continuous Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oraclefem', 'Oracle', 'Full extracts'], 'oracle', 'none', oracle),
  code(['rds.oraclets', 'Oracle', 'Timestamps'], 'oracle', 'timestamp', oracle),
  code(['rds.oracle11lmp', 'Oracle (Pluggable Database)', 'Fast Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmcp', 'Oracle (Pluggable Database)', 'Continuous Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmrac', 'Oracle (RAC)', 'Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmcrac', 'Oracle (RAC)', 'Continuous Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmracp', 'Oracle (RAC) (Pluggable Database)', 'Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmc19', 'Oracle 19c', 'Continuous Log Miner'], 'oracle', 'log', oracle),
  code(['rds.oracle11lmcp19', 'Oracle 19c (Pluggable Database)', 'Continuous Log Miner'], 'oracle', 'log', oracle),
  code(['rds.msadbctm', 'Microsoft SQL Server', 'Change Tracking'], 'mssql', 'tracking', mssql),
  code(['rds.mscdcm', 'Microsoft SQL Server', 'CDC'], 'mssql', 'cdc', mssql),
  code(['rds.msfull', 'Microsoft SQL Server', 'Full extracts'], 'mssql', 'none', mssql),
  code(['rds.msts', 'Microsoft SQL Server', 'Timestamps'], 'mssql', 'timestamp', mssql),
  code(['rds.mysql', 'MySQL 5.1 or higher', 'Log'], 'mysql', 'log', mysql),
  code(['rds.mysqlc', 'MySQL 5.1 or higher', 'Continuous'], 'mysql', 'log', { ...mysql, continuous: true }),
  code(['rds.pgres', 'Postgres', 'Log'], 'postgres', 'log', { port: 5432, naming: 'database_schema' }),
  code(['rds.mongo', 'MongoDB', 'Self-managed'], 'mongodb', 'stream', mongodb),
  code(['rds.mongoatlas', 'MongoDB', 'Atlas'], 'mongodb', 'stream', mongodb),
  code(['rds.jdbcfe', 'Any Database', 'Full Extracts'], 'jdbc', 'none', {
    port: null,
    naming: 'database_schema',
  }),
];

/** The one destination code. */
export const destinationCode: Code = code(['rds.sstorem', 'SingleStore', 'Destination'], 'singlestore', 'none', {
  port: 3306,
  naming: 'schema',
});

/** The code of a source connection's `type`. */
export function sourceCode(type: string | undefined): Code | undefined {
  return sourceCodes.find((known) => known.code === type);
}

/** How changes of a source with these parameters are learned: as its code says, unless the option `capture` says otherwise. */
export function captureOf(params: Readonly<Record<string, string>>): Capture {
  const code = sourceCode(params.type);
  if (code === undefined || params.capture === 'none') return 'none';
  return params.capture === 'cursor' && code.driver !== 'mongodb' ? 'timestamp' : code.capture;
}

/** The code that `type` may name at one side of a pipeline. */
export function codeAt(side: 'source' | 'destination', type: string | undefined): Code | undefined {
  if (side === 'source') return sourceCode(type);
  return type === destinationCode.code ? destinationCode : undefined;
}

/** Parameters that the reference documents, apart from read-only `id` and `status`. */
export const documentedParams: readonly string[] = ['host', 'port', 'uid', 'pwd', 'pwd2', 'type', 'db', 'drv', 'url'];

/** Whether sources of a type may know no users at all. */
export function mayLackUser(type: string | undefined): boolean {
  return sourceCode(type)?.driver === 'mongodb';
}

/** Required parameters (`pwd2` may be missing, API.md) that are not set. Without them every operation is refused as `no_connection`. */
export function missingParams(params: Readonly<Record<string, string>>): string[] {
  // A MongoDB server without authentication has no users.
  const login = params.uid || !mayLackUser(params.type) ? ['uid', 'pwd'] : [];
  const required = ['host', 'port', ...login, 'type', ...(params.type === 'rds.jdbcfe' ? ['drv', 'url'] : [])];
  // Present but empty is a password-less user; every other required value is refused when empty.
  return required.filter((name) => params[name] === undefined || (name !== 'pwd' && params[name] === ''));
}

const secretWords = /pwd|passw|passphrase|secret|token|credential|api_?key|private|ssl_key/i;

/** Values that are sealed and shown as `***`. Unknown names that sound like a secret are taken as one. */
export function isSecret(name: string): boolean {
  return secretWords.test(name);
}

/** Values that are sealed because they may hold a secret, and shown with that part masked. */
export function mayHoldSecret(name: string): boolean {
  return name === 'url' || name === 'jdbc_options';
}

const secretName = String.raw`[\w.-]{0,60}(?:pass|pwd|secret|token|credential|(?:private|access|account|api)_?key)[\w.-]{0,60}`;
const credentials = [
  // As most URLs name properties, and Db2 its first one.
  new RegExp(String.raw`[?&;:/]${secretName}=(\{[^}]*\}|[^&;]*)`, 'gi'),
  // Teradata, and MySQL's lists of hosts.
  new RegExp(`[,(]${secretName}=([^&;,)]*)`, 'gi'),
  /\/\/[^/@:\s]*:(\S{0,300}?)@(?=[^@/?;&]*(?:[/?;&]|$))/g,
  /:(?:thin|oci8?):[^/@\s]*\/(\S{1,300})@/gi,
];

/** Passwords and tokens inside a JDBC URL or options text. */
export function credentialsIn(text: string): string[] {
  const found = credentials.flatMap((pattern) => [...`&${text}`.matchAll(pattern)].map((match) => match[1] ?? ''));
  return found.filter((secret) => secret !== '');
}

/** A JDBC URL or options text with its credentials shown as `***`. */
export function maskCredentials(text: string): string {
  const masked = credentials.reduce(
    (shown, pattern) =>
      shown.replace(pattern, (whole, secret: string) => (secret === '' ? whole : replaceLast(whole, secret))),
    `&${text}`,
  );
  return masked.slice(1);
}

function replaceLast(whole: string, secret: string): string {
  const at = whole.lastIndexOf(secret);
  return `${whole.slice(0, at)}***${whole.slice(at + secret.length)}`;
}

/** Where a table lands: `db` of the destination when set, else by the source's naming; the table's name is kept (API.md). */
export function destinationOf(
  type: string,
  sourceDatabase: string,
  ref: { readonly schema: string; readonly name: string },
  destinationParams: Readonly<Record<string, string>>,
): { database: string; table: string } {
  const fixed = destinationParams.db;
  if (fixed !== undefined && fixed !== '') return { database: fixed, table: ref.name };
  const naming = sourceCode(type)?.naming ?? 'database_schema';
  // By JDBC it depends on the database whether there is a level above schemas; where there is none it is called `default`.
  const schemaOnly = naming === 'schema' || (type === 'rds.jdbcfe' && sourceDatabase === 'default');
  return { database: schemaOnly ? ref.schema : `${sourceDatabase}_${ref.schema}`, table: ref.name };
}
