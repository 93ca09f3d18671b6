import { z } from '@hono/zod-openapi';
import { Problem } from './problem.ts';
import { type Ctx, idempotencyKey, lastSegments, readBody } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { pipelineBody, pipelineName, pipelineSchema, pipelinesSchema, removedSchema } from './schemas.ts';

/** Base path of a pipeline's routes. */
export function baseOf(name: string): string {
  return name === 'default' ? '/ingest/api/ingest' : `/pipelines/${name}/ingest/api/ingest`;
}

/** `/pipelines`: makes, lists and removes pipelines. */
export function pipelineRoutes({ pipelines, key }: Deps): Route[] {
  const tag = 'Pipelines';
  return [
    {
      method: 'get',
      path: '/pipelines',
      id: 'list-pipelines',
      tag,
      summary: 'List pipelines',
      answers: { 200: json('Pipelines by name', pipelinesSchema) },
      handle: async (c) =>
        c.json({ pipelines: (await pipelines.list()).map((name) => ({ name, base: baseOf(name) })) }),
    },
    {
      method: 'post',
      path: '/pipelines',
      id: 'create-pipeline',
      tag,
      summary: 'Make a pipeline',
      body: { schema: pipelineBody, required: true },
      answers: { 201: json('Made', pipelineSchema) },
      handle: async (c) => {
        const body = await readBody(c, pipelineBody);
        await pipelines.create(body.name, idempotencyKey(c, key, body).key);
        c.header('Location', baseOf(body.name));
        return c.json({ name: body.name, base: baseOf(body.name) }, 201);
      },
    },
    {
      method: 'delete',
      path: '/pipelines/{name}',
      id: 'remove-pipeline',
      tag,
      summary: 'Remove a pipeline',
      description:
        'Stops it, drops what it made at the source (slots, publication) and its control rows at the destination; copied data stays.',
      params: { name: z.string().openapi({ example: 'sales' }) },
      answers: { 200: json('Removed; warnings name what could not be dropped', removedSchema) },
      handle: async (c) => {
        const name = knownName(lastSegments(c, 1)[0] ?? '');
        const { warnings } = await pipelines.remove(name, idempotencyKey(c, key, undefined).key);
        return c.json({ success: true, warnings });
      },
    },
  ];
}

/** The pipeline that a path names; 404 unless it could be one. */
export function pipelineOf(c: Ctx): string {
  const [, first, second] = new URL(c.req.url).pathname.split('/');
  return first === 'pipelines' ? knownName(decodeURIComponent(second ?? '')) : 'default';
}

function knownName(name: string): string {
  if (pipelineName.safeParse(name).success) return name;
  throw new Problem(404, `There is no pipeline ${name.slice(0, 100)}.`, {
    errors: [{ field: 'pipeline', message: 'is not known' }],
  });
}
