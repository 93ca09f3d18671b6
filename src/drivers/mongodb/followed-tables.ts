import type { FollowedTable } from '../changes.ts';
import { UnsupportedValue } from '../errors.ts';
import type { RuleUse, Table } from '../model.ts';
import { type RowForm, rowForm, takeUses } from './document-row.ts';
import { contains, decodePosition, type StreamPosition } from './position.ts';

/** A collection that a reader of the change stream follows. */
export type Follower = {
  readonly index: number;
  readonly table: Table;
  readonly form: RowForm;
  readonly skip: readonly StreamPosition[];
  /** It is not the collection any more that was loaded: its changes are dropped. */
  gone: boolean;
  /** Rows since the last `takeRules`. */
  rows: number;
};

export type Followers = {
  readonly all: readonly Follower[];
  find(database: string, collection: string): Follower | undefined;
  takeRules(): { table: number; rules: readonly RuleUse[] }[];
};

export function createFollowers(tables: readonly FollowedTable[]): Followers {
  const all = tables.map(
    ({ table, skip }, index): Follower => ({
      index,
      table,
      form: rowForm(table),
      skip: skip.flatMap((text) => decodePosition(text) ?? []),
      gone: false,
      rows: 0,
    }),
  );
  const byName = new Map(all.map((one) => [`${one.table.ref.schema}\0${one.table.ref.name}`, one]));
  return {
    all,
    find: (database, collection) => byName.get(`${database}\0${collection}`),
    takeRules: () =>
      all.flatMap((one) => {
        const rules = takeUses(one.table, one.form, one.rows);
        one.rows = 0;
        return rules.length > 0 ? [{ table: one.index, rules }] : [];
      }),
  };
}

/** Whether an event at this position is held by the copy already, or not wanted any more. */
export function isPassed(follower: Follower, position: StreamPosition): boolean {
  return follower.gone || follower.skip.some((within) => contains(within, position));
}

/** Why a document can't be copied, for people. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof UnsupportedValue)) throw error;
  return `${error.message} ${error.action}`;
}
