import type { LogFields } from './log.ts';

/** What the Temporal SDK adds to a line and nobody needs there: a task's token even lets its bearer answer it. */
const LEFT_OUT = new Set(['taskToken', 'isLocal', 'namespace']);

/**
 * The fields of a line of a worker: `pipeline` and `run`, read off the workflow's id (`pipeline/<name>/<operation>/<run>`), and `group`, one of the
 * original product's four. A line names its own, or is an error, or belongs to the rest.
 */
export function workerFields(level: string, meta: Readonly<Record<string, unknown>> = {}): LogFields {
  const [kind, pipeline, , run] = String(meta['workflowId'] ?? '').split('/');
  const group = level === 'ERROR' || meta['error'] !== undefined ? 'Errors' : 'Others';
  return {
    ...(kind === 'pipeline' && pipeline ? { pipeline } : {}),
    ...(kind === 'pipeline' && /^\d+$/.test(run ?? '') ? { run: Number(run) } : {}),
    group,
    ...Object.fromEntries(Object.entries(meta).filter(([name]) => !LEFT_OUT.has(name))),
  };
}
