import type { TextDecode } from './charsets.ts';

/** How the cells of one column of the log's rows become load text. */
export type LogColumn = {
  readonly name: string;
  /** One of `OP`. */
  readonly op: number;
  /** Bytes of a cell; 0: its length stands in front of it. */
  readonly width: number;
  /** Bytes of that length. */
  readonly prefix: number;
  /** What `op` needs besides: precision, digits of the fraction, full length. */
  readonly a: number;
  readonly b: number;
  /** Index in `Table.columns`; -1: not copied. */
  readonly target: number;
  /** Place in `Table.key`; -1: not in the key. */
  readonly key: number;
  /** A date that the rules of dates.ts may change. */
  readonly repaired: boolean;
  /** Values are stored compressed (MariaDB). */
  readonly compressed: boolean;
  /** Labels of ENUM and SET as load text. */
  readonly labels: readonly Buffer[];
  /** null: UTF-8 already. */
  readonly decode: TextDecode | null;
  /** Most bytes of a cell's text, where the cell's length is fixed. */
  readonly room: number;
};

/** What a cell holds. */
export const OP = {
  signed: 1,
  unsigned: 2,
  text: 3,
  hex: 4,
  decimal: 5,
  float: 6,
  double: 7,
  date: 8,
  datetime: 9,
  timestamp: 10,
  time: 11,
  year: 12,
  bits: 13,
  enum: 14,
  set: 15,
  json: 16,
  geometry: 17,
  vector: 18,
  uuid: 19,
  inet4: 20,
  inet6: 21,
  /** Before MySQL 5.6, and MariaDB with `mysql56_temporal_format` = OFF. */
  oldTime: 22,
  oldDatetime: 23,
  oldTimestamp: 24,
  masked: 25,
} as const;
