import type { Family } from './canonical.ts';

/** Where a database is and who reads it. */
export type Address = { host: string; port: number; user: string; password: string };

export type TableName = { schema: string; name: string };

export type SourceColumn = {
  name: string;
  family: Family;
  /** SQL that makes the server print the value without loss. */
  expression: string;
  /** SQL that sorts as `compareKeys` does. */
  order: string;
};

export type Shape = { columns: SourceColumn[]; key: string[] };

export type Cells = (string | null)[];

/** An open side of a comparison: tables one after another, each read in one snapshot where the server has such a thing, its shape first. */
export type Reader = {
  shape(table: TableName): Promise<Shape>;
  /** The cells of `columns` of every row, in batches, sorted when `order` is not empty. */
  rows(table: TableName, expressions: readonly string[], order: readonly string[]): AsyncIterable<Cells[]>;
  close(): Promise<void>;
};
