import * as wf from '@temporalio/workflow';
import type { FailureDetails } from '../activities/failure.ts';
import { type NoteEvents, signals } from './children.ts';
import type { RunError } from './messages.ts';

/** Something that the pipeline's log should say of a run. */
export type Notice = {
  readonly message: string;
  readonly code: string;
  readonly table: string | null;
  readonly failed?: boolean;
};

/** Events for the pipeline's log; at most a hundred at a time, the rest is in the tables' records. */
export function notice(run: number, notices: readonly Notice[]): void {
  void noticed(run, notices);
}

/** The same; done when the pipeline has them. What a workflow says in its last moment is lost otherwise. */
export async function noticed(run: number, notices: readonly Notice[]): Promise<void> {
  if (notices.length === 0) return;
  const note: NoteEvents = {
    run,
    events: notices.slice(0, 100).map(({ message, code, table, failed: bad }) => ({
      level: bad ? ('error' as const) : ('warning' as const),
      group: bad ? ('Errors' as const) : ('Source' as const),
      code,
      message: message.slice(0, 500),
      table,
    })),
  };
  await tell(signals.noteEvents, note);
}

/** Tells the parent pipeline; a parent that is gone is no reason to stop. */
export async function tell(signal: string, argument: unknown): Promise<void> {
  const parent = wf.workflowInfo().parent;
  if (!parent) return;
  try {
    await wf.getExternalWorkflowHandle(parent.workflowId).signal(signal, argument);
  } catch (error) {
    if (!(error instanceof wf.TemporalFailure)) throw error;
  }
}

/** How a run's failure is shown. */
export function runError(error: wf.TemporalFailure): RunError {
  const cause =
    error instanceof wf.ActivityFailure && error.cause instanceof wf.ApplicationFailure ? error.cause : error;
  const details =
    cause instanceof wf.ApplicationFailure ? (cause.details?.[0] as Partial<FailureDetails> | undefined) : undefined;
  const type = cause instanceof wf.ApplicationFailure ? (cause.type ?? 'Error') : cause.name;
  return { class: type, message: cause.message, action: details?.action ?? '', side: details?.side ?? null };
}
