import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from './log.ts';

/** A process that is started again whenever it dies, with growing pauses, until it is stopped. */
export type Supervised = {
  /** Ends it: SIGTERM, and SIGKILL when it takes longer than `patienceMs`. */
  stop(patienceMs: number): Promise<void>;
  /** Ends it at once. */
  kill(): void;
};

export type Program = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly options: SpawnOptions;
  /** Called with each new process. */
  readonly started?: (child: ChildProcess) => void;
  /** An exit code after which another start makes no sense. */
  readonly hopeless?: (code: number | null) => boolean;
  readonly gaveUp?: () => void;
};

const firstPauseMs = 500;
const longestPauseMs = 30_000;
/** A process that lived so long starts again without a long pause. */
const healthyMs = 60_000;

export function supervise(program: Program, log: Log): Supervised {
  let child: ChildProcess | undefined;
  let stopping = false;
  let pauseMs = firstPauseMs;
  const waiting = new AbortController();

  async function run(): Promise<void> {
    while (!stopping) {
      const began = Date.now();
      const { code, signal } = await once();
      if (stopping) return;
      if (program.hopeless?.(code)) return program.gaveUp?.();
      if (Date.now() - began > healthyMs) pauseMs = firstPauseMs;
      log.warn(`${program.name} ended, starting it again`, { code, signal, pauseMs });
      await delay(pauseMs, undefined, { signal: waiting.signal }).catch(() => undefined);
      pauseMs = Math.min(longestPauseMs, pauseMs * 2);
    }
  }
  function once(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return new Promise((resolve) => {
      const started = spawn(program.command, program.args, program.options);
      child = started;
      started.once('error', (error) => {
        log.error(`${program.name} cannot be started`, { error });
        resolve({ code: null, signal: null });
      });
      started.once('exit', (code, signal) => resolve({ code, signal }));
      if (started.pid !== undefined) program.started?.(started);
    });
  }
  const ended = run();
  return {
    stop: async (patienceMs) => {
      stopping = true;
      waiting.abort();
      child?.kill('SIGTERM');
      const patience = new AbortController();
      const late = delay(patienceMs, true, { signal: patience.signal }).catch(() => false);
      if (await Promise.race([ended.then(() => false), late])) child?.kill('SIGKILL');
      patience.abort();
      await ended;
    },
    kill: () => {
      stopping = true;
      child?.kill('SIGKILL');
    },
  };
}

/**
 * Kills `pid` when this process ends in any way, kill -9 included: a shell that waits on a pipe which then closes. For programs that
 * don't know of us; our own watch their channel.
 */
export function guard(pid: number): { release(): void } {
  const script = 'trap "" INT TERM HUP; IFS= read -r word; [ "$word" = done ] || kill -KILL "$0" 2>/dev/null';
  const shell = spawn('sh', ['-c', script, String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  shell.on('error', () => undefined);
  shell.stdin?.on('error', () => undefined);
  shell.unref();
  return { release: () => shell.stdin?.end('done\n') };
}
