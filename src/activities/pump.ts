import type { Applier } from '../drivers/apply.ts';
import type { Capture, LogEvent } from '../drivers/changes.ts';
import type { Position } from '../drivers/model.ts';
import { at } from './connections.ts';

/** A change is written at the latest this long after it was read, when the stream follows on. */
const LATENCY_MS = 100;
/** A source may let go of what has been durable for this long: a destination that acknowledges before it has written may lose seconds. */
const RELEASE_AFTER_MS = 10_000;

/** A table whose structure is another one from here on. */
export type Changed = Extract<LogEvent, { kind: 'structure' }>;

/** `completeAt`: when everything up to the log's end was last written, ms. `enough`: a stream that follows on ends although nobody asked it to. */
export type Pumping = {
  readonly stop: AbortSignal;
  readonly forever: boolean;
  readonly enough: (applier: Applier) => boolean;
  completeAt: number | null;
};

/**
 * Moves events into the applier until the log's end, the signal, or a changed structure. Reads ahead by one piece while the destination
 * writes. A stream that follows on writes within a tenth of a second.
 */
export async function pump(
  about: Pumping,
  capture: Capture,
  applier: Applier,
  release: (durable: Position) => Promise<void>,
  report: () => Promise<void>,
): Promise<Changed | null> {
  const events = capture.events();
  let since = 0;
  let reported = 0;
  let next = events.next();
  next.catch(() => {});
  const write = async (): Promise<void> => {
    await at('destination', () => applier.flush());
    since = 0;
    await at('source', () => release(applier.durable));
  };
  try {
    for (;;) {
      const piece = await within(next, since === 0 ? 1_000 : LATENCY_MS - (Date.now() - since));
      if (Date.now() - reported > 1_000) {
        // Not awaited: changes don't wait for what is only shown.
        reported = Number.POSITIVE_INFINITY;
        void report()
          .catch(() => {})
          .finally(() => {
            reported = Date.now();
          });
      }
      if (piece === 'tick') {
        if (since !== 0) await write();
        continue;
      }
      if (piece.done) return null;
      const changed = piece.value.findIndex((event) => event.kind === 'structure');
      const whole = changed < 0 ? piece.value : piece.value.slice(0, changed);
      if (changed >= 0) {
        await at('destination', () => applier.take(whole));
        return piece.value[changed] as Changed;
      }
      next = events.next();
      next.catch(() => {});
      await at('destination', () => applier.take(whole));
      const last = whole.at(-1);
      if (last?.kind === 'progress' && last.atEnd) {
        const seen = Date.now();
        await write();
        about.completeAt = seen;
        if (about.forever && about.enough(applier)) return null;
      } else if (since === 0 && whole.length > 0) since = Date.now();
      else if (since !== 0 && Date.now() - since >= LATENCY_MS && about.forever) await write();
    }
  } catch (error) {
    // Asked to stop: what is whole is written by the caller.
    if (about.stop.aborted) return null;
    throw error;
  } finally {
    void events.return(undefined).catch(() => {});
  }
}

/** What a promise gives, or `tick` when it takes longer. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | 'tick'> {
  let timer: NodeJS.Timeout | undefined;
  const tick = new Promise<'tick'>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms), 'tick');
  });
  try {
    return await Promise.race([promise, tick]);
  } finally {
    clearTimeout(timer);
  }
}

/** Where the log must be kept from for rollbacks; null: from where it is kept already; undefined: no rollbacks are wanted. */
export type Kept = Position | null | undefined;

/** Lets the source's log go, a set time behind what is durable. */
export function releaser(capture: Capture, from: Position, kept: Kept): (durable: Position) => Promise<void> {
  // What rollbacks may need is let go when the next reader begins.
  if (kept !== undefined) {
    let done = false;
    return async () => {
      if (done) return;
      done = true;
      if (kept !== null) await capture.acknowledge(kept);
    };
  }
  let waiting: { readonly position: Position; readonly at: number } | null = null;
  let released: Position | null = null;
  return async (durable) => {
    if (released === null) {
      released = from;
      await capture.acknowledge(from);
    }
    if (waiting && Date.now() - waiting.at >= RELEASE_AFTER_MS) {
      released = waiting.position;
      waiting = null;
      await capture.acknowledge(released);
    }
    if (!waiting && durable !== released) waiting = { position: durable, at: Date.now() };
  };
}
