import type { TableRef } from '../model.ts';
import type { Listing } from '../source.ts';
import type { Session } from './connection.ts';
import { readTypes, type SourceType } from './source-type.ts';

export type SourceColumn = {
  readonly number: number;
  readonly name: string;
  readonly type: SourceType;
  /** As users know it: `numeric(12,2)`, or the domain's name. */
  readonly typeText: string;
  readonly notNull: boolean;
  readonly generated: 'no' | 'stored' | 'virtual';
};

/** A unique index without condition or expression. */
export type SourceIndex = {
  readonly name: string;
  readonly primary: boolean;
  /** Checked at once, not at commit: only such an index can identify rows in the log. */
  readonly immediate: boolean;
  readonly identity: boolean;
  readonly columns: readonly number[];
};

/** A table that holds rows: the table itself, or one leaf of a partitioned one. */
export type Storage = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** r: table, f: foreign. */
  readonly kind: string;
  readonly filenode: number;
  readonly pages: number;
  readonly bytes: number;
  readonly rows: number;
  readonly readable: boolean;
  /** The log can carry updates and deletes of it. */
  readonly identified: boolean;
};

/** What the catalog says of one table or view. */
export type Relation = {
  readonly oid: number;
  readonly ref: TableRef;
  /** pg_class.relkind: r table, p partitioned, v view, m materialised view, f foreign table. */
  readonly kind: string;
  readonly persistence: string;
  /** pg_class.relreplident: d primary key, i index, f full, n nothing. */
  readonly identity: string;
  readonly filtered: boolean;
  readonly owned: boolean;
  readonly usable: boolean;
  readonly readable: boolean;
  readonly children: boolean;
  readonly columns: readonly SourceColumn[];
  readonly indexes: readonly SourceIndex[];
  readonly storage: readonly Storage[];
};

const HIDDEN = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

/** Schemas with tables to choose from, sorted. */
export async function listSchemas(session: Session): Promise<string[]> {
  const { rows } = await session.query<{ name: string }>(
    `select n.nspname as name from pg_namespace n where ${HIDDEN} and has_schema_privilege(n.oid, 'USAGE') order by n.nspname::text collate "C"`,
  );
  return rows.map((row) => row.name);
}

/** Tables and partitioned roots of a schema, sorted; null when there is no such schema. */
export async function listTables(session: Session, schema: string): Promise<Listing[] | null> {
  const { rows } = await session.query<{ name: string; kind: string; rows: string }>(
    `with recursive tree(root, oid) as (
       select c.oid, c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = $1 and c.relkind in ('r', 'p') and c.relpersistence <> 't' and not c.relispartition
       union all
       select t.root, i.inhrelid from tree t join pg_class p on p.oid = t.oid and p.relkind = 'p' join pg_inherits i on i.inhparent = t.oid
     ), counts as (
       select t.root, sum(case when c.relkind = 'p' then 0 else greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0) end) as rows
       from tree t join pg_class c on c.oid = t.oid group by t.root
     )
     select c.relname as name, c.relkind as kind, round(k.rows::numeric) as rows
     from counts k join pg_class c on c.oid = k.root order by c.relname::text collate "C"`,
    [schema],
  );
  if (rows.length === 0) {
    const found = await session.query('select 1 from pg_namespace where nspname = $1', [schema]);
    if (found.rowCount === 0) return null;
  }
  return rows.map((row) => ({
    name: row.name,
    kind: row.kind === 'p' ? 'partitioned' : 'table',
    approxRows: Number(row.rows),
  }));
}

/** Reads tables in a fixed number of queries, however many; the answer's order is that of `refs`, undefined: no such table. */
export async function readRelations(
  session: Session,
  version: number,
  refs: readonly TableRef[],
): Promise<(Relation | undefined)[]> {
  const heads = await readHeads(session, refs);
  const oids = [...new Set([...heads.values()].map((head) => head.oid))];
  const [columns, indexes, storage] = [
    await readColumns(session, version, oids),
    await readIndexes(session, version, oids),
    await readStorage(session, oids),
  ];
  return refs.map((ref, index) => {
    const head = heads.get(index);
    if (!head) return undefined;
    return {
      ...head,
      ref,
      columns: columns.get(head.oid) ?? [],
      indexes: indexes.get(head.oid) ?? [],
      storage: storage.get(head.oid) ?? [],
    };
  });
}

type Head = Omit<Relation, 'ref' | 'columns' | 'indexes' | 'storage'>;

