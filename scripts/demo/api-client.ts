import { setTimeout as delay } from 'node:timers/promises';

/** Calls of one pipeline's routes; each is printed, as a newcomer would type it. */
export type ApiClient = {
  base: string;
  patch(path: string, body: unknown): Promise<void>;
  post(path: string, body?: unknown): Promise<Record<string, unknown>>;
  get(path: string, quiet?: 'quiet'): Promise<unknown>;
};

/** A client of the documented routes below `base`. Rejects with the answer's own words when a call is refused. */
export function apiClient(base: string, say: (line: string) => void): ApiClient {
  const call = async (method: string, path: string, body: unknown, quiet: boolean): Promise<unknown> => {
    const request = { method, headers: { 'Content-Type': 'application/json' } };
    const response = await fetch(
      base + path,
      body === undefined ? { method } : { ...request, body: JSON.stringify(body) },
    );
    const text = await response.text();
    const sent = body === undefined ? '' : ` ${shortened(masked(JSON.stringify(body)))}`;
    const got = text === '' ? '' : ` ${shortened(text)}`;
    if (!quiet) say(`${method.padEnd(5)} ${path}${sent} → ${response.status}${got}`);
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  return {
    base,
    async patch(path, body) {
      await call('PATCH', path, body, false);
    },
    post: async (path, body) => (await call('POST', path, body, false)) as Record<string, unknown>,
    get: (path, quiet) => call('GET', path, undefined, quiet === 'quiet'),
  };
}

/** Waits until the route answers 200; rejects with what it said last. */
export async function waitForRoute(url: string, timeoutMs: number, alive: () => boolean): Promise<void> {
  let last = 'no answer';
  for (const deadline = Date.now() + timeoutMs; Date.now() < deadline && alive(); await delay(200)) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
      if (response.ok) return;
      last = `${response.status} ${await response.text()}`;
    } catch (error) {
      last = String(error);
    }
  }
  throw new Error(`${url} is not ready: ${last}`);
}

function masked(json: string): string {
  return json.replaceAll(/("name":"pwd2?","value":)"[^"]*"/g, '$1"***"');
}

function shortened(text: string): string {
  return text.length <= 160 ? text : `${text.slice(0, 150)}…`;
}
