import { createHmac, randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import type { z } from 'zod';
import type { SecretKey } from '../secrets.ts';
import { badFields, type FieldError, Problem } from './problem.ts';

/** What the middleware of `app.ts` leaves for routes. */
export type Env = { Variables: { requestId: string; bodyLimit: number; caller?: string } };
export type Ctx = Context<Env>;

/** Path segments after the route's base, decoded one by one: `%2F`, dots and Unicode stay within their segment. */
export function segments(c: Ctx): string[] {
  const { pathname } = new URL(c.req.url);
  return pathname
    .replace(/\/+$/, '')
    .split('/')
    .map((segment) => {
      try {
        return decodeURIComponent(segment);
      } catch {
        throw new Problem(400, `The path segment ${segment} is not valid percent-encoded UTF-8.`, {
          errors: [{ field: 'path', message: 'must be percent-encoded UTF-8' }],
        });
      }
    });
}

/** The last `count` path segments, decoded. */
export function lastSegments(c: Ctx, count: number): string[] {
  return segments(c).slice(-count);
}

/** Reads a JSON body. With `optional` an empty body is `undefined` and the content type doesn't matter then. */
export async function readJson(c: Ctx, optional = false): Promise<unknown> {
  const bytes = await readBytes(c);
  if (optional && bytes.length === 0) return undefined;
  const type = c.req.header('content-type') ?? '';
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) {
    throw new Problem(
      415,
      `Content-Type must be application/json${type === '' ? '' : `, not ${type.slice(0, 100)}`}.`,
      {
        errors: [{ field: 'Content-Type', message: 'must be application/json' }],
      },
    );
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is not valid JSON' : 'is not valid UTF-8';
    throw new Problem(400, `The request body ${bytes.length === 0 ? 'is missing' : why}.`, {
      errors: [{ field: 'body', message: bytes.length === 0 ? 'is required' : why }],
    });
  }
}

async function readBytes(c: Ctx): Promise<Uint8Array> {
  const limit = c.get('bodyLimit');
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of c.req.raw.body ?? []) {
    size += part.length;
    // A chunked body announces no length, so it is cut off while it arrives.
    if (size > limit) throw tooLarge(limit);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

export function tooLarge(limit: number): Problem {
  return new Problem(413, `The request body is larger than ${limit} bytes.`, {
    errors: [{ field: 'body', message: `must not be larger than ${limit} bytes` }],
  });
}

/** Reads a JSON body of a given shape. */
export async function readBody<T>(c: Ctx, schema: z.ZodType<T>): Promise<T> {
  return checked(schema, await readJson(c), 'body');
}

/** Like `readBody`; no body counts as `{}`. */
export async function readOptionalBody<T>(c: Ctx, schema: z.ZodType<T>): Promise<T> {
  return checked(schema, (await readJson(c, true)) ?? {}, 'body');
}

/** `value` if it has the schema's shape, else a problem that names every wrong field. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, whole: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors: FieldError[] = result.error.issues.flatMap((issue) => {
    const path = fieldName(issue.path, whole);
    if (issue.code !== 'unrecognized_keys') return [{ field: path, message: issue.message }];
    return issue.keys.map((key) => ({ field: path === whole ? key : `${path}.${key}`, message: 'is not known' }));
  });
  throw badFields(errors);
}

function fieldName(path: readonly PropertyKey[], whole: string): string {
  const name = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  return name === '' ? whole : name.replace(/^\./, '');
}

/**
 * The key under which a pipeline remembers this request: the client's, bound to method, path and body, so that a key used for two
 * different requests doesn't answer one with the other's result. Keyed, because it is stored and a body may hold a password.
 */
export function idempotencyKey(
  c: Ctx,
  secret: SecretKey,
  body: unknown,
): { readonly given: string; readonly key: string } {
  const header = c.req.header('idempotency-key');
  if (header !== undefined && !/^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(header)) {
    throw badFields([{ field: 'Idempotency-Key', message: 'must be 1 to 255 printable ASCII characters' }]);
  }
  const given = header ?? randomUUID();
  const scope = JSON.stringify([c.req.method, new URL(c.req.url).pathname, body ?? null, given]);
  return { given, key: createHmac('sha256', secret.mac).update(scope).digest('base64url') };
}

/** True when the client asks for the whole result (RFC 7240). */
export function wantsRepresentation(c: Ctx): boolean {
  return /(^|[,;])\s*return\s*=\s*"?representation"?\s*($|[,;])/i.test(c.req.header('prefer') ?? '');
}

/** An answer without a body. */
export function noContent(): Response {
  return new Response(null, { status: 204 });
}
