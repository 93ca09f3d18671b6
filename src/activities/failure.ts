import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { isPermanent } from '../drivers/errors.ts';
import type { Side } from '../workflows/messages.ts';

/** What a failure tells the workflow besides its type and message. Stored in history. */
export type FailureDetails = { readonly action: string; readonly side: Side | null };

const sideOf = new WeakMap<object, Side>();

/** Remembers at which end an error arose, so that the message can say so; returns the same error. */
export function arisenAt<E>(side: Side, error: E): E {
  if (typeof error === 'object' && error !== null && !sideOf.has(error)) sideOf.set(error, side);
  return error;
}

/**
 * Turns whatever a driver threw into the failure that enters the history: type, message without secrets, no stack, no cause (both
 * would be stored in clear: toolchain.md §7). Permanent classes don't retry, everything else does.
 */
export function toFailure(error: unknown, secrets: readonly string[]): Error {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  if (Context.current().cancellationSignal.aborted) return new CancelledFailure('cancelled');
  const side = (typeof error === 'object' && error !== null && sideOf.get(error)) || null;
  const message = redact(error instanceof Error ? error.message || error.name : String(error), secrets);
  const details: FailureDetails = {
    action: isPermanent(error) ? redact(error.action, secrets) : 'Nothing to do: it is tried again.',
    side,
  };
  const failure = ApplicationFailure.create({
    message: message.slice(0, 2000),
    type: isPermanent(error) ? error.name : 'Transient',
    nonRetryable: isPermanent(error),
    details: [details],
  });
  failure.stack = '';
  return failure;
}

/** Replaces every secret value that a server might have echoed. Values shorter than three characters would only garble the text. */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) if (secret.length > 2) clean = clean.replaceAll(secret, '***');
  return clean;
}
