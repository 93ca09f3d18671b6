import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createConnections } from './activities/connections.ts';
import { createBulkActivities, createQuickActivities } from './activities/index.ts';
import { setInstallation } from './activities/names.ts';
import { type Config, readSecretKey } from './config.ts';
import type { Log } from './log.ts';
import { temporalOptions } from './temporal-options.ts';
import { queues } from './workflows/messages.ts';

/** Portions that one process loads at a time: each keeps a core of the destination busy. */
const BULK_SLOTS = 8;

/** Runs workflows, quick activities and bulk loads until SIGTERM; loads under way are cancelled and taken up by another worker. */
export async function runWorker(config: Config, log: Log): Promise<void> {
  Runtime.install({
    logger: {
      log: (level, message, meta) =>
        (level === 'ERROR' ? log.error : level === 'WARN' ? log.warn : log.info)(message, meta),
      trace: () => {},
      debug: (message, meta) => log.debug(message, meta),
      info: (message, meta) => log.info(message, meta),
      warn: (message, meta) => log.warn(message, meta),
      error: (message, meta) => log.error(message, meta),
    },
  });
  const key = readSecretKey(config.secretKeyFile);
  setInstallation(key.id);
  const connections = createConnections(key);
  const connection = await NativeConnection.connect(temporalOptions(config));
  const common = {
    connection,
    namespace: config.temporal.namespace,
    shutdownGraceTime: '1s',
    shutdownForceTime: '20s',
  } as const;
  const codePath = await workflowBundle(config.dataDir);
  const workers = [
    await Worker.create({
      ...common,
      taskQueue: queues.ingest,
      workflowBundle: { codePath },
      activities: createQuickActivities(connections),
      maxConcurrentActivityTaskExecutions: 20,
      maxCachedWorkflows: 200,
    }),
    await Worker.create({
      ...common,
      taskQueue: queues.bulk,
      activities: createBulkActivities(connections),
      maxConcurrentActivityTaskExecutions: BULK_SLOTS,
      maxHeartbeatThrottleInterval: '1s',
    }),
  ];
  try {
    await Promise.all(workers.map((worker) => worker.run()));
  } finally {
    await connection.close();
  }
}

/** The bundled workflow code, built when its sources have changed since; several workers may do so at once. */
export async function workflowBundle(dataDir: string): Promise<string> {
  const folder = fileURLToPath(new URL('./workflows/', import.meta.url));
  const hash = createHash('sha256').update(process.version);
  for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(join(folder, name)));
  for (const name of ['./codes.ts', './options.ts', '../package-lock.json']) {
    const file = fileURLToPath(new URL(name, import.meta.url));
    if (existsSync(file)) hash.update(await readFile(file));
  }
  const path = join(dataDir, `workflows-${hash.digest('hex').slice(0, 16)}.js`);
  if (existsSync(path)) return path;
  const { code } = await bundleWorkflowCode({ workflowsPath: join(folder, 'index.ts') });
  await mkdir(dataDir, { recursive: true });
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, code);
  await rename(draft, path);
  return path;
}
