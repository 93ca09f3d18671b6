import { z } from '@hono/zod-openapi';
import { badFields } from './problem.ts';
import { type Ctx, idempotencyKey, readOptionalBody, wantsRepresentation } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { requestSchema } from './schemas.ts';

const validateBody = z
  .strictObject(
    {
      repair: z
        .boolean('must be true or false')
        .optional()
        .openapi({ description: 'Have the main stream read different rows from the source again' }),
      tables: z
        .array(z.string('must be a string'), 'must be an array')
        .min(1, 'must not be empty')
        .max(5_000, 'are too many')
        .optional()
        .openapi({ description: 'Selected tables as `schema.table`; without it all', example: ['public.orders'] }),
    },
    'must be an object',
  )
  .openapi('Validate');

/** Comparison of the copies with their sources while the stream goes on. */
export function validateRoutes(deps: Deps): Route[] {
  return [
    {
      method: 'post',
      path: '/ops/extract/validate',
      id: 'validate',
      tag: 'Operations',
      summary: 'Compare the copies with the source',
      description:
        'Reads the tables again and compares them byte for byte while the stream goes on. GET runs/{run} tells, per table, how many rows were `checked`, are `different`, were `repaired`, or stayed `unsettled` because they kept changing, with up to ten keys. Writes no copies itself: with `repair` the main stream reads the different rows from the source again.',
      headers: { Prefer: z.string().optional().openapi({ example: 'return=representation' }) },
      body: { schema: validateBody, required: false },
      answers: { 200: json('Accepted or refused', requestSchema) },
      handle: (c, pipeline) => validate(deps, c, pipeline),
    },
  ];
}

async function validate({ pipelines, key }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const body = await readOptionalBody(c, validateBody);
  if (body.tables) {
    const selected = new Set(
      (await pipelines.selection(pipeline)).flatMap((one) => (one.selected ? [`${one.schema}.${one.name}`] : [])),
    );
    const wrong = body.tables.flatMap((name, i) =>
      selected.has(name) ? [] : [{ field: `tables[${i}]`, message: 'is not selected' }],
    );
    if (wrong.length > 0) throw badFields(wrong);
  }
  const asked = idempotencyKey(c, key, body);
  const answer = await pipelines.request(
    { pipeline, key: asked.given },
    {
      operation: 'validate',
      validate: { repair: body.repair ?? false, tables: body.tables ?? null },
      idempotencyKey: asked.key,
    },
  );
  const message = 'Validate requested';
  if (!answer.accepted) return c.json({ success: false, message, reason: { code: answer.code, text: answer.text } });
  if (!wantsRepresentation(c)) return c.json({ success: true, message });
  c.header('Preference-Applied', 'return=representation');
  return c.json({ success: true, message, run: answer.run });
}
