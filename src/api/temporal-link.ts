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

/** Towards one Temporal namespace: calls with deadlines, and what their failures mean to a client of the API. */
export type Link = {
  readonly client: Client;
  /**
   * Makes a call within time: an unreachable Temporal or absent worker is 503 within 5 s, a busy system gets 10 s, then 504 with `key`.
   * The call may be made more than once and must be safe to repeat. `about`: the workflow it waits for.
   */
  ask<T>(
    call: () => Promise<T>,
    about: { readonly workflowId?: string; readonly key?: string; readonly withinMs?: number },
  ): Promise<T>;
  /** True if some worker has taken work since then. */
  working(since: number, workflowId?: string): Promise<boolean>;
  health(): Promise<Health>;
  close(): Promise<void>;
};

const firstMs = 3_500;
const allMs = 10_000;
const probeMs = 1_000;
/** For so long a failed call answers for those that follow. */
const downMs = 1_500;
/** Pollers renew themselves every minute. */
const pollerMs = 70_000;

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
  const client = new Client({ connection, namespace, workflow: { queryRejectCondition: 'NOT_OPEN' } });
  let down: { readonly at: number; readonly problem: Problem } | undefined;

  function isDown(hint: string): Problem {
    const problem = unavailable(hint);
    down = { at: Date.now(), problem };
    return problem;
  }

  async function lastPoll(queue: string): Promise<number> {
    const { pollers } = await connection.withDeadline(Date.now() + probeMs, () =>
      connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType: 1 }),
    );
    return Math.max(0, ...(pollers ?? []).map(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1000));
  }

  /** The queue of the worker that holds a workflow in memory: its work doesn't pass the common queue. */
  async function stickyQueue(workflowId: string): Promise<string | undefined> {
    const { history } = await connection.withDeadline(Date.now() + probeMs, () =>
      connection.workflowService.getWorkflowExecutionHistoryReverse({
        namespace,
        execution: { workflowId },
        maximumPageSize: 20,
      }),
    );
    const scheduled = history?.events?.find((event) => event.workflowTaskScheduledEventAttributes);
    return scheduled?.workflowTaskScheduledEventAttributes?.taskQueue?.name ?? undefined;
  }

  async function working(since: number, workflowId?: string): Promise<boolean> {
    // Times of the server have whole seconds here, and its clock may differ a little.
    const fresh = since - 2_000;
    if ((await lastPoll(queues.ingest)) >= fresh) return true;
    const sticky = workflowId === undefined ? undefined : await stickyQueue(workflowId).catch(() => undefined);
    return sticky !== undefined && (await lastPoll(sticky)) >= fresh;
  }

  async function ask<T>(call: () => Promise<T>, about: Parameters<Link['ask']>[1]): Promise<T> {
    const began = Date.now();
    const limit = about.withinMs ?? allMs;
    if (down !== undefined && began - down.at < downMs) throw down.problem;
    for (let deadline = began + Math.min(firstMs, limit); ; ) {
      try {
        const answer = await connection.withDeadline(deadline, call);
        down = undefined;
        return answer;
      } catch (error) {
        const kind = kindOf(error);
        const spent = Date.now() - began;
        if (kind === 'no_worker') throw isDown(noWorker);
        if (kind === 'away' && spent >= Math.min(firstMs, limit) - 300) throw isDown(noTemporal);
        if (kind === 'late' && !(await working(began, about.workflowId).catch(() => false)))
          throw isDown(await whatIsAway());
        if (kind === 'other') throw problemOf(error);
        if (kind !== 'away' && spent >= limit - 200) throw tooLate(about.key);
        if (kind !== 'away') deadline = began + limit;
        await new Promise((resolve) => setTimeout(resolve, kind === 'late' ? 0 : 200));
      }
    }
  }

  async function whatIsAway(): Promise<string> {
    const reachable = await connection
      .withDeadline(Date.now() + 500, () => connection.workflowService.getSystemInfo({}))
      .then(
        () => true,
        () => false,
      );
    return reachable ? noWorker : noTemporal;
  }

  let seen: { readonly at: number; readonly health: Promise<Health> } | undefined;
  async function probe(): Promise<Health> {
    try {
      const { pollers } = await connection.withDeadline(Date.now() + 2 * probeMs, () =>
        connection.workflowService.describeTaskQueue({
          namespace,
          taskQueue: { name: queues.ingest },
          taskQueueType: 1,
        }),
      );
      const since = (Date.now() - pollerMs) / 1000;
      const live = (pollers ?? []).filter(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) >= since);
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
    working,
    health: () => {
      if (seen === undefined || Date.now() - seen.at > probeMs) seen = { at: Date.now(), health: probe() };
      return seen.health;
    },
    close: () => connection.close(),
  };
}

type Kind = 'away' | 'late' | 'busy' | 'no_worker' | 'other';

/** gRPC status codes that matter here. */
const codes = {
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
