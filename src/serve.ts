import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync, unlinkSync } from 'node:fs';
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Config, ConfigError, readSecretKey } from './config.ts';
import type { Log } from './log.ts';
import { nodeFlags } from './node-flags.ts';
import { type Supervised, supervise } from './supervised.ts';
import { startTemporalServer, type TemporalServer } from './temporal-server.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
/** A worker cancels its loads first, which may take it 20 s. */
const workerPatienceMs = 25_000;
const patienceMs = 5_000;
const unusable = 2;

/**
 * Runs everything on this machine until SIGTERM or SIGINT: one API process, the workers and, unless `TEMPORAL_ADDRESS` is set, a
 * Temporal server. Prints one line with the addresses when requests can be answered.
 */
export async function serve(config: Config, log: Log, env: Environment): Promise<void> {
  const own = log.with({ process: 'serve' });
  const embedded = config.temporal.address === undefined;
  const lock = embedded ? await lockDataDir(config.dataDir) : undefined;
  readSecretKey(config.secretKeyFile);
  // Until here a signal simply ends this process, and Temporal's guard ends Temporal.
  const temporal = embedded ? await startTemporalServer(config, own) : undefined;
  const stop = stopSignals();
  const childEnv = { ...env, ...(temporal ? { TEMPORAL_ADDRESS: temporal.address } : {}) };
  let url: string | undefined;
  const child = (name: string, command: string, heard: (message: { listening?: string }) => void) =>
    supervise(
      {
        name,
        command: process.execPath,
        args: [...nodeFlags, main, command],
        options: { detached: true, stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env: childEnv },
        started: (started) => started.on('message', heard),
        hopeless: (code) => code === unusable,
        gaveUp: () => stop.now(unusable),
      },
      own,
    );
  const api = child('API', 'api', ({ listening }) => {
    url = listening ?? url;
  });
  const workers = Array.from({ length: config.workerProcesses }, (_, index) =>
    child(`worker ${index + 1}`, 'worker', () => {}),
  );
  void announce(() => url, temporal, own, stop.first);

  const code = await stop.first;
  own.info('stopping');
  stop.onSecond(() => {
    for (const one of [...workers, api, ...(temporal ? [temporal] : [])]) one.kill();
    process.exit(1);
  });
  await stopAll(workers, api, temporal);
  lock?.close();
  process.exitCode = code;
}

/** Temporal last: workers and API still talk to it while they let go. */
async function stopAll(
  workers: readonly Supervised[],
  api: Supervised,
  temporal: Supervised | undefined,
): Promise<void> {
  await Promise.all([...workers.map((worker) => worker.stop(workerPatienceMs)), api.stop(patienceMs)]);
  await temporal?.stop(patienceMs);
}

type Stop = {
  /** The exit code, once something asked for the end. */
  readonly first: Promise<number>;
  now(code: number): void;
  onSecond(act: () => void): void;
};

function stopSignals(): Stop {
  const { promise, resolve } = Promise.withResolvers<number>();
  let again = () => {};
  let asked = false;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (asked) again();
      asked = true;
      resolve(0);
    });
  }
  return {
    first: promise,
    now: resolve,
    onSecond: (act) => {
      again = act;
    },
  };
}

async function announce(
  url: () => string | undefined,
  temporal: TemporalServer | undefined,
  log: Log,
  end: Promise<number>,
): Promise<void> {
  let ended = false;
  void end.then(() => {
    ended = true;
  });
  for (let tries = 1; !ended; tries += 1) {
    const at = url();
    const answer = at === undefined ? 'the API has not started yet' : await readiness(`${at}/readyz`);
    if (answer === 'ready') {
      const ui = temporal ? ` · Temporal Web UI ${temporal.uiUrl}` : '';
      console.log(`flow-ingest listening on ${at} · API docs ${at}/docs${ui}`);
      return;
    }
    if (tries % 100 === 0) log.warn('not ready yet', { why: answer });
    await delay(150);
  }
}

/** `ready`, or what the API says is missing. The certificate is our own, for other names than this machine's. */
function readiness(url: string): Promise<string> {
  return new Promise((resolve) => {
    const answered = (status: number | undefined, body: string) => {
      if (status === 200) return resolve('ready');
      resolve(/"detail":"([^"]*)"/.exec(body)?.[1] ?? `answer ${status}`);
    };
    const get = url.startsWith('https:') ? httpsGet : httpGet;
    const request = get(url, { rejectUnauthorized: false, timeout: 5_000 } as object, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => answered(response.statusCode, body));
    });
    request.on('error', (error) => resolve(error.message));
    request.on('timeout', () => request.destroy(new Error('no answer')));
  });
}

/** Two Temporal servers on one SQLite file would lose data. A socket, because it goes away with its process however that ends. */
async function lockDataDir(dataDir: string): Promise<Server> {
  mkdirSync(dataDir, { recursive: true });
  const id = createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 20);
  const path = join(tmpdir(), `flow-ingest-${id}.sock`);
  if (await answers(path)) throw new ConfigError([`DATA_DIR: ${dataDir} is in use by another flow-ingest serve`]);
  try {
    unlinkSync(path);
  } catch {
    // There is none.
  }
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  server.unref();
  return server;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
