/** Shapes of bodies and answers: validation and the OpenAPI document come from these. */
import { z } from '@hono/zod-openapi';
import { sourceCodes } from '../codes.ts';
import { changedShape, lagSchema } from './change-schemas.ts';
import { checkRunShape, checkTableShape } from './check-schemas.ts';

const text = z.string();
const count = z.number().int().nonnegative();
const time = z.string().openapi({ format: 'date-time', description: 'RFC 3339, UTC' }).nullable();
const yesNo = z.enum(['Y', 'N'], 'must be "Y" or "N"');

export const problemSchema = z
  .looseObject({
    type: text,
    title: text,
    status: z.number().int(),
    detail: text,
    success: z.literal(false),
    message: text,
    errors: z.array(z.object({ field: text, message: text })),
  })
  .openapi('Problem');

/** A path value, percent-encoded as one segment. */
export function pathName(name: string, description: string): z.ZodType {
  return z.string().openapi({ param: { name, in: 'path' }, description, example: name });
}

// Connections

export const itemSchema = z
  .object(
    {
      name: z.string('must be a string').openapi({ example: 'host' }),
      value: z.union([z.string(), z.number()], 'must be a string').openapi({ example: '127.0.0.1' }),
    },
    'must be an object with name and value',
  )
  .openapi('Parameter');
export const itemsSchema = z
  .array(itemSchema, 'must be an array of objects with name and value')
  .max(500, 'must not hold more than 500 items')
  .openapi('Parameters', {
    description: `Documented names: host, port, uid, pwd, pwd2, type, db, drv, url; further names are options (docs/api.md). Source types: ${sourceCodes.map(({ code }) => code).join(', ')}; destination type: rds.sstorem.`,
    example: [
      { name: 'host', value: '127.0.0.1' },
      { name: 'port', value: '3306' },
      { name: 'uid', value: 'admin' },
      { name: 'pwd', value: '<password>' },
      { name: 'pwd2', value: '<password>' },
      { name: 'type', value: 'rds.mysqlc' },
    ],
  });
export const pairsSchema = z.array(z.object({ name: text, value: text })).openapi('Pairs');
export const testSchema = z
  .union([
    z.object({ success: z.literal(true) }),
    z.object({
      messageList: z.array(z.object({ topic: text.nullable(), message: text, status: z.literal('E') })),
      success: z.literal(false),
      status: z.literal('N'),
    }),
  ])
  .openapi('TestResult');

// Schedule

const absent = 'must be a string or null';
export const scheduleBody = z
  .strictObject(
    {
      type: z.enum(
        ['manual', 'auto', 'periodic', 'daily', 'weekly'],
        'must be manual, auto, periodic, daily or weekly',
      ),
      duration: z.string(absent).nullish().openapi({ example: '0d00h05m00s' }),
      offset: z.string(absent).nullish().openapi({ example: '0d00h01m' }),
      weekFlags: z.string(absent).nullish().openapi({ example: 'NYYYYYN' }),
      isScheduled: z.boolean('must be true, false or null').nullish(),
    },
    'must be an object',
  )
  .openapi('ScheduleSettings', { example: { type: 'periodic', duration: '0d00h05m00s', offset: '0d00h01m' } });
export const scheduleSchema = z
  .object({
    duration: text.nullable(),
    offset: text,
    isScheduled: z.boolean(),
    type: z.enum(['manual', 'auto', 'periodic', 'daily', 'weekly']),
    weekFlags: text.nullable(),
  })
  .openapi('Schedule');
export const schedulerBody = z
  .strictObject(
    { reason: z.string('must be a string').max(200, 'must not be longer than 200 characters').optional() },
    'must be an object',
  )
  .openapi('SchedulerSwitch');

// Tables

const name = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(256, 'must not be longer than 256 characters');
const names = (what: string) =>
  z
    .array(name, `must be an array of ${what}`)
    .max(1000, 'must not hold more than 1000 names')
    .refine((list) => new Set(list).size === list.length, 'must not name a column twice')
    .nullable();
export const tableBody = z
  .object(
    {
      select: yesNo,
      history: yesNo.nullable(),
      skipInitial: yesNo.nullable(),
      redoInitial: yesNo.nullable(),
      adopt: yesNo.nullable(),
      paused: yesNo.nullable(),
      where: z
        .string('must be a string or null')
        .max(10_000, 'must not be longer than 10000 characters')
        .refine((condition) => !/^\s*where\s/i.test(condition), 'must be a condition without the word WHERE')
        .nullable(),
      key: names('column names'),
      cursor: names('column names'),
      mask: names('column names'),
      types: z.record(name, name, 'must be an object of column names and types').nullable(),
    },
    'must be an object',
  )
  .partial()
  .catchall(z.string('must be a string or null').max(10_000, 'must not be longer than 10000 characters').nullable())
  .refine((body) => Object.keys(body).length > 0, 'must not be empty')
  .openapi('TableSettings', { example: { select: 'Y' } });
export const listSchema = z.array(z.object({ name: text, selected: z.boolean(), id: text })).openapi('List');

