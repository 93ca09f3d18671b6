/** What a pipeline and the workflows it spawns say to each other. Stored in workflow histories: add fields, never rename or retype. */
import type { Finding, TableError, TableOptions, TableRef } from '../drivers/model.ts';
import type { Connection, PipelineEvent, RunError } from './messages.ts';

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
};
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
};

/** Signals: a child tells its pipeline that it can no longer be cancelled; a pipeline asks a child to return at its next boundary. */
export const signals = { rolledForward: 'rolledForward', yieldSoon: 'yieldSoon', noteEvents: 'noteEvents' } as const;
export type NoteEvents = {
  readonly run: number;
  readonly events: readonly Omit<PipelineEvent, 'seq' | 'at' | 'run'>[];
};
