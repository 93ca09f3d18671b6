import { QueryRejectedError, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import { type PipelineInput, pipelineId, queries, queues, updates, workflowTypes } from '../workflows/messages.ts';
import type { Asked, Pipelines } from './pipelines.ts';
import { Problem } from './problem.ts';
import { removePipeline } from './removal.ts';
import { shortWorkflow } from './short-workflow.ts';
import type { Link } from './temporal-link.ts';
import { openRunProgress, pastRun } from './temporal-runs.ts';

/** Argument of an update; the key is also the update's id, so that a repeated call finds the first one. */
type Update = { readonly idempotencyKey?: string; readonly [field: string]: unknown };

/** `Pipelines` on Temporal. `zone`: in which new pipelines reckon their schedules. */
export function temporalPipelines(link: Link, zone: string): Pipelines {
  const { client, ask } = link;

  /** Runs `call` on a pipeline; `default` is started when it isn't there. */
  async function onPipeline<T>(pipeline: string, call: () => Promise<T>, key?: string): Promise<T> {
    const about = { workflowId: pipelineId(pipeline), ...(key === undefined ? {} : { key }) };
    try {
      return await ask(call, about);
    } catch (error) {
      if (!isGone(error)) throw error;
      if (pipeline !== 'default') throw noPipeline(pipeline);
      await ask(() => startPipeline(link, pipeline, zone, 'USE_EXISTING'), about);
      return await ask(call, about).catch((again) => {
        throw isGone(again) ? new Problem(409, 'The pipeline is being removed. Try again in a moment.') : again;
      });
    }
  }
  function query<T>(pipeline: string, name: string, ...args: unknown[]): Promise<T> {
    return onPipeline(pipeline, () =>
      client.workflow.getHandle(pipelineId(pipeline)).query<T, unknown[]>(name, ...args),
    );
  }
  function update<R>({ pipeline, key }: Asked, name: string, argument: Update): Promise<R> {
    const updateId = argument.idempotencyKey;
    const options = { args: [argument] as [unknown], ...(updateId === undefined ? {} : { updateId }) };
    const call = () => client.workflow.getHandle(pipelineId(pipeline)).executeUpdate<R, [unknown]>(name, options);
    return onPipeline(pipeline, call, key);
  }

  return {
    health: link.health,
    list: () =>
      ask(async () => {
        const names: string[] = [];
        const running = client.workflow.list({
          query: `WorkflowType = '${workflowTypes.pipeline}' AND ExecutionStatus = 'Running'`,
        });
        for await (const { workflowId } of running) names.push(workflowId.slice(pipelineId('').length));
        return names.sort();
      }, {}),
    create: (name, idempotencyKey) =>
      ask(async () => {
        try {
          await startPipeline(link, name, zone, 'FAIL', { idempotencyKey });
        } catch (error) {
          if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
          const { memo } = await client.workflow.getHandle(pipelineId(name)).describe();
          if (memo?.['idempotencyKey'] !== idempotencyKey) {
            throw new Problem(409, `There is a pipeline ${name} already.`, {
              errors: [{ field: 'name', message: 'is taken' }],
            });
          }
        }
      }, {}),
    remove: (name, idempotencyKey) => removePipeline(link, name, idempotencyKey, () => noPipeline(name)),

    config: (pipeline) => query(pipeline, queries.config),
    overview: (pipeline) => query(pipeline, queries.overview),
    selection: (pipeline) => query(pipeline, queries.selection),
    runs: (pipeline) => query(pipeline, queries.runs),
    events: (pipeline, since) => query(pipeline, queries.events, { since }),
    pastRun: (pipeline, run) => pastRun(link, pipeline, run),
    progress: (pipeline, run) => openRunProgress(link, pipeline, run),

    setConnection: async (asked, change) => {
      try {
        await update(asked, updates.setConnection, change);
        return true;
      } catch (error) {
        if (error instanceof Problem && (error.more['reason'] as { code?: string } | undefined)?.code === 'Conflict')
          return false;
        throw error;
      }
    },
    noteConnection: (pipeline, note) => update({ pipeline, key: '' }, updates.noteConnection, note),
    setLicence: (asked, change) => update(asked, updates.setLicence, change),
    setSchedule: (asked, change) => update(asked, updates.setSchedule, change),
    setScheduler: (asked, change) => update(asked, updates.setScheduler, change),
    setTable: (asked, change) => update(asked, updates.setTable, change),
    request: (asked, operation) => update(asked, updates.request, operation),
    actOnTable: (asked, action) => update(asked, updates.tableAction, action),
    cancel: (asked, cancel) => update(asked, updates.cancel, cancel),

    test: async (pipeline, input) => {
      try {
        return await shortWorkflow(link, pipeline, workflowTypes.connectionTest, input);
      } catch (error) {
        // A server that swallows packets: the documented answer is a message, not an HTTP error.
        if (error instanceof Problem && (error.status === 502 || error.status === 504)) {
          return { ok: false, messages: [{ topic: null, message: error.message }] };
        }
        throw error;
      }
    },
    rollbackPoints: (pipeline, input) => shortWorkflow(link, pipeline, workflowTypes.rollbackPoints, input),
    catalog: (pipeline, input) => shortWorkflow(link, pipeline, workflowTypes.catalog, input),
    report: (pipeline, input) => shortWorkflow(link, pipeline, workflowTypes.report, input),
  };
}

function isGone(error: unknown): boolean {
  return error instanceof WorkflowNotFoundError || error instanceof QueryRejectedError;
}

function noPipeline(name: string): Problem {
  return new Problem(404, `There is no pipeline ${name}.`, {
    errors: [{ field: 'pipeline', message: 'is not known' }],
  });
}

async function startPipeline(
  { client }: Link,
  name: string,
  zone: string,
  whenRunning: 'FAIL' | 'USE_EXISTING',
  memo: Record<string, unknown> = {},
): Promise<void> {
  const input: PipelineInput = { name, zone };
  await client.workflow.start(workflowTypes.pipeline, {
    workflowId: pipelineId(name),
    workflowIdConflictPolicy: whenRunning,
    taskQueue: queues.ingest,
    args: [input],
    memo,
    staticSummary: `Pipeline ${name}`,
  });
}
