import { z } from '@hono/zod-openapi';

/** What answers tell of validations. */

const count = z.number().int().nonnegative();

/** Of a run that compared copies with their sources. */
export const checkRunShape = {
  validate: z
    .object({ repair: z.boolean(), tables: z.array(z.string()).nullable() })
    .optional()
    .openapi({ description: 'Of a validation: what was asked' }),
  check: z
    .object({
      tables: count,
      checked: count,
      different: count,
      repaired: count,
      unsettled: count,
      skipped: count,
      failed: count,
    })
    .optional()
    .openapi({ description: 'Of a validation: what it found in all tables' }),
};

/** Of one of its tables. */
export const checkTableShape = {
  checked: count.optional(),
  different: count.optional(),
  repaired: count.optional(),
  unsettled: count.optional(),
  examples: z.array(z.string()).optional().openapi({ description: 'Up to ten keys of different rows' }),
};
