import { cost, type Figure, type Series, speed } from './report.ts';
import { median, type Sample } from './sample.ts';

/** DESIGN.md §8, read off the series of one source: pipe, product with one thread, product with several. */
export function goalsOf(source: string, all: readonly Series[]): Figure[] {
  const [pipe, one, many] = ['raw pipe', 'product, 1 ', 'product, 4 '].map((begin) =>
    all.find((series) => series.name.startsWith(`${source}: ${begin}`)),
  );
  if (!pipe || !one || !many) return [];
  return [
    atLeast(`${source}: rate with 1 thread`, speed(one.samples, pipe.samples), 0.95),
    atLeast(`${source}: rate with 4 threads`, speed(many.samples, pipe.samples), 1.25),
    perSecond(`${source}: rows per CPU second of the worker, 1 thread`, one.samples),
    perSecond(`${source}: rows per CPU second of the worker, 4 threads`, many.samples),
    atMost(`${source}: CPU of worker and servers, 1 thread`, cost(one.samples, pipe.samples)),
    atMost(`${source}: CPU of worker and servers, 4 threads`, cost(many.samples, pipe.samples)),
    memory(`${source}: memory of the worker, 4 threads`, many),
  ];
}

function atLeast(name: string, value: number, goal: number): Figure {
  return { name, value: `${value.toFixed(2)} × the pipe`, goal: `≥ ${goal} ×`, reached: value >= goal };
}

function atMost(name: string, value: number): Figure {
  return { name, value: `${value.toFixed(2)} × the pipe's`, goal: '≤ 1.5 ×', reached: value <= 1.5 };
}

function perSecond(name: string, samples: readonly Sample[]): Figure {
  const rows = median(samples.map((sample) => sample.rows / sample.tool));
  return { name, value: `${(rows / 1000).toFixed(0)} k`, goal: '≥ 250 k', reached: rows >= 250_000 };
}

function memory(name: string, { samples, idleMb = 0 }: Series): Figure {
  const peak = Math.max(...samples.map((sample) => sample.peak));
  return {
    name,
    value: `at most ${peak.toFixed(0)} MB, ${(peak - idleMb).toFixed(0)} MB above idle`,
    goal: '≤ 400 MB, ≤ 150 MB above idle',
    reached: peak <= 400 && peak - idleMb <= 150,
  };
}
