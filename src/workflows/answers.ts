import * as wf from '@temporalio/workflow';
import { databasesOf } from './destinations.ts';
import { logEvents } from './event-log.ts';
import {
  type EventsSince,
  type PipelineConfig,
  type PipelineEvent,
  type PipelineOverview,
  queries,
  type Run,
  type SelectedTable,
} from './messages.ts';
import { allRuns, configOf, overview } from './overview.ts';
import type { PipelineState } from './state.ts';

/** Sets the handlers of a pipeline's queries; its log is told of events as those who ask are. */
export function answerQueries(state: () => PipelineState): void {
  logEvents(state);
  wf.setHandler(wf.defineQuery<PipelineConfig>(queries.config), () => configOf(state()));
  wf.setHandler(wf.defineQuery<PipelineOverview>(queries.overview), () => overview(state()));
  wf.setHandler(wf.defineQuery<readonly SelectedTable[]>(queries.selection), () => Object.values(state().tables));
  wf.setHandler(wf.defineQuery<readonly Run[]>(queries.runs), () => allRuns(state()));
  wf.setHandler(wf.defineQuery<readonly string[]>(queries.databases), () => databasesOf(state()));
  wf.setHandler(wf.defineQuery<readonly PipelineEvent[], [EventsSince]>(queries.events), ({ since }) =>
    state().events.filter((event) => event.seq > since),
  );
}
