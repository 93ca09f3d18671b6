import type { FollowedTable, LogEvent, RowChange } from '../changes.ts';
import type { RuleUse, Table } from '../model.ts';
import type { ServerFacts } from './connection.ts';
import type { Layout, RowPlan } from './log-layout.ts';
import { type Within, withinPosition } from './log-place.ts';
import { decodePosition } from './position.ts';
import { maskUses, rowFields } from './read.ts';
import { createRepairs, type Repairs } from './repairs.ts';
import type { CatalogView } from './structure-now.ts';

/** A table that a reader of the log follows, and what it knows of it. */
export type Follower = {
  readonly index: number;
  readonly table: Table;
  readonly options: FollowedTable['options'];
  readonly layout: Layout | undefined;
  /** Why its rows can't be followed at all. */
  readonly refusal: string | undefined;
  readonly skip: readonly Within[];
  /** Its structure is not the described one any more: its changes are dropped. */
  gone: boolean;
  repairs: Repairs;
  /** Rows since the last `takeRules`. */
  rows: number;
};

/** What a TABLE_MAP event said of a table: how its rows are read, or why they can't be. */
export type Mapped = {
  readonly raw: Buffer;
  readonly follower: Follower | undefined;
  readonly plan: RowPlan | string | undefined;
  /** The group of events for which it was said last. */
  group: number;
};

export type Followers = {
  readonly all: readonly Follower[];
  find(schema: string, name: string): Follower | undefined;
  /** Those that a name in a statement may mean; `name` undefined: all of the schema. `foreign`: letters beyond ASCII may be any. */
  named(schema: string, name: string | undefined, foreign: boolean): Follower[];
  takeRules(): { table: number; rules: readonly RuleUse[] }[];
};

export function createFollowers(
  tables: readonly FollowedTable[],
  views: readonly CatalogView[],
  facts: ServerFacts,
  server: string | undefined,
  refuse: boolean,
): Followers {
  const fold = (name: string) => (facts.lowerCaseNames === 0 ? name : name.toLowerCase());
  const fresh = (table: Table) => createRepairs(`${table.ref.schema}.${table.ref.name}`, rowFields(table), refuse);
  const all = tables.map(
    ({ table, skip, options }, index): Follower => ({
      index,
      table,
      options,
      layout: views[index]?.layout,
      refusal: views[index]?.refusal,
      skip: skip.flatMap((text) => {
        const position = decodePosition(text);
        return position ? [withinPosition(position, server)] : [];
      }),
      gone: false,
      repairs: fresh(table),
      rows: 0,
    }),
  );
  const byName = new Map(all.map((one) => [`${fold(one.table.ref.schema)}\0${fold(one.table.ref.name)}`, one]));
  const find = (schema: string, name: string) => byName.get(`${fold(schema)}\0${fold(name)}`);
  return {
    all,
    find,
    named(schema, name, foreign) {
      if (name !== undefined && !foreign) return [find(schema, name) ?? []].flat();
      const shape = (text: string) => (foreign ? fold(text).replace(/[^ -~]+/g, '\uFFFD') : fold(text));
      return all.filter(
        ({ table: { ref } }) =>
          shape(ref.schema) === shape(schema) && (name === undefined || shape(ref.name) === shape(name)),
      );
    },
    takeRules: () =>
      all.flatMap((one) => {
        const rules = [...one.repairs.uses(), ...maskUses(one.table, one.rows)];
        one.repairs = fresh(one.table);
        one.rows = 0;
        return rules.length > 0 ? [{ table: one.index, rules }] : [];
      }),
  };
}

/** About how many bytes an event holds on to. */
export function eventBytes(event: LogEvent): number {
  return isRow(event) ? event.to - event.from + event.key.length + 100 : 200;
}

export function isRow(event: LogEvent): event is RowChange {
  return event.kind === 'insert' || event.kind === 'update' || event.kind === 'delete';
}
