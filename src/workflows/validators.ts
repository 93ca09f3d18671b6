import * as wf from '@temporalio/workflow';
import { nameOf } from './labels.ts';
import type { SetConnection, SetTable } from './messages.ts';
import { MAX_SELECTION_BYTES, type PipelineState, selectionBytes, setTable } from './state.ts';

/** Refuses a save that was made from an older revision. */
export function checkRevision(state: PipelineState, { side, revision }: SetConnection): void {
  if (state[side].revision !== revision)
    throw refusal('Conflict', 'The connection was saved by someone else meanwhile.');
}

/** Refuses a selection that would become larger than what travels in a payload. */
export function checkSelection(state: PipelineState, argument: SetTable): void {
  if (selectionBytes(setTable(state, argument, 0).tables) <= MAX_SELECTION_BYTES) return;
  throw refusal(
    'SelectionTooLarge',
    `With ${nameOf(argument.table)} the selection would exceed what a pipeline can hold: use a second pipeline.`,
  );
}

function refusal(type: string, message: string): wf.ApplicationFailure {
  return wf.ApplicationFailure.nonRetryable(message, type);
}
