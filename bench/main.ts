// npm run bench: the product beside the raw pipe of the databases' own clients, in one run and one table (docs/benchmarks.md).
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { createChecker } from './check.ts';
import { measureControl } from './control.ts';
import { measureDeltas } from './deltas.ts';
import { measureCell, measureSmallTables } from './extremes.ts';
import { goalsOf } from './goals.ts';
import { measureIdle } from './idle.ts';
import { measureJdbc } from './jdbc.ts';
import { type Bench, measureLoad, sourceNames } from './load.ts';
import { loadAverage, residentMb } from './meter.ts';
import { type Part, parts, readOptions } from './options.ts';
import { makeMysqlOrders, makePostgresOrders } from './orders.ts';
import { type Product, startProduct } from './product.ts';
import { measureReaders } from './readers.ts';
import { type Figure, figureTable, type Measured, resultTable, type Series } from './report.ts';
import { settle } from './sample.ts';
import { startServers } from './servers.ts';

const options = readOptions(process.argv.slice(2));
/** Rows that are no ratio to a pipe are measured so often. */
const fewer = Math.min(options.pairs, 3);
const say = (line: string): void => console.log(line);

say('Starting private servers ...');
const servers = await startServers();
let product: Product | undefined;
let stopping: Promise<void> | undefined;
const stop = (): Promise<void> => {
  stopping ??= (async () => {
    await product?.stop();
    await servers.stop();
  })();
  return stopping;
};
const interrupted = (): void => void stop().then(() => process.exit(1));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, interrupted);
process.once('disconnect', interrupted);
process.channel?.unref();

const work: Readonly<Record<Part, (bench: Bench) => Promise<Measured>>> = {
  pg: (bench) => load(bench, 'pg'),
  mysql: (bench) => load(bench, 'mysql'),
  cell: (bench) => measureCell(bench, fewer),
  tables: (bench) => measureSmallTables(bench, fewer),
  deltas: async (bench) => {
    const found = [
      await measureDeltas(bench, 'pg', options.rows, fewer),
      await measureDeltas(bench, 'mysql', options.rows, fewer),
    ];
    return { series: found.flatMap((one) => one.series), figures: found.flatMap((one) => one.figures) };
  },
  idle: async (bench) => ({ series: [], figures: await measureIdle(bench) }),
  jdbc: async (bench) => ({ series: [], figures: await measureJdbc(bench, options.rows, fewer) }),
  readers: async () => ({ series: [], figures: await measureReaders(options.rows, fewer, say) }),
  control: async (bench) => ({ series: [], figures: await measureControl(bench.product) }),
};

try {
  const series: Series[] = [];
  const figures: Figure[] = [];
  const before = loadAverage();
  for (const part of parts) {
    if (!options.only.has(part)) continue;
    // A worker of its own for each part: its memory is that of this work.
    product = await startProduct(servers.temporal.address, options.profile);
    await settle();
    const idleMb = residentMb(product.worker);
    const measured = await work[part]({ servers, product, checker: createChecker(servers.destination), idleMb, say });
    series.push(...measured.series);
    figures.push(...measured.figures);
    await product.stop();
    product = undefined;
  }
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}`;
  const load = `load average ${before.toFixed(1)} before and ${loadAverage().toFixed(1)} after`;
  const head = `${new Date().toISOString().slice(0, 16)}Z, ${machine}, ${load}; all copies were compared with their sources and are equal.`;
  const report = [head, resultTable(series), figureTable(figures)].join('\n\n');
  say(`\n${report}`);
  if (options.out !== undefined) await writeFile(options.out, `${report}\n`);
} finally {
  await stop();
}

async function load(bench: Bench, kind: 'pg' | 'mysql'): Promise<Measured> {
  say(`Making ${options.rows} rows in ${sourceNames[kind]} ...`);
  if (kind === 'pg') await makePostgresOrders(servers.postgres, options.rows);
  else await makeMysqlOrders(servers.mariadb, options.rows);
  const series = await measureLoad(bench, kind, options.rows, options.pairs);
  return { series, figures: goalsOf(sourceNames[kind], series) };
}
