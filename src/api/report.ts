import type { RunTable, TableRecord } from '../drivers/destination.ts';
import type { ReportInput } from '../workflows/messages.ts';
import type { Pipelines } from './pipelines.ts';

/** All that a destination's control tables tell, page by page. */
export async function readReport(pipelines: Pipelines, pipeline: string, input: ReportInput) {
  const tables: TableRecord[] = [];
  const runTables: RunTable[] = [];
  for (let page = 0; ; page++) {
    const answer = await pipelines.report(pipeline, page === 0 ? input : { ...input, page });
    tables.push(...answer.tables);
    runTables.push(...answer.runTables);
    if (answer.more !== true) return { tables, runTables };
  }
}
