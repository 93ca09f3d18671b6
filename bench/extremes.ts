import { compare } from './check.ts';
import { type Bench, measure, runProduct, sourceOf } from './load.ts';
import { cellBytes, cellTable, makeCell, makeSmallTables, smallRows, smallSchema } from './orders.ts';
import { makePipeline, setThreads } from './product.ts';
import type { Measured, Series } from './report.ts';
import { median, type Sample } from './sample.ts';

/** What strains a worker otherwise: one huge cell, a thousand small tables. From PostgreSQL. */

const SMALL_TABLES = 1000;
const THREADS = 4;

/** A table with a 64 MB cell: memory of the worker. */
export async function measureCell(bench: Bench, rounds: number): Promise<Measured> {
  await makeCell(bench.servers.postgres);
  const { samples, check } = await runs(bench, 'cell', 'public', 'copy_cell', [cellTable], 3, rounds);
  await check(cellTable);
  const above = median(samples.map((sample) => sample.peak)) - bench.idleMb;
  const cellMb = cellBytes / 2 ** 20;
  const figure = {
    name: `memory of the worker above idle for a cell of ${cellMb} MB`,
    value: `${above.toFixed(0)} MB = ${(above / cellMb).toFixed(1)} × the cell`,
    goal: '≤ 4 × the cell',
    reached: above <= 4 * cellMb,
  };
  return { series: [seriesOf(bench, `PostgreSQL: product, cell of ${cellMb} MB`, samples)], figures: [figure] };
}

/** A thousand tables of a hundred rows. */
export async function measureSmallTables(bench: Bench, rounds: number): Promise<Measured> {
  bench.say(`Making ${SMALL_TABLES} small tables ...`);
  const tables = await makeSmallTables(bench.servers.postgres, SMALL_TABLES);
  const rows = SMALL_TABLES * smallRows;
  const { samples, check, selectSeconds } = await runs(
    bench,
    'tables',
    smallSchema,
    'copy_tables',
    tables,
    rows,
    rounds,
  );
  for (const table of tables) await check(table);
  const wall = median(samples.map((sample) => sample.wall));
  const figures = [
    {
      name: `full extract of ${SMALL_TABLES} tables of ${smallRows} rows, ${THREADS} threads`,
      value: `${wall.toFixed(1)} s, ${(SMALL_TABLES / wall).toFixed(0)} tables/s`,
      goal: '',
      reached: undefined,
    },
    {
      name: `selecting ${SMALL_TABLES} tables by PATCH, one after the other`,
      value: `${selectSeconds.toFixed(1)} s, ${((1000 * selectSeconds) / SMALL_TABLES).toFixed(1)} ms each`,
      goal: '',
      reached: undefined,
    },
  ];
  const series = seriesOf(bench, `PostgreSQL: product, ${SMALL_TABLES} tables, ${THREADS} threads`, samples);
  return { series: [series], figures };
}

async function runs(
  bench: Bench,
  pipeline: string,
  schema: string,
  db: string,
  tables: readonly string[],
  rows: number,
  rounds: number,
) {
  const { servers, product } = bench;
  const source = sourceOf(servers, 'pg');
  const started = performance.now();
  await makePipeline(product, {
    name: pipeline,
    source: source.params,
    destination: servers.destination,
    db,
    path: [source.path[0], schema],
    tables,
  });
  const selectSeconds = (performance.now() - started) / 1000;
  await setThreads(product, pipeline, THREADS);
  const samples: Sample[] = [];
  for (let round = 1; round <= rounds; round++) {
    const sample = await measure(bench, () => runProduct(bench, source.server, pipeline, rows));
    samples.push(sample);
    bench.say(
      `  ${pipeline} round ${round}  ${sample.wall.toFixed(2)} s  tool CPU ${sample.tool.toFixed(2)} s  peak ${sample.peak.toFixed(0)} MB`,
    );
  }
  const check = (table: string) =>
    compare(source.compared, servers.destination, { schema, name: table }, { schema: db, name: table });
  return { samples, check, selectSeconds };
}

function seriesOf(bench: Bench, name: string, samples: readonly Sample[]): Series {
  return { name, samples, pipes: undefined, idleMb: bench.idleMb };
}
