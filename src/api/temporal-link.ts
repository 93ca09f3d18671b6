import { setTimeout as delay } from 'node:timers/promises';
import {
  Client,
  Connection,
  isGrpcDeadlineError,
  isGrpcServiceError,
  QueryNotRegisteredError,
  QueryRejectedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { ApplicationFailure, NamespaceNotFoundError } from '@temporalio/common';
import type { Config } from '../config.ts';
import { temporalOptions } from '../temporal-options.ts';
import { queues } from '../workflows/messages.ts';
import { unavailable } from './health.ts';
import type { Health } from './pipelines.ts';
import { Problem } from './problem.ts';

/** The workflow that a call waits for, and the client's idempotency key to tell back. */
type About = { readonly workflowId?: string; readonly key?: string };

/** Towards one Temporal namespace: calls with deadlines, and what their failures mean to a client of the API. */
export type Link = {
  readonly client: Client;
  /**
   * Makes a call within time: an unreachable Temporal or absent worker is 503 within 5 s, a busy system gets 10 s, then 504 with `key`.
   * The call may be made more than once and must be safe to repeat.
   */
  ask<T>(call: () => Promise<T>, about?: About): Promise<T>;
  /** Makes a call whose failure doesn't matter, once. */
  soon<T>(call: () => Promise<T>, ms: number): Promise<T>;
  health(): Promise<Health>;
  close(): Promise<void>;
};

const late = Symbol('no answer before the deadline');

const firstMs = 3_000;
const secondMs = 4_400;
const allMs = 10_000;
const pauseMs = 200;
const probeMs = 1_000;
/** For so long a failed call answers for those that follow. */
const downMs = 1_500;
/** Pollers renew themselves every minute. */
const pollerMs = 70_000;
/** The server's clock may differ a little from ours. */
const clockMs = 500;

const noWorker = 'No worker takes work. Start one (flow-ingest worker), or look at its log.';

/** Opens no connection yet: the API starts and answers while Temporal is away. */
export function connectTemporal(config: Config): Link {
  const options = temporalOptions(config);
  const noTemporal = `Temporal at ${options.address} does not answer. Start it, or check TEMPORAL_ADDRESS.`;
  const connection = Connection.lazy({
    ...options,
    // Our own loop repeats calls; the default would keep trying silently until the deadline.
    interceptors: [],
    // Without this a long outage of Temporal would outlast its return by up to two minutes.
    channelArgs: {
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
    },
  });
  const { namespace } = config.temporal;
  const service = connection.workflowService;
  const client = new Client({ connection, namespace, workflow: { queryRejectCondition: 'NOT_OPEN' } });
  let down: { readonly at: number; readonly problem: Problem } | undefined;

  function isDown(hint: string): Problem {
    const problem = unavailable(hint);
    down = { at: Date.now(), problem };
    return problem;
  }

  const within = <T>(ms: number, call: () => Promise<T>) => connection.withDeadline(Date.now() + ms, call);
  const pollers = async () => {
    const taskQueue = { name: queues.ingest };
    const answer = await within(probeMs, () => service.describeTaskQueue({ namespace, taskQueue, taskQueueType: 1 }));
    return (answer.pollers ?? []).map(({ identity, lastAccessTime: at }) => ({
      identity,
      at: Number(at?.seconds ?? 0) * 1000 + Number(at?.nanos ?? 0) / 1e6,
    }));
  };
  const reachable = () => within(probeMs / 2, () => service.getSystemInfo({})).then(isTrue, isFalse);
  /** A poller that took work has asked for more since. */
  const working = async (since: number) => (await pollers()).some(({ at }) => at >= since - clockMs);

  /**
   * Without an answer at first: is Temporal there? Is a worker, if not the one that holds the workflow in memory? Only when both are,
   * the system is busy and may take its time.
   */
  async function ask<T>(call: () => Promise<T>, { workflowId, key }: About = {}): Promise<T> {
    const began = Date.now();
    if (down !== undefined && began - down.at < downMs) throw down.problem;
    const first = await attempt(call, began + firstMs);
    if (first !== late) return first;
    if (!(await reachable())) throw isDown(noTemporal);
    if (workflowId !== undefined) {
      // The server would wait ten seconds for a dead worker before it gives the workflow to another.
      const forget = () => service.resetStickyTaskQueue({ namespace, execution: { workflowId } });
      await within(probeMs / 2, forget).catch(() => undefined);
    }
    const asked = Date.now();
    const second = await attempt(call, began + secondMs);
    if (second !== late) return second;
    if (!(await working(asked).catch(() => false))) throw isDown(noWorker);
    const last = await attempt(call, began + allMs);
    if (last === late) throw tooLate(key);
    return last;
  }

  /** Makes a call until its deadline, again and again while Temporal is away or turns it away. */
  async function attempt<T>(call: () => Promise<T>, deadline: number): Promise<T | typeof late> {
    for (;;) {
      try {
        const answer = await connection.withDeadline(deadline, call);
        down = undefined;
        return answer;
      } catch (error) {
        const kind = kindOf(error);
        if (kind === 'no_worker') throw isDown(noWorker);
        if (kind === 'other') throw problemOf(error);
        if (kind === 'late') return late;
        if (Date.now() + pauseMs > deadline) {
          if (kind === 'away') throw isDown(noTemporal);
          return late;
        }
        await delay(pauseMs);
      }
    }
  }

  let seen: { readonly at: number; readonly health: Promise<Health> } | undefined;
  async function probe(): Promise<Health> {
    try {
      const since = Date.now() - pollerMs;
      const live = (await pollers()).filter(({ at }) => at >= since);
      const workers = new Set(live.map(({ identity }) => identity)).size;
      if (workers === 0) return { ok: false, temporal: true, hint: noWorker };
      if (down !== undefined && Date.now() - down.at < downMs)
        return { ok: false, temporal: true, hint: down.problem.message };
      return { ok: true, workers };
    } catch (error) {
      const problem = kindOf(error) === 'other' ? problemOf(error) : undefined;
      const hint = problem instanceof Problem && problem.status === 503 ? problem.message : noTemporal;
      return { ok: false, temporal: false, hint };
    }
  }

  return {
    client,
    ask,
    soon: (call, ms) => within(ms, call),
    health: () => {
      if (seen === undefined || Date.now() - seen.at > probeMs) seen = { at: Date.now(), health: probe() };
      return seen.health;
    },
    close: () => connection.close(),
  };
}

const isTrue = () => true;
const isFalse = () => false;

type Kind = 'away' | 'late' | 'busy' | 'no_worker' | 'other';

/** gRPC status codes that matter here. */
const codes = {
  cancelled: 1,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
  permissionDenied: 7,
};

function kindOf(error: unknown): Kind {
  if (isGrpcDeadlineError(error)) return 'late';
  const grpc = grpcError(error);
  switch (grpc?.code) {
    case codes.unavailable:
    case codes.internal:
      return 'away';
    // The server drops calls of a workflow that it is moving to another worker.
    case codes.cancelled:
    case codes.resourceExhausted:
    case codes.aborted:
      return 'busy';
    case codes.failedPrecondition:
      return /no poller/i.test(grpc.details) ? 'no_worker' : 'other';
    default:
      return 'other';
  }
}

function grpcError(error: unknown): { readonly code: number; readonly details: string } | undefined {
  for (let one = error; one instanceof Error; one = one.cause) if (isGrpcServiceError(one)) return one;
  return undefined;
}

/** What a failure that repeating doesn't cure means to the client. Errors that are none of these pass unchanged. */
function problemOf(error: unknown): unknown {
  if (error instanceof Problem || error instanceof WorkflowNotFoundError || error instanceof QueryRejectedError)
    return error;
  if (error instanceof NamespaceNotFoundError) {
    return unavailable(`Temporal has no namespace ${error.namespace}. Create it, or check TEMPORAL_NAMESPACE.`);
  }
  if (error instanceof QueryNotRegisteredError)
    return unavailable('The workers run another version than this API. Start the same version everywhere.');
  if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
    const { type, message } = error.cause;
    return new Problem(409, message, { more: { reason: { code: type ?? 'refused', text: message } } });
  }
  const code = grpcError(error)?.code;
  if (code === codes.unauthenticated || code === codes.permissionDenied) {
    return unavailable(
      'Temporal refuses this installation’s credentials. Check TEMPORAL_API_KEY and TEMPORAL_TLS_ settings.',
    );
  }
  return error;
}

function tooLate(key: string | undefined): Problem {
  const repeat =
    key === undefined ? '' : ' It may still take effect: repeat it with this Idempotency-Key to get its answer.';
  return new Problem(504, `The system is busy and did not answer in time.${repeat}`, {
    headers: { 'Retry-After': '5', ...(key === undefined ? {} : { 'Idempotency-Key': key }) },
    ...(key === undefined ? {} : { more: { idempotencyKey: key } }),
  });
}
