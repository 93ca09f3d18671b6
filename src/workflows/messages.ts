/**
 * Names and shapes of everything that crosses a workflow's border, shared by API, workflows and activities. No imports at run time.
 * All of it is stored in workflow histories: add fields, never rename or retype.
 */

import type { RollbackTarget } from '../activities/rollback.ts';
import type { TableState } from '../drivers/destination.ts';
import type { TableError, TableOptions, TableRef } from '../drivers/model.ts';
import type { Pause } from './pause.ts';
import type { Sight } from './progress.ts';

/** Task queues (DESIGN.md §4): workflows and quick activities · capture · bulk loads. */
export const queues = { ingest: 'ingest', stream: 'ingest-stream', bulk: 'ingest-bulk' } as const;

/** Workflow types. */
export const workflowTypes = {
  pipeline: 'pipeline',
  full: 'full',
  syncnew: 'syncnew',
  delta: 'delta',
  connectionTest: 'connectionTest',
  catalog: 'catalog',
  report: 'report',
  removal: 'removal',
  rollback: 'rollback',
  rollbackPoints: 'rollbackPoints',
  validate: 'validate',
} as const;

/** Workflow id of a pipeline; its runs are `pipeline/<name>/<operation>/<n>`. */
export function pipelineId(name: string): string {
  return `pipeline/${name}`;
}
export function runWorkflowId(name: string, operation: Operation, run: number): string {
  return `pipeline/${name}/${operation}/${run}`;
}

export type Side = 'source' | 'destination';
export type Operation = 'full' | 'syncnew' | 'syncstruct' | 'delta' | 'rollback' | 'validate';
export type Lane = 'stream' | 'load';

/** Connection parameters with secret values sealed (`secrets.ts`). */
export type SealedParams = Readonly<Record<string, string>>;

export type Connection = {
  readonly params: SealedParams;
  /** Keyed digest of the clear parameters: tells whether a test was made with exactly the saved ones. '' when nothing is saved. */
  readonly fingerprint: string;
  /** The last attempt with exactly these parameters connected. */
  readonly connected: boolean;
  /** Raised by each save; a save names the revision that it was made from. */
  readonly revision: number;
};

export type Schedule = {
  readonly type: 'manual' | 'auto' | 'periodic' | 'daily' | 'weekly';
  readonly duration: string | null;
  readonly offset: string;
  readonly weekFlags: string | null;
};

export type Scheduler = { readonly on: boolean; readonly reason: string; readonly nextDueAt: string | null };

/** A table that is or was selected. `database` as `list-db` shows it. */
export type SelectedTable = TableRef & {
  readonly database: string;
  readonly selected: boolean;
  readonly state: TableState;
  readonly options: TableOptions;
  /** Options whose names we don't know; stored and returned, without effect. */
  readonly unknown?: Readonly<Record<string, string>>;
  readonly error?: TableError;
  /** State before the running load, to go back to when it is taken back. */
  readonly was?: TableState;
  readonly pause?: Pause;
  /** Loads in a row that its changing structure has ended. */
  readonly changed?: number;
};

export type RunState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
export type RowCounts = {
  readonly loaded: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly parked: number;
};
/** `side`: the end at which it arose, where known. */
export type RunError = {
  readonly class: string;
  readonly message: string;
  readonly action: string;
  readonly side?: Side | null;
};

/** One execution of an operation. Times RFC 3339 UTC. */
export type Run = {
  readonly id: number;
  readonly operation: Operation;
  readonly state: RunState;
  readonly requestedAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly rows: RowCounts;
  readonly error: RunError | null;
  /** The scheduler started it. */
  readonly scheduled?: boolean;
  /** Of a rollback: where to. */
  readonly to?: RollbackTarget;
  /** Of a validation: what was asked, and what it found. */
  readonly validate?: ValidateOptions;
  readonly check?: CheckTotals;
  /** It lets paused tables go on, and loads nothing. */
  readonly resume?: true;
};
/** `tables`: `schema.name` each; null: all that are selected. */
export type ValidateOptions = { readonly repair: boolean; readonly tables: readonly string[] | null };
export type CheckTotals = {
  readonly tables: number;
  readonly checked: number;
  readonly different: number;
  readonly repaired: number;
  readonly unsettled: number;
  readonly skipped: number;
  readonly failed: number;
};

export type EventGroup = 'Source' | 'Destination' | 'Others' | 'Errors';
export type PipelineEvent = {
  readonly seq: number;
  readonly at: string;
  readonly level: 'info' | 'warning' | 'error';
  readonly group: EventGroup;
  readonly code: string;
  readonly message: string;
  readonly run: number | null;
  readonly table: string | null;
};

/** Argument of the pipeline workflow. `state` is set by continue-as-new only. */
export type PipelineInput = { readonly name: string; readonly zone: string; readonly state?: unknown };

// Updates of a pipeline. Each takes one argument with an optional idempotency key; a key seen before returns the first answer.
export const updates = {
  setConnection: 'setConnection',
  noteConnection: 'noteConnection',
  setLicence: 'setLicence',
  setSchedule: 'setSchedule',
  setScheduler: 'setScheduler',
  setTable: 'setTable',
  request: 'request',
  tableAction: 'tableAction',
  cancel: 'cancel',
  remove: 'remove',
} as const;

