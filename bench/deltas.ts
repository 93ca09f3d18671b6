import { setTimeout as delay } from 'node:timers/promises';
import { changed, makeChanges, openSource, trimChanges, writeLarge, writeSmall } from './changes.ts';
import { compare } from './check.ts';
import { openFloor } from './floor.ts';
import { type Bench, measure, sourceNames, sourceOf } from './load.ts';
import { peakMb, resetPeak } from './meter.ts';
import { openMysql } from './orders.ts';
import type { PipeSource } from './pipe.ts';
import { baseOf, makePipeline, runFull, runOperation } from './product.ts';
import { type Figure, type Measured, type Series, speed } from './report.ts';
import { median, quantile, readCpu, type Sample, usedBetween } from './sample.ts';

/** Catching up with the log, and following it. */

/** For so long changes come in while their latency is measured. */
const LATENCY_SECONDS = 20;
const PER_SECOND = 1_000;
const PER_TRANSACTION = 10;

/** Catch-up of many small transactions, of one large one, and the latency of a stream, beside what the database's own tools need. */
export async function measureDeltas(
  bench: Bench,
  kind: PipeSource,
  changes: number,
  rounds: number,
): Promise<Measured> {
  const { servers, product } = bench;
  const source = sourceOf(servers, kind);
  const pipeline = `changes-${kind}`;
  const db = `copy_changes_${kind}`;
  await makeChanges(servers, kind);
  const floor = await openFloor(servers, kind);
  try {
    await makePipeline(product, {
      name: pipeline,
      source: source.params,
      destination: servers.destination,
      db,
      path: source.path,
      tables: [changed],
    });
    await runFull(product, pipeline);
    const check = () =>
      compare(
        source.compared,
        servers.destination,
        { schema: source.path[1], name: changed },
        { schema: db, name: changed },
      );
    const small: Sample[] = [];
    const floors: Sample[] = [];
    const large: Sample[] = [];
    for (let round = 0; round < rounds; round++) {
      await writeSmall(servers, kind, round + 1, changes);
      const way = async () => small.push(await once(bench, () => delta(bench, kind, pipeline, changes)));
      const native = async () => floors.push(await once(bench, async () => bare(await floor.run(), changes)));
      // In turn, so that neither always finds the log in the cache.
      for (const step of round % 2 === 0 ? [way, native] : [native, way]) await step();
      await check();
      await writeLarge(servers, kind, round, changes);
      large.push(await once(bench, () => delta(bench, kind, pipeline, changes)));
      await check();
      await floor.run();
      await trimChanges(servers, kind);
      await runOperation(product, pipeline, 'delta');
      await floor.run();
      bench.say(
        `  ${sourceNames[kind]} round ${round + 1}  ${changes} changes: ${small.at(-1)?.wall.toFixed(2)} s in small transactions (${floor.name} ${floors.at(-1)?.wall.toFixed(2)} s), ${large.at(-1)?.wall.toFixed(2)} s in one`,
      );
    }
    const late = await latency(bench, kind, pipeline, db);
    await check();
    const name = sourceNames[kind];
    const series: Series[] = [
      { name: `${name}: ${floor.name}, ${changes} changes`, samples: floors, pipes: undefined, idleMb: undefined },
      {
        name: `${name}: delta, transactions of ${PER_TRANSACTION}`,
        samples: small,
        pipes: floors,
        idleMb: bench.idleMb,
      },
      { name: `${name}: delta, one transaction`, samples: large, pipes: undefined, idleMb: bench.idleMb },
    ];
    return { series, figures: figuresOf(name, bench.idleMb, small, floors, large, late) };
  } finally {
    await floor.close();
  }
}

/** A second attempt would find nothing left to do. */
function once(bench: Bench, run: () => Promise<Sample>): Promise<Sample> {
  return measure(bench, run, 1);
}

/** A delta from its request to its end, with what every process used. */
async function delta(bench: Bench, kind: PipeSource, pipeline: string, changes: number): Promise<Sample> {
  const { product, servers } = bench;
  const pids = {
    tool: product.worker,
    api: product.api,
    temporal: servers.temporal.pid,
    source: sourceOf(servers, kind).server.pid,
    destination: servers.destination.pid,
  };
  resetPeak(product.worker);
  const before = readCpu(pids);
  const { wall } = await runOperation(product, pipeline, 'delta');
  return { ...usedBetween(before, readCpu(pids)), wall, rows: changes, peak: peakMb(product.worker) };
}

