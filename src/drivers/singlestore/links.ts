import type { Followed } from '../apply.ts';
import { cascadeProblem, isString } from '../cascades.ts';
import type { Cascade, Column } from '../model.ts';
import { keyTexts } from './compare.ts';
import type { FoldKind } from './fold.ts';
import { stageName } from './names.ts';
import { quote, table } from './sql.ts';

/** Foreign keys between followed tables by which rows change below the log, and the statements that find such rows in the copies. */

/** One foreign key; tables by index. */
export type Link = {
  readonly parent: number;
  readonly child: number;
  /** Columns of the child that refer to the parent. */
  readonly columns: readonly string[];
  /** Keys of the child's rows that refer to a staged key of the parent; `all`: to any key, `odd`: by letters that only the source compares. */
  readonly find: string;
  readonly odd: string | null;
  readonly all: string;
  /** Keys of the child's rows whose parent is not there. */
  readonly orphans: string;
};

export type Links = {
  /** What is asked of the folds, by table. */
  readonly kinds: readonly FoldKind[];
  of(parent: number): readonly Link[];
  /** Links to a child from tables that may lose rows themselves without a word in the log. */
  unseen(child: number): readonly Link[];
  /** Tables above a child that may lose rows without a word in the log, all generations. */
  above(child: number): ReadonlySet<number>;
  /** All generations of children. */
  below(parent: number): ReadonlySet<number>;
  /** Tables whose rows can't be known to be equal to one moment of the source before those of this one are: its children, if it is a child itself. */
  held(parent: number): ReadonlySet<number>;
};

/** Finds the links between the tables of a scope. What can't be followed has none: such a table has left the stream, or only waits to be put in place. */
export function linksOf(tables: readonly Followed[]): Links {
  const links: Link[] = [];
  for (const [child, followed] of tables.entries())
    for (const cascade of followed.table.cascades ?? []) {
      const parent = tables.findIndex(
        ({ ref, target }) =>
          ref.schema === cascade.parent.schema &&
          ref.name === cascade.parent.name &&
          target.database === followed.target.database,
      );
      const found = tables[parent];
      if (!found || cascadeProblem(followed.table, cascade, { table: found.table, sameDatabase: true }) !== undefined)
        continue;
      links.push(linkOf(parent, found, child, followed, cascade));
    }
  const from = Map.groupBy(links, (link) => link.parent);
  const to = Map.groupBy(links, (link) => link.child);
  const kinds = tables.map(({ table: { immediate } }, i) => ({
    ...(immediate ? { immediate } : {}),
    ...(from.has(i) ? { parent: true, between: to.has(i) } : {}),
  }));
  const unseen = (child: number) => (to.get(child) ?? []).filter(({ parent }) => to.has(parent));
  const above = (child: number) => closure(child, (i) => unseen(i).map(({ parent }) => parent));
  const below = (parent: number) => closure(parent, (i) => (from.get(i) ?? []).map(({ child }) => child));
  const held = (parent: number) => (to.has(parent) ? below(parent) : new Set<number>());
  return { kinds, of: (parent) => from.get(parent) ?? [], unseen, above, below, held };
}

function closure(start: number, next: (index: number) => readonly number[]): ReadonlySet<number> {
  const found = new Set<number>();
  for (let open = [...next(start)]; open.length > 0; ) {
    const one = open.pop() as number;
    if (found.has(one)) continue;
    found.add(one);
    open = open.concat(next(one));
  }
  return found;
}

function linkOf(parent: number, above: Followed, child: number, below: Followed, cascade: Cascade): Link {
  const { columns, references } = cascade;
  const live = (followed: Followed) => table(followed.target.database, followed.place).raw;
  const staged = table(above.target.database, stageName(above.id)).raw;
  const pairs = columns.map((name, i) => ({
    ours: below.table.columns.find((column) => column.name === name) as Column,
    theirs: quote(references[i] as string),
  }));
  const on = (other: string) =>
    pairs
      .map(({ ours, theirs }) => {
        const [a, b] = [`t.${quote(ours.name)}`, `${other}.${theirs}`];
        if (!isString(ours)) return `${a} = ${b}`;
        // By their bytes, so that no collation of the copies has a say.
        const image = (cell: string) => `hex(${cascade.loose ? `lower(rtrim(${cell}))` : `rtrim(${cell})`})`;
        return `${image(a)} = ${image(b)}`;
      })
      .join(' and ');
  const select = `select ${keyTexts(below, 't')} from ${live(below)} as t`;
  const current = (name: string, { options }: Followed) =>
    options.history === null ? '' : ` and ${name}.\`_is_current\` = 1`;
  const refers = pairs.map(({ ours }) => `t.${quote(ours.name)} is not null`).join(' and ');
  const strings = pairs
    .filter(({ ours }) => cascade.loose && isString(ours))
    .map(({ ours }) => `t.${quote(ours.name)}`);
  const odd = strings.map((cell) => `length(${cell}) <> char_length(${cell}) or ${cell} regexp '[[:cntrl:]]'`);
  const first = quote(above.table.key[0] as string);
  return {
    parent,
    child,
    columns,
    find: `${select} join ${staged} as s on ${on('s')}${current('t', below)}`,
    odd: odd.length === 0 ? null : `${select} where (${odd.join(' or ')})${current('t', below)}`,
    all: `${select} where ${refers}${current('t', below)}`,
    orphans: `${select} left join ${live(above)} as p on ${on('p')}${current('p', above)} where p.${first} is null and ${refers}${current('t', below)}`,
  };
}
