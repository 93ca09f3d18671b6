import type { Row, State, TableFold } from './fold.ts';

/** The states that a row went through in a batch, of tables that keep versions. Pure. */

/** Where in a batch something happened: the transaction, counted from 0, and the change, counted on through all of them. */
export type Moment = { readonly transaction: number; readonly event: number };
/** From a moment on a key had this state. `reread`: it is not known what, unless it is the last. */
export type Step = Moment & { state: State };
export type Trail = {
  readonly steps: Map<string, Step[]>;
  /** When the table was emptied first: all rows of before the batch end there. */
  emptied: Moment | null;
};

/** A trail without steps. */
export function newTrail(): Trail {
  return { steps: new Map(), emptied: null };
}

/** Takes down what has become of a key. Beyond `most` steps of a key the last one is written over. */
export function noteState(fold: TableFold, key: string, moment: Moment, most: number): void {
  if (fold.trail === null) return;
  const state = fold.states.get(key) ?? 'gone';
  const steps = fold.trail.steps.get(key);
  if (steps === undefined) fold.trail.steps.set(key, [{ ...moment, state }]);
  else add(steps, { ...moment, state }, most);
}

/** Takes down that the table was emptied. */
export function noteEmptied({ trail }: TableFold, moment: Moment, most: number): void {
  if (trail === null) return;
  for (const steps of trail.steps.values()) add(steps, { ...moment, state: 'gone' }, most);
  trail.emptied ??= moment;
}

/** Nothing of a key is written. */
export function forgetSteps({ trail }: TableFold, key: string): void {
  for (const step of trail?.steps.get(key) ?? []) step.state = 'gone';
}

/** A version: a row, and what ended it in the same batch; null: it is current. */
export type Version = { readonly key: string; readonly row: Row; readonly step: Step; readonly end: Moment | null };

/** The versions of a trail whose rows are whole, or of which some columns are known. */
export function* versionsOf({ steps }: Trail, whole: boolean): Generator<Version> {
  for (const [key, list] of steps)
    for (let i = 0; i < list.length; i++) {
      const step = list[i] as Step;
      const { state } = step;
      if (typeof state !== 'object' || (state.missing === null) !== whole) continue;
      yield { key, row: state, step, end: list[i + 1] ?? null };
    }
}

/** Keys of which rows of before the batch end with their first step; the others ended when the table was emptied. */
export function* endsOf({ steps, emptied }: Trail): Generator<{ readonly key: string; readonly step: Moment }> {
  for (const [key, [step]] of steps) if (step && (emptied === null || step.event < emptied.event)) yield { key, step };
}

function add(steps: Step[], step: Step, most: number): void {
  const last = steps.at(-1);
  if (typeof step.state === 'string' && step.state === last?.state) return;
  if (steps.length < most) steps.push(step);
  else steps[steps.length - 1] = step;
}
