import { z } from '@hono/zod-openapi';
import type { RunTable } from '../drivers/destination.ts';
import type { PipelineConfig, Run, SelectedTable } from '../workflows/messages.ts';
import type { Progress } from '../workflows/progress.ts';
import { destinationsOf } from './destinations.ts';
import { countsOf, liveProgress, liveRun } from './live.ts';
import { Problem } from './problem.ts';
import { readReport } from './report.ts';
import { type Ctx, lastSegments } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { runDetailSchema, runsSchema } from './schemas.ts';

/** Runs of a pipeline, newest first, and one run with its tables. */
export function runRoutes(deps: Deps): Route[] {
  const tag = 'Runs';
  return [
    {
      method: 'get',
      path: '/runs',
      id: 'list-runs',
      tag,
      summary: 'List the last runs, newest first',
      answers: { 200: json('Runs', runsSchema) },
      handle: (c, pipeline) => list(deps, c, pipeline),
    },
    {
      method: 'get',
      path: '/runs/{run}',
      id: 'get-run',
      tag,
      summary: 'Get a run with its tables',
      params: { run: z.string().openapi({ example: '1', pattern: '^[0-9]+$' }) },
      answers: { 200: json('The run', runDetailSchema) },
      handle: (c, pipeline) => show(deps, c, pipeline),
    },
  ];
}

async function list({ pipelines }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const runs = [...(await pipelines.runs(pipeline))].sort((a, b) => b.id - a.id);
  return c.json({ runs: await Promise.all(runs.map((run) => liveRun(pipelines, pipeline, run))) });
}

async function show({ pipelines }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const segment = lastSegments(c, 1)[0] ?? '';
  const id = /^[1-9]\d{0,14}$/.test(segment) ? Number(segment) : 0;
  const unknown = new Problem(404, `There is no run ${segment}.`, {
    errors: [{ field: 'run', message: 'is not known' }],
  });
  if (id === 0) throw unknown;
  const run = (await pipelines.runs(pipeline)).find((one) => one.id === id) ?? (await pipelines.pastRun(pipeline, id));
  if (run === null) throw unknown;
  const config = await pipelines.config(pipeline);
  const selection = await pipelines.selection(pipeline);
  const databases = destinationsOf(config, selection);
  const [live, progress, recorded] = await Promise.all([
    liveRun(pipelines, pipeline, run),
    liveProgress(pipelines, pipeline, run),
    report({ pipelines }, config, databases, id),
  ]);
  return c.json({ ...live, tables: tablesOf(selection, recorded, progress) });
}

/** The run's tables as the destination recorded them; none when it can't be read, so that the run itself stays visible. */
async function report(
  { pipelines }: Pick<Deps, 'pipelines'>,
  config: PipelineConfig,
  databases: readonly string[],
  run: Run['id'],
): Promise<readonly RunTable[]> {
  if (databases.length === 0) return [];
  try {
    const input = { pipeline: config.name, destination: config.destination.params, databases, run };
    return (await readReport(pipelines, config.name, input)).runTables;
  } catch (error) {
    if (error instanceof Problem) return [];
    throw error;
  }
}

function tablesOf(selection: readonly SelectedTable[], recorded: readonly RunTable[], progress: Progress | null) {
  const databases = new Map(selection.map((table) => [nameOf(table), table.database]));
  const live = new Map((progress?.tables ?? []).map((table) => [nameOf(table), table]));
  const known = recorded.map(({ ref, state, rows, bytes, startedAt, endedAt, error, changes, check }) => {
    const now = live.get(nameOf(ref));
    live.delete(nameOf(ref));
    const db = databases.get(nameOf(ref)) ?? 'default';
    const { changedAt: lastChangeAt = null, writtenAt: lastWrittenAt = null } = changes ?? {};
    const counted = { rows: Math.max(rows, now?.rows ?? 0), bytes, changes: countsOf(changes) };
    return { db, ...ref, state, ...counted, startedAt, endedAt, lastChangeAt, lastWrittenAt, error, ...check };
  });
  const others = [...live.values()].map((table) => ({
    db: databases.get(nameOf(table)) ?? 'default',
    schema: table.schema,
    name: table.name,
    state: table.state,
    rows: table.rows,
    bytes: null,
    changes: null,
    startedAt: null,
    endedAt: null,
    lastChangeAt: null,
    lastWrittenAt: null,
    error: null,
  }));
  return [...known, ...others];
}

function nameOf(ref: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([ref.schema, ref.name]);
}