function bare(wall: number, rows: number): Sample {
  return { wall, rows, tool: Number.NaN, api: 0, temporal: 0, source: 0, destination: 0, peak: 0 };
}

/** Milliseconds from a commit at the source until the destination shows it, while the stream follows. */
async function latency(bench: Bench, kind: PipeSource, pipeline: string, db: string): Promise<number[]> {
  const { product, servers } = bench;
  const base = baseOf(pipeline);
  await product.call('PATCH', `${base}/config-sched`, { type: 'auto' });
  await delay(5_000);
  const client = await openMysql(servers.destination);
  const first = 90_000_000_000;
  const committed: { readonly id: number; readonly at: number }[] = [];
  const seen: number[] = [];
  let writing = true;
  const watching = (async () => {
    let shown = 0;
    while (writing || shown < committed.length) {
      const [rows] = await client.query(`select max(id) as id from ${db}.${changed} where id >= ${first}`);
      const now = performance.now();
      const top = Number((rows as { id: number | null }[])[0]?.id ?? 0);
      for (let next = committed[shown]; next && next.id <= top; next = committed[shown]) {
        seen.push(now - next.at);
        shown++;
      }
      await delay(5);
    }
  })();
  const started = performance.now();
  const gap = (1000 * PER_TRANSACTION) / PER_SECOND;
  const transactions = (LATENCY_SECONDS * PER_SECOND) / PER_TRANSACTION;
  await writePaced(bench, kind, first, transactions, started, gap, (id) =>
    committed.push({ id, at: performance.now() }),
  );
  writing = false;
  await watching;
  await client.end();
  await product.call('POST', `${base}/scheduler/off`);
  await delay(2_000);
  return seen;
}

/** Transactions of ten rows at an even pace in one session; `done` hears after each commit the last of its keys. */
async function writePaced(
  { servers }: Bench,
  kind: PipeSource,
  first: number,
  transactions: number,
  started: number,
  gap: number,
  done: (id: number) => void,
): Promise<void> {
  const session = await openSource(servers, kind);
  for (let t = 0; t < transactions; t++) {
    await delay(Math.max(0, started + t * gap - performance.now()));
    const ids = Array.from({ length: PER_TRANSACTION }, (_, i) => first + t * PER_TRANSACTION + i);
    const rows = ids.map((id) => `(${id}, ${t}, 1.5, now(), 'paced')`);
    await session.query(`insert into ${changed} values ${rows.join(', ')}`);
    done(ids.at(-1) ?? 0);
  }
  await session.end();
}

function figuresOf(
  name: string,
  idleMb: number,
  small: readonly Sample[],
  floors: readonly Sample[],
  large: readonly Sample[],
  late: readonly number[],
): Figure[] {
  const rate = median(small.map((sample) => sample.rows / sample.wall));
  const perCpu = median(small.map((sample) => sample.rows / sample.tool));
  const peak = Math.max(...[...small, ...large].map((sample) => sample.peak));
  const p50 = quantile(late, 0.5);
  return [
    {
      name: `${name}: catch-up in transactions of ${PER_TRANSACTION}`,
      value: `${(rate / 1000).toFixed(0)} k changes/s, ${speed(small, floors).toFixed(2)} × the database's own tool`,
      goal: '≥ 40 k changes/s',
      reached: rate >= 40_000,
    },
    {
      name: `${name}: changes per CPU second of the worker`,
      value: `${(perCpu / 1000).toFixed(0)} k`,
      goal: '≥ 122 k',
      reached: perCpu >= 122_000,
    },
    {
      name: `${name}: one transaction of as many rows`,
      value: `${(median(large.map((sample) => sample.rows / sample.wall)) / 1000).toFixed(0)} k rows/s`,
      goal: '',
      reached: undefined,
    },
    {
      name: `${name}: memory of the worker in deltas`,
      value: `at most ${peak.toFixed(0)} MB, ${(peak - idleMb).toFixed(0)} MB above idle`,
      goal: '≤ 400 MB, ≤ 150 MB above idle',
      reached: peak <= 400 && peak - idleMb <= 150,
    },
    {
      name: `${name}: from commit to visible in auto, ${PER_SECOND} changes/s`,
      value: `p50 ${p50.toFixed(0)} ms, p99 ${quantile(late, 0.99).toFixed(0)} ms`,
      goal: 'median < 1 s',
      reached: p50 < 1_000,
    },
  ];
}
