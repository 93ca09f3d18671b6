import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** What the kernel counts for processes: CPU time and memory, read from /proc. */

/** Clock ticks per second; Linux has shown 100 to programs on every architecture for decades. */
const TICKS = 100;

type Stat = { readonly parent: number; readonly ticks: number };

/** CPU seconds that a process and all its descendants have used, children that have ended and were waited for included. */
export function cpuSeconds(root: number): number {
  const all = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat) all.set(Number(name), stat);
  }
  let ticks = 0;
  for (const pid of all.keys()) if (descends(all, pid, root)) ticks += all.get(pid)?.ticks ?? 0;
  return ticks / TICKS;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold anything; after it come state, parent, … utime, stime and those of children that have ended.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    return { parent: Number(fields[1]), ticks };
  } catch {
    return undefined;
  }
}

function descends(all: ReadonlyMap<number, Stat>, pid: number, root: number): boolean {
  for (let at = pid; at > 1; at = all.get(at)?.parent ?? 0) if (at === root) return true;
  return false;
}

/** CPU seconds that the whole machine has been busy. */
export function busySeconds(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8').split(/\s+/).map(Number);
  return [user, nice, system, irq, softirq].reduce((sum: number, ticks) => sum + (ticks ?? 0), 0) / TICKS;
}

/** Direct children of a process. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** Resident memory of a process in MB. */
export function residentMb(pid: number): number {
  return statusMb(pid, 'VmRSS');
}

/** The most memory that was resident since `resetPeak`, in MB. */
export function peakMb(pid: number): number {
  return statusMb(pid, 'VmHWM');
}

/** Lets the kernel count the peak anew from what is resident now. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function statusMb(pid: number, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) / 1024;
}

/** The load average of the last minute. */
export function loadAverage(): number {
  return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
}
