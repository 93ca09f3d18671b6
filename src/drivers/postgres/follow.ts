import type { FollowedTable } from '../changes.ts';
import type { Table } from '../model.ts';
import { readRelations } from './catalog.ts';
import type { Server, Session } from './connection.ts';
import { jsonFrom } from './log-json.ts';
import type { LogRelation } from './log-relation.ts';
import type { LogColumn, RowPlan } from './log-rows.ts';
import { readTypes, type SourceType } from './source-type.ts';
import type { ruleTally } from './special-values.ts';
import { cellOf, structureParts } from './table.ts';

/**
 * Rows of a relation can be followed, or why not. `types`: as the relation's columns were, for a look at what it is today. `now`: the structure in
 * which they can be, whatever it is today.
 */
export type Settled =
  | { readonly plan: RowPlan }
  | { readonly reason: string; readonly table: number; readonly types: readonly string[] | null; readonly now?: Table };

/** Finds the followed table of a relation of the log. */
export type Follow = {
  /** Its table's index; undefined: nobody follows it. */
  tableOf(relation: LogRelation): number | undefined;
  /** Compares it with the structure that is followed (EXACTNESS.md §7). */
  settle(session: Session, relation: LogRelation, table: number): Promise<Settled>;
};

/** `leaves`: partitions whose publication does not know their root, with its index. */
export function follow(
  server: Server,
  tables: readonly FollowedTable[],
  leaves: ReadonlyMap<number, number>,
  tallies: readonly ReturnType<typeof ruleTally>[],
): Follow {
  const typesOf = logTypes();
  const byOid = new Map(leaves);
  const byName = new Map<string, number>();
  for (const [index, { table }] of tables.entries()) {
    const oid = structureParts(table)?.oid;
    if (oid !== undefined) byOid.set(oid, index);
    byName.set(nameOf(table.ref), index);
  }
  return {
    tableOf: (relation) => byOid.get(relation.oid) ?? byName.get(nameOf(relation)),

    async settle(session, relation, index) {
      const { table } = tables[index] as FollowedTable;
      const not = (reason: string, types: readonly string[] | null = null): Settled => ({
        reason,
        table: index,
        types,
      });
      const leaf = leaves.has(relation.oid);
      const parts = structureParts(table);
      if (!leaf && parts !== undefined && parts.oid !== relation.oid) return not('Another table has taken its name.');
      if (!leaf && nameOf(relation) !== nameOf(table.ref))
        return not(`It was renamed to ${relation.schema}.${relation.name}.`);
      const types = await typesOf(session, relation.columns);
      const difference = differenceOf(table, relation, types);
      if (difference !== undefined)
        return not(
          difference,
          types.map((type) => type.text),
        );
      const today = await columnsToday(session, table);
      const problem = renumbered(table, today) ?? (await keyProblem(session, server, relation, table));
      if (problem !== undefined) return not(problem);
      const freed = freedColumns(table, today);
      if (freed.size > 0) {
        const columns = table.columns.map((column) =>
          freed.has(column.name) ? { ...column, nullable: true } : column,
        );
        const reason = `Its column "${[...freed].join('", "')}" may be NULL from now on.`;
        // The catalog may have other columns than these rows by now: that is told when the log has come to them.
        return today?.columns.size === table.columns.length + table.leftOut.length
          ? not(
              reason,
              types.map((type) => type.text),
            )
          : { reason, table: index, types: null, now: { ...table, columns } };
      }
      const columns = table.columns.map((column, place): LogColumn => {
        const { type } = types[place] as { type: SourceType };
        const key = table.key.includes(column.name);
        const cell = cellOf({ name: column.name, type }, column, key, server.moneyScale);
        const json = cell.log === 'json' ? jsonFrom(type, server.moneyScale) : undefined;
        return {
          name: column.name,
          form: cell.log === 'json' && json === undefined ? 'unknown' : cell.log,
          special: cell.special,
          json,
          key,
        };
      });
      const key = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
      const lost = columns.find((column) => column.key && column.form === 'unknown');
      if (lost !== undefined)
        return not(`The log does not carry its key column "${lost.name}" in a form that can be read.`);
      const name = `${table.ref.schema}.${table.ref.name}`;
      return {
        plan: { table: index, name, columns, key, leaf, tally: tallies[index] as ReturnType<typeof ruleTally> },
      };
    },
  };
}

function nameOf(ref: { readonly schema: string; readonly name: string }): string {
  return `${ref.schema}\0${ref.name}`;
}

type LogType = { readonly type: SourceType; readonly text: string };

