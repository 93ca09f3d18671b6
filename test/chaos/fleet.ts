import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { waitForRoute } from '../../scripts/demo/api-client.ts';
import { carefreeMariadb, startDestination, startMysql } from '../../scripts/servers/mysql.ts';
import { startPostgres } from '../../scripts/servers/postgres.ts';
import { freePort, logTail } from '../../scripts/servers/process.ts';
import { makeRunFolder, type Server } from '../../scripts/servers/server.ts';
import { startTemporal, type TemporalServer } from '../../scripts/servers/temporal.ts';
import { startSingleStoreProxy } from '../fakes/singlestore/proxy.ts';
import { childrenOf, type Kept, keep, signal } from './process.ts';

export type SourceName = 'postgres' | 'mysql' | 'mariadb';
export type Mode = 'mariadb' | 'singlestore';
export const parts = ['worker', 'api', 'temporal', 'source', 'destination'] as const;
export type Part = (typeof parts)[number];

/** Everything that can be killed, as processes of their own, and the addresses to reach it. */
export type Fleet = {
  readonly sourceName: SourceName;
  readonly mode: Mode;
  readonly url: string;
  readonly source: Server;
  /** The server behind; in SingleStore mode the product sees it through `address`. */
  readonly destination: Server;
  readonly address: { readonly host: string; readonly port: number };
  readonly temporal: TemporalServer;
  readonly client: Client;
  readonly api: Kept;
  readonly workers: readonly Kept[];
  readonly log: string;
  /** Statements that SingleStore would have refused. */
  rejections(): readonly { readonly sql: string; readonly rule: string }[];
  ready(): Promise<void>;
  stop(): Promise<void>;
};

/** The login of the product, different from ours, so that its sessions can be told from ours. */
export const productUser = { user: 'ingest', password: 'flow-test-secret' } as const;

/** What every server loses by kill -9 must be what its vendor says: torn pages would be the test's fault, not the product's. */
const durable = {
  postgres: { full_page_writes: 'on', synchronous_commit: 'on' },
  mysql: { 'innodb-doublewrite': 1, 'innodb-flush-log-at-trx-commit': 1 },
  mariadb: { ...carefreeMariadb, 'innodb-doublewrite': 1, 'innodb-flush-log-at-trx-commit': 1 },
} as const;

/** Starts private servers, one API process and two workers. */
export async function startFleet(sourceName: SourceName, mode: Mode): Promise<Fleet> {
  const ends: (() => Promise<unknown>)[] = [];
  const owned = async <T extends { stop(): Promise<unknown> }>(thing: Promise<T>): Promise<T> => {
    const started = await thing;
    ends.unshift(() => started.stop());
    return started;
  };
  const stop = async () => {
    for (const end of ends) await end().catch(() => {});
  };
  try {
    const starting = [
      owned(startSource(sourceName)),
      owned(startDestination({ settings: durable.mariadb })),
      owned(startTemporal()),
    ] as const;
    // All of them, that none is left behind when another can't be had.
    await Promise.allSettled(starting);
    const [source, destination, temporal] = await Promise.all(starting);
    const proxy = mode === 'singlestore' ? await startSingleStoreProxy({ backend: destination }) : undefined;
    if (proxy) ends.unshift(() => proxy.close());
    const connection = await Connection.connect({ address: temporal.address });
    ends.unshift(() => connection.close());
    const folder = await makeRunFolder('chaos');
    ends.push(() => rm(folder, { recursive: true, force: true }));
    const log = join(folder, 'product.log');
    const port = await freePort();
    const env = {
      ...process.env,
      HOST: '127.0.0.1',
      PORT: String(port),
      DATA_DIR: join(folder, 'data'),
      TEMPORAL_ADDRESS: temporal.address,
      LOG_LEVEL: process.env['CHAOS_LOG_LEVEL'] ?? 'warn',
    };
    const main = join(import.meta.dirname, '../../src/main.ts');
    const run = (name: string, command: string): Kept => {
      const kept = keep(name, [main, command], { log, env });
      ends.unshift(() => kept.stop());
      return kept;
    };
    const api = run('api', 'api');
    const workers = [run('worker 1', 'worker'), run('worker 2', 'worker')];
    const url = `http://127.0.0.1:${port}`;
    const ready = () =>
      waitForRoute(`${url}/readyz`, 120_000, () => true).catch((error: unknown) => {
        throw new Error(`the product is not ready: ${String(error)}\n${logTail(log)}`);
      });
    await ready();
    return {
      sourceName,
      mode,
      url,
      source,
      destination,
      address: proxy ?? destination,
      temporal,
      client: new Client({ connection }),
      api,
      workers,
      log,
      rejections: () => proxy?.rejections() ?? [],
      ready,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function startSource(name: SourceName): Promise<Server> {
  if (name === 'postgres') return startPostgres({ major: 15, settings: durable.postgres });
  if (name === 'mysql') return startMysql({ flavour: 'mysql9', settings: durable.mysql });
  return startMysql({ flavour: 'mariadb10.11', settings: durable.mariadb });
}

/** Something that can be killed and brought back on the same port and data. */
export type Victim = {
  readonly part: Part;
  readonly name: string;
  readonly pid: () => number;
  kill9(): Promise<void>;
  restart(): Promise<void>;
};

/** The victim of a part; of the workers the one with this process id if there is one, else `index` decides. */
export function victimOf(fleet: Fleet, part: Part, index: number, busyPid?: number): Victim {
  if (part === 'api') return keptVictim(part, fleet.api);
  if (part === 'worker') {
    const busy = fleet.workers.find((worker) => worker.pid() === busyPid);
    return keptVictim(part, busy ?? (fleet.workers[index % fleet.workers.length] as Kept));
  }
  const server = part === 'temporal' ? fleet.temporal : fleet[part];
  return {
    part,
    name: part,
    pid: () => server.pid,
    kill9: () => killWithChildren(server),
    restart: () => server.restart(),
  };
}

function keptVictim(part: Part, kept: Kept): Victim {
  const { name, pid } = kept;
  return { part, name, pid, kill9: () => kept.kill9(), restart: () => kept.restart() };
}

/** Children are listed first: they lose their parent with the server. */
async function killWithChildren(server: Server): Promise<void> {
  const children = childrenOf(server.pid);
  const gone = server.kill9();
  for (const child of children) signal(child, 'SIGKILL');
  await gone;
}
