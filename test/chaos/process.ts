import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type ProgramOptions, type RunningProgram, startProgram } from '../../scripts/servers/process.ts';

/** A process of the product under a supervisor such as operators use: one that ends by itself is started again. */
export type Kept = {
  readonly name: string;
  pid(): number;
  /** How often it ended without being killed here. */
  readonly selfEnds: () => number;
  kill9(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
};

/** Starts `args` and keeps it running between `restart` and `kill9`. */
export function keep(name: string, args: readonly string[], options: ProgramOptions): Kept {
  let wanted = true;
  let ends = 0;
  const launch = (): RunningProgram => {
    const program = startProgram(process.execPath, args, options);
    void program.exited.then(async () => {
      if (!wanted || program !== running) return;
      ends++;
      await delay(1_000);
      if (wanted && program === running) running = launch();
    });
    return program;
  };
  let running = launch();
  return {
    name,
    pid: () => running.pid,
    selfEnds: () => ends,
    kill9: async () => {
      wanted = false;
      await running.kill9();
    },
    restart: async () => {
      wanted = true;
      const before = running;
      await before.kill9();
      if (running === before) running = launch();
    },
    stop: async () => {
      wanted = false;
      await running.stop();
    },
  };
}

/** Processes whose parent is `pid`. PostgreSQL's backends lead process groups of their own, which a signal to the server's group misses. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((child) => parentOf(child) === pid);
}

function parentOf(pid: number): number | undefined {
  try {
    // The name in parentheses may hold spaces and parentheses.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

/** Sends a signal; false when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}
