import { setTimeout as delay } from 'node:timers/promises';
import { type Comparison, compareTables, describeDifferences } from '../compare.ts';
import type { ServerInfo } from '../servers/server.ts';
import type { ApiClient } from './api-client.ts';
import { sampleDatabase, sampleTableNames } from './sample-load.ts';

/** One pipeline of the demonstration: what it copies, from where and to where. */
export type DemoPipeline = {
  title: string;
  kind: 'postgres' | 'mysql';
  source: ServerInfo;
  destination: ServerInfo;
  /** The two names that come before the table's in the documented routes. */
  path: readonly [database: string, schema: string];
  /** Schema at the source and database at the destination. */
  schema: string;
  target: string;
};

type RunTable = { name: string; state: string; rows: number | null; error: { message: string } | null };
type Run = {
  id: number;
  state: string;
  rows: { loaded: number };
  tables: RunTable[];
  error: { message: string } | null;
};

export type CopyResult = { rows: number; seconds: number };

/** The documented calls in the documented order, then a full extract to its end with visible progress. */
export async function configureAndExtract(
  api: ApiClient,
  pipeline: DemoPipeline,
  say: (line: string) => void,
): Promise<CopyResult> {
  await connect(api, 'conn-src', {
    type: pipeline.kind === 'postgres' ? 'rds.pgres' : 'rds.mysql',
    ...login(pipeline.source),
    ...(pipeline.kind === 'postgres' ? { db: sampleDatabase } : {}),
  });
  await connect(api, 'conn-dst', { type: 'rds.sstorem', ...login(pipeline.destination) });
  const path = pipeline.path.map(encodeURIComponent).join('/');
  for (const table of sampleTableNames()) await api.patch(`/config-tab/${path}/${table}`, { select: 'Y' });
  await api.get(`/list-db/${path}`);
  await api.patch('/config-sched', { type: 'periodic', duration: '1d00h00m00s', offset: '0d00h00m' });
  await api.get('/config-sched');
  await api.patch('/config-var/licence', [{ name: '_lic_key', value: 'demo' }]);
  await api.get('/config-var/licence');
  const started = Date.now();
  const answer = await api.post('/ops/extract/full');
  if (answer['success'] !== true) throw new Error(`the full extract was refused: ${JSON.stringify(answer['reason'])}`);
  const run = await watch(api, started, say);
  if (run.state !== 'succeeded') throw new Error(`the full extract ${run.state}: ${troubles(run)}`);
  const failed = run.tables.filter((table) => table.error !== null);
  if (failed.length > 0) throw new Error(`tables failed: ${troubles(run)}`);
  return { rows: run.rows.loaded, seconds: (Date.now() - started) / 1000 };
}

/** Compares every table with its source, cell by cell. Returns what was found, one entry a table. */
export async function verify(pipeline: DemoPipeline, say: (line: string) => void): Promise<Comparison[]> {
  const { source, destination } = pipeline;
  const side =
    pipeline.kind === 'postgres'
      ? ({ kind: 'postgres', database: sampleDatabase, ...address(source) } as const)
      : ({ kind: 'mysql', ...address(source) } as const);
  const results: Comparison[] = [];
  for (const name of sampleTableNames()) {
    const table = { source: { schema: pipeline.schema, name }, destination: { schema: pipeline.target, name } };
    const progress = (_: unknown, rows: number) => say(`  ${name}: ${grouped(rows)} rows compared`);
    const [result] = await compareTables(side, address(destination), [table], progress);
    if (result === undefined) continue;
    results.push(result);
    const verdict = result.differences === 0 ? 'equal' : `${grouped(result.differences)} DIFFERENCES`;
    say(`  ${name.padEnd(14)} ${grouped(result.sourceRows).padStart(9)} rows  ${verdict}`);
    for (const line of describeDifferences(result)) say(`      ${line}`);
  }
  return results;
}

async function connect(api: ApiClient, which: string, params: Record<string, string>): Promise<void> {
  const body = Object.entries(params).map(([name, value]) => ({ name, value }));
  await api.patch(`/${which}`, body);
  const answer = await api.post(`/${which}/test`, body);
  if (answer['success'] !== true)
    throw new Error(`${which} does not connect: ${JSON.stringify(answer['messageList'])}`);
  await api.get(`/${which}`);
}

function login(server: ServerInfo): Record<string, string> {
  const { host, port, user, password } = server;
  return { host, port: String(port), uid: user, pwd: password, pwd2: password };
}

function address({ host, port, user, password }: ServerInfo) {
  return { host, port, user, password };
}

async function watch(api: ApiClient, started: number, say: (line: string) => void): Promise<Run> {
  const shown = new Map<string, number>();
  let lastAt = started;
  for (let id: number | undefined; ; await delay(500)) {
    if (id === undefined) {
      const { runs } = (await api.get('/runs', 'quiet')) as { runs: { id: number; operation: string }[] };
      id = runs.find((run) => run.operation === 'full')?.id;
      if (id === undefined) continue;
    }
    const run = (await api.get(`/runs/${id}`, 'quiet')) as Run;
    const ended = !['queued', 'running'].includes(run.state);
    const now = Date.now();
    if (now - lastAt < 1_000 && !ended) continue;
    const at = `  ${((now - started) / 1000).toFixed(1).padStart(6)} s `;
    for (const { name, rows } of run.tables) {
      const before = shown.get(name) ?? 0;
      if (rows === null || rows === before) continue;
      const rate = Math.round((rows - before) / ((now - lastAt) / 1000));
      say(`${at} ${name.padEnd(14)} ${grouped(rows).padStart(9)} rows  ${grouped(rate).padStart(9)} rows/s`);
      shown.set(name, rows);
    }
    lastAt = now;
    if (!ended) continue;
    const rate = Math.round((run.rows.loaded * 1000) / (now - started));
    say(
      `${at} ${run.state.padEnd(14)} ${grouped(run.rows.loaded).padStart(9)} rows  ${grouped(rate).padStart(9)} rows/s`,
    );
    return run;
  }
}

function troubles(run: Run): string {
  const tables = run.tables.filter((table) => table.error !== null);
  return [run.error?.message, ...tables.map((table) => `${table.name}: ${table.error?.message}`)]
    .filter(Boolean)
    .join('; ');
}

/** 1234567 as people read it. */
export function grouped(number: number): string {
  return number.toLocaleString('en-US');
}
