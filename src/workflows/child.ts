import * as wf from '@temporalio/workflow';
import { label } from './labels.ts';
import type { Run, RunError } from './messages.ts';

/** A child workflow that a pipeline has open. */
export type OpenChild = {
  readonly run: Run;
  readonly scope: wf.CancellationScope;
  handle?: wf.ChildWorkflowHandle<wf.Workflow>;
  /** Signals that it has been sent. */
  readonly told: Set<string>;
};

/** What is known of a child that ended without a result. */
export type Lost = { readonly state: 'cancelled' | 'failed'; readonly error: RunError | null };

export function newChild(run: Run): OpenChild {
  return { run, scope: new wf.CancellationScope(), told: new Set() };
}

/** Starts a child in the run's name and awaits its end. */
export async function runChild<R>(
  open: OpenChild,
  type: string,
  workflowId: string,
  argument: unknown,
  about: string,
): Promise<R | Lost> {
  try {
    return await open.scope.run(async () => {
      open.handle = await wf.startChild(type, {
        workflowId,
        args: [argument],
        parentClosePolicy: wf.ParentClosePolicy.REQUEST_CANCEL,
        staticSummary: `${label(open.run.operation)} of ${about}`,
      });
      return (await open.handle.result()) as R;
    });
  } catch (error) {
    // Anything but a failed or cancelled child is a bug: it fails the task, which a corrected worker repeats.
    if (!(error instanceof wf.TemporalFailure)) throw error;
    if (wf.isCancellation(error)) return { state: 'cancelled', error: null };
    const message = 'The run ended without a result.';
    return {
      state: 'failed',
      error: { class: 'ChildFailed', message, action: 'See its workflow in the Temporal Web UI.' },
    };
  }
}

/** Signals a child once. One that has ended meanwhile needs no telling. */
export async function tellChild({ told, handle }: OpenChild, name: string): Promise<void> {
  told.add(name);
  try {
    await handle?.signal(name);
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
  }
}
