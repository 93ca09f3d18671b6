import { z } from '@hono/zod-openapi';
import type { RollbackTarget } from '../activities/rollback.ts';
import { Problem } from './problem.ts';
import { type Ctx, idempotencyKey, lastSegments, readBody, wantsRepresentation } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { requestSchema } from './schemas.ts';

const pointsSchema = z
  .object({
    points: z.array(
      z.object({
        id: z.number().int(),
        sourceTime: z.string().nullable(),
        recordedAt: z.string(),
        run: z.number().int(),
        position: z.string(),
      }),
    ),
    unreachableReason: z.string().nullable(),
  })
  .openapi('RollbackPoints');
const positionBody = z
  .strictObject(
    {
      position: z
        .string('must be a position as GET status shows it')
        .min(1, 'must not be empty')
        .max(100_000, 'is too long'),
    },
    'must be an object',
  )
  .openapi('Bookmark');

/** Rollback of the stream, to a recorded point or to a position by hand. */
export function rollbackRoutes(deps: Deps): Route[] {
  const tag = 'Operations';
  const answers = { 200: json('Accepted or refused', requestSchema) };
  return [
    {
      method: 'get',
      path: '/rollback-points',
      id: 'list-rollback-points',
      tag,
      summary: 'List points that the stream can be set back to',
      description:
        'Newest first, only those that the source’s log still reaches; with the reason why older ones are not there.',
      answers: { 200: json('The points', pointsSchema) },
      handle: (c, pipeline) => points(deps, c, pipeline),
    },
    {
      method: 'post',
      path: '/ops/rollback/{point}',
      id: 'roll-back',
      tag,
      summary: 'Set the stream back to a recorded point',
      description:
        'The next delta replays from there. Rows stay as they are; tables show as loaded until they have caught up again.',
      params: { point: z.string().openapi({ description: 'Id of a rollback point', example: '7' }) },
      answers,
      handle: (c, pipeline) => {
        const segment = lastSegments(c, 1)[0] ?? '';
        if (!/^[1-9]\d{0,14}$/.test(segment))
          throw new Problem(404, `There is no rollback point ${segment}.`, {
            errors: [{ field: 'point', message: 'must be the id of a rollback point' }],
          });
        return rollBack(deps, c, pipeline, { point: Number(segment) }, undefined);
      },
    },
    {
      method: 'patch',
      path: '/position',
      id: 'set-position',
      tag,
      summary: 'Set the stream back to a position',
      description:
        'The bookmark by hand: a position where the stream has been, in the form that GET status shows. Checked against the source’s log and the destination.',
      body: { schema: positionBody, required: true },
      answers,
      handle: async (c, pipeline) => {
        const body = await readBody(c, positionBody);
        return rollBack(deps, c, pipeline, { position: body.position }, body);
      },
    },
  ];
}

async function points({ pipelines }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const { name, source, destination, main } = await pipelines.config(pipeline);
  if (!main)
    return c.json({
      points: [],
      unreachableReason: 'No full extract has been made, or the source captures no changes.',
    });
  const input = { pipeline: name, source: source.params, destination: destination.params, main };
  const found = await pipelines.rollbackPoints(pipeline, input);
  const shown = found.points.map(({ id, sourceTime, recordedAt, run, position }) => ({
    id,
    sourceTime,
    recordedAt,
    run,
    position,
  }));
  return c.json({ points: shown, unreachableReason: found.unreachableReason });
}

async function rollBack(
  { pipelines, key }: Deps,
  c: Ctx,
  pipeline: string,
  to: RollbackTarget,
  body: unknown,
): Promise<Response> {
  const asked = idempotencyKey(c, key, body);
  const answer = await pipelines.request(
    { pipeline, key: asked.given },
    { operation: 'rollback', to, idempotencyKey: asked.key },
  );
  const message = 'Rollback requested';
  if (!answer.accepted) return c.json({ success: false, message, reason: { code: answer.code, text: answer.text } });
  if (!wantsRepresentation(c)) return c.json({ success: true, message });
  c.header('Preference-Applied', 'return=representation');
  return c.json({ success: true, message, run: answer.run });
}
