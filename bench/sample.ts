import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { busySeconds, cpuSeconds } from './meter.ts';

/** One measured run. CPU in seconds, memory in MB. */
export type Sample = {
  readonly wall: number;
  readonly rows: number;
  /** What moves the rows: the clients of a pipe, the worker. */
  readonly tool: number;
  readonly api: number;
  readonly temporal: number;
  readonly source: number;
  readonly destination: number;
  readonly peak: number;
};

export type Pids = Readonly<Record<'tool' | 'api' | 'temporal' | 'source' | 'destination', number | undefined>>;

type Cpu = Record<keyof Pids, number>;

/** CPU seconds used so far, by role. */
export function readCpu(pids: Pids): Cpu {
  const used = (pid: number | undefined) => (pid === undefined ? 0 : cpuSeconds(pid));
  return {
    tool: used(pids.tool),
    api: used(pids.api),
    temporal: used(pids.temporal),
    source: used(pids.source),
    destination: used(pids.destination),
  };
}

/** What was used between two readings. */
export function usedBetween(before: Cpu, after: Cpu): Cpu {
  return {
    tool: after.tool - before.tool,
    api: after.api - before.api,
    temporal: after.temporal - before.temporal,
    source: after.source - before.source,
    destination: after.destination - before.destination,
  };
}

/** Waits until our servers have ended what a run before left them to do (purging, flushing), and the machine is idle: at most 10 minutes. */
export async function settle(): Promise<void> {
  let quiet = 0;
  for (let round = 0; round < 1200 && quiet < 4; round++) {
    const watch = watchOthers();
    const before = cpuSeconds(process.pid);
    await delay(500);
    quiet = cpuSeconds(process.pid) - before <= 0.08 && watch() <= 0.08 ? quiet + 1 : 0;
  }
}

/** Begins to watch what programs other than ours (all of which are children of this one) take of the machine; the result tells their share. */
export function watchOthers(): () => number {
  const [busy, ours, started] = [busySeconds(), cpuSeconds(process.pid), performance.now()];
  return () => {
    const others = busySeconds() - busy - (cpuSeconds(process.pid) - ours);
    return Math.max(0, others) / (((performance.now() - started) / 1000) * availableParallelism());
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which `share` of the values lie, between neighbours in proportion. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(place)] ?? Number.NaN, sorted[Math.ceil(place)] ?? Number.NaN];
  return low + (high - low) * (place - Math.floor(place));
}
