import { existsSync, readFileSync } from 'node:fs';
import { Misconfigured } from './errors.ts';
import type { Params } from './model.ts';

/** Parameters of a source as its options read them. An empty one counts as not given. All throw `Misconfigured`, which says what to set. */

export function given(params: Params, name: string): string | undefined {
  const value = params[name];
  return value === undefined || value === '' ? undefined : value;
}

/** One of `words`; the first where none is given. */
export function word<const W extends string>(params: Params, name: string, words: readonly [W, ...W[]]): W {
  const value = given(params, name);
  if (value === undefined) return words[0];
  const known = words.find((one) => one === value);
  if (known === undefined) throw malformed(name, `one of ${words.join(', ')}`);
  return known;
}

/** How connections are encrypted, in PostgreSQL's words. */
export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export function sslMode(params: Params): SslMode {
  return word(params, 'ssl_mode', ['prefer', 'disable', 'require', 'verify-ca', 'verify-full']);
}

/** PEM text, given as such or as the path of a file that holds it on the worker. */
export function pem(params: Params, name: string): string | undefined {
  const value = given(params, name);
  if (value === undefined || value.includes('-----BEGIN ')) return value;
  if (!existsSync(value)) throw malformed(name, 'PEM text or the path of a file on the worker');
  return readFileSync(value, 'utf8');
}

/** A port; `fallback` where none is given. */
export function portOf(params: Params, name: string, fallback: number): number {
  const value = Number(given(params, name) ?? fallback);
  if (!Number.isInteger(value) || value < 1 || value > 65_535) throw malformed(name, 'a number from 1 to 65535');
  return value;
}

export function malformed(name: string, wanted: string): Misconfigured {
  return new Misconfigured(`The parameter ${name} is missing or malformed.`, `Set ${name} to ${wanted}.`);
}
