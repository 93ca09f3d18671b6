import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { inject } from 'vitest';
import { logTail } from '../../scripts/servers/process.ts';
import { makeRunFolder } from '../../scripts/servers/server.ts';
import { type Kept, keep } from '../chaos/process.ts';
import { keyText } from './run.ts';

/** A worker to kill: a process of its own, in a namespace of its own on the shared Temporal server, with the key that `sealed` uses. */
export type WorkerProcess = Pick<Kept, 'pid' | 'kill9' | 'restart'> & {
  readonly client: Client;
  /** The last lines of its log, for messages. */
  logTail(): string;
  /** Kills it with kill -9 and starts another one in its place. */
  replace(): Promise<void>;
  /** Ends it and removes what it has written. */
  stop(): Promise<void>;
};

/** `preload`: a module that its process loads first, which may put a fake in a client library's place; `env`: variables for it. */
export async function startWorkerProcess(
  name: string,
  { preload, env }: { readonly preload?: URL; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<WorkerProcess> {
  const { address } = inject('temporal');
  const namespace = `t-${randomUUID().slice(0, 8)}`;
  const connection = await Connection.connect({ address });
  const workflowExecutionRetentionPeriod = { seconds: 86_400 } as never;
  await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
  const folder = await makeRunFolder(name);
  const log = join(folder, 'worker.log');
  const SECRET_KEY_FILE = join(folder, 'secret.key');
  await writeFile(SECRET_KEY_FILE, keyText, { mode: 0o600 });
  const main = join(import.meta.dirname, '../../src/main.ts');
  const { pid, kill9, restart, stop } = keep(
    'worker',
    [...(preload ? ['--import', preload.href] : []), main, 'worker'],
    {
      log,
      env: {
        ...process.env,
        DATA_DIR: folder,
        SECRET_KEY_FILE,
        TEMPORAL_ADDRESS: address,
        TEMPORAL_NAMESPACE: namespace,
        LOG_LEVEL: 'warn',
        ...env,
      },
    },
  );
  return {
    pid,
    kill9,
    restart,
    client: new Client({ connection, namespace }),
    logTail: () => logTail(log),
    replace: async () => {
      await kill9();
      await restart();
    },
    stop: async () => {
      await stop();
      await connection.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
