import type { PipelineOverview, Run } from '../workflows/messages.ts';
import { countsOf, lagOf, lastChange, liveProgress, liveRun, withProgress } from './live.ts';
import type { Pipelines } from './pipelines.ts';

type Labels = Readonly<Record<string, string>>;
type Sample = { readonly labels: Labels; readonly value: number };
type Metric = {
  readonly name: string;
  readonly help: string;
  readonly samples: Sample[];
  readonly type?: 'counter' | 'gauge';
};
type Seen = {
  readonly name: string;
  readonly overview: PipelineOverview;
  readonly last: ReturnType<typeof lastChange>;
  readonly runs: readonly Run[];
};

/** All metrics in Prometheus' text form. A system that doesn't answer is a metric too, so this never fails. */
export async function metricsText(pipelines: Pipelines): Promise<string> {
  const health = await pipelines.health();
  const seen = health.ok ? await seeAll(pipelines) : [];
  const metrics: Metric[] = [
    one('flow_ingest_up', 'Temporal answers and a worker is there.', health.ok ? 1 : 0),
    one('flow_ingest_workers', 'Worker processes that poll for work.', health.ok ? health.workers : 0),
    one('flow_ingest_pipelines', 'Pipelines.', seen.length),
    ...perPipeline(seen),
    ...perRun(seen),
  ];
  return metrics.map(textOf).join('');
}

/** A hundred pipelines make two hundred queries: some at a time, so that a scrape doesn't crowd out requests. */
async function seeAll(pipelines: Pipelines): Promise<Seen[]> {
  const waiting = await pipelines.list().catch(() => []);
  const seen: Seen[] = [];
  const next = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const found = await see(pipelines, name).catch(() => undefined);
      if (found !== undefined) seen.push(found);
    }
  };
  await Promise.all(Array.from({ length: 6 }, next));
  return seen.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function see(pipelines: Pipelines, name: string): Promise<Seen> {
  const [overview, runs] = await Promise.all([pipelines.overview(name), pipelines.runs(name)]);
  const stream = overview.current.stream && (await liveProgress(pipelines, name, overview.current.stream));
  const lag = lagOf(overview, stream?.stream, Date.now());
  const live = runs.map((run) =>
    run.id === overview.current.stream?.id ? withProgress(run, stream) : liveRun(pipelines, name, run),
  );
  const applied = stream?.stream?.applied ?? overview.applied;
  return {
    name,
    overview: { ...overview, lag, ...(applied ? { applied } : {}) },
    last: lastChange(overview, stream?.stream),
    runs: await Promise.all(live),
  };
}

function perPipeline(seen: readonly Seen[]): Metric[] {
  const gauge = (name: string, help: string, value: (overview: PipelineOverview) => number | null): Metric => ({
    name: `flow_ingest_${name}`,
    help,
    samples: seen.flatMap(({ name: pipeline, overview }) => {
      const now = value(overview);
      return now === null ? [] : [{ labels: { pipeline }, value: now }];
    }),
  });
  const tables = seen.flatMap(({ name: pipeline, overview }) =>
    Object.entries(overview.tables).map(([state, value]) => ({ labels: { pipeline, state }, value })),
  );
  const timed = (name: string, help: string, pick: (last: Seen['last']) => string | null): Metric => ({
    name: `flow_ingest_${name}_timestamp_seconds`,
    help,
    samples: seen.flatMap(({ name: pipeline, last: times }) => {
      const at = pick(times);
      return at === null ? [] : [{ labels: { pipeline }, value: Date.parse(at) / 1000 }];
    }),
  });
  const applied = seen.flatMap(({ name: pipeline, overview }) =>
    Object.entries(countsOf(overview.applied) ?? {}).map(([operation, value]) => ({
      labels: { pipeline, operation },
      value,
    })),
  );
  return [
    {
      name: 'flow_ingest_changes_total',
      help: 'Changes applied since the pipeline was made, by operation.',
      samples: applied,
      type: 'counter',
    },
    timed('last_change', 'Commit at the source of the last change that is applied.', (times) => times.lastChangeAt),
    timed('last_write', 'When changes were last committed at the destination.', (times) => times.lastWrittenAt),
    { name: 'flow_ingest_tables', help: 'Selected tables by state.', samples: tables },
    gauge('ready', 'The pipeline had its full extract and can go on from it.', ({ state }) =>
      state === 'ready' ? 1 : 0,
    ),
    gauge('consistent', 'Every table has caught up with its load.', ({ consistent }) => (consistent ? 1 : 0)),
    gauge('scheduler_on', 'The scheduler is on.', ({ scheduler }) => (scheduler.on ? 1 : 0)),
    gauge('queue_length', 'Operations that wait.', ({ queue }) => queue.length),
    gauge('lag_seconds', 'How far the copy is behind its source.', ({ lag }) => lag.seconds),
    gauge('lag_bytes', 'Bytes of source log not applied yet.', ({ lag }) => lag.bytes),
    gauge('log_hours_left', 'Hours until the source drops log that is still needed.', ({ lag }) => lag.logHoursLeft),
  ];
}

function perRun(seen: readonly Seen[]): Metric[] {
  const each = (
    name: string,
    help: string,
    pick: (runs: readonly Run[]) => readonly Run[],
    value: (run: Run) => number | null,
    state = false,
  ) => ({
    name: `flow_ingest_${name}`,
    help,
    samples: seen.flatMap(({ name: pipeline, runs }) =>
      pick(runs).flatMap((run) => {
        const now = value(run);
        const labels = { pipeline, operation: run.operation, ...(state ? { state: run.state } : {}) };
        return now === null ? [] : [{ labels, value: now }];
      }),
    ),
  });
  const seconds = (from: string | null, to: string | null) =>
    from === null || to === null ? null : (Date.parse(to) - Date.parse(from)) / 1000;
  return [
    each('run_open', 'A run of this operation is under way.', open, () => 1),
    each('run_open_rows', 'Rows that the open run has brought so far.', open, rowsOf),
    each('last_run_state', 'How the last ended run of an operation ended.', last, () => 1, true),
    each('last_run_rows', 'Rows that the last ended run of an operation brought.', last, rowsOf),
    each('last_run_parked_rows', 'Rows that it put aside.', last, ({ rows }) => rows.parked),
    each('last_run_duration_seconds', 'How long it took.', last, (run) => seconds(run.startedAt, run.endedAt)),
    each('last_run_end_timestamp_seconds', 'When it ended.', last, (run) =>
      seconds('1970-01-01T00:00:00Z', run.endedAt),
    ),
  ];
}

function open(runs: readonly Run[]): readonly Run[] {
  return runs.filter((run) => run.state === 'running');
}

function last(runs: readonly Run[]): readonly Run[] {
  const ended = runs.filter((run) => run.endedAt !== null).sort((a, b) => a.id - b.id);
  return [...new Map(ended.map((run) => [run.operation, run])).values()];
}

function rowsOf({ rows }: Run): number {
  return rows.loaded + rows.inserted + rows.updated + rows.deleted;
}

function one(name: string, help: string, value: number): Metric {
  return { name, help, samples: [{ labels: {}, value }] };
}

function textOf({ name, help, samples, type = 'gauge' }: Metric): string {
  const lines = samples.map(({ labels, value }) => {
    const inner = Object.entries(labels).map(([label, text]) => `${label}="${text.replaceAll(/[\\"\n]/g, escaped)}"`);
    return `${name}${inner.length === 0 ? '' : `{${inner.join(',')}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function escaped(character: string): string {
  return character === '\n' ? '\\n' : `\\${character}`;
}
