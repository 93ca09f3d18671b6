import type { z } from '@hono/zod-openapi';
import { destinationOf, sourceCode } from '../codes.ts';
import type { TableOptions } from '../drivers/model.ts';
import type { PipelineConfig, SelectedTable, SetTable, TableDetail } from '../workflows/messages.ts';
import { badFields, type FieldError, Problem } from './problem.ts';
import { type Ctx, idempotencyKey, lastSegments, noContent, readBody } from './request.ts';
import { type Deps, empty, json, type Route } from './route.ts';
import { pathName, tableBody, tableSchema } from './schemas.ts';

type Body = z.infer<typeof tableBody>;

const flags = ['history', 'skipInitial', 'redoInitial', 'adopt', 'paused'] as const;
const known: readonly string[] = ['select', ...flags, 'where', 'key', 'cursor', 'mask', 'types'];

/** `config-tab`: selection and options of one table. */
export function tableRoutes(deps: Deps): Route[] {
  const path = '/config-tab/{database}/{schema}/{table}';
  const tag = 'Tables';
  const params = {
    database: pathName(
      'database',
      'The name of the database; any value where a database names nothing (MySQL, MongoDB).',
    ),
    schema: pathName('schema', 'The schema that contains the table.'),
    table: pathName('table', 'The name of the table.'),
  };
  return [
    {
      method: 'patch',
      path,
      id: 'save-table',
      tag,
      summary: 'Select a table for ingestion, or set its options',
      description:
        'null unsets an option. Names that are not known are stored and returned, and warned of in an event.',
      params,
      body: { schema: tableBody, required: true },
      answers: empty,
      handle: (c, pipeline) => save(deps, c, pipeline),
    },
    {
      method: 'get',
      path,
      id: 'get-table',
      tag,
      summary: 'Get a table: options, columns, key, types, warnings',
      params,
      answers: { 200: json('The table', tableSchema) },
      handle: (c, pipeline) => show(deps, c, pipeline),
    },
  ];
}

async function save({ pipelines, catalog, key }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const [database, schema, name] = lastSegments(c, 3) as [string, string, string];
  const body = await readBody(c, tableBody);
  const asked = idempotencyKey(c, key, body);
  const { options, unknown } = readTableBody(body);
  const config = await pipelines.config(pipeline);
  const before = (await pipelines.selection(pipeline)).find((table) => table.schema === schema && table.name === name);
  // A table that was selected before may have gone from the source; it can still be set and deselected.
  const shownAs =
    before !== undefined && names(before, config, database)
      ? before.database
      : await catalog.find(config, database, schema, name);
  if (shownAs === null) throw noTable(database, schema, name);
  await checkColumns({ catalog }, config, { database: shownAs, schema, name }, before?.options ?? {}, options);
  await pipelines.setTable(
    { pipeline, key: asked.given },
    {
      table: { schema, name, database: shownAs },
      ...(body.select === undefined ? {} : { select: body.select === 'Y' }),
      options,
      ...(Object.keys(unknown).length === 0 ? {} : { unknown }),
      idempotencyKey: asked.key,
    },
  );
  return noContent();
}

/** True if the path's first value is this table's database: by name, as `default`, or any value where it names nothing. */
function names(table: SelectedTable, { source }: PipelineConfig, database: string): boolean {
  const anyName = sourceCode(source.params.type)?.naming === 'schema';
  return anyName || table.database === database || database === 'default';
}

type Change = SetTable['options'];

function readTableBody(body: Body): { options: Change; unknown: Record<string, string | null> } {
  const options: { -readonly [K in keyof Change]: Change[K] } = {};
  for (const name of flags) {
    const flag = body[name];
    if (flag !== undefined) options[name] = flag === null ? null : flag === 'Y';
  }
  if (body.where !== undefined) options.where = body.where?.trim() ? body.where : null;
  if (body.key !== undefined) options.key = body.key?.length ? body.key : null;
  if (body.cursor !== undefined) options.cursor = body.cursor?.length ? body.cursor : null;
  if (body.mask !== undefined) options.mask = body.mask?.length ? body.mask : null;
  if (body.types !== undefined) options.types = body.types && Object.keys(body.types).length > 0 ? body.types : null;
  const unknown = Object.entries(body).filter(([name]) => !known.includes(name)) as [string, string | null][];
  const errors = textErrors(body);
  if (errors.length > 0) throw badFields(errors);
  return { options, unknown: Object.fromEntries(unknown) };
}

