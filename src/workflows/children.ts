/** What a pipeline and the workflows it spawns say to each other. Stored in workflow histories: add fields, never rename or retype. */
import type { Leaving } from '../activities/leaving.ts';
import type { RollbackTarget } from '../activities/rollback.ts';
import type { Finding, TableError, TableOptions, TableRef } from '../drivers/model.ts';
import type { CheckTotals, Connection, PipelineEvent, RowCounts, RunError } from './messages.ts';
import type { Sight } from './progress.ts';

export type FullInput = {
  readonly pipeline: string;
  readonly run: number;
  readonly source: Connection;
  readonly destination: Connection;
  readonly tables: readonly {
    readonly ref: TableRef;
    readonly options: TableOptions;
    readonly target: { readonly database: string; readonly table: string };
  }[];
  /** Set by continue-as-new: what is done is read from the destination. */
  readonly resume?: FullResume;
  /** A side stream (EXACTNESS.md §5): its tables are handed over to this scope instead of taking its place. */
  readonly side?: MainStream;
};
/** The scope that deltas follow, and the destination databases that hold its checkpoints. */
export type MainStream = { readonly scope: number; readonly databases: readonly string[] };
export type FullResume = {
  readonly scope: number;
  readonly failed: readonly FailedTable[];
  readonly turns: number;
};
export type FailedTable = { readonly ref: TableRef; readonly error: TableError };
export type FullResult = {
  readonly state: 'succeeded' | 'failed' | 'cancelled' | 'yielded';
  readonly rows: number;
  readonly bytes: number;
  readonly position: string | null;
  readonly scope: number;
  readonly loaded: number;
  readonly failed: readonly FailedTable[];
  readonly findings: readonly Finding[];
  readonly error: RunError | null;
  /** With `yielded`: hand this to the next child. */
  readonly resume?: FullResume;
  /** Commit time at the source of the last change that was applied, ms. */
  readonly at?: number | null;
  readonly completeAt?: number | null;
  /** What catching up has told of the stream. */
  readonly sight?: Sight;
  /** Loaded tables that are not consistent: keyless ones, which no delta follows. */
  readonly behind?: readonly TableRef[];
  /** The source captures changes: deltas can follow. */
  readonly follows?: boolean;
  /** Destination databases that hold a checkpoint of `scope`, or after a hand-over of the main stream. */
  readonly databases?: readonly string[];
};

export type DeltaInput = {
  readonly pipeline: string;
  readonly run: number;
  readonly source: Connection;
  readonly destination: Connection;
  readonly main: MainStream;
  /** Streams on until it is asked to return; else it follows up to the log's end as it is at the beginning. */
  readonly continuous: boolean;
  readonly structures: 'alter' | 'leave';
  /** Set when a user asks for structures to be looked at that no log tells of. */
  readonly look?: true;
  /** Tables that users have paused, skipped or deselected: they leave the stream, if they are in it. */
  readonly leaving: readonly Leaving[];
  /** Tables whose log is kept while they are paused. */
  readonly kept?: readonly TableRef[];
  /** Settings of tables that have some. */
  readonly options?: readonly { readonly ref: TableRef; readonly options: TableOptions }[];
  /** Set by continue-as-new. */
  readonly before?: StreamTotals;
};
export type StreamTotals = {
  readonly rows: Omit<RowCounts, 'loaded'>;
  readonly position: string | null;
  /** Commit time at the source of the last applied change, ms. */
  readonly at: number | null;
  /** The moment up to which the copy is known to hold everything, ms. */
  readonly completeAt?: number | null;
} & Sight;
export type DeltaResult = StreamTotals & {
  readonly state: 'succeeded' | 'failed' | 'cancelled' | 'yielded';
  readonly left: readonly FailedTable[];
  /** Followed tables that may be newer than the stream still; null: not known. */
  readonly behind: readonly TableRef[] | null;
  /** Tables without a key and views, which a delta does not follow; absent: not known. */
  readonly keyless?: readonly TableRef[];
  readonly error: RunError | null;
};
export type RollbackChildInput = {
  readonly pipeline: string;
  readonly run: number;
  readonly source: Connection;
  readonly destination: Connection;
  readonly main: MainStream;
  readonly to: RollbackTarget;
};
export type RollbackResult = {
  readonly state: 'succeeded' | 'failed' | 'cancelled';
  readonly position: string | null;
  readonly error: RunError | null;
};
export type ResumeChildInput = {
  readonly pipeline: string;
  readonly run: number;
  readonly source: Connection;
  readonly destination: Connection;
  readonly main: MainStream;
  readonly tables: FullInput['tables'];
  readonly structures: 'alter' | 'leave';
};
/** `lost`: tables that could not go on, and must be loaded again. `behind`: those whose rows may be newer than the stream still. */
export type ResumeResult = {
  readonly state: 'succeeded' | 'failed' | 'cancelled' | 'yielded';
  readonly rows: Omit<RowCounts, 'loaded'>;
  readonly position: string | null;
  readonly lost: readonly FailedTable[];
  readonly behind: readonly TableRef[];
  readonly error: RunError | null;
};
export type ValidateChildInput = {
  readonly pipeline: string;
  readonly run: number;
  readonly source: Connection;
  readonly destination: Connection;
  readonly main: MainStream;
  readonly tables: FullInput['tables'];
  readonly repair: boolean;
};
export type ValidateResult = {
  readonly state: 'succeeded' | 'failed' | 'cancelled' | 'yielded';
  readonly totals: CheckTotals;
  readonly error: RunError | null;
};
/** A validation compares with what the main stream brings. `again`: the stream must begin another attempt, whatever it does now. */
export type KeepUp = { readonly run: number; readonly again: boolean };
/** A continuous delta tells how it stands after each slice. */
export type NoteStream = StreamTotals & {
  readonly run: number;
  readonly left: readonly FailedTable[];
  readonly behind: readonly TableRef[];
};

/** Signals: a child tells its pipeline that it can no longer be cancelled; a pipeline asks a child to return at its next boundary. */
export const signals = {
  rolledForward: 'rolledForward',
  yieldSoon: 'yieldSoon',
  noteEvents: 'noteEvents',
  noteStream: 'noteStream',
  /** A side stream has caught up and asks for the main stream to stop; `mainStopped` is the answer. */
  handOver: 'handOver',
  mainStopped: 'mainStopped',
  /** A validation needs the main stream to go on; `mainLost`: it can't. */
  keepUp: 'keepUp',
  mainLost: 'mainLost',
} as const;
export type NoteEvents = {
  readonly run: number;
  readonly events: readonly Omit<PipelineEvent, 'seq' | 'at' | 'run'>[];
};
