import { randomUUID } from 'node:crypto';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { BulkActivities, QuickActivities, StreamActivities } from '../../src/activities/index.ts';
import { queues, type SetConnection, type SetTable, updates } from '../../src/workflows/messages.ts';

let installed = false;

/** More updates than a pipeline takes before it turns over; the last one sets the licence `k1009`. */
export async function manyUpdates(handle: WorkflowHandle): Promise<void> {
  const set = (n: number) => handle.executeUpdate(updates.setLicence, { args: [{ key: `k${n}` }] });
  // The server takes ten of one workflow at a time.
  for (let n = 0; n < 1008; n += 8) await Promise.all(Array.from({ length: 8 }, (_, i) => set(n + i)));
  for (let n = 1008; n < 1010; n++) await set(n);
}

export type Harness = {
  readonly client: Client;
  readonly namespace: string;
  /** Workers stop; open workflows stay open. */
  stop(): Promise<void>;
  restart(): Promise<void>;
};

/**
 * Real Temporal server, real workflow bundle, given activities. Each harness takes a namespace of its own, because task queues have
 * fixed names and test files run side by side.
 */
export async function startHarness(
  { address, bundlePath }: { readonly address: string; readonly bundlePath: string },
  activities: Partial<BulkActivities & QuickActivities & StreamActivities>,
): Promise<Harness> {
  if (!installed) Runtime.install({ logger: new DefaultLogger('ERROR') });
  installed = true;
  const namespace = `t-${randomUUID().slice(0, 8)}`;
  const connection = await Connection.connect({ address });
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 } as never,
  });
  const client = new Client({ connection, namespace });
  const native = await NativeConnection.connect({ address });
  let running: { workers: Worker[]; done: Promise<unknown> } | undefined;
  const start = async (): Promise<void> => {
    const common = { connection: native, namespace, shutdownForceTime: '5s' } as const;
    const create = async () => [
      await Worker.create({
        ...common,
        taskQueue: queues.ingest,
        workflowBundle: { codePath: bundlePath },
        activities,
      }),
      await Worker.create({ ...common, taskQueue: queues.bulk, activities, maxHeartbeatThrottleInterval: '200ms' }),
      await Worker.create({ ...common, taskQueue: queues.stream, activities, maxHeartbeatThrottleInterval: '200ms' }),
    ];
    // A new namespace is known to the frontend only after its cache has been refreshed.
    const workers = await retry(create);
    running = { workers, done: Promise.all(workers.map((worker) => worker.run())) };
  };
  const stop = async (): Promise<void> => {
    for (const worker of running?.workers ?? []) worker.shutdown();
    await running?.done;
    running = undefined;
  };
  await start();
  return {
    client,
    namespace,
    restart: async () => {
      await stop();
      await start();
    },
    stop: async () => {
      await stop();
      await native.close();
      await connection.close();
    },
  };
}

export async function retry<T>(work: () => Promise<T>, forMs = 30_000): Promise<T> {
  const until = Date.now() + forMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** A pipeline with both connections saved and `tables` of schema `public` selected. */
export async function startPipeline(client: Client, name: string, tables: readonly string[]): Promise<WorkflowHandle> {
  const handle = await retry(() =>
    client.workflow.start('pipeline', {
      taskQueue: queues.ingest,
      workflowId: `pipeline/${name}`,
      args: [{ name, zone: 'UTC' }],
    }),
  );
  for (const side of ['source', 'destination'] as const) {
    const type = side === 'source' ? 'rds.pgres' : 'rds.sstorem';
    const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed:x', type, extract_threads: '2' };
    const argument: SetConnection = { side, params, fingerprint: side, revision: 0, unknown: [] };
    await handle.executeUpdate(updates.setConnection, { args: [argument] });
  }
  for (const table of tables) {
    const argument: SetTable = {
      table: { database: 'shop', schema: 'public', name: table },
      select: true,
      options: {},
    };
    await handle.executeUpdate(updates.setTable, { args: [argument] });
  }
  return handle;
}

export async function until<T>(read: () => Promise<T>, good: (value: T) => boolean, forMs = 30_000): Promise<T> {
  const end = Date.now() + forMs;
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(value)} after ${forMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
