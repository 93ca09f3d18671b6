/** Options of a connection: further name/value parameters of `PATCH conn-src` and `conn-dst` (API.md). One table; docs/api.md shows it. */

type Side = 'source' | 'destination' | 'both';
type Rule<T> = {
  readonly side: Side;
  readonly type: string;
  readonly default: T;
  readonly effect: string;
  /** undefined: malformed. */
  readonly parse: (text: string) => T | undefined;
};

function integer(side: Side, fallback: number, least: number, most: number, effect: string): Rule<number> {
  return {
    side,
    type: `integer ${least}–${most}`,
    default: fallback,
    effect,
    parse: (text) => {
      const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      return value >= least && value <= most ? value : undefined;
    },
  };
}

function word<const W extends string>(side: Side, words: readonly [W, ...W[]], effect: string): Rule<W> {
  return {
    side,
    type: words.join(' | '),
    default: words[0],
    effect,
    parse: (text) => words.find((known) => known === text),
  };
}

function text(
  side: Side,
  effect: string,
  form?: { readonly name: string; readonly pattern: RegExp },
): Rule<string | null> {
  return {
    side,
    type: form?.name ?? 'text',
    default: null,
    effect,
    parse: (value) => (form === undefined || form.pattern.test(value) ? value : undefined),
  };
}

// One line without PEM's head is the path of a file on the worker.
const certificate = {
  name: 'PEM text, or a file’s path on the worker',
  pattern: /-----BEGIN [A-Z ]*CERTIFICATE-----|^[^\n]+$/,
};
const privateKey = {
  name: 'PEM text, or a file’s path on the worker',
  pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----|^[^\n]+$/,
};

