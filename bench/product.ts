import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { waitForRoute } from '../scripts/demo/api-client.ts';
import { freePort, logTail, type RunningProgram, startProgram } from '../scripts/servers/process.ts';
import { makeRunFolder, type ServerInfo } from '../scripts/servers/server.ts';
import { nodeFlags } from '../src/node-flags.ts';

/** The product as an operator runs it: an API process and a worker process of their own beside a Temporal server. */
export type Product = {
  readonly url: string;
  readonly api: number;
  readonly worker: number;
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  stop(): Promise<void>;
};

/** Starts API and worker. `profile`: a folder where the worker leaves a CPU profile when it stops. */
export async function startProduct(temporalAddress: string, profile: string | undefined): Promise<Product> {
  const folder = await makeRunFolder('bench');
  const port = await freePort();
  const env = {
    ...process.env,
    HOST: '127.0.0.1',
    PORT: String(port),
    DATA_DIR: join(folder, 'data'),
    TEMPORAL_ADDRESS: temporalAddress,
    LOG_LEVEL: 'warn',
  };
  const main = join(import.meta.dirname, '../src/main.ts');
  const log = join(folder, 'product.log');
  const run = (args: readonly string[]) =>
    startProgram(process.execPath, args, { log, env, orphanSignal: 'TERM', orphanFolder: folder });
  const profiled = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  if (profile !== undefined) await mkdir(profile, { recursive: true });
  const programs: RunningProgram[] = [];
  const stop = async () => {
    for (const program of [...programs].reverse()) await program.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    const api = run([...nodeFlags, main, 'api']);
    programs.push(api);
    const worker = run([...nodeFlags, ...profiled, main, 'worker']);
    programs.push(worker);
    await waitForRoute(`${url}/readyz`, 90_000, () => api.running() && worker.running());
    return { url, api: api.pid, worker: worker.pid, call: (...request) => call(url, ...request), stop };
  } catch (error) {
    const tail = logTail(log);
    await stop();
    throw new Error(`the product did not come up: ${error instanceof Error ? error.message : error}\n${tail}`);
  }
}

async function call(url: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json', Prefer: 'return=representation' };
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
  const response = await fetch(url + path, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** A pipeline's base path. */
export function baseOf(pipeline: string): string {
  return `/pipelines/${pipeline}/ingest/api/ingest`;
}

export type PipelineSetting = {
  readonly name: string;
  readonly source: Readonly<Record<string, string>>;
  readonly destination: ServerInfo;
  /** Destination database. */
  readonly db: string;
  /** Database and schema as the routes want them. */
  readonly path: readonly [database: string, schema: string];
  readonly tables: readonly string[];
};

/** Makes a pipeline with the documented calls and selects its tables. */
export async function makePipeline(product: Product, setting: PipelineSetting): Promise<void> {
  const base = baseOf(setting.name);
  const { host, port, user, password } = setting.destination;
  await product.call('POST', '/pipelines', { name: setting.name });
  await product.call('PATCH', `${base}/conn-src`, named(setting.source));
  await product.call(
    'PATCH',
    `${base}/conn-dst`,
    named({ type: 'rds.sstorem', host, port: String(port), uid: user, pwd: password, pwd2: password, db: setting.db }),
  );
  const path = setting.path.map(encodeURIComponent).join('/');
  for (const table of setting.tables)
    await product.call('PATCH', `${base}/config-tab/${path}/${table}`, { select: 'Y' });
}

/** Sets how many chunks are under way at a time. */
export async function setThreads(product: Product, pipeline: string, threads: number): Promise<void> {
  const base = baseOf(pipeline);
  await product.call('PATCH', `${base}/conn-src`, named({ extract_threads: String(threads) }));
  await product.call('PATCH', `${base}/conn-dst`, named({ load_threads: String(threads) }));
}

export type FinishedRun = { readonly wall: number; readonly rows: number };

type Run = {
  id: number;
  operation: string;
  state: string;
  endedAt: string | null;
  rows: { loaded: number };
  error: { message: string } | null;
};

/** Runs a full extract. */
export function runFull(product: Product, pipeline: string): Promise<FinishedRun> {
  return runOperation(product, pipeline, 'full');
}

/** Runs an operation. The time goes from the request to the end that the run itself records. */
export async function runOperation(
  product: Product,
  pipeline: string,
  operation: 'full' | 'delta',
): Promise<FinishedRun> {
  const base = baseOf(pipeline);
  const started = Date.now();
  const answer = (await product.call('POST', `${base}/ops/extract/${operation}`)) as { success: boolean };
  if (!answer.success) throw new Error(`${operation} was refused: ${JSON.stringify(answer)}`);
  for (;;) {
    // As a client would: seldom, because each question makes the worker answer. The end is read off the run itself.
    await delay(1_000);
    const { runs } = (await product.call('GET', `${base}/runs`)) as { runs: Run[] };
    const run = runs[0];
    if (run === undefined || run.state === 'queued' || run.state === 'running') continue;
    if (run.state !== 'succeeded' || run.endedAt === null)
      throw new Error(`${operation} of ${pipeline} ${run.state}: ${run.error?.message ?? ''}`);
    return { wall: (Date.parse(run.endedAt) - started) / 1000, rows: run.rows.loaded };
  }
}

function named(params: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(params).map(([name, value]) => ({ name, value }));
}
