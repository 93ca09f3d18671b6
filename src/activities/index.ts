import { captureActivities } from './capture.ts';
import { catalogActivities } from './catalog.ts';
import type { Connections } from './connections.ts';
import { extractActivities } from './extract.ts';
import { planActivities } from './plan.ts';
import { promoteActivities } from './promote.ts';
import { resumptionActivities } from './resumption.ts';
import { pointActivities, rollbackActivities } from './rollback.ts';
import { validateActivities } from './validate.ts';

/** Quick activities of the queue `ingest`: at most a minute each. */
export function createQuickActivities(connections: Connections) {
  return { ...catalogActivities(connections), ...pointActivities(connections) };
}

/** Bulk activities of the queue `ingest-bulk`: heartbeating, resumable, hours if need be. */
export function createBulkActivities(connections: Connections) {
  return {
    ...planActivities(connections),
    ...extractActivities(connections),
    ...promoteActivities(connections),
    ...resumptionActivities(connections),
    ...rollbackActivities(connections),
    ...validateActivities(connections),
  };
}

/** Capture activities of the queue `ingest-stream`: hundreds at a time, mostly waiting for the source. */
export function createStreamActivities(connections: Connections) {
  return captureActivities(connections);
}

export type QuickActivities = ReturnType<typeof createQuickActivities>;
export type BulkActivities = ReturnType<typeof createBulkActivities>;
export type StreamActivities = ReturnType<typeof createStreamActivities>;
