/** What the API asks of a destination's control tables. Types only; stored in workflow histories: add fields, never rename or retype. */
import type { RunTable, TableRecord } from '../drivers/destination.ts';
import type { SealedParams } from './messages.ts';

/** Reads control tables of a destination: all tables of the pipeline, or those of one run. */
export type ReportInput = {
  readonly pipeline: string;
  readonly destination: SealedParams;
  readonly databases: readonly string[];
  readonly run?: number;
  /** Counted from 0. */
  readonly page?: number;
};
/** `more`: there is another page; an answer must fit into what Temporal carries. */
export type ReportAnswer = {
  readonly tables: readonly TableRecord[];
  readonly runTables: readonly RunTable[];
  readonly more?: boolean;
};
