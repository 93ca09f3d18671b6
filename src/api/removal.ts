import { WorkflowNotFoundError } from '@temporalio/client';
import {
  type PipelineConfig,
  pipelineId,
  queries,
  type RemovalAnswer,
  type RemovalInput,
  updates,
} from '../workflows/messages.ts';
import { Problem } from './problem.ts';
import { shortWorkflow } from './short-workflow.ts';
import type { Link } from './temporal-link.ts';

const closeMs = 60_000;

/**
 * Ends a pipeline's workflow, then drops what it made at both ends. Repeating it after a crash in between goes on where it stood,
 * because the closed workflow still tells its configuration and the removal has an id of its own per workflow run.
 */
export async function removePipeline(
  link: Link,
  name: string,
  key: string,
  gone: () => Problem,
): Promise<RemovalAnswer> {
  const { client, ask } = link;
  const about = { workflowId: pipelineId(name), key };
  const handle = client.workflow.getHandle(pipelineId(name));
  const described = await ask(() => handle.describe(), about).catch((error) => {
    throw error instanceof WorkflowNotFoundError ? gone() : error;
  });
  const { runId } = described;
  const removalId = `${pipelineId(name)}/removal/${described.raw.workflowExecutionInfo?.firstRunId || runId}`;
  if (described.status.name !== 'RUNNING' && (await removedBefore(link, removalId))) throw gone();
  const own = client.workflow.getHandle(pipelineId(name), described.status.name === 'RUNNING' ? undefined : runId);
  const input = await ask(() => removalInput(link, name, own), about);
  if (described.status.name === 'RUNNING') {
    await ask(
      () => own.executeUpdate<null, [unknown]>(updates.remove, { args: [{ idempotencyKey: key }], updateId: key }),
      about,
    );
    await closed(link, name);
  }
  const id = removalId.slice(`${pipelineId(name)}/removal/`.length);
  return await shortWorkflow(link, name, 'removal', input, id);
}

async function removedBefore({ client, ask }: Link, workflowId: string): Promise<boolean> {
  try {
    return (await ask(() => client.workflow.getHandle(workflowId).describe(), {})).status.name === 'COMPLETED';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

type Handle = ReturnType<Link['client']['workflow']['getHandle']>;

async function removalInput(
  { client }: Link,
  pipeline: string,
  { workflowId, runId }: Handle & { runId?: string },
): Promise<RemovalInput> {
  // The client refuses queries of closed workflows; this one is meant.
  const ask = async <T>(queryType: string): Promise<T> => {
    const { queryResult } = await client.workflowService.queryWorkflow({
      namespace: client.options.namespace,
      execution: { workflowId, ...(runId === undefined ? {} : { runId }) },
      query: { queryType },
    });
    const [payload] = queryResult?.payloads ?? [];
    if (!payload) throw new Problem(503, 'The pipeline does not tell its configuration.');
    return client.options.loadedDataConverter.payloadConverter.fromPayload<T>(payload);
  };
  const [config, databases] = await Promise.all([
    ask<PipelineConfig>(queries.config),
    ask<readonly string[]>(queries.databases),
  ]);
  return { pipeline, source: config.source.params, destination: config.destination.params, databases };
}

/** A running child is cancelled first and may need a moment to let go. */
async function closed({ client, ask }: Link, name: string): Promise<void> {
  for (const began = Date.now(); ; ) {
    const { status } = await ask(() => client.workflow.getHandle(pipelineId(name)).describe(), {});
    if (status.name !== 'RUNNING' && status.name !== 'CONTINUED_AS_NEW') return;
    if (Date.now() - began > closeMs)
      throw new Problem(504, `The pipeline ${name} is still stopping its run. Repeat the request.`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
