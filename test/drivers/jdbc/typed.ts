import { expect } from 'vitest';
import { formatColumnType } from '../../../src/drivers/column-types.ts';
import { open } from '../../../src/drivers/jdbc/source.ts';
import type { Params } from '../../../src/drivers/model.ts';
import { describeOne, readRange } from '../source-suite.ts';
import type { TypeCase } from './type-cases.ts';

/** A table of one column per case, a row of the values and a row of NULLs. */
export function statements(table: string, cases: readonly TypeCase[]): string[] {
  const columns = cases.map(([declared], i) => `c${i} ${declared}`);
  return [
    `create table ${table} (${['id integer not null primary key', ...columns].join(', ')})`,
    `insert into ${table} values (${['1', ...cases.map(([, literal]) => literal)].join(', ')})`,
    `insert into ${table} (id) values (2)`,
  ];
}

/** Each column has the type, and its values the texts, that its case says. */
export async function expectTypes(
  params: Params,
  schema: string,
  name: string,
  cases: readonly TypeCase[],
): Promise<void> {
  await using source = await open(params, new AbortController().signal);
  const table = await describeOne(source, schema, name);
  const [range] = (await source.split(table, undefined, 1e12)).ranges;
  const { rows } = await readRange(source, table, range as string);
  expect(rows.map((row) => row[0])).toEqual(['1', '2']);
  const found = cases.map(([declared, literal], i) => [
    declared,
    literal,
    formatColumnType((table.columns[i + 1] as (typeof table.columns)[number]).type),
    rows[0]?.[i + 1],
  ]);
  expect(found).toEqual(cases.map((one) => [...one]));
  expect(rows[1]?.slice(1)).toEqual(cases.map(() => null));
}
