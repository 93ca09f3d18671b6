/** For so long after its signal a reader of the log reads rows again. */
export const REREAD_GRACE_MS = 10_000;

/** Aborts with the same reason, so long after `first` has. */
export function after(first: AbortSignal, ms: number): AbortSignal {
  const later = new AbortController();
  const start = (): void => void setTimeout(() => later.abort(first.reason), ms).unref();
  if (first.aborted) start();
  else first.addEventListener('abort', start, { once: true });
  return later.signal;
}
