/** Short workflows that the API starts and awaits: they run on a worker because the worker's network place is what counts. */
import * as wf from '@temporalio/workflow';
import { quick } from './activities.ts';
import type {
  CatalogAnswer,
  CatalogInput,
  RemovalAnswer,
  RemovalInput,
  ReportAnswer,
  ReportInput,
  TestInput,
  TestResult,
} from './messages.ts';

export async function connectionTest(input: TestInput): Promise<TestResult> {
  wf.setCurrentDetails(
    `Connecting to the ${input.side} at ${input.params['host'] ?? ''}:${input.params['port'] ?? ''}`,
  );
  return quick.testConnection.executeWithOptions({ summary: `test ${input.side}` }, [input]);
}

export async function catalog(input: CatalogInput): Promise<CatalogAnswer> {
  const path = [input.database, input.schema, input.table?.name].filter((part) => part !== null && part !== undefined);
  return quick.readCatalog.executeWithOptions({ summary: `list /${path.join('/')}`.slice(0, 190) }, [input]);
}

export async function report(input: ReportInput): Promise<ReportAnswer> {
  const what = input.run === undefined ? 'tables' : `run ${input.run}`;
  return quick.readReport.executeWithOptions({ summary: `report on ${what}` }, [input]);
}

export async function removal(input: RemovalInput): Promise<RemovalAnswer> {
  return quick.removePipeline.executeWithOptions({ summary: `remove ${input.pipeline}` }, [input]);
}
