import { median, type Sample } from './sample.ts';

/** All samples of one row of the result. */
export type Series = {
  readonly name: string;
  readonly samples: readonly Sample[];
  /** The pipes of the same rounds; undefined for a pipe itself, and where there is none. */
  readonly pipes: readonly Sample[] | undefined;
  /** What the worker held before it had any work. */
  readonly idleMb: number | undefined;
};

/** A figure beside the table: what was measured, what it must reach, whether it does. */
export type Figure = {
  readonly name: string;
  readonly value: string;
  readonly goal: string;
  readonly reached: boolean | undefined;
};

/** What one part of the benchmark found out. */
export type Measured = { readonly series: readonly Series[]; readonly figures: readonly Figure[] };

const titles = [
  'run',
  'n',
  'wall s (min–max)',
  'rows/s',
  '× pipe',
  'tool CPU s',
  'rows/tool-CPU-s',
  'API CPU s',
  'Temporal CPU s',
  'source CPU s',
  'dest. CPU s',
  'tool+source+dest. ÷ pipe',
  'peak RSS MB (above idle)',
  'content',
];

/** The one table: medians, with the range of wall times. */
export function resultTable(series: readonly Series[]): string {
  return markdown([titles, ...series.map(line)]);
}

export function figureTable(figures: readonly Figure[]): string {
  const verdict = (reached: boolean | undefined) => (reached === undefined ? '' : reached ? 'yes' : '**no**');
  return markdown([
    ['measured', 'figure', 'goal', 'reached'],
    ...figures.map((figure) => [figure.name, figure.value, figure.goal, verdict(figure.reached)]),
  ]);
}

function line({ name, samples, pipes, idleMb }: Series): string[] {
  const of = (field: keyof Sample) => median(samples.map((sample) => sample[field]));
  const walls = samples.map((sample) => sample.wall);
  const tool = of('tool');
  const peak = of('peak');
  return [
    name,
    String(samples.length),
    `${median(walls).toFixed(2)} (${Math.min(...walls).toFixed(2)}–${Math.max(...walls).toFixed(2)})`,
    thousands(median(samples.map((sample) => sample.rows / sample.wall))),
    pipes ? speed(samples, pipes).toFixed(2) : '–',
    hundredths(tool),
    thousands(median(samples.map((sample) => sample.rows / sample.tool))),
    of('api').toFixed(2),
    of('temporal').toFixed(2),
    of('source').toFixed(2),
    of('destination').toFixed(2),
    pipes ? hundredths(cost(samples, pipes)) : '–',
    idleMb === undefined ? peak.toFixed(0) : `${peak.toFixed(0)} (+${(peak - idleMb).toFixed(0)})`,
    'equal',
  ];
}

/** Median of the rates relative to the pipe of the same round. */
export function speed(samples: readonly Sample[], pipes: readonly Sample[]): number {
  return median(samples.map((sample, round) => (pipes[round] as Sample).wall / sample.wall));
}

/** Median of what tool and both servers used, relative to the pipe of the same round. */
export function cost(samples: readonly Sample[], pipes: readonly Sample[]): number {
  const all = (sample: Sample) => sample.tool + sample.source + sample.destination;
  return median(samples.map((sample, round) => all(sample) / all(pipes[round] as Sample)));
}

/** With two digits; – for what could not be measured. */
function hundredths(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : '–';
}

function thousands(value: number): string {
  return Number.isFinite(value) ? `${(value / 1000).toFixed(1)} k` : '–';
}

function markdown(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => [...(row[at] ?? '')].length)));
  const text = (row: readonly string[]) =>
    `| ${row.map((cell, at) => cell + ' '.repeat((widths[at] ?? 0) - [...cell].length)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [text(rows[0] ?? []), rule, ...rows.slice(1).map(text)].join('\n');
}
