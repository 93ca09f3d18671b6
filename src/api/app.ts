import { randomUUID } from 'node:crypto';
import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Log } from '../log.ts';
import type { SecretKey } from '../secrets.ts';
import type { Authorize } from './auth.ts';
import { createCatalog } from './catalog.ts';
import { connectionRoutes } from './connections.ts';
import { docsPage } from './docs.ts';
import { eventRoutes } from './events.ts';
import { healthRoutes } from './health.ts';
import { licenceRoutes } from './licence.ts';
import { listRoutes } from './list.ts';
import { metricsText } from './metrics.ts';
import { operationRoutes } from './operations.ts';
import { pipelineOf, pipelineRoutes } from './pipeline-list.ts';
import type { Pipelines } from './pipelines.ts';
import { Problem, problemResponse } from './problem.ts';
import { type Ctx, type Env, tooLarge } from './request.ts';
import { rollbackRoutes } from './rollback.ts';
import { type Base, type Deps, mount, type Route } from './route.ts';
import { runRoutes } from './runs.ts';
import { scheduleRoutes } from './schedule.ts';
import { statusRoutes } from './status.ts';
import { tableActionRoutes } from './table-actions.ts';
import { tableRoutes } from './tables.ts';
import { validateRoutes } from './validate.ts';

export type AppOptions = {
  readonly key: SecretKey;
  readonly log: Log;
  /** Absent: everybody may do everything. */
  readonly authorize?: Authorize;
  /** Largest request body in bytes. */
  readonly bodyLimit?: number;
  /** How long a catalog listing is trusted. */
  readonly catalogTtlMs?: number;
};

const open = ['/healthz', '/readyz'];
const root: Base = { path: '', params: {}, suffix: '' };
const documented: Base = { path: '/ingest/api/ingest', params: {}, suffix: '' };
const named: Base = {
  path: '/pipelines/{name}/ingest/api/ingest',
  params: { name: z.string().openapi({ description: 'Name of the pipeline', example: 'sales' }) },
  suffix: '-of-pipeline',
};

/** The HTTP application over any `Pipelines`. */
export function createApp(pipelines: Pipelines, options: AppOptions): OpenAPIHono<Env> {
  const { key, log, authorize, bodyLimit = 1_048_576 } = options;
  const app = new OpenAPIHono<Env>({ strict: false });
  const deps: Deps = { pipelines, key, log, catalog: createCatalog(pipelines, options.catalogTtlMs) };

  app.use(async (c, next) => {
    const began = performance.now();
    const asked = c.req.header('x-request-id') ?? '';
    c.set('requestId', /^[\w.:-]{1,128}$/.test(asked) ? asked : randomUUID());
    c.set('bodyLimit', bodyLimit);
    await next();
    c.res.headers.set('X-Request-Id', c.get('requestId'));
    c.res.headers.set('X-Content-Type-Options', 'nosniff');
    if (!c.res.headers.has('Cache-Control')) c.res.headers.set('Cache-Control', 'no-store');
    const ms = Math.round((performance.now() - began) * 10) / 10;
    // The path only: a query string or a body may hold what nobody should read in a log.
    const { pathname } = new URL(c.req.url);
    const about = { method: c.req.method, path: pathname, status: c.res.status, ms, requestId: c.get('requestId') };
    // Health checks come every few seconds and say nothing when all is well.
    const level = open.includes(pathname) && c.res.status === 200 ? log.debug : log.info;
    const pipeline = pathname.startsWith(documented.path)
      ? 'default'
      : /^\/pipelines\/([a-z0-9-]+)\//.exec(pathname)?.[1];
    const whose = {
      ...(pipeline === undefined ? {} : { pipeline }),
      group: c.res.status >= 500 ? 'Errors' : 'Others',
    } as const;
    level('request', { ...whose, ...about, ...(c.get('caller') === undefined ? {} : { caller: c.get('caller') }) });
  });
  app.use(async (c, next) => {
    if (authorize !== undefined && !open.includes(c.req.path)) {
      const caller = authorize(c.req.header('authorization'));
      if (caller === null) {
        throw new Problem(401, 'An API key is needed: Authorization: Bearer <key>.', {
          headers: { 'WWW-Authenticate': 'Bearer' },
        });
      }
      c.set('caller', caller);
    }
    refuseOtherSites(c);
    if (Number(c.req.header('content-length') ?? 0) > bodyLimit) throw tooLarge(bodyLimit);
    await next();
  });

  const perPipeline: Route[] = [
    ...connectionRoutes(deps, 'source'),
    ...connectionRoutes(deps, 'destination'),
    ...licenceRoutes(deps),
    ...scheduleRoutes(deps),
    ...tableRoutes(deps),
    ...tableActionRoutes(deps),
    ...listRoutes(deps),
    // Before the path with the operation as a value.
    ...validateRoutes(deps),
    ...operationRoutes(deps),
    ...statusRoutes(deps),
    ...runRoutes(deps),
    ...eventRoutes(deps),
    ...rollbackRoutes(deps),
  ];
  mount(app, documented, perPipeline, () => 'default');
  mount(app, named, perPipeline, pipelineOf);
  mount(
    app,
    root,
    [
      ...pipelineRoutes(deps),
      ...healthRoutes(deps),
      ...plainRoutes(deps, () => document(app, authorize !== undefined)),
    ],
    () => 'default',
  );

  app.notFound((c) => {
    const { pathname } = new URL(c.req.url);
    return problemResponse(
      new Problem(404, `There is no ${c.req.method} ${pathname.slice(0, 300)}.`, {
        errors: [{ field: 'path', message: 'is not known' }],
      }),
    );
  });
  app.onError((error, c) => {
    if (error instanceof Problem) return problemResponse(error);
    log.error('request failed', { group: 'Errors', requestId: c.get('requestId'), error });
    return problemResponse(
      new Problem(500, `An error of the server. Its log tells more under request ${c.get('requestId')}.`),
    );
  });
  return app;
}

