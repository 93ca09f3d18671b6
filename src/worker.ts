import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createConnections } from './activities/connections.ts';
import { createBulkActivities, createQuickActivities, createStreamActivities } from './activities/index.ts';
import { setInstallation } from './activities/names.ts';
import { type Config, readSecretKey } from './config.ts';
import type { Log } from './log.ts';
import { temporalOptions } from './temporal-options.ts';
import { startWatchdog } from './watchdog.ts';
import { workerFields } from './worker-log.ts';
import { workflowBundle } from './workflow-bundle.ts';
import { queues } from './workflows/messages.ts';

/** Portions that one process loads at a time: each keeps a core of the destination busy. */
const BULK_SLOTS = 8;
/** Captures that one process runs at a time: they mostly wait for their source. */
const STREAM_SLOTS = 200;

/** Runs workflows, quick activities and bulk loads until SIGTERM; loads under way are cancelled and taken up by another worker. */
export async function runWorker(config: Config, log: Log): Promise<void> {
  Runtime.install({
    logger: {
      log: (level, message, meta) =>
        (level === 'ERROR' ? log.error : level === 'WARN' ? log.warn : log.info)(message, workerFields(level, meta)),
      trace: () => {},
      debug: (message, meta) => log.debug(message, workerFields('DEBUG', meta)),
      info: (message, meta) => log.info(message, workerFields('INFO', meta)),
      warn: (message, meta) => log.warn(message, workerFields('WARN', meta)),
      error: (message, meta) => log.error(message, workerFields('ERROR', meta)),
    },
  });
  startWatchdog();
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
      // How long a call waits for a worker that was killed before another one takes the workflow over.
      stickyQueueScheduleToStartTimeout: '3s',
    }),
    await Worker.create({
      ...common,
      taskQueue: queues.bulk,
      activities: createBulkActivities(connections),
      maxConcurrentActivityTaskExecutions: BULK_SLOTS,
      maxHeartbeatThrottleInterval: '1s',
    }),
    await Worker.create({
      ...common,
      // A capture writes what it has before it lets go.
      shutdownGraceTime: '5s',
      taskQueue: queues.stream,
      activities: createStreamActivities(connections),
      maxConcurrentActivityTaskExecutions: STREAM_SLOTS,
      maxHeartbeatThrottleInterval: '1s',
    }),
  ];
  try {
    await Promise.all(workers.map((worker) => worker.run()));
  } finally {
    await connection.close();
  }
}
