import { quote } from './sql.ts';

export type Product = 'SingleStore' | 'MariaDB' | 'MySQL';

/** Shard and sort key columns (quoted, sort keys with their direction); undefined: the server's default. */
export type Layout = { readonly shard: readonly string[] | undefined; readonly sort: readonly string[] | undefined };

/** A table to create. `columns` are complete definitions; `key` is the primary key, empty for a keyless table. */
export type TableSpec = {
  readonly database: string;
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
  readonly layout: Layout;
  /** Kept in memory on SingleStore: many small updates of single rows. */
  readonly rowstore: boolean;
  readonly ifMissing: boolean;
};

/** All that differs between SingleStore and its stand-ins; every other statement is the common subset (singlestore.md §7). */
export type Dialect = {
  readonly product: Product;
  /** Compares strings bytewise, on the stand-ins without padding (EXACTNESS.md §8). */
  readonly keyCollation: string;
  /** Whether key strings that differ only in spaces at their end may be one key (not settled for SingleStore; EXACTNESS.md §8). */
  readonly padsKeys: boolean;
  /** Longest row in bytes, variable-length columns counted in full; undefined where they do not count. */
  readonly rowBytes: number | undefined;
  /** What LOAD DATA is told about its UTF-8 text; columns check what they store in any case. */
  readonly loadCharset: 'utf8mb4' | 'binary';
  /** Longest VARCHAR in characters. */
  readonly varcharLength: number;
  /** Longest key in bytes; undefined: not limited by us. */
  readonly keyBytes: number | undefined;
  /** Tables that one transaction may write, with room for what the server counts besides (singlestore.md §4). */
  readonly transactionTables: number;
  /** Whether MODIFY takes a new type; else a new column takes the old one's place (singlestore.md §2). */
  readonly modifiesColumns: boolean;
  /** Whether a column added with a DEFAULT is known to have it in all rows that are there (not settled for SingleStore). */
  readonly fillsAdded: boolean;
  /** Settings of every session. Optional ones may be refused. */
  readonly session: readonly { readonly sql: string; readonly optional: boolean }[];
  createTable(spec: TableSpec): string;
  /** The action of ALTER TABLE that gives a column another name and leaves everything else; names without quotes. */
  renameColumn(from: string, to: string): string;
  /** Shard and sort key as `show create table` prints them. */
  layoutOf(showCreate: string): Layout;
};

const NO_LAYOUT: Layout = { shard: undefined, sort: undefined };

/** The dialect of a product. */
export function dialectOf(product: Product): Dialect {
  return product === 'SingleStore' ? SINGLESTORE : standIn(product);
}

const SINGLESTORE: Dialect = {
  product: 'SingleStore',
  keyCollation: 'utf8mb4_bin',
  padsKeys: true,
  rowBytes: undefined,
  loadCharset: 'utf8mb4',
  varcharLength: 21_845,
  keyBytes: undefined,
  transactionTables: 1000,
  modifiesColumns: false,
  fillsAdded: false,
  // READ COMMITTED is all there is. The rest is unproven on a server (singlestore.md §6) and not needed for exactness.
  session: [
    { sql: "set time_zone = '+00:00'", optional: true },
    { sql: 'set wait_timeout = 300', optional: true },
  ],
  createTable(spec) {
    const keys: string[] = [];
    if (spec.key.length > 0) keys.push(`primary key (${list(spec.key)})`);
    const shard = spec.layout.shard ?? spec.key.map(quote);
    keys.push(`shard key (${shard.join(', ')})`);
    if (spec.layout.sort !== undefined) keys.push(`sort key (${spec.layout.sort.join(', ')})`);
    return create(spec, spec.rowstore ? 'create rowstore table' : 'create table', keys);
  },
  renameColumn: (from, to) => `change ${quote(from)} ${quote(to)}`,
  layoutOf(showCreate) {
    return { shard: keyColumns(showCreate, 'shard'), sort: keyColumns(showCreate, 'sort') };
  },
};

function standIn(product: 'MariaDB' | 'MySQL'): Dialect {
  return {
    product,
    keyCollation: product === 'MariaDB' ? 'utf8mb4_nopad_bin' : 'utf8mb4_0900_bin',
    padsKeys: false,
    rowBytes: 65_535,
    // No byte of a longer UTF-8 character looks like a separator: MariaDB need not look for them, which saves 8 % of its CPU in a load.
    loadCharset: product === 'MariaDB' ? 'binary' : 'utf8mb4',
    varcharLength: 16_383,
    keyBytes: 3072,
    transactionTables: Number.POSITIVE_INFINITY,
    modifiesColumns: true,
    fillsAdded: true,
    session: [
      {
        // Strict, so that a value which does not fit is at least a warning, which the load takes as failure; zero dates as on SingleStore.
        sql: "set session sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
        optional: false,
      },
      { sql: 'set session transaction isolation level read committed', optional: false },
      { sql: "set time_zone = '+00:00'", optional: false },
      { sql: 'set session wait_timeout = 300', optional: false },
      // A source may be silent for minutes in the middle of a load; a dead attempt's load is killed by the next claim, not by time.
      { sql: 'set session net_read_timeout = 3600', optional: false },
      { sql: 'set session lock_wait_timeout = 60', optional: false },
      // Wide tables: InnoDB refuses rows that do not fit a page when they come, instead of the table.
      { sql: 'set session innodb_strict_mode = 0', optional: true },
    ],
    createTable(spec) {
      const keys = spec.key.length > 0 ? [`primary key (${list(spec.key)})`] : [];
      return create(spec, 'create table', keys);
    },
    renameColumn: (from, to) => `rename column ${quote(from)} to ${quote(to)}`,
    layoutOf: () => NO_LAYOUT,
  };
}

function create(spec: TableSpec, verb: string, keys: readonly string[]): string {
  const name = `${quote(spec.database)}.${quote(spec.name)}`;
  const lines = [...spec.columns, ...keys].map((line) => `  ${line}`).join(',\n');
  return `${verb} ${spec.ifMissing ? 'if not exists ' : ''}${name} (\n${lines}\n)`;
}

function list(names: readonly string[]): string {
  return names.map(quote).join(', ');
}

/** Reads `SHARD KEY [name] (…)` or `SORT KEY [name] (…)`, and the older `KEY [name] (…) USING CLUSTERED COLUMNSTORE` for the sort key. */
function keyColumns(showCreate: string, kind: 'shard' | 'sort'): string[] | undefined {
  const name = '(?:`(?:[^`]|``)*`\\s*)?';
  const columns = '\\(((?:[^()`]|`(?:[^`]|``)*`)*)\\)';
  const modern = new RegExp(`^\\s*${kind} key\\s*${name}${columns}`, 'im').exec(showCreate);
  const older =
    kind === 'sort'
      ? new RegExp(`^\\s*key\\s*${name}${columns}\\s*using clustered columnstore`, 'im').exec(showCreate)
      : null;
  const found = modern ?? older;
  if (!found) return undefined;
  return [...(found[1] ?? '').matchAll(/(`(?:[^`]|``)*`|[^\s,`]+)(\s+(?:asc|desc)\b)?/gi)].map(
    (match) => (match[1] as string) + (match[2] ?? '').toLowerCase(),
  );
}
