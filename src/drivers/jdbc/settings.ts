import type { JdbcOptions } from './options.ts';

type Family = 'mysql' | 'postgres' | 'sqlite' | 'h2' | 'hsqldb' | 'other';

const FAMILIES: readonly (readonly [RegExp, Family])[] = [
  [/^(org\.mariadb|com\.mysql|com\.singlestore)\./, 'mysql'],
  [/^org\.postgresql\.Driver$/, 'postgres'],
  [/^org\.sqlite\./, 'sqlite'],
  [/^org\.h2\./, 'h2'],
  [/^org\.hsqldb\./, 'hsqldb'],
];

function familyOf({ driver }: JdbcOptions): Family {
  return FAMILIES.find(([pattern]) => pattern.test(driver))?.[1] ?? 'other';
}

/** What a driver is told besides the URL. A file that is not there is an error, not a new and empty database. */
function wishes(options: JdbcOptions): Readonly<Record<string, string>> {
  switch (familyOf(options)) {
    case 'mysql':
      // TINYINT(1) holds numbers; no server has a reason to ask for the worker's files.
      return { tinyInt1isBit: 'false', allowLocalInfile: 'false' };
    case 'postgres':
      // Numbers and dates come as the server prints them (java/Cell.java).
      return { ApplicationName: 'flow-ingest', binaryTransfer: 'false', tcpKeepAlive: 'true' };
    case 'sqlite':
      // SQLITE_OPEN_READONLY.
      return { open_mode: '1' };
    case 'h2':
      return /^jdbc:h2:(tcp|ssl|mem):/i.test(options.url) ? {} : { IFEXISTS: 'TRUE' };
    case 'hsqldb':
      return /^jdbc:hsqldb:(hsqls?|https?|mem):/i.test(options.url) ? {} : { ifexists: 'true' };
    default:
      return {};
  }
}

/** Properties of the connection, name and value in turns. What the URL names is the user's to say. */
export function propertiesOf(options: JdbcOptions): string[] {
  const named = (name: string): boolean => options.url.toLowerCase().includes(`${name.toLowerCase()}=`);
  const more = Object.entries(wishes(options)).filter(([name]) => !named(name));
  return ['user', options.user, 'password', options.password, ...more.flat()];
}

/** A reader that is held back must not be dropped by the server. */
const STALL_SECONDS = 86_400;
const MYSQL = [
  // '' keeps CHAR free of padding, and backslash and quotes as usual.
  "sql_mode = ''",
  `net_write_timeout = ${STALL_SECONDS}`,
  `wait_timeout = ${STALL_SECONDS}`,
  'sql_big_selects = 1',
  // A limit that an administrator has set would end a reading early without a word.
  'sql_select_limit = 18446744073709551615',
  // MariaDB knows the one, MySQL the other.
  'max_statement_time = 0',
  'max_execution_time = 0',
].map((setting) => `set session ${setting}`);

const POSTGRES = [
  // A policy that hides rows is an error then, not a silent loss of them.
  'set row_security = off',
  'set statement_timeout = 0',
  'set idle_in_transaction_session_timeout = 0',
  'set idle_session_timeout = 0',
  'set transaction_timeout = 0',
  'set extra_float_digits = 3',
  "set intervalstyle = 'iso_8601'",
];

/** Statements that set a session up, each behind `must` or `may`: those of the second kind are known to some servers only. */
export function setUp(options: JdbcOptions): string[] {
  const family = familyOf(options);
  if (family === 'mysql')
    return ['must', "set session time_zone = '+00:00'", ...MYSQL.flatMap((statement) => ['may', statement])];
  if (family === 'postgres')
    return ['must', "set timezone = 'UTC'", ...POSTGRES.flatMap((statement) => ['may', statement])];
  return [];
}