export type Keyed = { readonly idempotencyKey?: string };
export type SetConnection = Keyed & {
  readonly side: Side;
  readonly params: SealedParams;
  readonly fingerprint: string;
  /** `Connection.revision` that the merge was made from; another one fails with type `Conflict`. */
  readonly revision: number;
  /** Unknown parameter names, for a warning event. */
  readonly unknown: readonly string[];
};
/** An attempt to connect was made; ignored unless `fingerprint` is the saved one. */
export type NoteConnection = { readonly side: Side; readonly fingerprint: string; readonly connected: boolean };
export type SetLicence = Keyed & { readonly key: string };
/** `isScheduled` absent: a type other than manual turns the scheduler on (API.md). Values validated and normalised by the API. */
export type SetSchedule = Keyed & { readonly schedule: Schedule; readonly isScheduled?: boolean };
export type SetScheduler = Keyed & { readonly on: boolean; readonly reason?: string };
export type SetTable = Keyed & {
  readonly table: TableRef & { readonly database: string };
  readonly select?: boolean;
  /** Merged into the stored options; null unsets one. */
  readonly options: { readonly [K in keyof TableOptions]?: TableOptions[K] | null };
  readonly unknown?: Readonly<Record<string, string | null>>;
};
export type TableAction = Keyed & { readonly table: TableRef; readonly action: 'pause' | 'resume' | 'skip' | 'reload' };
/** \`text\`: what will happen, or why nothing does. */
export type TableActionAnswer = { readonly done: boolean; readonly text: string };
export type RequestOperation = Keyed & { readonly operation: Operation } & Pick<Run, 'to' | 'validate'>;
/** A refusal is an answer, not a failure: the API returns it with status 200. */
export type RequestAnswer =
  | { readonly accepted: true; readonly run: Run }
  | { readonly accepted: false; readonly code: RefusalCode; readonly text: string };
export type RefusalCode =
  | 'no_connection'
  | 'no_tables'
  | 'already_queued'
  | 'already_running'
  | 'needs_full'
  | 'full_only'
  | 'name_conflict';
/** Without a lane everything that runs or waits is cancelled. */
export type Cancel = Keyed & { readonly lane?: Lane | 'queue' };
export type CancelAnswer = {
  readonly cancelled: readonly number[];
  readonly refused: readonly { readonly run: number; readonly reason: string }[];
};

/** Queries of a pipeline; `databases` are the destination databases of its tables; `progress` is one of a running child. */
export const queries = {
  config: 'config',
  overview: 'overview',
  selection: 'selection',
  runs: 'runs',
  events: 'events',
  databases: 'databases',
  progress: 'progress',
} as const;

export type PipelineConfig = {
  readonly name: string;
  readonly zone: string;
  readonly source: Connection;
  readonly destination: Connection;
  readonly licence: string;
  readonly schedule: Schedule;
  readonly scheduler: Scheduler;
  /** What deltas follow; null: nothing yet. */
  readonly main?: { readonly scope: number; readonly databases: readonly string[] } | null;
};
export type PipelineOverview = {
  readonly pipeline: string;
  readonly state: 'new' | 'ready' | 'needs_full';
  readonly consistent: boolean;
  readonly scheduler: Scheduler;
  readonly current: { readonly stream: Run | null; readonly load: Run | null };
  readonly queue: readonly Operation[];
  readonly lag: {
    readonly seconds: number | null;
    readonly bytes: number | null;
    readonly logHoursLeft: number | null;
  };
  readonly position: string | null;
  readonly tables: Readonly<Record<string, number>>;
  /** Commit time at the source of the last applied change, ms. */
  readonly streamedAt?: number | null;
  /** The moment up to which the copy is known to hold everything, ms. */
  readonly completeAt?: number | null;
  /** What deltas of this source can't see. */
  readonly notice?: string;
} & Pick<Sight, 'applied' | 'clockOffset' | 'log'>;
/** Argument of `events`: those with `seq` greater than this. */
export type EventsSince = { readonly since: number };

// Short workflows that the API starts: they run where the databases can be reached.

export type TestInput = { readonly side: Side; readonly params: SealedParams };
/** `topic` as the reference shows it: the parameter at fault or null. */
export type TestResult = {
  readonly ok: boolean;
  readonly messages: readonly { readonly topic: string | null; readonly message: string }[];
};

/** `database` null: the root level; `schema` null: the schemas. `table` set: what `GET config-tab` shows. */
export type CatalogInput = {
  readonly source: SealedParams;
  readonly destination: SealedParams;
  readonly database: string | null;
  readonly schema: string | null;
  readonly table?: { readonly name: string; readonly options: TableOptions };
};
export type CatalogAnswer = {
  /** The connected database's name. */
  readonly database: string;
  /** Names at the asked level; null: no such database, schema or table. */
  readonly names: readonly string[] | null;
  readonly table?: TableDetail;
};
export type TableDetail = {
  readonly columns: readonly {
    readonly name: string;
    readonly sourceType: string;
    readonly destinationType: string;
    readonly nullable: boolean;
    readonly masked: boolean;
  }[];
  readonly leftOut: readonly { readonly name: string; readonly sourceType: string; readonly reason: string }[];
  readonly key: readonly string[];
  readonly destination: { readonly db: string; readonly table: string };
  readonly warnings: readonly string[];
  readonly error: TableError | null;
};

export type { ReportAnswer, ReportInput } from './reports.ts';

/** Drops what a pipeline made at source and destination; copied data stays. */
export type RemovalInput = {
  readonly pipeline: string;
  readonly source: SealedParams;
  readonly destination: SealedParams;
  readonly databases: readonly string[];
};
export type RemovalAnswer = { readonly warnings: readonly string[] };