/** A web page elsewhere must not be able to start operations by a visitor's browser; no documented client sends these headers. */
function refuseOtherSites(c: Ctx): void {
  if (c.req.method === 'GET' || c.req.method === 'HEAD') return;
  const origin = c.req.header('origin');
  const ownOrigin =
    origin === undefined || URL.parse(origin)?.host === (c.req.header('host') ?? new URL(c.req.url).host);
  if (!ownOrigin || c.req.header('sec-fetch-site') === 'cross-site') {
    throw new Problem(403, 'Requests from other web sites are refused.', {
      errors: [{ field: 'Origin', message: 'must be this server' }],
    });
  }
}

function plainRoutes({ pipelines }: Deps, describe: () => object): Route[] {
  const tag = 'Service';
  const text = (type: string) => ({ 200: { description: 'The text', content: { [type]: { schema: z.string() } } } });
  return [
    {
      method: 'get',
      path: '/metrics',
      id: 'metrics',
      tag,
      summary: 'Metrics in Prometheus’ text form',
      answers: text('text/plain'),
      handle: async (c) =>
        c.text(await metricsText(pipelines), 200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }),
    },
    {
      method: 'get',
      path: '/openapi.json',
      id: 'openapi',
      tag,
      summary: 'This document',
      answers: { 200: { description: 'OpenAPI 3.1', content: { 'application/json': { schema: z.looseObject({}) } } } },
      handle: (c) => c.json(describe()),
    },
    {
      method: 'get',
      path: '/docs',
      id: 'docs',
      tag,
      summary: 'This document as a page',
      answers: text('text/html'),
      handle: (c) => docsPage(c, describe()),
    },
  ];
}

function document(app: OpenAPIHono<Env>, keys: boolean): object {
  const described = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Flow Ingest',
      version: '0.1.0',
      description:
        'Copies databases into SingleStore and keeps the copies exact. The pipeline `default` has the documented base; others have `/pipelines/{name}` in front. Every mutating request takes `Idempotency-Key`.',
    },
    servers: [{ url: '/' }],
    ...(keys ? { security: [{ key: [] }] } : {}),
  });
  if (!keys) return described;
  return {
    ...described,
    components: { ...described.components, securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
  };
}
