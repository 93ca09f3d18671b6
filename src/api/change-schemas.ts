import { z } from '@hono/zod-openapi';

/** What answers tell of applied changes. */

const count = z.number().int().nonnegative();
const time = (description: string) => z.string().openapi({ format: 'date-time', description }).nullable();

/** Of a table, a run's share in one, or a pipeline; null: not known. */
export const changedShape = {
  changes: z
    .object({ inserted: count, updated: count, deleted: count, parked: count })
    .nullable()
    .openapi({ description: 'Changes that were applied, as the source made them; `parked`: rows put aside' }),
  lastChangeAt: time('Commit at the source of the last change that is applied'),
  lastWrittenAt: time('When it was committed at the destination'),
};

/** How far a copy is behind its source; null: not known. */
export const lagSchema = z.object({
  seconds: z.number().nullable(),
  bytes: z.number().nullable(),
  logHoursLeft: z.number().nullable(),
});
