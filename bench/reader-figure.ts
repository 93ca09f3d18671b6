import type { Figure } from './report.ts';
import { median } from './sample.ts';

/** One reading of all rows: seconds, and CPU seconds of everything on the reader's side (a JVM included). */
export type Reading = { readonly rows: number; readonly wall: number; readonly cpu: number };

/** Medians of what one reader took; `beside`: the plain way to read, in the same rounds, and the least ratio of rates that counts as good. */
export function figureOf(
  name: string,
  runs: readonly Reading[],
  beside?: { readonly runs: readonly Reading[]; readonly least?: number },
): Figure {
  const rate = median(runs.map(({ rows, wall }) => rows / wall));
  const perCpu = median(runs.map(({ rows, cpu }) => rows / cpu));
  const value = `${(rate / 1000).toFixed(0)} k rows/s, ${(perCpu / 1000).toFixed(0)} k rows per CPU second`;
  if (beside === undefined) return { name, value, goal: '', reached: undefined };
  const times = (of: 'wall' | 'cpu') => median(runs.map((run, i) => (beside.runs[i] as Reading)[of] / run[of]));
  const { least } = beside;
  return {
    name,
    value: `${value}; ${times('wall').toFixed(2)} × and ${times('cpu').toFixed(2)} × the plain row API`,
    goal: least === undefined ? '' : `≥ ${least} ×`,
    reached: least === undefined ? undefined : times('wall') >= least,
  };
}

/** Measures this process while `work` reads; throws when it did not read `count` rows. */
export async function timed(work: () => Promise<number>, count: number): Promise<Reading> {
  const before = process.cpuUsage();
  const started = performance.now();
  const rows = await work();
  if (rows !== count) throw new Error(`${rows} rows instead of ${count}`);
  const { user, system } = process.cpuUsage(before);
  return { rows, wall: (performance.now() - started) / 1000, cpu: (user + system) / 1e6 };
}
