import { Problem } from './problem.ts';
import type { Route } from './route.ts';

/** Own routes of API.md that come with delta runs: routed, so that a client learns it from the answer, but not described. */
export function laterRoutes(): Route[] {
  const later = (method: Route['method'], path: string): Route => ({
    method,
    path,
    id: path,
    tag: 'Later',
    summary: path,
    answers: {},
    hidden: true,
    handle: () => {
      throw new Problem(501, 'This is not in this version yet.');
    },
  });
  return [later('get', '/rollback-points'), later('post', '/ops/rollback/{point}')];
}
