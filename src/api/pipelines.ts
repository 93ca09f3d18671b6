import type { PointsAnswer, PointsInput } from '../activities/rollback.ts';
import type {
  Cancel,
  CancelAnswer,
  CatalogAnswer,
  CatalogInput,
  NoteConnection,
  PipelineConfig,
  PipelineEvent,
  PipelineOverview,
  RemovalAnswer,
  ReportAnswer,
  ReportInput,
  RequestAnswer,
  RequestOperation,
  Run,
  SelectedTable,
  SetConnection,
  SetLicence,
  SetSchedule,
  SetScheduler,
  SetTable,
  TableAction,
  TableActionAnswer,
  TestInput,
  TestResult,
} from '../workflows/messages.ts';
import type { Progress } from '../workflows/progress.ts';

/** Who asks: the pipeline's name, and the client's own idempotency key (or one made for it), told back when an answer stays out. */
export type Asked = { readonly pipeline: string; readonly key: string };

/** Whether requests can be answered. `hint` says what to do when they can't. */
export type Health =
  | { readonly ok: true; readonly workers: number }
  | { readonly ok: false; readonly temporal: boolean; readonly hint: string };

/**
 * All that the API needs from pipelines. Every method rejects with `Problem`: 404 no such pipeline (`default` is made on first use),
 * 503 nothing answers, 504 no answer in time (the request may still take effect; its key tells), 409 refused by the pipeline.
 */
export interface Pipelines {
  health(): Promise<Health>;

  /** Names of all pipelines, sorted. */
  list(): Promise<string[]>;
  /** 409 when the name is taken, unless by the same idempotency key. */
  create(name: string, idempotencyKey: string): Promise<void>;
  /** Stops the pipeline, then drops what it made at source and destination; copied data stays. */
  remove(name: string, idempotencyKey: string): Promise<RemovalAnswer>;

  config(pipeline: string): Promise<PipelineConfig>;
  overview(pipeline: string): Promise<PipelineOverview>;
  selection(pipeline: string): Promise<readonly SelectedTable[]>;
  /** The remembered runs in any order. */
  runs(pipeline: string): Promise<readonly Run[]>;
  /** A run that the pipeline no longer remembers; null when nothing is known of it. */
  pastRun(pipeline: string, run: number): Promise<Run | null>;
  /** What an open run is doing at this moment; null when it doesn't say. */
  progress(pipeline: string, run: Run): Promise<Progress | null>;
  /** Remembered events with `seq` greater than `since`, ascending. */
  events(pipeline: string, since: number): Promise<readonly PipelineEvent[]>;

  /** False: the connection has another revision now; read it again. */
  setConnection(asked: Asked, change: SetConnection): Promise<boolean>;
  noteConnection(pipeline: string, note: NoteConnection): Promise<void>;
  setLicence(asked: Asked, change: SetLicence): Promise<void>;
  setSchedule(asked: Asked, change: SetSchedule): Promise<void>;
  setScheduler(asked: Asked, change: SetScheduler): Promise<void>;
  setTable(asked: Asked, change: SetTable): Promise<void>;
  request(asked: Asked, operation: RequestOperation): Promise<RequestAnswer>;
  /** Pauses, resumes, skips or reloads one selected table. */
  actOnTable(asked: Asked, action: TableAction): Promise<TableActionAnswer>;
  cancel(asked: Asked, cancel: Cancel): Promise<CancelAnswer>;

  /** Connects from a worker. A connection that fails is an answer. */
  test(pipeline: string, input: TestInput): Promise<TestResult>;
  /** 502 when the source can't be read. */
  catalog(pipeline: string, input: CatalogInput): Promise<CatalogAnswer>;
  /** 502 when source or destination can't be read. */
  rollbackPoints(pipeline: string, input: PointsInput): Promise<PointsAnswer>;
  /** 502 when the destination can't be read. */
  report(pipeline: string, input: ReportInput): Promise<ReportAnswer>;
}
