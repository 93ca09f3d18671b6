// npm run bench: the product beside the raw pipe of the databases' own clients, in one run and one table (docs/benchmarks.md).
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { createChecker } from './check.ts';
import { measureControl } from './control.ts';
import { measureCell, measureSmallTables } from './extremes.ts';
import { goalsOf } from './goals.ts';
import { type Bench, measureLoad, sourceNames } from './load.ts';
import { loadAverage, residentMb } from './meter.ts';
import { readOptions } from './options.ts';
import { makeMysqlOrders, makePostgresOrders } from './orders.ts';
import { startProduct } from './product.ts';
import { type Figure, figureTable, resultTable, type Series } from './report.ts';
import { settle } from './sample.ts';
import { startServers } from './servers.ts';

const options = readOptions(process.argv.slice(2));
const say = (line: string): void => console.log(line);

say('Starting private servers ...');
const servers = await startServers();
let stopping: Promise<void> | undefined;
let product: Awaited<ReturnType<typeof startProduct>> | undefined;
const stop = (): Promise<void> => {
  stopping ??= (async () => {
    await product?.stop();
    await servers.stop();
  })();
  return stopping;
};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void stop().then(() => process.exit(1)));
process.once('disconnect', () => void stop().then(() => process.exit(1)));

try {
  product = await startProduct(servers.temporal.address, options.profile);
  await settle([product.worker, product.api]);
  const idleMb = residentMb(product.worker);
  const bench: Bench = { servers, product, checker: createChecker(servers.destination), idleMb, say };
  const series: Series[] = [];
  const figures: Figure[] = [];
  const started = loadAverage();
  for (const kind of ['pg', 'mysql'] as const) {
    if (!options.only.has(kind)) continue;
    say(`Making ${options.rows} rows in ${kind} ...`);
    await (kind === 'pg'
      ? makePostgresOrders(servers.postgres, options.rows)
      : makeMysqlOrders(servers.mariadb, options.rows));
    const measured = await measureLoad(bench, kind, options.rows, options.pairs);
    series.push(...measured);
    figures.push(...goalsOf(sourceNames[kind], measured));
  }
  if (options.only.has('cell')) {
    const { series: one, figure } = await measureCell(bench, Math.min(options.pairs, 3));
    series.push(one);
    figures.push(figure);
  }
  if (options.only.has('tables')) {
    const { series: one, figures: some } = await measureSmallTables(bench, Math.min(options.pairs, 3));
    series.push(one);
    figures.push(...some);
  }
  if (options.only.has('control')) figures.push(...(await measureControl(product)));
  const head = `${new Date().toISOString().slice(0, 16)}Z, ${cpus().length} × ${cpus()[0]?.model}, load average ${started.toFixed(1)} at the start and ${loadAverage().toFixed(1)} at the end, worker idle ${idleMb.toFixed(0)} MB`;
  const report = [head, '', resultTable(series), '', figureTable(figures)].join('\n');
  say(`\n${report}`);
  if (options.out !== undefined) await writeFile(options.out, `${report}\n`);
} finally {
  await stop();
}
