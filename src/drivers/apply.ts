import type { Capture, Carry, LogEvent } from './changes.ts';
import type { TableId, Target } from './destination.ts';
import type { Position, Table, TableError, TableRef } from './model.ts';

/** What a destination needs to follow a scope, and what it answers. Types only; part of the contract in `destination.ts`. */

/** A scope in the hands of one attempt. */
export type ClaimedScope = {
  readonly pipeline: string;
  readonly scope: number;
  readonly run: number;
  readonly slot: string;
  readonly identity: string;
  /** By name. They may stand at different positions; the smallest is where the log must be read from. */
  readonly databases: readonly {
    readonly database: string;
    readonly token: number;
    readonly seq: number;
    readonly position: Position;
    readonly ordinal: number;
    /** Set inside a transaction that is written in passes: tables up to this id hold everything up to `until`. */
    readonly part?: { readonly table: TableId; readonly until: Position };
  }[];
};

/** A table that a scope writes. */
export type Followed = {
  readonly id: TableId;
  readonly ref: TableRef;
  readonly target: Target;
  /** The name that changes are written to: the live table, or a shadow. */
  readonly place: string;
  readonly load: number;
  /** The structure that is valid at the checkpoint of its database. */
  readonly table: Table;
  /** Where its copy began; null: with the scope. */
  readonly followFrom: Position | null;
  /** The `part.until` that its scope stood in when the table joined it: those passes did not write it. Absent: none. */
  readonly joined?: Position;
  /** Up to here its rows may be newer than the stream; null: they are not. */
  readonly aheadUntil: Position | null;
  /**
   * Set when its copy keeps the versions of its rows (EXACTNESS.md §10). `since`: when its loaded rows began to count, as the destination writes times
   * (UTC). Changes up to `until` belong to those rows and make no versions; null: none do.
   */
  readonly options: {
    readonly history: { readonly since: string; readonly until: Position | 'all' | null } | null;
  };
};

export type ApplyRequest = {
  readonly claim: ClaimedScope;
  readonly tables: readonly Followed[];
  readonly capture: Capture;
  /** `Source.reached` and `Source.written`. */
  readonly reached: (position: Position, goal: Position) => boolean;
  readonly written: () => Promise<Position>;
  readonly signal: AbortSignal;
};

/** What has been applied since the attempt began, by table index: only what is durable. */
export type Applied = {
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly parked: number;
};

/**
 * Applies events in log order (EXACTNESS.md §6): folds them per table and key and writes whole source transactions together with the
 * checkpoint, several in one destination transaction. After any error the attempt is over; a new claim finds what is durable.
 */
export interface Applier extends AsyncDisposable {
  /** Takes a piece. Returns early while a write is under way in the background; waits only when a second batch is full. */
  take(events: readonly LogEvent[]): Promise<void>;
  /** Writes all whole transactions taken so far, and moves every database's checkpoint to the last commit or progress position. */
  flush(): Promise<void>;
  /** What every database holds. */
  readonly durable: Position;
  /** Commit time at the source of the last transaction that is durable; null: none yet. */
  readonly durableAt: number | null;
  /** When changes last became durable, ms by this process's clock; null: none have in this attempt. */
  readonly writtenAt: number | null;
  /** Changes taken and not durable yet. */
  readonly pending: number;
  /** By table index; changes of tables that have passed `aheadUntil` show in `caughtUp`. */
  readonly applied: readonly Applied[];
  /** Tables (by index) whose rows are no newer than the stream any more. */
  readonly caughtUp: ReadonlySet<number>;
  /** A table has left the stream because of its rows (`on_row_error`): its state and error are at the destination. */
  readonly gaveUp: boolean;
}

/**
 * A table's next structure. `alter`: what changed is brought to the copy first, by steps that may be repeated; false: the copy has it already. `carry`: as the
 * source's event says, the same in every repetition.
 */
export type Restructure = {
  readonly claim: ClaimedScope;
  readonly table: Followed;
  readonly now: Table;
  readonly from: Position;
  readonly alter: boolean;
  readonly carry?: Carry;
};

export type LeavingTable = {
  readonly id: TableId;
  readonly database: string;
  readonly state: 'paused' | 'skipped' | 'reload' | 'error';
  readonly error: TableError | null;
  /** Of a paused table whose log is kept, so that it can go on without a load; absent: it isn't. */
  readonly kept?: KeptLog;
};

/** Where the copy of a paused table stands. `slot`: the name under which the source keeps its log; '' where it needs none. `scope`: which it left. */
export type KeptLog = { readonly position: Position; readonly slot: string; readonly scope: number };

/** A paused table whose log is kept. */
export type PausedTable = Pick<Followed, 'id' | 'ref' | 'target' | 'followFrom'> & { readonly kept: KeptLog };

/** A position of a stream that it was at once. Times RFC 3339 UTC. */
export type Point = {
  readonly id: number;
  readonly run: number;
  readonly position: Position;
  /** Commit time at the source of the last change before it; null: not known. */
  readonly sourceTime: string | null;
  readonly recordedAt: string;
};

/** Sets a claimed scope back to a position that it was at before. `tables`: those that it follows; `reached`: `Source.reached`. */
export type RollBack = {
  readonly claim: ClaimedScope;
  readonly to: Position;
  readonly tables: readonly Followed[];
  readonly reached: (position: Position, goal: Position) => boolean;
};
