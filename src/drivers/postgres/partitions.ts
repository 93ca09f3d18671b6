import type { CaptureRequest } from '../changes.ts';
import type { Table } from '../model.ts';
import type { Server, Session } from './connection.ts';
import { storageFiles, storageOf } from './table.ts';

/** Files of the partitions of followed tables, by table and oid; null: not known which file. */
export type Partitions = ReadonlyMap<number, ReadonlyMap<number, number | null>>;

/** What became of a table's partitions. `now`: only new ones came, whose rows are all in the log. */
export type PartitionChange = { readonly table: number; readonly now: Table | null; readonly reason: string };

type Leaf = {
  index: number;
  oid: number;
  name: string;
  filenode: number;
  kind: string;
  attached: boolean;
  published: boolean;
};

/**
 * Compares partitions with those that were known (EXACTNESS.md §7): one that is detached, dropped, truncated or attached takes or brings rows
 * without a trace in the log of its root. `before`: what this reader found last; the first time, what the tables' structures say. `written`:
 * partitions that the log has named meanwhile, by their table.
 */
export async function checkPartitions(
  session: Session,
  server: Server,
  request: CaptureRequest,
  before: Partitions | undefined,
  written: ReadonlyMap<number, number>,
): Promise<{ found: Partitions; changes: PartitionChange[] }> {
  const roots = request.tables.flatMap(({ table }, index) => (table.kind === 'partitioned' ? [{ table, index }] : []));
  const found = new Map<number, ReadonlyMap<number, number | null>>();
  const changes: PartitionChange[] = [];
  if (roots.length === 0) return { found, changes };
  const leaves = await readLeaves(session, server, request.pipeline, roots);
  for (const { table, index } of roots) {
    const mine = leaves.filter((leaf) => leaf.index === index);
    found.set(index, new Map(mine.map((leaf) => [leaf.oid, leaf.filenode])));
    const known = new Map(before?.get(index) ?? storageFiles(table));
    for (const [oid, root] of written) if (root === index && !known.has(oid)) known.set(oid, null);
    const reason =
      before === undefined && storageFiles(table) === undefined && table.storage !== storageOf(mine)
        ? 'Its partitions are not those that were copied.'
        : problemOf(server, request.pipeline, known, mine);
    if (reason !== undefined) changes.push({ table: index, now: null, reason });
    else if (before === undefined && mine.some((leaf) => !known.has(leaf.oid)))
      changes.push({ table: index, now: { ...table, storage: storageOf(mine) }, reason: 'A partition was added.' });
  }
  return { found, changes };
}

function problemOf(
  server: Server,
  publication: string,
  known: ReadonlyMap<number, number | null>,
  leaves: readonly Leaf[],
): string | undefined {
  for (const oid of known.keys())
    if (!leaves.some((leaf) => leaf.oid === oid)) return 'One of its partitions was dropped or detached.';
  for (const { oid, name, filenode, kind, attached, published } of leaves) {
    const before = known.get(oid);
    if (before !== undefined && before !== null && before !== filenode)
      return `Its partition ${name} was truncated or written anew.`;
    if (before === undefined && attached) return `The table ${name} was attached to it as a partition.`;
    if (kind !== 'r') return `The log has no changes of its partition ${name}, which is a foreign table.`;
    if (server.version < 130000 && !published)
      return `The publication "${publication}" does not carry its partition ${name}.`;
  }
  return undefined;
}

/** A partition that was made as one has its place in the tree from the transaction that made it; an attached one got it later. */
async function readLeaves(
  session: Session,
  server: Server,
  publication: string,
  roots: readonly { readonly table: Table; readonly index: number }[],
): Promise<Leaf[]> {
  const { rows } = await session.query<Leaf & { place: number }>(
    `with recursive tree(place, oid, attached) as (
       select r.place, c.oid, false from unnest($2::text[], $3::text[]) with ordinality as r(schema, name, place)
         join pg_namespace n on n.nspname = r.schema join pg_class c on c.relnamespace = n.oid and c.relname = r.name
       union all
       select t.place, i.inhrelid, t.attached or i.xmin::text <> (select a.xmin::text from pg_attribute a where a.attrelid = i.inhrelid and a.attname = 'tableoid')
       from tree t join pg_inherits i on i.inhparent = t.oid
     )
     select t.place::int - 1 as place, c.oid, n.nspname || '.' || c.relname as name, coalesce(pg_relation_filenode(c.oid), 0)::int8::float8 as filenode,
       c.relkind as kind, t.attached, ${
         server.version >= 130000
           ? 'true'
           : 'exists (select from pg_publication p where p.pubname = $1 and (p.puballtables or exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = c.oid)))'
       } and $1::text is not null as published
     from tree t join pg_class c on c.oid = t.oid join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'f') order by t.place, c.oid`,
    [publication, roots.map(({ table }) => table.ref.schema), roots.map(({ table }) => table.ref.name)],
  );
  return rows.map((row) => ({ ...row, index: (roots[row.place] as (typeof roots)[0]).index }));
}