/** Types by oid and modifier. They are kept: a type does not become another one, and other fields of a composite are found in its values. */
function logTypes(): (session: Session, columns: LogRelation['columns']) => Promise<LogType[]> {
  const known = new Map<string, LogType>();
  const idOf = (column: LogRelation['columns'][0]): string => `${column.type} ${column.modifier}`;
  return async (session, columns) => {
    const missing = columns.filter((column) => !known.has(idOf(column)));
    if (missing.length > 0) {
      const resolve = await readTypes(session, [...new Set(missing.map((column) => column.type))]);
      const { rows } = await session.query<{ text: string }>(
        'select format_type(oid, modifier) as text from unnest($1::oid[], $2::int[]) with ordinality as t(oid, modifier, place) order by place',
        [missing.map((column) => column.type), missing.map((column) => column.modifier)],
      );
      for (const [index, column] of missing.entries())
        known.set(idOf(column), { type: resolve(column.type, column.modifier), text: rows[index]?.text ?? '' });
    }
    return columns.map((column) => known.get(idOf(column)) as LogType);
  };
}

function differenceOf(table: Table, relation: LogRelation, types: readonly { text: string }[]): string | undefined {
  const before = table.columns;
  for (const [index, column] of before.entries()) {
    const place = relation.columns.findIndex((one) => one.name === column.name);
    if (place < 0) return `Its column "${column.name}" was dropped or renamed, or the publication leaves it out.`;
    const text = types[place]?.text;
    if (text !== column.sourceType) return `Its column "${column.name}" is ${text} instead of ${column.sourceType}.`;
    if (place !== index && relation.columns.length === before.length) return 'The order of its columns is another one.';
  }
  const added = relation.columns.find((one) => !before.some((column) => column.name === one.name));
  return added && `A column "${added.name}" was added.`;
}

/** A table's columns in the catalog, which may be ahead of the log; undefined: there is no such table. */
type Today = { readonly oid: number; readonly columns: ReadonlyMap<string, { number: number; notNull: boolean }> };

/** Asked for every relation of the log, so that it is one small query. */
async function columnsToday(session: Session, table: Table): Promise<Today | undefined> {
  const { rows } = await session.query<{ oid: number; columns: Record<string, [number, boolean]> | null }>(
    `select c.oid, (select json_object_agg(attname, json_build_array(attnum, attnotnull)) from pg_attribute
       where attrelid = c.oid and attnum > 0 and not attisdropped) as columns
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2`,
    [table.ref.schema, table.ref.name],
  );
  const now = rows[0];
  if (now === undefined) return undefined;
  const columns = Object.entries(now.columns ?? {}).map(
    ([name, [number, notNull]]) => [name, { number, notNull }] as const,
  );
  return { oid: now.oid, columns: new Map(columns) };
}

/**
 * A column dropped and added again under the same name and type: the log shows no difference, the catalog does. It may have come to that
 * later than these rows; they need the same reload.
 */
function renumbered(table: Table, today: Today | undefined): string | undefined {
  if (today === undefined) return 'It was dropped or renamed.';
  const parts = structureParts(table);
  if (parts === undefined) return undefined;
  if (parts.oid !== today.oid) return 'Another table has taken its name.';
  const column = table.columns.find(
    ({ name }, place) => today.columns.has(name) && today.columns.get(name)?.number !== parts.numbers[place],
  );
  return column && `Its column "${column.name}" was dropped and added again.`;
}

/** Columns that take NULL now, which the log does not say. */
function freedColumns(table: Table, today: Today | undefined): Set<string> {
  const freed = table.columns.filter(
    ({ name, nullable }) => !nullable && !table.key.includes(name) && today?.columns.get(name)?.notNull === false,
  );
  return new Set(freed.map(({ name }) => name));
}

/** Whether the log names the key of every row, and the key still names one row only. */
async function keyProblem(
  session: Session,
  server: Server,
  relation: LogRelation,
  table: Table,
): Promise<string | undefined> {
  if (table.key.length === 0) return 'It has no key.';
  const carried = relation.columns.filter((column) => column.identity).map((column) => column.name);
  if (!table.key.every((name) => carried.includes(name)))
    return `The log does not carry its key (${table.key.join(', ')}): its replica identity or primary key was changed.`;
  // An identity of just these columns is unique by itself.
  if (relation.identity !== 'f' && carried.length === table.key.length) return undefined;
  const now = (await readRelations(session, server.version, [table.ref]))[0];
  if (now === undefined) return 'It was dropped or renamed.';
  const numbers = now.columns.filter((column) => table.key.includes(column.name)).map((column) => column.number);
  if (now.indexes.some((index) => index.columns.every((number) => numbers.includes(number)))) return undefined;
  return `Nothing keeps its key (${table.key.join(', ')}) unique any more.`;
}
