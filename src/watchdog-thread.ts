import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

/** Looks once a second whether the main thread's event loop has turned. */
const { turns, stuckSeconds } = workerData as { readonly turns: Int32Array; readonly stuckSeconds: number };
let seen = Atomics.load(turns, 0);
let still = 0;
setInterval(() => {
  const now = Atomics.load(turns, 0);
  still = now === seen ? still + 1 : 0;
  seen = now;
  if (still < stuckSeconds) return;
  const message = `The process has done nothing but one thing for ${stuckSeconds} s, and is killed: another one takes over its work.`;
  const line = { at: new Date().toISOString(), level: 'error', message, process: 'worker', group: 'Errors' };
  writeSync(2, `${JSON.stringify(line)}\n`);
  process.kill(process.pid, 'SIGKILL');
}, 1_000);