async function readHeads(session: Session, refs: readonly TableRef[]): Promise<Map<number, Head>> {
  const { rows } = await session.query<Head & { index: number }>(
    `select a.index::int - 1 as index, c.oid, c.relkind as kind, c.relpersistence as persistence, c.relreplident as identity,
       row_security_active(c.oid) as filtered, pg_has_role(c.relowner, 'USAGE') as owned, has_schema_privilege(n.oid, 'USAGE') as usable,
       has_table_privilege(c.oid, 'SELECT') as readable, c.relkind = 'r' and c.relhassubclass as children
     from unnest($1::text[], $2::text[]) with ordinality as a(schema, name, index)
     join pg_namespace n on n.nspname = a.schema
     join pg_class c on c.relnamespace = n.oid and c.relname = a.name and c.relkind in ('r', 'p', 'v', 'm', 'f')`,
    [refs.map((ref) => ref.schema), refs.map((ref) => ref.name)],
  );
  return new Map(rows.map(({ index, ...head }) => [index, head]));
}

type ColumnRow = {
  relation: number;
  number: number;
  name: string;
  type: number;
  modifier: number;
  typeText: string;
  notNull: boolean;
  generated: string;
};

async function readColumns(session: Session, version: number, oids: number[]): Promise<Map<number, SourceColumn[]>> {
  const { rows } = await session.query<ColumnRow>(
    `select attrelid as relation, attnum as number, attname as name, atttypid as type, atttypmod as modifier,
       format_type(atttypid, atttypmod) as "typeText", attnotnull as "notNull", ${version >= 120000 ? 'attgenerated' : "''"} as generated
     from pg_attribute where attrelid = any($1::oid[]) and attnum > 0 and not attisdropped order by attrelid, attnum`,
    [oids],
  );
  const resolve = await readTypes(session, [...new Set(rows.map((row) => row.type))]);
  return grouped(rows, (row) => ({
    number: row.number,
    name: row.name,
    type: resolve(row.type, row.modifier),
    typeText: row.typeText,
    notNull: row.notNull,
    generated: row.generated === 's' ? 'stored' : row.generated === 'v' ? 'virtual' : 'no',
  }));
}

async function readIndexes(session: Session, version: number, oids: number[]): Promise<Map<number, SourceIndex[]>> {
  const { rows } = await session.query<SourceIndex & { relation: number }>(
    `select i.indrelid as relation, c.relname as name, i.indisprimary as primary, i.indimmediate as immediate, i.indisreplident as identity,
       (select array_agg(k.number order by k.place) from unnest(i.indkey::int2[]) with ordinality as k(number, place)
        where k.place <= i.${version >= 110000 ? 'indnkeyatts' : 'indnatts'}) as columns
     from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indrelid = any($1::oid[]) and i.indisunique and i.indisvalid and i.indislive and i.indpred is null and i.indexprs is null
     order by i.indrelid, i.indexrelid`,
    [oids],
  );
  return grouped(rows, ({ name, primary, immediate, identity, columns }) => ({
    name,
    primary,
    immediate,
    identity,
    columns,
  }));
}

async function readStorage(session: Session, oids: number[]): Promise<Map<number, Storage[]>> {
  const { rows } = await session.query<Storage & { relation: number }>(
    `with recursive tree(root, oid) as (
       select oid, oid from unnest($1::oid[]) as o(oid)
       union all
       select t.root, i.inhrelid from tree t join pg_class p on p.oid = t.oid and p.relkind = 'p' join pg_inherits i on i.inhparent = t.oid
     )
     select t.root as relation, c.oid, n.nspname as schema, c.relname as name, c.relkind as kind,
       coalesce(pg_relation_filenode(c.oid), 0) as filenode,
       coalesce(pg_relation_size(c.oid) / current_setting('block_size')::int, 0)::float8 as pages,
       coalesce(pg_table_size(c.oid), 0)::float8 as bytes,
       greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::float8 as rows,
       has_table_privilege(c.oid, 'SELECT') and has_schema_privilege(n.oid, 'USAGE') and not row_security_active(c.oid) as readable,
       c.relpersistence = 'p' and case c.relreplident when 'f' then true when 'n' then false else exists (
         select from pg_index i where i.indrelid = c.oid and i.indisvalid and i.indimmediate
           and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end) end as identified
     from tree t join pg_class c on c.oid = t.oid join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'f', 'm') order by t.root, c.oid`,
    [oids],
  );
  return grouped(rows, ({ relation: _, ...storage }) => storage);
}

function grouped<R extends { relation: number }, T>(rows: readonly R[], make: (row: R) => T): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const row of rows) {
    const group = groups.get(row.relation);
    if (group) group.push(make(row));
    else groups.set(row.relation, [make(row)]);
  }
  return groups;
}
