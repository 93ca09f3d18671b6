import type { FollowedTable, LogEvent, RowChange } from '../changes.ts';
import type { RuleUse, Table } from '../model.ts';
import type { ServerFacts } from './connection.ts';
import type { Layout, RowPlan } from './log-layout.ts';
import { type Within, withinPosition } from './log-place.ts';
import { decodePosition } from './position.ts';
import { maskUses, rowFields } from './read.ts';
import { createRepairs, type Repairs } from './repairs.ts';

/** A table that a reader of the log follows, and what it knows of it. */
export type Follower = {
  readonly index: number;
  readonly table: Table;
  readonly options: FollowedTable['options'];
  readonly layout: Layout | undefined;
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
  /** Those that a name in a statement may mean; `name` undefined: all of the schema. */
  named(schema: string, name: string | undefined): Follower[];
  takeRules(): { table: number; rules: readonly RuleUse[] }[];
};

export function createFollowers(
  tables: readonly FollowedTable[],
  layouts: readonly (Layout | undefined)[],
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
      layout: layouts[index],
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
    named(schema, name) {
      if (name === undefined) return all.filter((one) => fold(one.table.ref.schema) === fold(schema));
      const found = find(schema, name);
      return found ? [found] : [];
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
