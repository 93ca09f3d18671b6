import type { Card } from './deck.ts';
import type { Phase, Seen } from './phases.ts';

/** One blow, with what was known of the run when it fell. */
export type Blow = {
  readonly victim: string;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  readonly at: string;
  /** What `GET status` had answered last, and how long before the blow it was asked. */
  readonly seen: (Omit<Seen, 'at'> & { readonly ageMs: number }) | null;
  /** By the run's history. */
  readonly phase: Phase;
  /** The victim held an activity of the run. */
  readonly busy: boolean;
  /** From the blow to the order to start again (or to go on). */
  readonly downMs: number;
  /** The run ended after the blow. */
  readonly midRun: boolean;
};

export type RoundRecord = {
  readonly card: Card;
  readonly mode: string;
  /** Versions of source and destination. */
  readonly servers: readonly string[];
  readonly attempt: number;
  readonly pipeline: string;
  readonly run: number;
  /** The run replaced copies of an earlier one. */
  readonly repeated: boolean;
  readonly blows: readonly Blow[];
  readonly outcome: string;
  readonly cancel: 'cancelled' | 'refused' | 'too late' | null;
  readonly settings: { readonly acknowledged: number; readonly unanswered: number } | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  /** From the last blow to the end of the run, down time included. */
  readonly recoveryMs: number;
  /** Attempts of activities beyond the first. */
  readonly retries: number;
  /** Rows compared. */
  readonly rows: number;
  readonly differences: number;
  readonly problems: readonly string[];
  /** All blows landed while the run was under way. */
  readonly counted: boolean;
};
