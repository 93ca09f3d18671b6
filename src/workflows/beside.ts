/** Runs that take the load lane and load nothing: what their children are asked, and what their ends mean. */
import type { ResumeResult, RollbackResult, ValidateResult } from './children.ts';
import type { Run } from './messages.ts';
import { endResume, resumeInput } from './resumed.ts';
import { endRollback, rollbackInput } from './set-back.ts';
import type { PipelineState } from './state.ts';
import { endValidate, validateInput } from './validation.ts';

type Result = RollbackResult | ValidateResult | ResumeResult;
type Beside = {
  /** Workflow type of the child. */
  readonly type: 'rollback' | 'validate' | 'resume';
  readonly argument: unknown;
  readonly about: string;
  /** Takes in how the child ended; one that ended without a result tells state and error only. */
  readonly end: (state: PipelineState, run: Run, result: Pick<Result, 'state' | 'error'>, now: number) => PipelineState;
};

export function isLoad({ operation, resume }: Run): boolean {
  return operation === 'full' || (operation === 'syncnew' && !resume);
}

/** What becomes of a run that has begun; null: it is a load. */
export function beside(state: PipelineState, run: Run): Beside | null {
  if (run.operation === 'rollback') {
    const end: Beside['end'] = (now, ended, result, at) =>
      endRollback(now, ended, { position: null, ...result } as RollbackResult, at);
    return { type: 'rollback', argument: rollbackInput(state, run), about: 'the stream', end };
  }
  if (run.operation === 'validate') {
    const argument = validateInput(state, run);
    return { type: 'validate', argument, about: `${argument.tables.length} tables`, end: endValidate };
  }
  if (!run.resume) return null;
  const argument = resumeInput(state, run);
  const about = `${argument.tables.length} paused tables`;
  return {
    type: 'resume',
    argument,
    about,
    end: (now, ended, result, at) => endResume(now, ended, argument, result, at),
  };
}
