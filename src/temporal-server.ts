/** The embedded Temporal server: the CLI's dev server on a SQLite file, with its Web UI. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Config } from './config.ts';
import type { Log } from './log.ts';
import { guard, type Supervised, supervise } from './supervised.ts';
import { fetchTemporalBinary } from './temporal-binary.ts';

export type TemporalServer = Supervised & { readonly address: string; readonly uiUrl: string };

const run = promisify(execFile);
const retention = '720h';
const patienceMs = 60_000;

/** Starts it on the wanted ports or the next free ones, and waits until it is healthy. */
export async function startTemporalServer(config: Config, log: Log): Promise<TemporalServer> {
  await mkdir(config.dataDir, { recursive: true });
  const binary = await fetchTemporalBinary(join(config.dataDir, 'programs'));
  const port = await freeFrom(config.temporal.port, []);
  const uiPort = await freeFrom(config.temporal.uiPort, [port]);
  const address = `127.0.0.1:${port}`;
  const { namespace } = config.temporal;
  const file = join(config.dataDir, 'temporal.db');
  const server = supervise(
    {
      name: 'Temporal',
      command: binary,
      args: [
        ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--ui-port', String(uiPort)],
        ...['--ui-disable-news-fetch', '--db-filename', file, '--namespace', namespace],
        ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
        ...['--log-level', 'error', '--log-format', 'json'],
      ],
      // A group of its own, so that Ctrl-C reaches it only after the workers have let go.
      options: { detached: true, stdio: ['ignore', 'ignore', 'inherit'] },
      started: (child) => {
        const { release } = guard(child.pid as number);
        child.once('exit', release);
      },
    },
    log,
  );
  try {
    await untilHealthy(binary, address, namespace);
  } catch (error) {
    await server.stop(5_000);
    throw error;
  }
  return {
    address,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    kill: server.kill,
    stop: server.stop,
  };
}

/** A new store keeps closed workflows for a day only; setting it is also the proof that the server answers. */
async function untilHealthy(binary: string, address: string, namespace: string): Promise<void> {
  const update = ['operator', 'namespace', 'update', '--namespace', namespace, '--retention', retention];
  for (const began = Date.now(); ; ) {
    try {
      await run(binary, [...update, '--address', address, '--command-timeout', '5s'], { timeout: 10_000 });
      return;
    } catch (error) {
      if (Date.now() - began > patienceMs)
        throw new Error('The embedded Temporal server did not come up', { cause: error });
      await delay(150);
    }
  }
}

async function freeFrom(first: number, taken: readonly number[]): Promise<number> {
  for (let port = first; port < first + 1_000 && port <= 65_535; port += 1) {
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  throw new Error(`No free port from ${first} on`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
