import type { Capture, CaptureRequest } from './changes.ts';
import type {
  Batch,
  ChunkRead,
  Described,
  DescribeRequest,
  Finding,
  Params,
  Position,
  Split,
  Table,
  TableRef,
} from './model.ts';

/** One line of a source's catalog. */
export type Listing = { readonly name: string; readonly kind: Table['kind']; readonly approxRows: number };

/** Where a scope starts following the log (EXACTNESS.md §3). */
export type Start = {
  readonly position: Position;
  /** Replication slot that keeps the log for this scope; '' where the source has none. */
  readonly slot: string;
  /** The server's identity, compared at each later start (system identifier and timeline, server UUID, …). */
  readonly identity: string;
};

/** Options of a source connection that drivers read from `Params`, with their defaults in `codes.ts`. */
export type OpenSource = (params: Params, signal: AbortSignal) => Promise<Source>;

/**
 * An opened source. Throws the classes of `errors.ts`; any other error is transient and the caller tries again.
 * Methods may be called at the same time; each takes a connection of its own from the source's pool.
 */
export interface Source extends AsyncDisposable {
  readonly server: { readonly product: string; readonly version: string };
  /** The connected database's name as `list-db` shows it and destination names use it; `default` where it names nothing (MySQL). */
  readonly database: string;

  /**
   * Everything that would make a full extract or later change capture of `tables` fail, found before it does: grants, log
   * settings, slots left, retention, keys, replica identity. With no tables: the server only. Changes nothing.
   */
  preflight(tables: readonly TableRef[]): Promise<Finding[]>;

  /** Schemas a user may select tables from, system schemas left out, sorted. */
  schemas(): Promise<string[]>;

  /** Tables and partitioned roots (not their partitions, not views) of a schema, sorted; null: no such schema. */
  tables(schema: string): Promise<Listing[] | null>;

  /** Describes tables in one go (1,000 must take seconds, not minutes); views are found by name. A missing or refused table is an `error` entry. */
  describe(requests: readonly DescribeRequest[]): Promise<Described[]>;

  /**
   * Takes P0 for a scope called `name` (`[a-z0-9_]{1,50}`; slot name) of a pipeline called `pipeline` (same alphabet; publication
   * name): no later commit of `tables` will be missed from there on, and every commit before it is visible to any later read.
   * Waits as long as that takes and reports why through `waiting` (blocking pids). A slot left under the same name by an earlier
   * attempt is dropped first.
   */
  begin(
    pipeline: string,
    name: string,
    tables: readonly TableRef[],
    waiting: (why: string) => void,
    signal: AbortSignal,
  ): Promise<Start>;

  /** Lets the log of a scope go: drops its slot. Fine when there is none. */
  end(name: string): Promise<void>;

  /** Drops everything that a pipeline made at the source: publication and all its slots (names that begin with `pipeline` + `_`). */
  remove(pipeline: string): Promise<void>;

  /** The log's written end now: rows read before this call are covered by it (`ahead_until`, EXACTNESS.md §3). */
  written(): Promise<Position>;

  /** Cuts a table into ranges of about `chunkBytes` that together hold every row exactly once (or more than once if `replace`). */
  split(table: Table, where: string | undefined, chunkBytes: number): Promise<Split>;

  /**
   * The rows of one range as load text (DESIGN.md §6): tab, newline, backslash escapes, `\N` for NULL, hex for binary kinds,
   * columns in `table.columns` order. Pulls from the server only as fast as it is consumed. Aborting or leaving the loop early
   * ends the query at once.
   */
  read(
    table: Table,
    where: string | undefined,
    range: string,
    signal: AbortSignal,
  ): AsyncGenerator<Batch, ChunkRead, undefined>;

  /**
   * Rows by key as they are now, as load text like `read`. Keys as in `RowChange.key`; keys without a row are absent from the answer. Throws
   * `StructureChanged` when the table is no longer what `table` describes.
   */
  reread(table: Table, keys: readonly string[], signal: AbortSignal): AsyncGenerator<Batch, ChunkRead, undefined>;

  /** Opens a reader of the log; undefined where the source captures no changes by log. */
  readonly capture?: (request: CaptureRequest, signal: AbortSignal) => Promise<Capture>;

  /** Whether everything up to `goal` lies within `position`. Both of this source; pure. */
  reached(position: Position, goal: Position): boolean;

  /**
   * Present where the log is kept for named readers only (replication slots). `copy`: what a reader of the slot `from` can read now, one of `to` can
   * read later, until `end(to)`; a `to` that is there is dropped first. Throws `Misconfigured` when the server can't do that now, `PositionLost` when
   * `from` has lost its log. `names`: those that begin with `pipeline` + `_`.
   */
  readonly slots?: {
    copy(from: string, to: string): Promise<void>;
    names(pipeline: string): Promise<string[]>;
  };

  /** The time by the clock that commit times are of, ms since 1970 (UTC); absent: the source has none. */
  readonly clock?: () => Promise<number>;

  /** How much longer the log is kept for a reader that stands at `position`, and how far it is behind; null: not known. */
  logState(slot: string, position: Position): Promise<LogState>;
}

export type LogState = {
  /** Bytes of log between the position and its written end. */
  readonly bytes: number | null;
  /** Hours until the source drops what the reader has not read yet, at the pace of the log's growth; null: never, or not known. */
  readonly hoursLeft: number | null;
  /** Set when it is lost already, with the reason. */
  readonly lost: string | null;
};
