import type { Batch, ChunkRead, Position, RuleUse, Table, TableOptions } from './model.ts';

/** What a source's log says and how it is asked: the contract between capture (sources) and apply (destination). Types only. */

/** A table as a scope follows it. */
export type FollowedTable = {
  /** The structure that is valid at the position where the capture starts. */
  readonly table: Table;
  /**
   * Changes of a transaction that is contained in one of these are dropped: where the table's own copy began (`follow_from`), and what its
   * destination database holds already when another database lags behind.
   */
  readonly skip: readonly Position[];
  /** The table's settings, for describing it again when its structure has changed; absent: none. */
  readonly options?: TableOptions;
};

/** One row of a source transaction. Positions of tables are indexes into `CaptureRequest.tables`. */
export type RowChange = {
  readonly kind: 'insert' | 'update' | 'delete';
  readonly table: number;
  /**
   * The key as load text: key columns in `Table.key` order, joined by tabs, escaped, as latin1 characters (one per byte), so that equal keys
   * are equal strings. The same bytes as in the row.
   */
  readonly key: string;
  /** Set when an update changed the key: the row's key before. Deletes have none. */
  readonly oldKey: string | null;
  /**
   * The whole row as one line of load text, newline included, columns in `Table.columns` order: `data[from..to)`, the same bytes that a
   * snapshot read gives. Columns in `missing` hold `\N`. Stays as it is until the consumer has let go of the change. Empty for deletes.
   */
  readonly data: Uint8Array;
  readonly from: number;
  readonly to: number;
  /** Indexes of columns that the log does not carry (unchanged TOAST values, partial images), ascending; null: none. Never a key column. */
  readonly missing: readonly number[] | null;
};

/** What rows from before a change of structure hold in columns of the new one, where that is neither NULL nor their own by the same name. */
export type Carry = {
  /** New columns that all these rows have one value in, as load text in latin1 characters (one per byte): what a snapshot read gives. */
  readonly fills: ReadonlyMap<string, string>;
  /** New names of columns that stayed what they were, with the name before. Never key columns. */
  readonly renames: ReadonlyMap<string, string>;
};

export type LogEvent =
  | RowChange
  /** The table was emptied by its owner. */
  | { readonly kind: 'truncate'; readonly table: number }
  /**
   * The log has come to rows of the table (or to a statement on it) that `FollowedTable.table` does not describe. Comes before the first such
   * change, in or between transactions; afterwards the capture drops the table's changes. `now`: the structure as it is today, if that is
   * known to be the one of these rows; null: only a reload helps. `reason`: for people. `carry`: absent when a column that
   * came may be one that went; new columns are NULL in all rows from before then.
   */
  | {
      readonly kind: 'structure';
      readonly table: number;
      readonly now: Table | null;
      readonly reason: string;
      readonly carry?: Carry;
    }
  /**
   * A source transaction has ended; all changes since the last commit event are its. Events of transactions without a change of followed
   * tables may be left out. `position`: everything up to and including it. `at`: commit time at the source, ms since 1970 (UTC).
   */
  | { readonly kind: 'commit'; readonly position: Position; readonly at: number }
  /**
   * Nothing more to deliver up to `position` (never inside a transaction). Sent when the log holds much that does not concern the scope, and
   * when the reader is at its end: then at least every few seconds. `atEnd`: it has caught up with the log as it was a moment ago.
   */
  | { readonly kind: 'progress'; readonly position: Position; readonly atEnd: boolean };

export type CaptureRequest = {
  /** As `Source.begin` was called, and what it answered. */
  readonly pipeline: string;
  readonly name: string;
  readonly slot: string;
  readonly identity: string;
  /** Deliver what comes after it. */
  readonly from: Position;
  readonly tables: readonly FollowedTable[];
  /**
   * `written`: up to the log's written end at the time of the call, then the events end (a `progress` event at that end is the last one).
   * `forever`: until the signal aborts.
   */
  readonly until: 'written' | 'forever';
  /** Set when a user asks for it (`syncstruct`): what no log tells of a structure is looked at once, before the first change. */
  readonly look?: true;
};

/**
 * An open reader of the log. Opening throws `PositionLost` when the log no longer reaches back to `from`, or the server is another one
 * than `identity` says (EXACTNESS.md §3); any damage in the log throws, never skips.
 */
export interface Capture extends AsyncDisposable {
  /**
   * Whole source transactions in commit order, in pieces of at most about 1 MB; a transaction may span many pieces, a piece may hold many
   * transactions. To be iterated once. Reads only as far ahead as a few pieces. Aborting ends it with the signal's reason.
   */
  events(): AsyncGenerator<readonly LogEvent[], void, undefined>;

  /**
   * Rows by key as they are now, seen by a snapshot that contains every transaction delivered so far (it waits for that; EXACTNESS.md §6,
   * re-read), as load text like `Source.read`. Keys as in `RowChange.key`; keys without a row are simply absent from the answer.
   * May be called while `events` is being iterated, and for some seconds after the signal: what was delivered can still be written.
   */
  reread(table: number, keys: readonly string[]): AsyncGenerator<Batch, ChunkRead, undefined>;

  /** Everything up to `position` is durable in every destination database: the source may let go of it. Cheap; may be called often. */
  acknowledge(position: Position): Promise<void>;

  /** Uses of rules (EXACTNESS.md §9) in changes delivered since the last call, by table. */
  takeRules(): readonly { readonly table: number; readonly rules: readonly RuleUse[] }[];
}