/** The option table. The first word of a list is the default. */
export const optionRules = {
  ssl_mode: word(
    'both',
    ['prefer', 'disable', 'require', 'verify-ca', 'verify-full'],
    'TLS towards the server, in PostgreSQL’s words: `prefer` uses it when offered, `require` insists on it, `verify-ca` checks the certificate, `verify-full` the host name too. With `ssl_ca` alone a destination is verified fully.',
  ),
  ssl_ca: text(
    'both',
    'Certificates of the authorities that `verify-ca` and `verify-full` trust instead of the system’s.',
    certificate,
  ),
  ssl_cert: text('source', 'Client certificate.', certificate),
  ssl_key: text('source', 'Private key of the client certificate. Stored sealed, shown as `***`.', privateKey),
  capture: word(
    'source',
    ['log', 'none', 'cursor'],
    'How changes are found: as the type says; `none` needs no change log at the source, and only full extracts work; `cursor`, at SQL sources of any type, by the columns that `cursor` of each table names (docs/sources/cursor.md).',
  ),
  extract_threads: integer('source', 4, 1, 64, 'Chunks read from the source at the same time, per pipeline.'),
  rollback_window: integer(
    'source',
    0,
    0,
    8760,
    'Hours of source log to keep for rollback; 0 keeps none. Used by delta runs.',
  ),
  rollback_window_mb: integer(
    'source',
    10240,
    1,
    1_000_000_000,
    'Megabytes of source log that `rollback_window` may hold back at most. Used by delta runs.',
  ),
  pause_keeps_log: integer(
    'source',
    0,
    0,
    8760,
    'Hours of source log to keep for a paused table, which then goes on without a load; 0: resuming loads it again.',
  ),
  cdc_wait: integer(
    'source',
    15,
    0,
    3600,
    'Seconds that the capture job of SQL Server’s CDC is waited for, where nothing tells that it has seen what was committed before a delta began.',
  ),
  cursor_overlap: integer(
    'source',
    600,
    0,
    604_800,
    'Seconds that a cursor column is read again behind the last look, so that rows of transactions that were long in committing are seen.',
  ),
  cursor_zone: text(
    'source',
    'Time zone that cursor columns without one are written in, as an IANA name such as America/New_York; not set: any, for which more is read again (PostgreSQL, MySQL and JDBC with `capture` = cursor).',
  ),
  keyless_delta: word(
    'source',
    ['skip', 'reload'],
    'Tables without a key and views: left out of deltas with a warning, or loaded again whole behind each delta that is requested or scheduled (`auto` never ends: there they wait for `reload`).',
  ),
  ddl_policy: word(
    'source',
    ['additive', 'manual'],
    'Structure changes seen by delta runs: brought to the copy by themselves, or everything waits for `syncstruct`.',
  ),
  cascade: word(
    'source',
    ['refuse', 'reload'],
    'Foreign keys with CASCADE or SET NULL on servers that do not log the affected rows: their tables are loaded and not followed, or those rows are read again.',
  ),
  on_unrepresentable: word(
    'source',
    ['rule', 'error'],
    'Values that the destination cannot hold (NaN, infinity, zero dates): replaced by the documented rule and counted, or an error of the row.',
  ),
  jdbc_options: text(
    'source',
    'Text appended to the JDBC URL (`rds.jdbcfe`), or to the connection string of MongoDB (`replicaSet=rs0&directConnection=true`). Stored sealed.',
  ),
  jdbc_drivers: text(
    'source',
    'Folder on the worker that holds the JDBC driver’s jar files; without it `jdbc-drivers`, in the folder in which the worker was started. `rds.jdbcfe` only.',
  ),
  jdbc_heap_mb: integer(
    'source',
    512,
    64,
    1_000_000,
    'Megabytes of memory that each JVM of a JDBC driver may take; one runs for each chunk under way. `rds.jdbcfe` only.',
  ),
  auth_source: text('source', 'Database that the user is defined in; `admin` when unset. MongoDB only.'),
  bson_json: word(
    'source',
    ['relaxed', 'canonical'],
    'Documents as Extended JSON with plain numbers, or with the type of every number. MongoDB only.',
  ),
  document_fields: word(
    'source',
    ['none', 'sampled', 'named'],
    'Top-level fields of documents as columns of their own: none, those that a sample has, or those that the table’s `types` names. MongoDB only.',
  ),
  document_column: word(
    'source',
    ['rest', 'whole'],
    'What the column `_more` holds: the fields that have no column, or the whole document. MongoDB only.',
  ),
  thick_client: text('source', 'Folder of the Oracle client libraries on the worker. Oracle only.'),
  pdb: text(
    'source',
    'The pluggable database to copy, when `db` is the service of the container database’s root and the user a common one. Oracle only.',
  ),
  mining_host: text(
    'source',
    'Host of the database that reads the redo logs, when that is another one (`rds.oracle11lmrm`). Oracle only.',
  ),
  mining_port: text('source', 'Port of the mining database; that of the source when not set. Oracle only.', {
    name: 'port number',
    pattern: /^[1-9]\d{0,4}$/,
  }),
  mining_db: text(
    'source',
    'Service of the mining database, or of the root of the source’s container database; that of the source when not set. Oracle only.',
  ),
  mining_uid: text('source', 'User at the mining database; that of the source when not set. Oracle only.'),
  mining_pwd: text('source', 'Password at the mining database. Stored sealed, shown as `***`. Oracle only.'),
  mining_folder: text(
    'source',
    'Folder in which the mining database finds copies of the source’s archived logs; not set: under the same paths. Oracle only.',
  ),
  load_threads: integer('destination', 4, 1, 64, 'Chunks loaded into the destination at the same time, per pipeline.'),
  max_updates: integer(
    'destination',
    4,
    -1,
    1_000_000,
    'History tables: sequential changes of one record beyond twice this number are grouped; -1 never groups. Used by delta runs.',
  ),
  on_row_error: word(
    'destination',
    ['park', 'table', 'pipeline'],
    'A row that the destination refuses: kept aside, or an error of its table, or of the run. Used by delta runs.',
  ),
} as const;

export type OptionName = keyof typeof optionRules;
/** Every option by its documented name, defaults filled in; null where an option has none. */
export type Options = {
  readonly [N in OptionName]:
    | (typeof optionRules)[N]['default']
    | NonNullable<ReturnType<(typeof optionRules)[N]['parse']>>;
};

export const optionNames = Object.keys(optionRules) as readonly OptionName[];

export function isOption(name: string): name is OptionName {
  return Object.hasOwn(optionRules, name);
}

/** What is wrong with an option's value, or undefined. */
export function optionProblem(side: 'source' | 'destination', name: OptionName, value: string): string | undefined {
  const rule = optionRules[name];
  if (rule.side !== 'both' && rule.side !== side) return `is an option of the ${rule.side} connection`;
  return rule.parse(value) === undefined ? `must be ${rule.type}` : undefined;
}

/** A connection's options, defaults filled in. Throws `RangeError` on a malformed value, which the API never stores. */
export function optionsOf(params: Readonly<Record<string, string>>): Options {
  const options = optionNames.map((name) => {
    const rule = optionRules[name];
    const given = params[name];
    if (given === undefined || given === '') return [name, rule.default] as const;
    const value = rule.parse(given);
    if (value === undefined) throw new RangeError(`${name} must be ${rule.type}`);
    return [name, value] as const;
  });
  return Object.fromEntries(options) as Options;
}
