import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../scripts/servers/process.ts';
import { temporalProgram } from '../scripts/servers/temporal.ts';
import { until } from './workflows/harness.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const base = '/ingest/api/ingest';
let folder = '';
let env: Record<string, string | undefined> = {};
let taken: Server;
let takenPort = 0;
const started: ChildProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'flow-serve-'));
  takenPort = await freePort();
  taken = createServer().listen(takenPort, '127.0.0.1');
  env = {
    ...{
      PATH: process.env['PATH'],
      TEMPORAL_CLI_PATH: await temporalProgram(),
      DATA_DIR: join(folder, 'data'),
      PORT: '0',
      WORKER_PROCESSES: '1',
    },
    // One is taken: the next free one has to do.
    ...{ TEMPORAL_PORT: String(takenPort), TEMPORAL_UI_PORT: String(await freePort()), LOG_FORMAT: 'text' },
  };
});
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  taken.close();
  await delay(500);
  rmSync(folder, { recursive: true, force: true });
});

type Serving = {
  readonly child: ChildProcess;
  readonly url: string;
  readonly line: string;
  readonly ended: Promise<number | null>;
  readonly err: () => string;
};

async function serve(): Promise<Serving> {
  const child = spawn(process.execPath, [main, 'serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const line = await until(
    async () => out,
    (text) => text.includes('\n') || child.exitCode !== null,
    90_000,
  );
  return { child, url: /http:\S+/.exec(line)?.[0] ?? '', line, ended, err: () => err };
}

/** All processes below one, by what they run. Linux only, like the test servers. */
function below(pid: number | undefined): Map<number, string> {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return [
          { pid: Number(name), parent, command: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ') },
        ];
      } catch {
        return [];
      }
    });
  return new Map(all.filter(({ parent }) => parent === pid).map((one) => [one.pid, one.command]));
}

const child = (serving: Serving, words: string) =>
  [...below(serving.child.pid)].find(([, command]) => command.includes(words))?.[0] as number;
const living = (pids: Iterable<number>) =>
  [...pids].filter((pid) => existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '));
const schedule = async ({ url }: Serving) =>
  (await fetch(`${url}${base}/config-sched`)).json() as Promise<{ type: string }>;
const save = ({ url }: Serving, type: string) =>
  fetch(`${url}${base}/config-sched`, {
    method: 'PATCH',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ type }),
  });
const ready = async ({ url }: Serving) => (await fetch(`${url}/readyz`).catch(() => undefined))?.status;

describe('flow-ingest serve', () => {
  it('brings everything up, keeps it up, keeps its state, and leaves nothing behind', async () => {
    const first = await serve();
    expect(first.line).toMatch(
      /^flow-ingest listening on http:\/\/127\.0\.0\.1:\d+ · API docs http:\S+\/docs · Temporal Web UI http:\S+\n$/,
    );
    expect(await ready(first)).toBe(200);
    expect(statSync(join(folder, 'data', 'secret.key')).mode & 0o777).toBe(0o600);
    expect((await save(first, 'auto')).status).toBe(204);

    // Each part is killed and comes back by itself.
    for (const part of ['main.ts worker', 'start-dev', 'main.ts api']) {
      const pid = child(first, part);
      expect(pid, part).toBeGreaterThan(1);
      if (part === 'start-dev') expect(below(first.child.pid).get(pid)).not.toContain(`--port ${takenPort} `);
      process.kill(pid, 'SIGKILL');
      await until(
        async () => child(first, part),
        (now) => now !== undefined && now !== pid,
        20_000,
      );
      if (part !== 'main.ts api')
        await until(
          () => schedule(first).catch(() => ({ type: 'none' })),
          ({ type }) => type === 'auto',
          30_000,
        );
    }

    // Events are log lines of the worker, and a worker that reads the history again does not say them again.
    const told = first.err().match(/^.*The schedule was set to auto\..*$/gm);
    expect(told).toEqual([expect.stringMatching(/ pipeline=default group=Others /)]);

    // A second one on the same folder would run two Temporal servers on one file.
    const second = spawn(process.execPath, [main, 'serve'], { env });
    let err = '';
    second.stderr.on('data', (data) => {
      err += data;
    });
    expect(await new Promise((resolve) => second.on('exit', resolve))).toBe(2);
    expect(err).toContain('in use by another flow-ingest serve');

    const family = [...below(first.child.pid).keys()];
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    expect(living(family)).toEqual([]);

    const again = await serve();
    expect((await schedule(again)).type).toBe('auto');
    const orphans = [...below(again.child.pid).keys()];
    expect(orphans.length).toBeGreaterThanOrEqual(3);
    again.child.kill('SIGKILL');
    await until(
      async () => living(orphans),
      (left) => left.length === 0,
      15_000,
    );
  }, 240_000);
});
