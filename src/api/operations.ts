import { z } from '@hono/zod-openapi';
import type { Operation } from '../workflows/messages.ts';
import { Problem } from './problem.ts';
import { type Ctx, idempotencyKey, lastSegments, readOptionalBody, wantsRepresentation } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { cancelBody, cancelSchema, requestSchema } from './schemas.ts';

const texts = {
  full: 'Full Extract requested',
  syncnew: 'Sync New Tables requested',
  syncstruct: 'Synchronize Structure requested',
  delta: 'Manual Delta requested',
} as const satisfies Partial<Record<Operation, string>>;

/** `ops`: requests of operations, and their cancellation. */
export function operationRoutes(deps: Deps): Route[] {
  const tag = 'Operations';
  return [
    {
      method: 'post',
      path: '/ops/extract/{operation}',
      id: 'request-operation',
      tag,
      summary: 'Execute an operation',
      description:
        'Queues the operation. A refusal is also 200, with `success` false and a reason. Needs no body. With `Prefer: return=representation` an accepted answer carries the run.',
      params: { operation: z.enum(['full', 'syncnew', 'syncstruct', 'delta']) },
      headers: { Prefer: z.string().optional().openapi({ example: 'return=representation' }) },
      answers: { 200: json('Accepted or refused', requestSchema) },
      handle: (c, pipeline) => request(deps, c, pipeline),
    },
    {
      method: 'post',
      path: '/ops/cancel',
      id: 'cancel',
      tag,
      summary: 'Cancel what runs or waits',
      description: 'Without a lane everything. A run that can only roll forward is refused with the reason.',
      body: { schema: cancelBody, required: false },
      answers: { 200: json('What was cancelled', cancelSchema) },
      handle: (c, pipeline) => cancel(deps, c, pipeline),
    },
  ];
}

async function request({ pipelines, key }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const operation = lastSegments(c, 1)[0] ?? '';
  if (!isOperation(operation)) {
    const message = `must be one of ${Object.keys(texts).join(', ')}`;
    throw new Problem(404, `There is no operation ${operation}: it ${message}.`, {
      errors: [{ field: 'operation', message }],
    });
  }
  const asked = idempotencyKey(c, key, undefined);
  const answer = await pipelines.request({ pipeline, key: asked.given }, { operation, idempotencyKey: asked.key });
  const message = texts[operation];
  if (!answer.accepted) return c.json({ success: false, message, reason: { code: answer.code, text: answer.text } });
  if (!wantsRepresentation(c)) return c.json({ success: true, message });
  c.header('Preference-Applied', 'return=representation');
  return c.json({ success: true, message, run: answer.run });
}

function isOperation(word: string): word is keyof typeof texts {
  return Object.hasOwn(texts, word);
}

async function cancel({ pipelines, key }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const body = await readOptionalBody(c, cancelBody);
  const asked = idempotencyKey(c, key, body);
  const lane = body.lane === undefined ? {} : { lane: body.lane };
  const { cancelled, refused } = await pipelines.cancel(
    { pipeline, key: asked.given },
    { ...lane, idempotencyKey: asked.key },
  );
  return c.json({ success: true, cancelled, refused });
}
