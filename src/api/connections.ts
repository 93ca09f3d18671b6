import { codeAt, missingParams } from '../codes.ts';
import { fingerprint, openParams, SealError, sealParams } from '../secrets.ts';
import type { Connection, Side } from '../workflows/messages.ts';
import {
  mergeParams,
  type Params,
  paramsOf,
  shownValue,
  testParams,
  unknownNames,
  valueErrors,
} from './connection-params.ts';
import { badFields, type FieldError, Problem } from './problem.ts';
import { type Ctx, idempotencyKey, noContent, readBody } from './request.ts';
import { type Deps, empty, json, type Route } from './route.ts';
import { itemsSchema, pairsSchema, testSchema } from './schemas.ts';

const ids = { source: 'CDCSRC', destination: 'CDCDST' } as const;

/** `conn-src` or `conn-dst`. */
export function connectionRoutes(deps: Deps, side: Side): Route[] {
  const path = side === 'source' ? '/conn-src' : '/conn-dst';
  const short = side === 'source' ? 'source' : 'destination';
  const tag = 'Connections';
  const body = { schema: itemsSchema, required: true };
  return [
    {
      method: 'patch',
      path,
      id: `save-${short}`,
      tag,
      summary: `Save ${short} database configuration`,
      description:
        'Merges by name. `""` unsets an optional value, `***` keeps the saved password. Saving does not connect.',
      body,
      answers: empty,
      handle: (c, pipeline) => save(deps, side, c, pipeline),
    },
    {
      method: 'post',
      path: `${path}/test`,
      id: `test-${short}`,
      tag,
      summary: `Test ${short} database connection`,
      description: 'Connects from a worker with the parameters of the body; stores nothing.',
      body,
      answers: { 200: json('Connected, or why not', testSchema) },
      handle: (c, pipeline) => test(deps, side, c, pipeline),
    },
    {
      method: 'get',
      path,
      id: `get-${short}`,
      tag,
      summary: `Get ${short} database details`,
      answers: { 200: json('The saved parameters', pairsSchema) },
      handle: (c, pipeline) => show(deps, side, c, pipeline),
    },
  ];
}

async function save({ pipelines, key }: Deps, side: Side, c: Ctx, pipeline: string): Promise<Response> {
  const items = await readBody(c, itemsSchema);
  const asked = idempotencyKey(c, key, items);
  const given = paramsOf(items);
  if (given.errors.length > 0) throw badFields(given.errors);
  // Another client may save between our read and our write: the revision tells, and the merge is made again.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const connection = (await pipelines.config(pipeline))[side];
    const stored = openStored({ key }, connection, given.params);
    const { params, errors } = mergeParams(side, stored, given.params);
    if (errors.length > 0) throw badFields(errors);
    const saved = await pipelines.setConnection(
      { pipeline, key: asked.given },
      {
        side,
        params: sealParams(key, params),
        fingerprint: fingerprint(key, params),
        revision: connection.revision,
        unknown: unknownNames(given.params),
        idempotencyKey: asked.key,
      },
    );
    if (saved) return noContent();
  }
  throw new Problem(409, 'Other requests keep changing this connection. Send the request again.');
}

/** What is saved, in clear. A secret that cannot be opened matters only if the request does not replace it. */
function openStored({ key }: Pick<Deps, 'key'>, connection: Connection, given: Params): Params {
  const needed = Object.entries(connection.params).filter(
    ([name]) => given[name] === undefined || given[name] === '***',
  );
  const opened = openAll({ key }, Object.fromEntries(needed));
  const replaced = Object.entries(connection.params).flatMap(([name, value]) => {
    if (name in opened) return [];
    try {
      return Object.entries(openParams(key, { [name]: value }));
    } catch {
      return [];
    }
  });
  return { ...opened, ...Object.fromEntries(replaced) };
}

function openAll({ key }: Pick<Deps, 'key'>, sealed: Params): Params {
  try {
    return openParams(key, sealed);
  } catch (error) {
    if (error instanceof SealError) throw new Problem(409, error.message);
    throw error;
  }
}

async function test({ pipelines, key }: Deps, side: Side, c: Ctx, pipeline: string): Promise<Response> {
  const items = await readBody(c, itemsSchema);
  const given = paramsOf(items);
  if (given.errors.length > 0) throw badFields(given.errors);
  const connection = (await pipelines.config(pipeline))[side];
  const asked = resolve({ key }, connection, given.params);
  if ('why' in asked) return c.json(failed([{ topic: null, message: asked.why }]));
  const { params, errors } = asked;
  const told = new Set(errors.map(({ field }) => field));
  const refusals = [...errors, ...requirementErrors(side, params).filter(({ field }) => !told.has(field))];
  if (refusals.length > 0) return c.json(failed(refusals.map(({ field, message }) => ({ topic: field, message }))));
  // The documented message, topic null included, is how clients tell a wrong type from a wrong password.
  if (!codeAt(side, params.type))
    return c.json(failed([{ topic: null, message: `Error: Driver not found for ${params.type}` }]));
  const result = await pipelines.test(pipeline, { side, params: sealParams(key, params) });
  const tested = fingerprint(key, params);
  if (tested === connection.fingerprint) {
    await pipelines.noteConnection(pipeline, { side, fingerprint: tested, connected: result.ok });
  }
  return c.json(result.ok ? { success: true } : failed(result.messages));
}

/** The parameters to test, masked values replaced by the saved ones; or why those can't be had. */
function resolve(
  { key }: Pick<Deps, 'key'>,
  connection: Connection,
  given: Params,
): ReturnType<typeof testParams> | { why: string } {
  const masked = Object.values(given).some((value) => value.includes('***'));
  try {
    return testParams(masked ? openParams(key, connection.params) : {}, given);
  } catch (error) {
    if (error instanceof SealError) return { why: error.message };
    throw error;
  }
}

function requirementErrors(side: Side, params: Params): FieldError[] {
  // An unknown type is answered by its documented message alone.
  const known = codeAt(side, params.type) !== undefined;
  const missing = missingParams(params).map((name) => ({ field: name, message: `The parameter ${name} is missing.` }));
  if (params.type !== undefined && params.type !== '' && !known) return [];
  const wrong = valueErrors(side, params).map(({ field, message }) => ({
    field,
    message: `The parameter ${field} ${message}.`,
  }));
  return [...missing, ...wrong];
}

function failed(messages: readonly { readonly topic: string | null; readonly message: string }[]) {
  const messageList = messages.map(({ topic, message }) => ({ topic, message, status: 'E' }));
  return { messageList, success: false, status: 'N' };
}

async function show({ pipelines, key }: Deps, side: Side, c: Ctx, pipeline: string): Promise<Response> {
  const connection = (await pipelines.config(pipeline))[side];
  const shown = Object.entries(connection.params).map(([name, value]) => ({
    name,
    value: shownSealed({ key }, name, value),
  }));
  const items = [
    ...shown,
    { name: 'id', value: ids[side] },
    { name: 'status', value: connection.connected ? 'Y' : 'N' },
  ];
  return c.json(items.sort((a, b) => (a.name < b.name ? -1 : 1)));
}

function shownSealed({ key }: Pick<Deps, 'key'>, name: string, value: string): string {
  const masked = shownValue(name, '');
  if (masked !== '') return masked;
  try {
    return shownValue(name, openParams(key, { [name]: value })[name] ?? '');
  } catch {
    // Showing that a value is saved must not fail because this process has another key.
    return '***';
  }
}
