import { Problem } from './problem.ts';
import { lastSegments } from './request.ts';
import type { Route } from './route.ts';

const actions = ['pause', 'resume', 'skip', 'reload'];

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
    handle: (c) => {
      const action = lastSegments(c, 1)[0] ?? '';
      if (path.startsWith('/tables') && !actions.includes(action)) {
        throw new Problem(404, `There is no action ${action}.`, {
          errors: [{ field: 'action', message: `must be one of ${actions.join(', ')}` }],
        });
      }
      throw new Problem(501, 'This is not in this version yet.');
    },
  });
  return [
    later('get', '/rollback-points'),
    later('post', '/ops/rollback/{point}'),
    later('post', '/tables/{database}/{schema}/{table}/{action}'),
  ];
}
