import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { ServerInfo } from '../scripts/servers/server.ts';
import type { Checker } from './check.ts';
import type { DriverResult, DriverTask } from './driver-run.ts';
import { loadAverage, peakMb, resetPeak } from './meter.ts';
import { openMysql, orders, sourceDatabase } from './orders.ts';
import { emptyPipeTable, type PipeSource, pipeDatabase, runPipe } from './pipe.ts';
import { makePipeline, type Product, runFull, setThreads } from './product.ts';
import type { Series } from './report.ts';
import { readCpu, type Sample, settle, usedBetween, watchOthers } from './sample.ts';
import type { BenchServers } from './servers.ts';

/** Threads of the parallel rows. */
const PARALLEL = 4;
const CHUNK_BYTES = 64 * 1024 * 1024;

export type Bench = {
  readonly servers: BenchServers;
  readonly product: Product;
  readonly checker: Checker;
  readonly idleMb: number;
  readonly say: (line: string) => void;
};

/** A source's name in the table. */
export const sourceNames = { pg: 'PostgreSQL', mysql: 'MariaDB' } as const;

/** The full load of `bench_orders`: pipe, product and drivers in turn, each round in another order. */
export async function measureLoad(bench: Bench, kind: PipeSource, rows: number, rounds: number): Promise<Series[]> {
  const { servers, product } = bench;
  const source = sourceOf(servers, kind);
  const target = `copy_${kind}`;
  const pipeline = `orders-${kind}`;
  await makePipeline(product, {
    name: pipeline,
    source: source.params,
    destination: servers.destination,
    db: target,
    path: source.path,
    tables: [orders],
  });
  // The first run is not counted: it makes the table that the pipe's is like, and warms all caches.
  await setThreads(product, pipeline, PARALLEL);
  await runFull(product, pipeline);

  const check = (schema: string, name: string) =>
    bench.checker.check(kind, source.compared, { schema: source.path[1], name: orders }, { schema, name });
  const productRun = async (threads: number) => {
    await setThreads(product, pipeline, threads);
    return measure(bench, () => runProduct(bench, source.server, pipeline, rows));
  };
  const variants: readonly { readonly name: string; readonly run: () => Promise<Sample> }[] = [
    {
      name: 'raw pipe, 1 stream',
      run: async () => {
        const sample = await measure(bench, async () => {
          await emptyPipeTable(servers.destination, `${target}.${orders}`);
          return runPipe(servers, kind, rows);
        });
        await check(pipeDatabase, orders);
        await drop(servers.destination, `${pipeDatabase}.${orders}`);
        return sample;
      },
    },
    ...[1, PARALLEL].map((threads) => ({
      name: `product, ${threads} thread${threads > 1 ? 's' : ''}`,
      run: async () => {
        const sample = await productRun(threads);
        await check(target, orders);
        return sample;
      },
    })),
    ...[1, PARALLEL].map((threads) => ({
      name: `drivers only, ${threads} thread${threads > 1 ? 's' : ''}`,
      run: async () => {
        const [sample, table] = await runDrivers(bench, kind, threads);
        await check(driversOf(kind), table);
        await drop(servers.destination, `${driversOf(kind)}.${table}`);
        return sample;
      },
    })),
  ];
  const samples: Sample[][] = variants.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (let step = 0; step < variants.length; step++) {
      const at = (round + step) % variants.length;
      const { name, run } = variants[at] as (typeof variants)[number];
      const sample = await run();
      samples[at]?.push(sample);
      bench.say(
        `  ${sourceNames[kind]} round ${round + 1}  ${name.padEnd(24)} ${sample.wall.toFixed(2)} s  tool CPU ${sample.tool.toFixed(2)} s  destination ${sample.destination.toFixed(2)} s  load ${loadAverage().toFixed(1)}`,
      );
    }
  return variants.map(({ name }, at) => ({
    name: `${sourceNames[kind]}: ${name}`,
    samples: samples[at] ?? [],
    pipes: at === 0 ? undefined : samples[0],
    idleMb: name.startsWith('product') ? bench.idleMb : undefined,
  }));
}

