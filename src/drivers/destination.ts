import type {
  Applier,
  ApplyRequest,
  ClaimedScope,
  Followed,
  LeavingTable,
  PausedTable,
  Point,
  Restructure,
  RollBack,
} from './apply.ts';
import type { Check, Checked } from './check.ts';
import type { Batch, ChunkRead, Finding, Params, Position, Table, TableError, TableRef } from './model.ts';
import type { Start } from './source.ts';

/** A table at the destination. */
export type Target = { readonly database: string; readonly table: string };

/** Names one table of one pipeline at its destination database. */
export type TableId = string;

/** A table that a run is about to load. */
export type TablePlan = {
  readonly pipeline: string;
  readonly scope: number;
  readonly run: number;
  readonly ref: TableRef;
  readonly target: Target;
  readonly table: Table;
  readonly ranges: readonly string[];
  readonly replace: boolean;
  /** What the rows of this load depend on besides their range (structure, storage, `where`): with another one its done chunks don't count. */
  readonly shape: string;
  /** Take over an existing table that is not ours. */
  readonly adopt: boolean;
  /** Make table and position without rows (`skipInitial`): planned with no ranges. */
  readonly skipInitial: boolean;
  /** Keep the versions of its rows (history mode, EXACTNESS.md §10). A copy that exists changes with its next load only. */
  readonly history?: boolean;
  /** Begin anew although this run has planned the table before: load number + 1. */
  readonly again: boolean;
};

/** One chunk of a planned table that is not done yet. */
export type OpenChunk = { readonly chunk: number; readonly range: string };

export type Planned = {
  readonly id: TableId;
  readonly load: number;
  readonly open: readonly OpenChunk[];
  readonly chunks: number;
  readonly rowsDone: number;
};

/** What a load needs to know about its chunk; made by `claimChunk`. */
export type ChunkClaim = {
  readonly id: TableId;
  readonly load: number;
  readonly chunk: number;
  readonly token: number;
  readonly range: string;
  /** Since when the rows count, in a copy that keeps versions (UTC, as the destination writes times); null: it keeps none. */
  readonly since: string | null;
};

/** Changes that were applied, counted as the source made them. Times RFC 3339 UTC: of the last one's commit at the source, and of its write here. */
export type Changes = {
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly parked: number;
  readonly changedAt: string | null;
  readonly writtenAt: string | null;
};

/** What a run has applied in all its attempts, and the tables that changed most, at most 20. */
export type RunTotals = Changes & {
  readonly tables: readonly (Changes & { readonly ref: TableRef })[];
  /** What all runs of the pipeline have applied to its copies. */
  readonly all: Changes;
};

/** A table planned by a run, as the destination's control tables know it. Times RFC 3339 UTC. Stored: add fields, never rename. */
export type TableRecord = {
  readonly id: TableId;
  readonly ref: TableRef;
  readonly target: Target;
  readonly state: TableState;
  readonly load: number;
  readonly rows: number;
  readonly bytes: number;
  /** Rows that the destination refused and that wait as dead letters. */
  readonly parked?: number;
  /** What was applied to its copy since it is followed. */
  readonly changes?: Changes;
  readonly rules: Readonly<Record<string, number>>;
  readonly startedAt: string | null;
  readonly lastLoadedAt: string | null;
  readonly error: TableError | null;
};
export type TableState = 'new' | 'loading' | 'loaded' | 'consistent' | 'paused' | 'skipped' | 'reload' | 'error';

/** One run's share in one table: a row of `_flow_runs`. */
export type RunTable = {
  readonly ref: TableRef;
  readonly target: Target;
  readonly state: 'loading' | 'loaded' | 'failed' | 'skipped' | 'checked' | 'streamed';
  readonly rows: number;
  readonly bytes: number;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly error: TableError | null;
  /** What the run has applied to it, also when catching up after its load. */
  readonly changes?: Changes;
  /** Of a validation. */
  readonly check?: Checked;
};

/** A scope's checkpoint row (EXACTNESS.md §1). */
export type Scope = Start & {
  readonly scope: number;
  readonly run: number;
  readonly token: number;
  readonly seq: number;
};

