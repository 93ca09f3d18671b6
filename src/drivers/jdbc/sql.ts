import { UnsupportedValue } from '../errors.ts';
import type { TableRef } from '../model.ts';
import type { Facts } from './session.ts';

/** `name` as an identifier in SQL of this database. Throws `UnsupportedValue` where it can't be quoted. */
export function quoteName({ quote, productName }: Facts, name: string): string {
  if (quote === '') {
    if (/^[A-Za-z_]\w*$/.test(name)) return name;
    throw new UnsupportedValue(
      `${productName} has no quoted names, so that ${name} can't be named.`,
      'Rename it, or copy a view with another name.',
    );
  }
  const end = quote === '[' ? ']' : quote;
  return `${quote}${name.replaceAll(end, end + end)}${end}`;
}

/** A table in SQL, with what it lies in. */
export function quoteTable(facts: Facts, { schema, name }: TableRef): string {
  return facts.level === 'none' ? quoteName(facts, name) : `${quoteName(facts, schema)}.${quoteName(facts, name)}`;
}
