import { Worker } from 'node:worker_threads';

/** A loop of events that has stood still for so long will not go on. Nothing here keeps it for more than some seconds. */
const STUCK_SECONDS = 60;

/**
 * Kills this process when its event loop stands still: Temporal's core goes on taking tasks then, and each is lost to a timeout while other workers
 * could do it. Time in which the whole process was stopped does not count. What supervises the process starts it again, and other workers take
 * over what it had.
 */
export function startWatchdog(stuckSeconds = STUCK_SECONDS): void {
  const turns = new Int32Array(new SharedArrayBuffer(4));
  setInterval(() => Atomics.add(turns, 0, 1), 500).unref();
  const thread = new Worker(new URL('./watchdog-thread.ts', import.meta.url), {
    workerData: { turns, stuckSeconds },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  });
  thread.unref();
}
