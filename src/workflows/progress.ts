/** What a running child tells of its work. Stored in histories: add fields, never rename or retype. */

import type { Changes } from '../drivers/destination.ts';
import type { TableRef } from '../drivers/model.ts';
import type { StreamTotals } from './children.ts';
import type { RowCounts } from './messages.ts';

/** Query `progress` of a running child. `tables` lists those in work or failed, largest first, at most 100. */
export type Progress = {
  readonly phase:
    | 'starting'
    | 'planning'
    | 'loading'
    | 'catching up'
    | 'promoting'
    | 'ending'
    | 'streaming'
    | 'comparing';
  readonly rows: number;
  readonly bytes: number;
  readonly tablesDone: number;
  readonly tablesFailed: number;
  readonly tablesTotal: number;
  readonly tables: readonly ProgressTable[];
  /** Of a stream: what it has applied by the end of its last slice. */
  readonly stream?: StreamProgress;
};
/** What is known of a stream besides its position, as far as it is. */
export type Sight = {
  /** What the run has applied in all its attempts, as the destination counts it. */
  readonly total?: Omit<RowCounts, 'loaded'>;
  /** What all runs of the pipeline have applied, with the last commit at the source and its write at the destination. */
  readonly applied?: Changes;
  /** The source's clock minus the worker's, ms. */
  readonly clockOffset?: number | null;
  /** The source's log as it was seen at a time, ms. */
  readonly log?: { readonly bytes: number | null; readonly hoursLeft: number | null; readonly at: number } | null;
  /** Tables that the run has changed most, at most 20. */
  readonly tables?: readonly (TableRef & Changes)[];
};
/** `behindBytes`, `logHoursLeft`: of the source's log, as far as it is known just now. */
export type StreamProgress = StreamTotals & {
  readonly behindBytes?: number | null;
  readonly logHoursLeft?: number | null;
};
export type ProgressTable = TableRef & {
  readonly state: 'waiting' | 'loading' | 'loaded' | 'failed';
  readonly rows: number;
  readonly chunksDone: number;
  readonly chunks: number;
};
/** Heartbeat details of a bulk activity: what it has brought of the table it works on, which the workflow does not know of yet. */
export type LoadHeartbeat = { readonly table: TableRef; readonly rows: number; readonly bytes: number };

/** Heartbeat details of a capture: what has become durable since its activity began, and how far it is behind. `at`: ms, commit time at the source. */
export type StreamHeartbeat = {
  readonly stream: {
    readonly rows: Omit<RowCounts, 'loaded'>;
    readonly position: string;
    readonly at: number | null;
    readonly completeAt: number | null;
    readonly pending: number;
    readonly behindBytes: number | null;
    readonly logHoursLeft: number | null;
  } & Sight;
};
