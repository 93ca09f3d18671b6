import type { Session } from './connection.ts';

/** A type with what it is made of; `name` is the base type's own name, domains are already followed to their base. */
export type SourceType = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'base' | 'enum' | 'composite' | 'range' | 'array';
  readonly element: SourceType | undefined;
  /** Length, precision or scale as PostgreSQL packs them; -1 without. */
  readonly modifier: number;
  /** Fields of a composite type, in its order. */
  readonly fields?: readonly Field[];
  /** What stands between elements in the text of an array of this type, where it is not a comma. */
  readonly delimiter?: string;
  /** A cast of its own decides what `to_json` makes of it. */
  readonly jsonCast?: true;
};

type Field = { readonly name: string; readonly type: SourceType };

type TypeRow = {
  oid: number;
  schema: string;
  name: string;
  kind: string;
  base: number;
  baseModifier: number;
  /** 0: not an array. */
  element: number;
  delimiter: string;
  jsonCast: boolean;
  fields: { name: string; type: number; modifier: number }[] | null;
};

/** Reads types and all that they are made of; the answer gives one by its oid and modifier. */
export async function readTypes(
  session: Session,
  wanted: readonly number[],
): Promise<(oid: number, modifier: number) => SourceType> {
  const types = new Map<number, TypeRow>();
  const asked = new Set<number>();
  for (let missing = wanted; missing.length > 0; ) {
    for (const oid of missing) asked.add(oid);
    const { rows } = await session.query<TypeRow>(
      `select t.oid, n.nspname as schema, t.typname as name, t.typtype as kind, t.typbasetype as base, t.typtypmod as "baseModifier",
         case when t.typcategory = 'A' and t.typlen = -1 then t.typelem else 0 end as element, t.typdelim as delimiter,
         exists (select from pg_cast where castsource = t.oid and casttarget = 'json'::regtype and castmethod = 'f' and t.oid >= 16384) as "jsonCast",
         case t.typtype when 'c' then (select json_agg(json_build_object('name', attname, 'type', atttypid::int8, 'modifier', atttypmod) order by attnum)
           from pg_attribute where attrelid = t.typrelid and attnum > 0 and not attisdropped) end as fields
       from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = any($1::oid[])`,
      [missing],
    );
    for (const row of rows) types.set(row.oid, row);
    const parts = rows.flatMap((row) => [row.base, row.element, ...(row.fields ?? []).map((field) => field.type)]);
    missing = [...new Set(parts)].filter((oid) => oid !== 0 && !asked.has(oid));
  }
  return (oid, modifier) => resolve(types, oid, modifier);
}

const KINDS: Readonly<Record<string, SourceType['kind']>> = { e: 'enum', c: 'composite', r: 'range', m: 'range' };

function resolve(types: ReadonlyMap<number, TypeRow>, oid: number, modifier: number): SourceType {
  const row = types.get(oid);
  if (!row) return { oid, schema: '', name: 'unknown', kind: 'base', element: undefined, modifier };
  // A domain's own modifier is the one that its base type obeys; a column of a domain has none.
  if (row.kind === 'd') return resolve(types, row.base, row.baseModifier);
  const { schema, name } = row;
  if (row.element !== 0)
    return { oid, schema, name, kind: 'array', element: resolve(types, row.element, modifier), modifier };
  return {
    oid,
    schema,
    name,
    kind: KINDS[row.kind] ?? 'base',
    element: undefined,
    modifier,
    ...(row.fields === null
      ? {}
      : {
          fields: row.fields.map((field) => ({ name: field.name, type: resolve(types, field.type, field.modifier) })),
        }),
    ...(row.delimiter === ',' ? {} : { delimiter: row.delimiter }),
    ...(row.jsonCast ? { jsonCast: true as const } : {}),
  };
}
