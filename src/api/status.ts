import type { TableRecord } from '../drivers/destination.ts';
import type { PipelineConfig, PipelineOverview, SelectedTable } from '../workflows/messages.ts';
import type { ProgressTable } from '../workflows/progress.ts';
import { destinationsOf, targetOf } from './destinations.ts';
import { countsOf, lagOf, lastChange, liveProgress, liveRun, withProgress } from './live.ts';
import { Problem } from './problem.ts';
import { readReport } from './report.ts';
import type { Ctx } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { statusSchema, tablesSchema } from './schemas.ts';

/** What an operator looks at: the pipeline as a whole, and its tables. */
export function statusRoutes(deps: Deps): Route[] {
  const tag = 'Status';
  return [
    {
      method: 'get',
      path: '/status',
      id: 'get-status',
      tag,
      summary: 'Get the pipeline’s status',
      answers: { 200: json('The status', statusSchema) },
      handle: (c, pipeline) => status(deps, c, pipeline),
    },
    {
      method: 'get',
      path: '/tables',
      id: 'get-tables',
      tag,
      summary: 'Get the selected tables with their states',
      answers: { 200: json('The tables', tablesSchema) },
      handle: (c, pipeline) => tables(deps, c, pipeline),
    },
  ];
}

async function status({ pipelines }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const seen = await pipelines.overview(pipeline);
  const { stream, load } = seen.current;
  const [live, progress] = await Promise.all([
    load && liveRun(pipelines, pipeline, load),
    stream && liveProgress(pipelines, pipeline, stream),
  ]);
  return c.json({
    pipeline: seen.pipeline,
    state: seen.state,
    consistent: seen.consistent,
    scheduler: seen.scheduler,
    current: { stream: stream && withProgress(stream, progress), load: live },
    queue: seen.queue,
    lag: lagOf(seen, progress?.stream, Date.now()),
    ...lastChange(seen, progress?.stream),
    changes: countsOf(progress?.stream?.applied ?? seen.applied),
    position: progress?.stream?.position ?? seen.position,
    tables: seen.tables,
    notice: seen.notice ?? null,
  });
}

async function tables({ pipelines }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const [config, overview, selection] = await Promise.all([
    pipelines.config(pipeline),
    pipelines.overview(pipeline),
    pipelines.selection(pipeline),
  ]);
  const selected = selection.filter((table) => table.selected);
  const [recorded, { tables: live, stream }] = await Promise.all([
    records({ pipelines }, config, selected),
    open({ pipelines }, overview),
  ]);
  const { seconds } = lagOf(overview, stream, Date.now());
  const shown = selected.map((table) => {
    const key = nameOf(table);
    return {
      db: table.database,
      ...shownTable(config, table, recorded.tables.get(key), live.get(key)),
      lagSeconds: table.state === 'consistent' ? seconds : null,
    };
  });
  return c.json({ tables: shown.map(ordered), unavailable: recorded.unavailable });
}

function shownTable(
  config: PipelineConfig,
  table: SelectedTable,
  record: TableRecord | undefined,
  live: ProgressTable | undefined,
) {
  const loads = live !== undefined && live.state !== 'failed';
  return {
    schema: table.schema,
    name: table.name,
    state: loads && live.state === 'loading' ? 'loading' : table.state,
    destination: targetOf(config, table),
    rows: (loads ? live.rows : record?.rows) ?? null,
    lastLoadedAt: record?.lastLoadedAt ?? null,
    lastChangeAt: record?.changes?.changedAt ?? null,
    lastWrittenAt: record?.changes?.writtenAt ?? null,
    changes: countsOf(record?.changes),
    parked: record === undefined ? null : (record.parked ?? 0),
    rules: record?.rules ?? {},
    error: table.error ?? record?.error ?? null,
  };
}

function ordered(table: ReturnType<typeof shownTable> & { db: string; lagSeconds: number | null }) {
  const { db, schema, name, state, destination, rows, changes, lastLoadedAt, lastChangeAt, lastWrittenAt } = table;
  const { lagSeconds, parked, rules, error } = table;
  const times = { lastLoadedAt, lastChangeAt, lastWrittenAt, lagSeconds };
  return { db, schema, name, state, destination, rows, changes, ...times, parked, rules, error };
}

/** What the destination's control tables say; the tables are shown without it when they can't be read. */
async function records(
  { pipelines }: Pick<Deps, 'pipelines'>,
  config: PipelineConfig,
  selected: readonly SelectedTable[],
) {
  const databases = destinationsOf(config, selected);
  if (databases.length === 0) return { tables: new Map<string, TableRecord>(), unavailable: null };
  try {
    const report = await readReport(pipelines, config.name, {
      pipeline: config.name,
      destination: config.destination.params,
      databases,
    });
    return { tables: new Map(report.tables.map((record) => [nameOf(record.ref), record])), unavailable: null };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { tables: new Map<string, TableRecord>(), unavailable: error.message };
  }
}

/** What open runs tell of tables and of the stream. */
async function open({ pipelines }: Pick<Deps, 'pipelines'>, { pipeline, current }: PipelineOverview) {
  const [load, stream] = await Promise.all(
    [current.load, current.stream].map((run) => run && liveProgress(pipelines, pipeline, run)),
  );
  const tables = [load, stream].flatMap((progress) => progress?.tables ?? []);
  return {
    tables: new Map<string, ProgressTable>(tables.map((table) => [nameOf(table), table])),
    stream: stream?.stream,
  };
}

function nameOf(ref: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([ref.schema, ref.name]);
}
