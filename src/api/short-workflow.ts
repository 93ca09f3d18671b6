import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isGrpcDeadlineError, WorkflowFailedError } from '@temporalio/client';
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/common';
import type { PointsAnswer, PointsInput } from '../activities/rollback.ts';
import {
  type CatalogAnswer,
  type CatalogInput,
  pipelineId,
  queues,
  type RemovalAnswer,
  type RemovalInput,
  type ReportAnswer,
  type ReportInput,
  type TestInput,
  type TestResult,
  workflowTypes,
} from '../workflows/messages.ts';
import { unavailable } from './health.ts';
import { Problem } from './problem.ts';
import type { Link } from './temporal-link.ts';

/** Workflows that the API starts and awaits. */
export type ShortWorkflows = {
  connectionTest: [TestInput, TestResult];
  catalog: [CatalogInput, CatalogAnswer];
  report: [ReportInput, ReportAnswer];
  removal: [RemovalInput, RemovalAnswer];
  rollbackPoints: [PointsInput, PointsAnswer];
};
type Name = keyof ShortWorkflows;

const words = {
  connectionTest: 'Connection test',
  catalog: 'Listing',
  report: 'Report',
  removal: 'Removal',
  rollbackPoints: 'Rollback points',
} as const;
const atFault = {
  connectionTest: 'database',
  catalog: 'source',
  report: 'destination',
  removal: 'pipeline',
  rollbackPoints: 'source or destination',
} as const;
const patienceMs = 60_000;
/** After so long without an answer it matters whether a worker is there at all. */
const doubtMs = 3_500;

/**
 * Runs a short workflow. Its failure is 502 with the message that the driver wrote for users; no worker is 503; no answer in a minute
 * is 504 and cancels it. A given `id` is used once: a second call awaits the first one's result.
 */
export async function shortWorkflow<N extends Name>(
  link: Link,
  pipeline: string,
  name: N,
  input: ShortWorkflows[N][0],
  id: string = randomUUID(),
): Promise<ShortWorkflows[N][1]> {
  const workflowId = `${pipelineId(pipeline)}/${name}/${id}`;
  const began = Date.now();
  const handle = await link.ask(
    () =>
      link.client.workflow.start(workflowTypes[name], {
        workflowId,
        workflowIdConflictPolicy: 'USE_EXISTING',
        taskQueue: queues.ingest,
        args: [input],
        workflowExecutionTimeout: '5 minutes',
        staticSummary: `${words[name]} for ${pipeline}`,
      }),
    { workflowId },
  );
  const result = link.client.connection.withDeadline(began + patienceMs, () => handle.result()) as Promise<
    ShortWorkflows[N][1]
  >;
  const giveUp = () => handle.cancel().catch(() => undefined);
  try {
    return await Promise.race([result, taken(link, handle, result)]);
  } catch (error) {
    result.catch(() => undefined);
    if (error instanceof Problem) {
      await giveUp();
      throw error;
    }
    if (error instanceof WorkflowFailedError) throw failure(name, error);
    await giveUp();
    if (isGrpcDeadlineError(error)) {
      throw new Problem(504, `The ${atFault[name]} did not answer within ${patienceMs / 1000} seconds.`, {
        headers: { 'Retry-After': '5' },
      });
    }
    throw unavailable('Temporal went away while it worked on this request. Send it again.');
  }
}

/** Rejects when no worker has taken the workflow after a while; otherwise leaves the result to the other promise. */
async function taken(
  link: Link,
  handle: { describe(): Promise<{ historyLength: number }> },
  result: Promise<unknown>,
): Promise<never> {
  const doubt = new AbortController();
  const ended = result.then(isTrue, isTrue);
  const open = !(await Promise.race([ended, delay(doubtMs, false, { signal: doubt.signal }).catch(() => true)]));
  doubt.abort();
  if (open) {
    const described = await link.soon(() => handle.describe(), 1_000).catch(() => undefined);
    // Two events: started, first task scheduled. A worker that takes the task adds the third.
    if (described !== undefined && described.historyLength <= 2) {
      throw unavailable('No worker takes work. Start one (flow-ingest worker), or look at its log.');
    }
  }
  return new Promise<never>(() => undefined);
}

function isTrue(): boolean {
  return true;
}

function failure(name: Name, error: WorkflowFailedError): Problem {
  const inner = error.cause instanceof ActivityFailure ? error.cause.cause : error.cause;
  if (inner instanceof ApplicationFailure) {
    // What passes is tried again in runs, not for a request.
    const action = inner.nonRetryable ? (inner.details?.[0] as { action?: string } | undefined)?.action : undefined;
    const said = [inner.message, action].filter((text) => text !== undefined && text !== '').join(' ');
    return new Problem(502, said, { more: { reason: { code: inner.type ?? 'failed', text: inner.message } } });
  }
  if (inner instanceof TimeoutFailure) return new Problem(504, `The ${atFault[name]} did not answer in time.`);
  return new Problem(502, `The ${atFault[name]} could not be reached.`);
}
