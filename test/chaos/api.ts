import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Run } from '../../src/workflows/messages.ts';

/** What `GET status` tells of an open run. */
export type OpenRun = {
  readonly state: string;
  readonly progress?: { readonly phase: string; readonly rows: number } | null;
};

/** One pipeline over HTTP as a client with patience uses it: an answer that did not come is asked for again under the same key. */
export type Api = {
  readonly pipeline: string;
  get<T>(path: string): Promise<T>;
  send<T>(method: 'POST' | 'PATCH', path: string, body?: unknown): Promise<T>;
  /** One try, without patience. */
  once<T>(method: string, path: string, body?: unknown): Promise<T>;
};

/** How long a client goes on asking while parts of the system are down. */
const patienceMs = 180_000;

/** Makes the pipeline and returns its client. */
export async function createPipeline(url: string, pipeline: string): Promise<Api> {
  await patient(() => call(url, 'POST', '/pipelines', { name: pipeline }, `create ${pipeline}`));
  const base = `${url}/pipelines/${pipeline}/ingest/api/ingest`;
  return {
    pipeline,
    get: <T>(path: string) => patient<T>(() => call(base, 'GET', path)),
    send: <T>(method: string, path: string, body?: unknown) => {
      const key = randomUUID();
      return patient<T>(() => call(base, method, path, body, key));
    },
    once: (method, path, body) => call(base, method, path, body),
  };
}

/** Deletes a pipeline; a repeated call finds it gone. */
export async function deletePipeline(url: string, pipeline: string): Promise<void> {
  await patient(() => call(url, 'DELETE', `/pipelines/${pipeline}`, undefined, `delete ${pipeline}`)).catch(
    (error: unknown) => {
      if (!isRefusal(error) || error.status !== 404) throw error;
    },
  );
}

type Refusal = Error & { readonly status: number };

/** An answer that trying again does not change. */
function isRefusal(error: unknown): error is Refusal {
  return error instanceof Error && 'status' in error;
}

async function call<T>(base: string, method: string, path: string, body?: unknown, key?: string): Promise<T> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json', Prefer: 'return=representation' };
  if (key !== undefined) headers['Idempotency-Key'] = key;
  const response = await fetch(base + path, {
    method,
    headers,
    signal: AbortSignal.timeout(70_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const message = `${method} ${path} answered ${response.status}: ${text.slice(0, 500)}`;
  if (response.status >= 500) throw new Error(message);
  if (!response.ok) throw Object.assign(new Error(message), { status: response.status });
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

async function patient<T>(ask: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + patienceMs; ; await delay(250)) {
    try {
      return await ask();
    } catch (error) {
      if (isRefusal(error) || Date.now() > deadline) throw error;
    }
  }
}

/** Saves both connections and selects the tables, as the reference describes it. */
export async function configure(
  api: Api,
  source: { params: Readonly<Record<string, string>>; path: readonly string[]; tables: readonly string[] },
  destination: Readonly<Record<string, string>>,
): Promise<void> {
  await api.send('PATCH', '/conn-src', named(source.params));
  await api.send('PATCH', '/conn-dst', named(destination));
  const path = source.path.map(encodeURIComponent).join('/');
  for (const table of source.tables)
    await api.send('PATCH', `/config-tab/${path}/${encodeURIComponent(table)}`, { select: 'Y' });
}

/** Parameters as the routes take them. */
export function named(params: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(params).map(([name, value]) => ({ name, value }));
}

/** Requests a full extract; the run that was accepted. */
export async function requestFull(api: Api): Promise<Run> {
  const answer = await api.send<{ success: boolean; run?: Run; reason?: unknown }>('POST', '/ops/extract/full');
  if (!answer.success || !answer.run) throw new Error(`the full extract was refused: ${JSON.stringify(answer.reason)}`);
  return answer.run;
}

/** Waits for the end of a run. */
export async function runEnd(api: Api, id: number, forMs: number): Promise<Run> {
  for (const deadline = Date.now() + forMs; ; await delay(300)) {
    const { runs } = await api.get<{ runs: Run[] }>('/runs');
    const run = runs.find((one) => one.id === id);
    if (run && run.endedAt !== null) return run;
    if (Date.now() > deadline) throw new Error(`run ${id} is still ${run?.state} after ${forMs / 1000} s`);
  }
}