export type OpenDestination = (params: Params, signal: AbortSignal) => Promise<Destination>;

/**
 * An opened destination: SingleStore, or MariaDB/MySQL as a stand-in. Every method may be repeated after a crash with the same
 * arguments and then changes nothing more. Throws the classes of `errors.ts`; other errors are transient. Control tables live in each
 * destination database; a transaction never writes two databases.
 */
export interface Destination extends AsyncDisposable {
  readonly server: { readonly product: 'SingleStore' | 'MariaDB' | 'MySQL'; readonly version: string };

  /** Grants, local_infile, conversion strictness, packet size, TLS: what would make a load fail. `databases`: those it will write; changes nothing. */
  preflight(databases: readonly string[]): Promise<Finding[]>;

  /** Creates the database (when missing and granted) and its control tables; adds columns that an older version lacks. */
  prepare(database: string): Promise<void>;

  /** All checkpoint rows of a pipeline in one database; [] when the database or its control tables do not exist. */
  scopes(database: string, pipeline: string): Promise<Scope[]>;

  /** Makes a scope's checkpoint row with P0, before the first row is read. Existing with the same run: kept; of a newer run: `Superseded`. */
  createScope(database: string, pipeline: string, scope: Scope): Promise<void>;

  /** Deletes a scope's row (after its tables belong to another one, or when a run is abandoned). */
  dropScope(database: string, pipeline: string, scope: number): Promise<void>;

  /**
   * Registers tables for loading: `_flow_tables`, structure at P0, chunk rows, empty shadow. A table planned by this run before keeps
   * its shadow and its done chunks (unless `again`). A live table that is not ours is refused unless `adopt` (`DestinationRejected`).
   * Refusals come per table, so that the others go on.
   */
  plan(database: string, plans: readonly TablePlan[]): Promise<(Planned | TableError)[]>;

  /** Takes a chunk: token + 1, so that an earlier attempt's load can no longer commit. null: it is done already. */
  claimChunk(database: string, id: TableId, load: number, chunk: number): Promise<ChunkClaim | null>;

  /**
   * Loads one chunk into the shadow and marks it done in the same transaction, guarded by the claim's token. The returned rows equal
   * those sent, or it throws and nothing stays. A rejected row: `DestinationRejected` naming table, key and column.
   * `progress` is called with totals so far as bytes leave.
   */
  loadChunk(
    plan: LoadTarget,
    claim: ChunkClaim,
    batches: AsyncGenerator<Batch, ChunkRead, undefined>,
    progress: (rows: number, bytes: number) => void,
    signal: AbortSignal,
  ): Promise<{ rows: number; bytes: number }>;

  /**
   * Closes a load: raises the token of all its chunks and requires every one `done`; checks that the shadow holds as many rows as were
   * sent (not with `replace`); stores the end position. Afterwards no late load can write. Returns the rows of the shadow.
   */
  seal(
    database: string,
    id: TableId,
    load: number,
    until: Position,
  ): Promise<{ rows: number; bytes: number; rules: Record<string, number> }>;

  /** Marks a table of a run as failed: state `reload` (its live copy stays as it was), last error, shadow dropped. */
  fail(
    database: string,
    pipeline: string,
    run: number,
    ref: TableRef,
    target: Target,
    error: TableError,
  ): Promise<void>;

  /**
   * In one transaction per database: journal rows for all these sealed tables. After that the run can only roll forward
   * (EXACTNESS.md §5). Returns nothing; repeated calls are fine.
   */
  journal(
    database: string,
    run: number,
    tables: readonly { readonly id: TableId; readonly load: number }[],
  ): Promise<void>;

  /**
   * Puts the shadow in place of the live table by journalled renames and gives the table to `scope`; finishes what a crash left half done.
   * `followFrom`: `scope` follows the table from there on (hand-over of a side stream), stored in the transaction that clears the journal.
   */
  promote(
    database: string,
    run: number,
    scope: number,
    id: TableId,
    load: number,
    followFrom?: Position,
  ): Promise<void>;

  /** Drops shadows, chunk rows and unpromoted `_flow_tables` entries of a cancelled or failed run; live tables are untouched. */
  abandon(database: string, pipeline: string, run: number): Promise<void>;

