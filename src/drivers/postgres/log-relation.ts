import { damaged, uint16, uint32 } from './log-bytes.ts';
import type { RowPlan } from './log-rows.ts';

/** A relation as the log describes it, valid for the rows that follow. */
export type LogRelation = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_class.relreplident. */
  readonly identity: string;
  readonly columns: readonly LogRelationColumn[];
  /** undefined: not looked at yet; null: its rows are dropped. */
  plan: RowPlan | null | undefined;
};
export type LogRelationColumn = {
  readonly name: string;
  /** Part of the replica identity. */
  readonly identity: boolean;
  readonly type: number;
  readonly modifier: number;
};

/** Reads the Relation message `data[from..to)`. */
export function readRelation(data: Buffer, from: number, to: number): LogRelation {
  let at = from + 1;
  const text = (): string => {
    const end = data.indexOf(0, at);
    if (end < 0 || end >= to) throw damaged('a name without an end');
    const value = data.toString('utf8', at, end);
    at = end + 1;
    return value;
  };
  const oid = uint32(data, at, to);
  at += 4;
  const schema = text();
  const name = text();
  if (at >= to) throw damaged('a relation without identity');
  const identity = String.fromCharCode(data[at++] as number);
  const count = uint16(data, at, to);
  at += 2;
  const columns: LogRelationColumn[] = [];
  for (let index = 0; index < count; index++) {
    if (at >= to) throw damaged('a relation with fewer columns than it says');
    const flags = data[at++] as number;
    const column = text();
    const type = uint32(data, at, to);
    const modifier = uint32(data, at + 4, to) | 0;
    at += 8;
    columns.push({ name: column, identity: (flags & 1) === 1, type, modifier });
  }
  if (at !== to) throw damaged('a relation is longer than its columns');
  // pg_catalog's schema is sent as an empty name.
  return { oid, schema: schema === '' ? 'pg_catalog' : schema, name, identity, columns, plan: undefined };
}
