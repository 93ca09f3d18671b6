/** What both ends of a copy agree on. Types only; every driver and activity speaks these words. */

/** Connection parameters by their documented names (`host`, `port`, `uid`, `pwd`, `type`, `db`, …), secrets in clear. Never logged, never stored. */
export type Params = Readonly<Record<string, string>>;

/** A table of the source. `schema` is the MySQL database, the PostgreSQL schema, … */
export type TableRef = { readonly schema: string; readonly name: string };

/** Where a source's change log stands. Opaque: only the driver that made it reads or compares it. Stored at the destination. */
export type Position = string & { readonly __position: never };

/**
 * Neutral column type, which the destination turns into DDL (`singlestore/ddl.ts`). `binary` and `blob` travel as hex in load
 * text, everything else as the text that the destination parses. Stored at the destination as JSON: add kinds, never rename.
 */
export type ColumnType =
  | { readonly kind: 'int'; readonly bytes: 1 | 2 | 4 | 8; readonly unsigned: boolean }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'float' }
  | { readonly kind: 'double' }
  | { readonly kind: 'char'; readonly length: number }
  | { readonly kind: 'varchar'; readonly length: number }
  | { readonly kind: 'text'; readonly size: 'tiny' | 'normal' | 'medium' | 'long' }
  | { readonly kind: 'binary'; readonly length: number }
  | { readonly kind: 'blob'; readonly size: 'tiny' | 'normal' | 'medium' | 'long' }
  | { readonly kind: 'date' }
  | { readonly kind: 'time'; readonly fraction: 0 | 6 }
  | { readonly kind: 'datetime'; readonly fraction: 0 | 6 }
  | { readonly kind: 'year' }
  | { readonly kind: 'json' };

/** Rules of EXACTNESS.md §9 that may replace a value that the destination cannot represent; each use is counted per table. */
export type Rule =
  | 'date_repair'
  | 'date_range'
  | 'not_a_number'
  | 'mask'
  | 'fraction'
  | 'half_character'
  | 'kept_in_document';

export type Column = {
  readonly name: string;
  /** The type at the destination, options (`types`, `mask`) applied. */
  readonly type: ColumnType;
  /** At the destination: also true where a rule may put NULL into a NOT NULL column of the source. */
  readonly nullable: boolean;
  /** The source's own words for the type, e.g. `numeric(12,2)`; shown to users. */
  readonly sourceType: string;
  readonly masked: boolean;
};

/** A column that is not copied, with the reason that users are shown. */
export type LeftOut = { readonly name: string; readonly sourceType: string; readonly reason: string };

/** One source table as it will be copied. Stored at the destination (`_flow_structures`): add fields, never rename. */
export type Table = {
  readonly ref: TableRef;
  readonly kind: 'table' | 'partitioned' | 'view';
  /** Copied columns in the source's order. */
  readonly columns: readonly Column[];
  readonly leftOut: readonly LeftOut[];
  /** Key columns at the destination: the primary key, else a NOT NULL unique key, or the user's `key`. Empty: keyless. */
  readonly key: readonly string[];
  /**
   * Set when the source lets no two rows share a key at any moment: the log tells then in its order which row a change is about. Absent (also in
   * structures stored by older versions): rows may share one until their transaction ends.
   */
  readonly immediate?: true;
  /** Columns that tell when a row was last written, where changes are found by them; absent: they are found in another way. */
  readonly cursor?: readonly string[];
  /** Foreign keys by which a change of another table changes or deletes rows of this one without a word in the log; absent: none. */
  readonly cascades?: readonly Cascade[];
  /** True when two different source keys might compare equal at the destination (strings in the key): rows must never replace each other. */
  readonly textKey: boolean;
  readonly approxRows: number;
  readonly approxBytes: number;
  /** Changes whenever DDL changed what a reader sees of the table (columns, types, key). */
  readonly structure: string;
  /** Changes whenever the table's storage was rewritten (PostgreSQL `pg_relation_filenode`, of all partitions); '' where the source has no such notion. */
  readonly storage: string;
  readonly warnings: readonly string[];
};

/** A foreign key whose actions (CASCADE, SET NULL) the source does not log. Stored with its table: add fields, never rename. */
export type Cascade = {
  readonly name: string;
  readonly parent: TableRef;
  /** Columns of the table, and those of the parent that they name, in the same order. */
  readonly columns: readonly string[];
  readonly references: readonly string[];
  /** Set when the source holds strings equal that differ in more than spaces at their end. */
  readonly loose?: true;
  /** Why changes of the table can't be followed, for people; absent: rows are read again when the key of a parent goes away. */
  readonly refused?: { readonly message: string; readonly action: string };
};

/** A table's settings (API.md, `PATCH config-tab`). Stored in workflow history: add fields, never rename. */
export type TableOptions = {
  readonly where?: string;
  readonly key?: readonly string[];
  /** Columns that tell when a row was last written, for sources whose changes are found by them. */
  readonly cursor?: readonly string[];
  readonly mask?: readonly string[];
  /** Column → destination type, e.g. `{"amount":"DECIMAL(20,4)"}`. */
  readonly types?: Readonly<Record<string, string>>;
  readonly history?: boolean;
  readonly skipInitial?: boolean;
  readonly redoInitial?: boolean;
  readonly adopt?: boolean;
  readonly paused?: boolean;
};

/** A table asked for, and either what it is or why it can't be copied (`error`: the table fails, the others go on). */
export type DescribeRequest = {
  readonly ref: TableRef;
  readonly options: TableOptions;
  /** `Table.structure` of an earlier description. A source that finds columns by looking at rows describes the same ones again; others take no notice. */
  readonly like?: string | undefined;
};
export type Described =
  | { readonly ref: TableRef; readonly table: Table }
  | { readonly ref: TableRef; readonly error: TableError };

/** Why one table can't be copied. `action` says who must do what. */
export type TableError = { readonly class: string; readonly message: string; readonly action: string };

/**
 * Encoded rows on their way: a piece of load text, not necessarily cut at row ends. `rows` counts the rows that end in it. A consumer that
 * needs `data` no longer may say so by `release`, and its bytes then change; without that they stay as they are.
 */
export type Batch = { readonly data: Uint8Array; readonly rows: number; readonly release?: () => void };

/** What reading a chunk found out besides the rows. `rows` is asserted against what the destination loaded. */
export type ChunkRead = {
  readonly rows: number;
  readonly rules: readonly RuleUse[];
};

/** How often a rule replaced a value, with up to three examples (`column`, source text, key). */
export type RuleUse = {
  readonly rule: Rule;
  readonly column: string;
  readonly count: number;
  readonly examples: readonly string[];
};

/** How a table is cut for parallel loading. */
export type Split = {
  /** Opaque to everyone but the driver; each at most 4 KB. At least one, also for an empty table. Stored at the destination. */
  readonly ranges: readonly string[];
  /** A row may be read in more than one chunk when it moves meanwhile (ctid ranges): the load replaces by key. Never with `textKey`, never keyless. */
  readonly replace: boolean;
};

/** What a preflight or a connection test found. `error` refuses the operation, `warning` is shown. */
export type Finding = {
  readonly severity: 'error' | 'warning';
  /** A stable word, e.g. `wal_level`, `grant`, `slots`. */
  readonly code: string;
  /** What is wrong and what to run or set, in one or two sentences. Never holds a secret. */
  readonly message: string;
  readonly table?: TableRef;
};
