/** Rules of connection parameters: what a value must look like, how a PATCH merges, what a GET shows. Clear values come and go here only. */
import {
  codeAt,
  destinationCode,
  documentedParams,
  isSecret,
  maskCredentials,
  mayHoldSecret,
  mayLackUser,
} from '../codes.ts';
import { isOption, optionProblem } from '../options.ts';
import type { Side } from '../workflows/messages.ts';
import type { FieldError } from './problem.ts';

export type Params = Readonly<Record<string, string>>;
export type Item = { readonly name: string; readonly value: string | number };

const kept = '***';
const readOnly = ['id', 'status'];
const neverEmpty = ['host', 'port', 'uid', 'type'];

/** The parameters of a request body, numbers as text, read-only names (of a GET's answer sent back) left out. */
export function paramsOf(items: readonly Item[]): { params: Params; errors: FieldError[] } {
  const params = new Map<string, string>();
  const errors: FieldError[] = [];
  items.forEach(({ name, value }, index) => {
    const problem = nameProblem(name) ?? numberProblem(name, value) ?? textProblem(String(value));
    if (problem !== undefined)
      errors.push({ field: problem.about === 'name' ? `[${index}].name` : name, message: problem.message });
    else if (params.has(name)) errors.push({ field: name, message: 'appears more than once' });
    else if (!readOnly.includes(name)) params.set(name, String(value));
  });
  if (params.size > 200) errors.push({ field: 'body', message: 'must not hold more than 200 parameters' });
  return { params: Object.fromEntries(params), errors };
}

type NamedProblem = { readonly about: 'name' | 'value'; readonly message: string };

function nameProblem(name: string): NamedProblem | undefined {
  if (name === '') return { about: 'name', message: 'must not be empty' };
  if (name === '__proto__' || !/^[\p{L}\p{N}_.:/ -]{1,100}$/u.test(name)) {
    return { about: 'name', message: 'must be 1 to 100 letters, digits or _ . : / - and spaces' };
  }
  return undefined;
}

function numberProblem(name: string, value: string | number): NamedProblem | undefined {
  if (typeof value === 'string' || name === 'port' || isOption(name)) return undefined;
  return { about: 'value', message: 'must be a string' };
}

function textProblem(value: string): NamedProblem | undefined {
  if (!value.isWellFormed()) return { about: 'value', message: 'must be valid Unicode' };
  if (value.includes('\0')) return { about: 'value', message: 'must not hold a NUL character' };
  return value.length > 65_536 ? { about: 'value', message: 'must not be longer than 65536 characters' } : undefined;
}

/** What is wrong with values by themselves; `***` and `""` are not looked at. An unknown `type` is one of them. */
export function valueErrors(side: Side, params: Params): FieldError[] {
  return Object.entries(params).flatMap(([name, value]) => {
    if (value === kept || value === '') return [];
    const message = valueProblem(side, name, value);
    return message === undefined ? [] : [{ field: name, message }];
  });
}

function valueProblem(side: Side, name: string, value: string): string | undefined {
  if (isOption(name)) return optionProblem(side, name, value);
  switch (name) {
    case 'host':
      // What has an `@` holds a password, perhaps, which would be shown.
      return /^[^\s\p{Cc}@]{1,255}$/u.test(value)
        ? undefined
        : 'must be a host name or an address, without user and password';
    case 'port':
      return /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535
        ? undefined
        : 'must be a port number from 1 to 65535';
    case 'uid':
    case 'db':
    case 'drv':
      return /^\P{Cc}{1,255}$/u.test(value) ? undefined : 'must be 1 to 255 characters without control characters';
    case 'url':
      return /^jdbc:\P{Cc}+$/u.test(value) ? undefined : 'must be a JDBC URL (jdbc:…)';
    case 'type':
      if (codeAt(side, value) !== undefined) return undefined;
      return side === 'destination' ? `must be ${destinationCode.code}` : 'must be one of the supported database types';
    default:
      return undefined;
  }
}

/** Names that neither the reference nor our option table knows. */
export function unknownNames(params: Params): string[] {
  return Object.keys(params).filter((name) => !documentedParams.includes(name) && !isOption(name));
}

/** Lays `given` over `stored` (both clear) as PATCH does; on errors nothing may be stored. */
export function mergeParams(side: Side, stored: Params, given: Params): { params: Params; errors: FieldError[] } {
  const errors = valueErrors(side, given);
  const mayLack = mayLackUser(given.type ?? stored.type) ? ['uid'] : [];
  const merged = new Map(Object.entries(stored));
  for (const [name, value] of Object.entries(given)) {
    if (value === '' && neverEmpty.includes(name) && !mayLack.includes(name))
      errors.push({ field: name, message: 'must not be empty' });
    else if (value === '' && name !== 'pwd' && name !== 'pwd2') merged.delete(name);
    else if (!keeps(name, value, stored)) merged.set(name, value);
    else if (name === 'pwd2' && stored.pwd !== undefined) merged.set('pwd2', stored.pwd);
  }
  if (given.pwd !== undefined && given.pwd2 === undefined && merged.has('pwd2'))
    merged.set('pwd2', merged.get('pwd') ?? '');
  if (given.pwd2 !== undefined && merged.get('pwd2') !== merged.get('pwd'))
    errors.push({ field: 'pwd2', message: 'must be equal to pwd' });
  return { params: Object.fromEntries(merged), errors };
}

/** The parameters that a test connects with: those of the request, masked values taken from `stored`. */
export function testParams(stored: Params, given: Params): { params: Params; errors: FieldError[] } {
  const errors: FieldError[] = [];
  const params = new Map<string, string>();
  for (const [name, value] of Object.entries(given)) {
    if (!keeps(name, value, stored)) {
      if (value !== '' || name === 'pwd' || name === 'pwd2') params.set(name, value);
      continue;
    }
    const before = name === 'pwd2' ? stored.pwd : stored[name];
    if (before === undefined && name !== 'pwd2')
      errors.push({ field: name, message: `*** stands for the saved value of ${name}, but none is saved.` });
    else if (before !== undefined) params.set(name, before);
  }
  if (given.pwd2 !== undefined && errors.length === 0 && params.get('pwd2') !== params.get('pwd')) {
    errors.push({ field: 'pwd2', message: 'pwd and pwd2 are not equal.' });
  }
  return { params: Object.fromEntries(params), errors };
}

/** A value as GET shows it: sent back, it changes nothing. */
export function shownValue(name: string, value: string): string {
  if (isSecret(name)) return kept;
  return mayHoldSecret(name) ? maskCredentials(value) : value;
}

function keeps(name: string, value: string, stored: Params): boolean {
  if (value === kept && (isSecret(name) || mayHoldSecret(name))) return true;
  const before = stored[name];
  return mayHoldSecret(name) && before !== undefined && value === maskCredentials(before) && value !== before;
}
