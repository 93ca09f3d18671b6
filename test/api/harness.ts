import type { AppOptions } from '../../src/api/app.ts';
import { createApp } from '../../src/api/app.ts';
import { createLog } from '../../src/log.ts';
import { newKeyText, parseKey, type SecretKey } from '../../src/secrets.ts';
import { type FakeWorld, fakePipelines } from '../fakes/pipelines.ts';

export const base = '/ingest/api/ingest';
export const testKey = parseKey(newKeyText()) as SecretKey;

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
type Json = any;
export type Answer = { readonly status: number; readonly headers: Headers; readonly text: string; json(): Json };
export type Harness = {
  readonly world: FakeWorld;
  readonly app: ReturnType<typeof createApp>;
  readonly logged: string[];
  /** Sends a request; a body that is not a string is sent as JSON. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Saves both connections and selects the sample's tables. */
  configure(tables?: readonly string[]): Promise<void>;
};

/** An application over pipelines in memory. */
export function harness(options: Partial<AppOptions> = {}): Harness {
  const world = fakePipelines();
  const logged: string[] = [];
  const log = createLog({ level: 'debug', format: 'json' }, (line) => logged.push(line));
  const app = createApp(world.pipelines, { key: testKey, log, ...options });
  const send: Harness['send'] = async (method, path, body, headers = {}) => {
    const json: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const init = { method, headers: { ...json, ...headers }, ...(text === undefined ? {} : { body: text }) };
    const response = await app.request(path.startsWith('/') ? path : `${base}/${path}`, init);
    const answer = await response.text();
    return { status: response.status, headers: response.headers, text: answer, json: () => JSON.parse(answer) };
  };
  return {
    world,
    app,
    logged,
    send,
    configure: async (tables = ['customers']) => {
      for (const side of ['src', 'dst'] as const) await send('PATCH', `conn-${side}`, connection(side));
      for (const table of tables) await send('PATCH', `config-tab/mydb/classicmodels/${table}`, { select: 'Y' });
    },
  };
}

/** A complete connection as the reference's samples send it. */
export function connection(
  side: 'src' | 'dst',
  changes: Record<string, string | number | undefined> = {},
): { name: string; value: unknown }[] {
  const params = {
    host: '127.0.0.1',
    port: '3306',
    uid: 'admin',
    pwd: 'topsecret1',
    pwd2: 'topsecret1',
    type: side === 'src' ? 'rds.mysqlc' : 'rds.sstorem',
    ...changes,
  };
  return Object.entries(params).flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
}
