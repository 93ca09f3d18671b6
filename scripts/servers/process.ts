// Child processes that never outlive this one. Each runs in a process group of its own with a small shell beside it that
// waits on a pipe: when this process ends in any way, kill -9 included, the pipe closes and the shell kills the group.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export type Identity = { uid: number; gid: number };

/** A started program: `stop` asks it to end and then insists, `kill9` gives it no chance; both wait until it is gone. */
export type RunningProgram = {
  pid: number;
  exited: Promise<number | null>;
  running(): boolean;
  stop(): Promise<void>;
  kill9(): Promise<void>;
};

export type ProgramOptions = {
  /** Receives standard output and error, appended. */
  log: string;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  identity?: Identity | undefined;
  stopSignal?: NodeJS.Signals;
  /** Sent instead of SIGKILL when this process dies, followed by SIGKILL after 3 s. */
  orphanSignal?: 'QUIT' | 'TERM' | 'KILL';
  /** A folder to delete when this process dies without having stopped the program. */
  orphanFolder?: string;
};

/** Starts a long-running program; see the head of this file for what happens to it when this process ends. */
export function startProgram(command: string, args: readonly string[], options: ProgramOptions): RunningProgram {
  const log = openSync(options.log, 'a');
  writeSync(log, `--- ${command} ${args.join(' ')}\n`);
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: options.cwd,
    env: options.env ?? process.env,
    ...options.identity,
  });
  closeSync(log);
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => resolve(code));
    child.once('error', () => resolve(null));
  });
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${command} cannot be started`);
  child.unref();
  const guard = startGuard(pid, options.orphanSignal ?? 'KILL', options.orphanFolder);
  let alive = true;
  void exited.then(() => {
    alive = false;
    guard.stdin?.end('done\n');
  });
  const end = async (signal: NodeJS.Signals, patienceMs: number) => {
    // Who ends it waits for that, with nothing else to do maybe.
    child.ref();
    signalGroup(pid, signal);
    const timeout = new AbortController();
    await Promise.race([exited, delay(patienceMs, undefined, { signal: timeout.signal }).catch(() => {})]);
    timeout.abort();
    if (alive) signalGroup(pid, 'SIGKILL');
    await exited;
  };
  return {
    pid,
    exited,
    running: () => alive,
    stop: () => (alive ? end(options.stopSignal ?? 'SIGTERM', 15_000) : Promise.resolve()),
    kill9: () => (alive ? end('SIGKILL', 15_000) : Promise.resolve()),
  };
}

function startGuard(pid: number, signal: string, folder: string | undefined): ChildProcess {
  const script = `trap '' INT TERM HUP; IFS= read -r word; [ "$word" = done ] && exit 0
    kill -${signal} -$0 2>/dev/null; [ ${signal} = KILL ] || { sleep 3; kill -KILL -$0 2>/dev/null; }
    [ -z "$1" ] || { sleep 1; rm -rf "$1"; }`;
  const guard = spawn('sh', ['-c', script, String(pid), folder ?? ''], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  guard.on('error', () => {});
  guard.stdin?.on('error', () => {});
  guard.unref();
  (guard.stdin as unknown as { unref(): void } | null)?.unref();
  return guard;
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone already.
  }
}

export type CommandResult = { stdout: string; stderr: string };

/** Runs a command to its end; rejects with the tail of what it printed when it fails. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { input?: string; timeoutMs?: number } = {},
): Promise<CommandResult> {
  const { input, timeoutMs, ...rest } = options;
  const child = spawn(command, args, { ...rest, stdio: ['pipe', 'pipe', 'pipe'], timeout: timeoutMs ?? 600_000 });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(input ?? '');
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) {
    const tail = `${stdout}${stderr}`.trim().split('\n').slice(-8).join('\n');
    throw new Error(`${command} ${args.slice(0, 4).join(' ')} ended with ${code ?? 'a signal'}:\n${tail}`);
  }
  return { stdout, stderr };
}

const handedOut = new Set<number>();

/** A TCP port that nobody listens on, outside the range from which outgoing connections take theirs. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!handedOut.has(port) && (await portIsFree(port))) {
      handedOut.add(port);
      return port;
    }
  }
  throw new Error('no free TCP port found between 20000 and 32000');
}

/** Whether a server could listen on this port of the loopback address now. */
export function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Whether somebody accepts connections on this port of the loopback address. */
export function portAnswers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}

/** Polls until `ready` says true; rejects with the end of the log when the program ends first or the time is up. */
export async function waitUntilReady(
  name: string,
  program: RunningProgram,
  log: string,
  ready: () => Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await ready())) {
    if (!program.running()) throw new Error(`${name} ended while starting:\n${logTail(log)}`);
    if (Date.now() > deadline) {
      await program.kill9();
      throw new Error(`${name} was not ready after ${timeoutMs / 1000} s:\n${logTail(log)}`);
    }
    await delay(50);
  }
}

/** The last lines of a log file, for error messages. */
export function logTail(log: string): string {
  if (!existsSync(log)) return '';
  return readFileSync(log, 'utf8').trim().split('\n').slice(-12).join('\n');
}
