import { type OpenAPIHono, type RouteConfig, z } from '@hono/zod-openapi';
import type { Log } from '../log.ts';
import type { SecretKey } from '../secrets.ts';
import type { Catalog } from './catalog.ts';
import type { Pipelines } from './pipelines.ts';
import { Problem } from './problem.ts';
import type { Ctx, Env } from './request.ts';
import { problemSchema } from './schemas.ts';

/** What routes work with. */
export type Deps = {
  readonly pipelines: Pipelines;
  readonly catalog: Catalog;
  readonly key: SecretKey;
  readonly log: Log;
};

/** A route as both the router and the OpenAPI document know it. */
export type Route = {
  readonly method: 'get' | 'post' | 'patch' | 'delete';
  /** With `{name}` for path values, below the base that it is mounted at. */
  readonly path: string;
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: Readonly<Record<string, z.ZodType>>;
  readonly query?: z.ZodObject;
  readonly headers?: Readonly<Record<string, z.ZodType>>;
  readonly body?: { readonly schema: z.ZodType; readonly required: boolean };
  /** Answers besides problems. */
  readonly answers: RouteConfig['responses'];
  readonly handle: (c: Ctx, pipeline: string) => Promise<Response> | Response;
  /** Announced for a later version: routed, not described. */
  readonly hidden?: boolean;
};

/** A JSON answer for the document. */
export function json(description: string, schema: z.ZodType): RouteConfig['responses'][string] {
  return { description, content: { 'application/json': { schema } } };
}

export const empty: RouteConfig['responses'] = { 204: { description: 'Done; no content' } };

/** Base of a pipeline's routes: the documented one is the pipeline `default`. */
export type Base = {
  readonly path: string;
  readonly params: Readonly<Record<string, z.ZodType>>;
  readonly suffix: string;
};

/** Mounts routes at a base: handlers, 405 for other methods, and their description. */
export function mount(
  app: OpenAPIHono<Env>,
  base: Base,
  routes: readonly Route[],
  pipelineOf: (c: Ctx) => string,
): void {
  const methods = new Map<string, string[]>();
  for (const route of routes) {
    const path = base.path + route.path;
    const honoPath = path.replaceAll(/\{(\w+)\}/g, ':$1');
    app.on(route.method.toUpperCase(), honoPath, async (c) => route.handle(c, pipelineOf(c)));
    methods.set(honoPath, [...(methods.get(honoPath) ?? []), route.method.toUpperCase()]);
    if (!route.hidden) describe(app, base, route);
  }
  for (const [path, allowed] of methods) {
    const allow = [...allowed, ...(allowed.includes('GET') ? ['HEAD'] : [])].join(', ');
    app.all(path, (c) => {
      throw new Problem(405, `${c.req.method} is not possible here; use ${allow}.`, {
        headers: { Allow: allow },
        errors: [{ field: 'method', message: `must be one of ${allow}` }],
      });
    });
  }
}

const idempotencyHeader = z.string().optional().openapi({
  description: 'A repeated request with the same key gets the first answer; nothing happens twice.',
});

function describe(app: OpenAPIHono<Env>, base: Base, route: Route): void {
  const params = { ...base.params, ...route.params };
  const headers = { ...route.headers, ...(route.method === 'get' ? {} : { 'Idempotency-Key': idempotencyHeader }) };
  app.openAPIRegistry.registerPath({
    method: route.method,
    path: base.path + route.path,
    operationId: route.id + base.suffix,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    request: {
      ...(Object.keys(params).length === 0 ? {} : { params: z.object(params) }),
      ...(route.query === undefined ? {} : { query: route.query }),
      ...(Object.keys(headers).length === 0 ? {} : { headers: z.object(headers) }),
      ...(route.body === undefined
        ? {}
        : { body: { required: route.body.required, content: { 'application/json': { schema: route.body.schema } } } }),
    },
    responses: {
      ...route.answers,
      default: { description: 'Problem', content: { 'application/problem+json': { schema: problemSchema } } },
    },
  });
}
