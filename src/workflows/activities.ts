import * as wf from '@temporalio/workflow';
import type { BulkActivities, QuickActivities, StreamActivities } from '../activities/index.ts';
import { queues } from './messages.ts';

/** Errors that trying again does not cure: the classes of `drivers/errors.ts`. */
const nonRetryableErrorTypes = [
  'AccessDenied',
  'PositionLost',
  'StructureChanged',
  'UnsupportedValue',
  'DestinationRejected',
  'Superseded',
  'Misconfigured',
];

/** What an operator waits for: a few tries, then the answer says what is wrong. */
export const quick = wf.proxyActivities<QuickActivities>({
  taskQueue: queues.ingest,
  startToCloseTimeout: '1 minute',
  scheduleToCloseTimeout: '2 minutes',
  retry: { initialInterval: '500ms', maximumInterval: '5s', maximumAttempts: 3, nonRetryableErrorTypes },
});

/**
 * Loads: as many attempts as it takes, because finished chunks are not read again. Waiting for the cancellation to complete keeps a
 * cancelled run from being cleaned up while its loads still write.
 */
export const bulk = wf.proxyActivities<BulkActivities>({
  taskQueue: queues.bulk,
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '30s',
  cancellationType: wf.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s', nonRetryableErrorTypes },
});

/** Capture: goes on from its checkpoint, however often it is tried. A cancelled one writes what it has and answers. */
export const stream = wf.proxyActivities<StreamActivities>({
  taskQueue: queues.stream,
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '30s',
  cancellationType: wf.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s', nonRetryableErrorTypes },
});

/** Cleaning up after a run that ended: tried for a while; what stays is removed by the next run. */
export const cleanup = wf.proxyActivities<BulkActivities>({
  taskQueue: queues.bulk,
  startToCloseTimeout: '1 hour',
  scheduleToCloseTimeout: '1 hour',
  heartbeatTimeout: '30s',
  cancellationType: wf.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s', nonRetryableErrorTypes },
});