/** Share of the machine that other programs may take of it in a run. */
const DISTURBED = 0.1;
const ATTEMPTS = 6;

/** Runs something when the machine is idle, and once more when other programs disturbed it; with `attempts` 1 it only says so. */
export async function measure<T>(bench: Bench, run: () => Promise<T>, attempts = ATTEMPTS): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    await settle();
    const watch = watchOthers();
    const result = await run();
    const others = watch();
    if (others <= DISTURBED) return result;
    bench.say(
      `  other programs took ${(others * 100).toFixed(0)} % of the machine${attempt < attempts ? ': once more' : ''}`,
    );
    if (attempt === attempts) return result;
  }
}

/** One full extract through the API, with what every process used in it. */
export async function runProduct(bench: Bench, source: ServerInfo, pipeline: string, rows: number): Promise<Sample> {
  const { product, servers } = bench;
  const pids = {
    tool: product.worker,
    api: product.api,
    temporal: servers.temporal.pid,
    source: source.pid,
    destination: servers.destination.pid,
  };
  resetPeak(product.worker);
  const before = readCpu(pids);
  const run = await runFull(product, pipeline);
  const used = usedBetween(before, readCpu(pids));
  if (run.rows !== rows) throw new Error(`the run loaded ${run.rows} rows instead of ${rows}`);
  return { ...used, wall: run.wall, rows, peak: peakMb(product.worker) };
}

async function runDrivers(bench: Bench, kind: PipeSource, threads: number): Promise<[Sample, string]> {
  const { servers } = bench;
  const { params, server, path } = sourceOf(servers, kind);
  const { host, port, user, password } = servers.destination;
  const task: DriverTask = {
    driver: kind === 'pg' ? 'postgres' : 'mysql',
    source: params,
    destination: { type: 'rds.sstorem', host, port: String(port), uid: user, pwd: password, db: driversOf(kind) },
    database: driversOf(kind),
    ref: { schema: path[1], name: orders },
    threads,
    chunkBytes: CHUNK_BYTES,
  };
  const pids = {
    tool: undefined,
    api: undefined,
    temporal: undefined,
    source: server.pid,
    destination: servers.destination.pid,
  };
  return measure(bench, async () => {
    const before = readCpu(pids);
    const result = JSON.parse(await node([join(import.meta.dirname, 'driver-run.ts')], task)) as DriverResult;
    const used = usedBetween(before, readCpu(pids));
    return [{ ...used, wall: result.wall, rows: result.rows, tool: result.cpu, peak: result.peak }, result.target];
  });
}

/** The destination database of the drivers alone. */
function driversOf(kind: PipeSource): string {
  return `drivers_${kind}`;
}

function node(args: readonly string[], input: unknown): Promise<string> {
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  child.stdin.end(JSON.stringify(input));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve(text) : reject(new Error(`driver-run ended with ${code}`))));
  });
}

/** How a source is reached: by the product, by the comparer, in the routes. */
export function sourceOf(servers: BenchServers, kind: PipeSource) {
  const server = kind === 'pg' ? servers.postgres : servers.mariadb;
  const { host, port, user, password } = server;
  const address = { host, port, user, password };
  const login = { host, port: String(port), uid: user, pwd: password, pwd2: password };
  return kind === 'pg'
    ? {
        server,
        params: { type: 'rds.pgres', ...login, db: sourceDatabase },
        compared: { kind: 'postgres', database: sourceDatabase, ...address } as const,
        path: [sourceDatabase, 'public'] as const,
      }
    : {
        server,
        params: { type: 'rds.mysql', ...login },
        compared: { kind: 'mysql', ...address } as const,
        path: ['default', sourceDatabase] as const,
      };
}

async function drop(destination: ServerInfo, table: string): Promise<void> {
  const client = await openMysql(destination);
  await client.query(`drop table if exists ${table}`);
  await client.end();
}
