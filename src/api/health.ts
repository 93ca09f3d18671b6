import { Problem } from './problem.ts';
import { type Deps, json, type Route } from './route.ts';
import { healthSchema, readySchema } from './schemas.ts';

/** `/healthz`: this process lives. `/readyz`: Temporal answers and a worker is there. */
export function healthRoutes({ pipelines }: Deps): Route[] {
  const tag = 'Health';
  return [
    {
      method: 'get',
      path: '/healthz',
      id: 'health',
      tag,
      summary: 'This process lives',
      answers: { 200: json('It does', healthSchema) },
      handle: (c) => c.json({ status: 'ok' }),
    },
    {
      method: 'get',
      path: '/readyz',
      id: 'ready',
      tag,
      summary: 'Requests can be answered',
      answers: { 200: json('They can', readySchema) },
      handle: async (c) => {
        const health = await pipelines.health();
        if (!health.ok) throw unavailable(health.hint);
        return c.json({ status: 'ready', workers: health.workers });
      },
    },
  ];
}

/** 503 with what to do about it. */
export function unavailable(hint: string): Problem {
  return new Problem(503, hint, { headers: { 'Retry-After': '5' }, more: { hint } });
}
