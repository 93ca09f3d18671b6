import { Context, heartbeat, log } from '@temporalio/activity';
import { isSecret, mayHoldSecret, sourceCode } from '../codes.ts';
import type { Destination } from '../drivers/destination.ts';
import { Misconfigured } from '../drivers/errors.ts';
import { after } from '../drivers/grace.ts';
import type { Params } from '../drivers/model.ts';
import { openDestination, sourceDrivers } from '../drivers/registry.ts';
import type { Source } from '../drivers/source.ts';
import { openParams, type SecretKey } from '../secrets.ts';
import type { SealedParams, Side } from '../workflows/messages.ts';
import { arisenAt, toFailure } from './failure.ts';

/** Both ends of a pipeline as activities open them. The only place that holds parameters with secrets in clear. */
export type Ends = {
  readonly source: Source;
  readonly destination: Destination;
  readonly params: Readonly<Record<Side, Params>>;
};

export type Sealed = { readonly source: SealedParams; readonly destination: SealedParams };

export interface Connections {
  /** Opens a source, hands it to `use` and closes it again; failures carry no secret and name their side. */
  withSource<T>(sealed: SealedParams, use: (source: Source, params: Params) => Promise<T>): Promise<T>;
  withDestination<T>(sealed: SealedParams, use: (destination: Destination, params: Params) => Promise<T>): Promise<T>;
  /** Opens both; `graceMs`: they stay open for so long after a cancellation, so that what is under way can be written. Heartbeats while `use` works, so that long waits at either end don't look like a dead worker. */
  withEnds<T>(sealed: Sealed, use: (ends: Ends) => Promise<T>, more?: { readonly graceMs: number }): Promise<T>;
}

/** `key` opens sealed parameters (`secrets.ts`). */
export function createConnections(key: SecretKey): Connections {
  async function withSource<T>(sealed: SealedParams, use: (source: Source, params: Params) => Promise<T>): Promise<T> {
    const params = openParams(key, sealed);
    return guarded([params], async () => {
      await using source = await at('source', () => openSource(params));
      return await use(source, params);
    });
  }
  async function withDestination<T>(
    sealed: SealedParams,
    use: (d: Destination, params: Params) => Promise<T>,
  ): Promise<T> {
    const params = openParams(key, sealed);
    return guarded([params], async () => {
      await using destination = await at('destination', () => openDestination(params, signal()));
      return await use(destination, params);
    });
  }
  async function withEnds<T>(
    sealed: Sealed,
    use: (ends: Ends) => Promise<T>,
    more?: { readonly graceMs: number },
  ): Promise<T> {
    const open = more ? after(signal(), more.graceMs) : signal();
    const params = { source: openParams(key, sealed.source), destination: openParams(key, sealed.destination) };
    return guarded([params.source, params.destination], async () => {
      await using opened = new AsyncDisposableStack();
      // Side by side, because each takes several round trips.
      const opening = [
        at('source', async () => opened.use(await openSource(params.source, open))),
        at('destination', async () => opened.use(await openDestination(params.destination, open))),
      ] as const;
      log.debug('opening both ends');
      await Promise.allSettled(opening);
      const [source, destination] = await Promise.all(opening);
      log.debug('opened both ends');
      const beat = setInterval(() => heartbeat(lastDetails()), 5_000);
      try {
        return await use({ source, destination, params });
      } finally {
        clearInterval(beat);
        log.debug('closing both ends');
      }
    });
  }
  return { withSource, withDestination, withEnds };
}

const details = new WeakMap<Context, unknown>();
function lastDetails(): unknown {
  return details.get(Context.current());
}

/** Heartbeats with details that later automatic beats repeat. */
export function beat(value: unknown): void {
  details.set(Context.current(), value);
  heartbeat(value);
}

function signal(): AbortSignal {
  return Context.current().cancellationSignal;
}

async function openSource(params: Params, aborted = signal()): Promise<Source> {
  const driver = sourceDrivers[sourceCode(params['type'] ?? '')?.driver ?? ''];
  if (!driver)
    throw new Misconfigured(
      `Error: Driver not found for ${params['type'] ?? ''}`,
      'Set `type` to a documented code of this version.',
    );
  return (await driver())(params, aborted);
}

/** Runs `work`, noting the end at which an error arose. */
export async function at<T>(side: Side, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw arisenAt(side, error);
  }
}

async function guarded<T>(all: readonly Params[], work: () => Promise<T>): Promise<T> {
  const secrets = all.flatMap((params) =>
    Object.keys(params).flatMap((name) => (isSecret(name) || mayHoldSecret(name) ? [params[name] ?? ''] : [])),
  );
  try {
    return await work();
  } catch (error) {
    throw toFailure(error, secrets);
  }
}