  /**
   * Takes a scope for one attempt (EXACTNESS.md §2), in every one of `databases` in name order: ends the connections of an earlier attempt,
   * raises the token, so that what it still has under way can no longer commit. Throws `Superseded` when a newer run owns the scope, or it is gone.
   */
  claimScope(databases: readonly string[], pipeline: string, scope: number, run: number): Promise<ClaimedScope>;

  /** The tables that a scope writes: its live ones, and the shadows that it has loaded and not promoted yet. Those left to a reload or paused are not among them. */
  followed(databases: readonly string[], pipeline: string, scope: number): Promise<Followed[]>;

  /** Begins to apply a claimed scope's changes. `tables` in the order in which the capture names them. */
  apply(request: ApplyRequest): Promise<Applier>;

  /** Stores the structure that a table has from `from` on, after `alter` has brought its copy there (`syncstruct`). */
  restructure(request: Restructure): Promise<void>;

  /** Records a rollback point of a claimed scope; the newest 200 stay, at least ten seconds apart. */
  addPoint(claim: ClaimedScope, point: { position: Position; sourceTime: number | null }): Promise<void>;

  /** Rollback points of a scope, newest first; they stand in the first of its databases. */
  points(database: string, pipeline: string, scope: number): Promise<Point[]>;

  /** Sets a claimed scope back (EXACTNESS.md §10): its tables are ahead until the stream has come again to where it was. */
  rollBack(request: RollBack): Promise<void>;

  /** Takes tables out of a scope (`paused`, `skipped`, `reload` with its reason): their copies stay as they are. Guarded by the claim. */
  leave(claim: ClaimedScope, tables: readonly LeavingTable[]): Promise<void>;

  /** Paused tables whose log is kept. */
  paused(databases: readonly string[], pipeline: string): Promise<PausedTable[]>;

  /**
   * Paused tables of one database go on in `scope`, from `followFrom` each: their copies belong to it as they are. Only before its first claim, else
   * `Superseded`. One that is not paused at its position any more stays where it is.
   */
  resume(database: string, pipeline: string, scope: number, tables: readonly PausedTable[]): Promise<void>;

  /** Gives the live tables of a claimed scope to another claimed one, which stands still and has not come further (EXACTNESS.md §5, hand-over). */
  handOver(side: ClaimedScope, main: ClaimedScope): Promise<void>;

  /** Compares a live copy of a followed table with its source. `name` (`[0-9a-z]{1,12}`) tells the tables of this attempt from others'. */
  check(table: Followed, name: string): Check;

  /** Removes what checks of a pipeline's tables have left; nothing when there is nothing. */
  dropChecks(database: string, pipeline: string): Promise<void>;

  /** How many keys of these tables wait for the main stream to read them from the source again. */
  waiting(database: string, ids: readonly TableId[]): Promise<number>;

  /** Stores a table's share in a validation, for `GET runs/{n}`. `place`: where it is or would be. */
  recordCheck(
    pipeline: string,
    run: number,
    place: { readonly ref: TableRef; readonly target: Target },
    outcome: { readonly startedAt: Date } & (
      | { readonly check: Checked }
      | { readonly state: 'failed' | 'skipped'; readonly error: TableError }
    ),
  ): Promise<void>;

  /** Tables of a pipeline as the control tables know them; [] when there are none. */
  tables(database: string, pipeline: string): Promise<TableRecord[]>;

  /** What a run has applied so far, counted in the transactions that wrote it: an attempt that died neither loses nor doubles any. */
  runTotals(databases: readonly string[], pipeline: string, run: number): Promise<RunTotals>;

  /** Tables of one run, for `GET runs/{n}`. */
  runTables(database: string, pipeline: string, run: number): Promise<RunTable[]>;

  /** Deletes all control rows of a pipeline and drops its shadows and staging tables; copied tables stay. */
  remove(database: string, pipeline: string): Promise<void>;
}

export type LoadTarget = {
  readonly database: string;
  readonly table: Table;
  readonly replace: boolean;
  /** Reads the chunk once more in the same order; called only to name the key of a row that the destination refused. */
  readonly reread?: () => AsyncGenerator<Batch, ChunkRead, undefined>;
};
