import { WorkflowNotFoundError } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { Operation, Run, RunState } from '../workflows/messages.ts';
import { queries, runWorkflowId } from '../workflows/messages.ts';
import type { LoadHeartbeat, Progress, StreamHeartbeat } from '../workflows/progress.ts';
import { sightOf } from '../workflows/sight.ts';
import type { Link } from './temporal-link.ts';

const operations: readonly Operation[] = ['full', 'syncnew', 'syncstruct', 'delta', 'rollback', 'validate'];
const withinMs = 2_000;

/** What an open run's workflow knows, plus what its activities have in flight: chunks count only when they are committed. */
export async function openRunProgress({ client, soon }: Link, pipeline: string, run: Run): Promise<Progress | null> {
  const workflowId = runWorkflowId(pipeline, run.operation, run.id);
  const handle = client.workflow.getHandle(workflowId);
  const [progress, described] = await Promise.all([
    soon(() => handle.query<Progress>(queries.progress), withinMs),
    soon(() => handle.describe(), withinMs),
  ]);
  const beats = (described.raw.pendingActivities ?? []).flatMap(({ heartbeatDetails }) => {
    const [payload] = heartbeatDetails?.payloads ?? [];
    const beat = payload
      ? defaultPayloadConverter.fromPayload<Partial<LoadHeartbeat & StreamHeartbeat> | null>(payload)
      : null;
    return beat ? [beat] : [];
  });
  const loads = beats.filter(
    (beat): beat is LoadHeartbeat => beat.table !== undefined && typeof beat.rows === 'number',
  );
  const [stream] = beats.flatMap((beat) => (beat.stream ? [beat.stream] : []));
  return addStream(addInFlight(progress, loads), stream);
}

/** Progress with what the open slice has applied. */
export function addStream(progress: Progress, slice: StreamHeartbeat['stream'] | undefined): Progress {
  if (!slice) return progress;
  const before = progress.stream ?? {
    rows: { inserted: 0, updated: 0, deleted: 0, parked: 0 },
    position: null,
    at: null,
  };
  const { rows, position, at, completeAt, behindBytes, logHoursLeft } = slice;
  const stream = {
    rows: {
      inserted: before.rows.inserted + rows.inserted,
      updated: before.rows.updated + rows.updated,
      deleted: before.rows.deleted + rows.deleted,
      parked: before.rows.parked + rows.parked,
    },
    position,
    at: at ?? before.at,
    completeAt: completeAt ?? before.completeAt ?? null,
    behindBytes,
    logHoursLeft,
    ...sightOf({ ...before, ...sightOf(slice) }),
  };
  return { ...progress, stream };
}

/** Progress with uncommitted rows added, per table and in all. */
export function addInFlight(progress: Progress, inFlight: readonly LoadHeartbeat[]): Progress {
  const rows = sum(inFlight.map((beat) => beat.rows));
  const bytes = sum(inFlight.map((beat) => beat.bytes));
  const tables = progress.tables.map((table) => {
    const own = inFlight.filter((beat) => beat.table.schema === table.schema && beat.table.name === table.name);
    return own.length === 0 ? table : { ...table, rows: table.rows + sum(own.map((beat) => beat.rows)) };
  });
  return { ...progress, rows: progress.rows + rows, bytes: progress.bytes + bytes, tables };
}

/** A run that its pipeline has forgotten, as far as Temporal still has its workflow; rows are in the destination's records. */
export async function pastRun({ client, ask }: Link, pipeline: string, id: number): Promise<Run | null> {
  for (const operation of operations) {
    const workflowId = runWorkflowId(pipeline, operation, id);
    try {
      const found = await ask(() => client.workflow.getHandle(workflowId).describe(), { workflowId });
      const rows = { loaded: 0, inserted: 0, updated: 0, deleted: 0, parked: 0 };
      const startedAt = found.startTime.toISOString();
      const endedAt = found.closeTime?.toISOString() ?? null;
      return {
        id,
        operation,
        state: stateOf(found.status.name),
        requestedAt: startedAt,
        startedAt,
        endedAt,
        rows,
        error: null,
      };
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }
  return null;
}

function stateOf(status: string): RunState {
  if (status === 'COMPLETED') return 'succeeded';
  if (status === 'CANCELLED') return 'cancelled';
  return status === 'RUNNING' || status === 'CONTINUED_AS_NEW' ? 'running' : 'failed';
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
