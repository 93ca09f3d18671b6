import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { freePort, runCommand, startProgram, waitUntilReady } from './process.ts';
import { makeRunFolder, makeServer, type Server } from './server.ts';

/** The vendor's development image; needs an x86-64-v3 processor and is not for production or benchmarks. */
const image = process.env['SINGLESTORE_IMAGE'] ?? 'ghcr.io/singlestore-labs/singlestoredb-dev:0.2.81';
const password = 'flow-test-secret';

/** Whether a Docker engine answers, and not only the client is installed. */
export async function dockerAnswers(): Promise<boolean> {
  try {
    await runCommand('docker', ['info', '--format', '{{.ServerVersion}}'], { timeoutMs: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/** Starts SingleStore in a container, fetching its image first where it is missing. Needs a Docker engine. */
export async function startSinglestore(): Promise<Server> {
  const present = await runCommand('docker', ['image', 'inspect', image]).then(
    () => true,
    () => false,
  );
  if (!present) await runCommand('docker', ['pull', '--quiet', image], { timeoutMs: 900_000 });
  const folder = await makeRunFolder('singlestore');
  const log = join(folder, 'server.log');
  const port = await freePort();
  const info = { host: '127.0.0.1', port, user: 'root', password };
  const name = `flow-ingest-${process.pid}-${port}`;
  const launch = async () => {
    const options = ['--rm', '--name', name, '-e', `ROOT_PASSWORD=${password}`];
    // In the foreground, so that the container ends with its client: signals are handed on to it.
    const program = startProgram('docker', ['run', ...options, '-p', `127.0.0.1:${port}:3306`, image], {
      log,
      orphanSignal: 'TERM',
      orphanFolder: folder,
    });
    await waitUntilReady('SingleStore', program, log, () => answers(info), 240_000);
    return program;
  };
  return makeServer({ ...info, dataDir: folder }, launch, async () => {
    await runCommand('docker', ['rm', '-f', name]).catch(() => {});
    await rm(folder, { recursive: true, force: true });
  });
}

async function answers(info: { host: string; port: number; user: string; password: string }): Promise<boolean> {
  try {
    const connection = await mysql.createConnection({ ...info, connectTimeout: 2_000 });
    await connection.query('select 1');
    connection.destroy();
    return true;
  } catch {
    return false;
  }
}