function textErrors(body: Body): FieldError[] {
  return Object.entries(body).flatMap(([field, value]) => {
    const text = JSON.stringify([field, value]);
    if (field === '' || field.length > 256)
      return [{ field: field.slice(0, 50), message: 'must be a name of 1 to 256 characters' }];
    // JSON.stringify shows half surrogate pairs and NUL as escapes, wherever they are in the value.
    return /(?<!\\)(\\\\)*\\u(0000|d[89a-f])/.test(text)
      ? [{ field, message: 'must be valid Unicode without NUL' }]
      : [];
  });
}

/** Columns named by the change must exist, and a change must not turn a table that can be copied into one that can't. */
async function checkColumns(
  { catalog }: Pick<Deps, 'catalog'>,
  config: PipelineConfig,
  at: { database: string; schema: string; name: string },
  before: TableOptions,
  change: Change,
): Promise<void> {
  const given = (['key', 'cursor', 'mask', 'types'] as const).filter(
    (name) => change[name] !== undefined && change[name] !== null,
  );
  if (given.length === 0) return;
  const after = Object.fromEntries(
    Object.entries({ ...before, ...change }).filter(([, value]) => value !== null),
  ) as TableOptions;
  const detail = await catalog.detail(config, at.database, at.schema, at.name, after);
  if (detail === null || detail.error === null) return columnErrors(detail, change);
  const plain = await catalog.detail(config, at.database, at.schema, at.name, before);
  // What fails without the change as it does with it is not the change's fault.
  if (plain === null || plain.error?.message === detail.error.message) return;
  if (plain.error === null) columnErrors(plain, change);
  throw badFields(given.map((field) => ({ field, message: `${detail.error?.message} ${detail.error?.action}` })));
}

function columnErrors(detail: TableDetail | null, { key, cursor, mask, types }: Change): void {
  if (detail === null) return;
  const columns = new Set([...detail.columns, ...detail.leftOut].map(({ name }) => name));
  const errors = Object.entries({
    key: key ?? [],
    cursor: cursor ?? [],
    mask: mask ?? [],
    types: Object.keys(types ?? {}),
  }).flatMap(([field, used]) =>
    used
      .filter((column) => !columns.has(column))
      .map((column) => ({ field, message: `the table has no column ${column}` })),
  );
  if (errors.length > 0) throw badFields(errors);
}

async function show({ pipelines, catalog }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const [database, schema, name] = lastSegments(c, 3) as [string, string, string];
  const config = await pipelines.config(pipeline);
  const table = (await pipelines.selection(pipeline)).find((one) => one.schema === schema && one.name === name);
  const shownAs = await catalog.find(config, database, schema, name);
  if (shownAs === null && table === undefined) throw noTable(database, schema, name);
  const db = shownAs ?? table?.database ?? database;
  const detail = await catalog.detail(config, db, schema, name, table?.options ?? {});
  const target = destinationOf(config.source.params.type ?? '', db, { schema, name }, config.destination.params);
  return c.json({
    db,
    schema,
    name,
    selected: table?.selected ?? false,
    state: table?.state ?? 'new',
    options: shownOptions(table),
    columns: detail?.columns ?? [],
    leftOut: detail?.leftOut ?? [],
    key: detail?.key ?? [],
    destination: { db: target.database, table: target.table },
    warnings: detail?.warnings ?? [],
    error: detail?.error ?? table?.error ?? null,
  });
}

/** Options in the form that PATCH takes. */
function shownOptions(table: SelectedTable | undefined): Record<string, unknown> {
  const options = Object.entries(table?.options ?? {}).map(([name, value]) => {
    if (typeof value !== 'boolean') return [name, value] as const;
    return [name, value ? 'Y' : 'N'] as const;
  });
  return Object.fromEntries([...options, ...Object.entries(table?.unknown ?? {})]);
}

function noTable(database: string, schema: string, name: string): Problem {
  return new Problem(404, `The source has no table ${name} in schema ${schema} of database ${database}.`, {
    errors: [{ field: 'table', message: 'is not known' }],
  });
}