const tableError = z.object({ class: text, message: text, action: text }).nullable();
const target = z.object({ db: text, table: text });
export const tableSchema = z
  .object({
    db: text,
    schema: text,
    name: text,
    selected: z.boolean(),
    state: text,
    options: z.record(text, z.unknown()),
    columns: z.array(
      z.object({ name: text, sourceType: text, destinationType: text, nullable: z.boolean(), masked: z.boolean() }),
    ),
    leftOut: z.array(z.object({ name: text, sourceType: text, reason: text })),
    key: z.array(text),
    destination: target,
    warnings: z.array(text),
    error: tableError,
  })
  .openapi('Table');
export const tablesSchema = z
  .object({
    tables: z.array(
      z.object({
        db: text,
        schema: text,
        name: text,
        state: text,
        destination: target,
        rows: count.nullable(),
        lastLoadedAt: time,
        ...changedShape,
        lagSeconds: z.number().nullable(),
        parked: count.nullable(),
        rules: z.record(text, count),
        error: tableError,
      }),
    ),
    unavailable: text
      .nullable()
      .openapi({ description: 'Why the destination’s own record could not be read just now.' }),
  })
  .openapi('Tables');

// Operations and runs

const progress = z
  .object({ phase: text, rows: count, bytes: count, tablesDone: count, tablesFailed: count, tablesTotal: count })
  .nullable();
const runShape = {
  id: z.number().int().positive(),
  operation: text.nullable(),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
  requestedAt: time,
  startedAt: time,
  endedAt: time,
  rows: z.object({ loaded: count, inserted: count, updated: count, deleted: count, parked: count }),
  error: tableError,
  progress: progress.optional(),
  resume: z.literal(true).optional().openapi({ description: 'It lets paused tables go on, and loads nothing.' }),
  ...checkRunShape,
};
export const runSchema = z.object(runShape).openapi('Run');
export const runsSchema = z.object({ runs: z.array(runSchema) }).openapi('Runs');
export const runDetailSchema = z
  .object({
    ...runShape,
    tables: z.array(
      z.object({
        db: text,
        schema: text,
        name: text,
        state: text,
        rows: count,
        bytes: count.nullable(),
        startedAt: time,
        endedAt: time,
        ...changedShape,
        error: tableError,
        ...checkTableShape,
      }),
    ),
  })
  .openapi('RunDetail');
export const requestSchema = z
  .object({
    success: z.boolean(),
    message: text,
    reason: z.object({ code: text, text }).optional(),
    run: runSchema.optional(),
  })
  .openapi('OperationAnswer');
export const cancelBody = z
  .strictObject(
    { lane: z.enum(['stream', 'load', 'queue'], 'must be stream, load or queue').optional() },
    'must be an object',
  )
  .openapi('Cancel');
export const cancelSchema = z
  .object({
    success: z.literal(true),
    cancelled: z.array(z.number().int()),
    refused: z.array(z.object({ run: z.number().int(), reason: text })),
  })
  .openapi('CancelAnswer');

// Status, events, pipelines

export const statusSchema = z
  .object({
    pipeline: text,
    state: z.enum(['new', 'ready', 'needs_full']),
    consistent: z.boolean(),
    scheduler: z.object({ on: z.boolean(), reason: text, nextDueAt: time }),
    // `.nullable()` of a named schema would be described as never null.
    current: z.object({ stream: z.union([runSchema, z.null()]), load: z.union([runSchema, z.null()]) }),
    queue: z.array(text),
    lag: lagSchema,
    ...changedShape,
    position: text.nullable(),
    tables: z.record(text, count),
    notice: text.nullable().openapi({ description: 'What deltas of this source can’t see' }),
  })
  .openapi('Status');
export const sinceQuery = z.object({
  since: z
    .string()
    .regex(/^\d{1,15}$/, 'must be a whole number')
    .optional()
    .openapi({ description: 'Only events with a greater `seq`', example: '0' }),
});
export const eventsSchema = z
  .object({
    events: z.array(
      z.object({
        seq: count,
        at: z.string(),
        level: z.enum(['info', 'warning', 'error']),
        group: z.enum(['Source', 'Destination', 'Others', 'Errors']),
        code: text,
        message: text,
        run: z.number().int().nullable(),
        table: text.nullable(),
      }),
    ),
    next: count,
  })
  .openapi('Events');
export const pipelineName = z
  .string('must be a string')
  .regex(
    /^[a-z0-9][a-z0-9-]{0,62}$/,
    'must be 1 to 63 lower-case letters, digits and hyphens, not beginning with a hyphen',
  );
export const pipelineBody = z
  .strictObject({ name: pipelineName.openapi({ example: 'sales' }) }, 'must be an object')
  .openapi('NewPipeline');
export const pipelineSchema = z.object({ name: text, base: text }).openapi('Pipeline');
export const pipelinesSchema = z.object({ pipelines: z.array(pipelineSchema) }).openapi('PipelineList');
export const removedSchema = z.object({ success: z.literal(true), warnings: z.array(text) }).openapi('Removed');
export const healthSchema = z.object({ status: z.literal('ok') }).openapi('Health');
export const readySchema = z.object({ status: z.literal('ready'), workers: count }).openapi('Ready');
