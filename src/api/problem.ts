import { STATUS_CODES } from 'node:http';

export type FieldError = { readonly field: string; readonly message: string };

/** Thrown anywhere in the API: becomes an RFC 9457 answer. `detail` is shown to clients: no secret, no internals. */
export class Problem extends Error {
  readonly status: number;
  readonly errors: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;
  /** Further members of the answer. */
  readonly more: Readonly<Record<string, unknown>>;
  constructor(
    status: number,
    detail: string,
    extra: { errors?: readonly FieldError[]; headers?: Record<string, string>; more?: Record<string, unknown> } = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.errors = extra.errors ?? [];
    this.headers = extra.headers ?? {};
    this.more = extra.more ?? {};
  }
}

/** A request whose fields are wrong; the message names them all. */
export function badFields(errors: readonly FieldError[], status = 400): Problem {
  return new Problem(status, errors.map(({ field, message }) => `${field}: ${message}`).join('; '), { errors });
}

/** The answer: RFC 9457 members first, then what clients of the documented API look for. */
export function problemResponse(problem: Problem): Response {
  const { status, message, errors, more } = problem;
  const title = STATUS_CODES[status] ?? 'Error';
  const body = { type: 'about:blank', title, status, detail: message, success: false, message, errors, ...more };
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'Content-Type': 'application/problem+json', ...problem.headers },
  });
}
