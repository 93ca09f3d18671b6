import { isUtf8 } from 'node:buffer';
import { UnsupportedValue } from '../errors.ts';
import { appendNull, NEWLINE, TAB } from '../load-text.ts';
import type { Rule } from '../model.ts';
import { damaged, uint16, uint32 } from './log-bytes.ts';
import { appendCell, jsonCell, moneyCell, roomFor, ruledText } from './log-cell.ts';
import type { JsonText } from './log-json.ts';
import { type ruleTally, specialOf, unrepresentable } from './special-values.ts';
import { type LogForm, OUT_OF_RANGE, type Special } from './types.ts';

/** How a relation of the log becomes rows of a followed table; columns are those of `Table.columns`. */
export type RowPlan = {
  readonly table: number;
  /** For messages. */
  readonly name: string;
  readonly columns: readonly LogColumn[];
  /** Columns of the key, in its order. */
  readonly key: readonly number[];
  /** A partition of a followed root, whose publication knows only partitions. */
  readonly leaf: boolean;
  /** Where uses of rules are counted. */
  readonly tally: ReturnType<typeof ruleTally>;
};

export type LogColumn = {
  readonly name: string;
  readonly form: LogForm;
  readonly special: Special | undefined;
  readonly json: JsonText | undefined;
  readonly key: boolean;
};

/** A row as it was written; valid until the next one is. */
export type WrittenRow = {
  data: Buffer;
  from: number;
  to: number;
  key: string;
  missing: number[] | null;
};

export type RowWriter = {
  /** Remembers the tuple at `at`, which an update or delete has in front; returns where it ends. */
  old(plan: RowPlan, data: Buffer, at: number, end: number): number;
  /** The key of the remembered tuple. */
  oldKey(plan: RowPlan): string;
  /** Forgets it. */
  noOld(): void;
  /** Writes the tuple at `at`, which ends the message at `end`. Throws `UnsupportedValue`: then nothing was written. */
  row(plan: RowPlan, data: Buffer, at: number, end: number): WrittenRow;
};

export type RowOptions = {
  /** Digits after the point of `money`. */
  readonly moneyScale: number;
  /** `on_unrepresentable` = error. */
  readonly refuse: boolean;
  /** The server can't promise UTF-8 (SQL_ASCII). */
  readonly validate: boolean;
};

/** Rows of several pieces share a block; it goes when the last of them has. */
const BLOCK = 256 * 1024;
const NULL = 0x6e;
const UNCHANGED = 0x75;
const TEXT = 0x74;

/** Turns tuples of the log into load text. */
export function rowWriter(options: RowOptions): RowWriter {
  let out = Buffer.allocUnsafeSlow(BLOCK);
  let at = 0;
  let rowStart = 0;
  let starts = new Int32Array(64);
  let ends = new Int32Array(64);
  // The remembered tuple: its cells, or what stands for them.
  let oldData: Buffer | undefined;
  let oldStarts = new Int32Array(64);
  let oldEnds = new Int32Array(64);
  const row: WrittenRow = { data: out, from: 0, to: 0, key: '', missing: null };
  let pending: { rule: Rule; column: string; value: string }[] = [];

  /** What the cells behind the present one will need, as far as that can be said without looking at them. */
  let behind = 0;

  const ensure = (room: number): void => {
    if (at + room <= out.length) return;
    const written = at - rowStart;
    const larger = Buffer.allocUnsafeSlow(Math.max(BLOCK, written + room + behind));
    out.copy(larger, 0, rowStart, at);
    out = larger;
    rowStart = 0;
    at = written;
  };

  const places = (count: number): void => {
    if (count <= starts.length) return;
    starts = new Int32Array(2 * count);
    ends = new Int32Array(2 * count);
    oldStarts = new Int32Array(2 * count);
    oldEnds = new Int32Array(2 * count);
  };

  const keyText = (plan: RowPlan): string =>
    ` (${plan.key.map((index) => `${(plan.columns[index] as LogColumn).name}=${out.toString('utf8', starts[index], ends[index]).slice(0, 100)}`).join(', ')})`;

  const latin1 = (text: string): void => {
    ensure(text.length);
    at += out.write(text, at, 'latin1');
  };

  /** One cell; true when its value is not known. */
  const cell = (plan: RowPlan, column: LogColumn, data: Buffer, start: number, end: number): boolean => {
    const { form } = column;
    if (column.special !== undefined) {
      const value = ruledText(form, data, start, end);
      if (value !== undefined) {
        const special = specialOf(column.special, form === 'number' ? value : OUT_OF_RANGE + value);
        if (special !== undefined) {
          if (column.key || options.refuse) throw unrepresentable(plan.name, special.value, column, '');
          pending.push({ rule: special.rule, column: column.name, value: special.value });
          latin1(special.text);
          return false;
        }
      }
    } else if (form === 'json') {
      const text = column.json && jsonCell(column.json, data, start, end);
      latin1(text ?? '\\N');
      return text === undefined;
    } else if (form === 'money') {
      latin1(moneyCell(data, start, end, options.moneyScale));
      return false;
    }
    ensure(roomFor(form, data, start, end));
    at = appendCell(out, at, form, data, start, end);
    return form === 'unknown';
  };

  /** The column's value of the remembered tuple; false: it has none. */
  const fromOld = (index: number): boolean => oldData !== undefined && (oldStarts[index] as number) >= 0;

  const write = (plan: RowPlan, data: Buffer, from: number, end: number): WrittenRow => {
    const { columns } = plan;
    const count = uint16(data, from, end);
    if (count !== columns.length)
      throw damaged(`a row of ${plan.name} has ${count} columns instead of ${columns.length}`);
    places(count);
    rowStart = at;
    let missing: number[] | null = null;
    let source = from + 2;
    for (let index = 0; index < count; index++) {
      const column = columns[index] as LogColumn;
      starts[index] = at - rowStart;
      if (source >= end) throw damaged('a row ends too early');
      const kind = data[source++];
      let unknown = false;
      if (kind === TEXT) {
        const length = uint32(data, source, end);
        source += 4;
        if (length > end - source) throw damaged('a value is longer than its message');
        // A small cell behind a large one must not move it.
        behind = length > BLOCK ? Math.min(2 * (end - source - length), BLOCK) + 64 * count : 0;
        unknown = cell(plan, column, data, source, source + length);
        source += length;
      } else if (kind === UNCHANGED) {
        if (fromOld(index))
          unknown = cell(plan, column, oldData as Buffer, oldStarts[index] as number, oldEnds[index] as number);
        else {
          ensure(2);
          at = appendNull(out, at);
          // A masked column is NULL whatever it holds.
          unknown = column.form !== 'masked';
        }
      } else if (kind === NULL) {
        ensure(2);
        at = appendNull(out, at);
        unknown = column.key;
      } else throw damaged(`a value has the unknown kind ${kind}`);
      ends[index] = at - rowStart;
      if (unknown) {
        if (column.key) throw withoutKey(plan, column);
        missing = missing ?? [];
        missing.push(index);
      }
      ensure(1);
      out[at++] = TAB;
    }
    if (source !== end) throw damaged('a message is longer than its row');
    out[at - 1] = NEWLINE;
    // The row may have moved to another block while it was written.
    for (let index = 0; index < count; index++) {
      starts[index] = (starts[index] as number) + rowStart;
      ends[index] = (ends[index] as number) + rowStart;
    }
    row.data = out;
    row.from = rowStart;
    row.to = at;
    row.missing = missing;
    row.key = keyOf(plan);
    return row;
  };

  const keyOf = (plan: RowPlan): string => {
    const { key } = plan;
    let text = out.toString('latin1', starts[key[0] as number], ends[key[0] as number]);
    for (let index = 1; index < key.length; index++)
      text += `\t${out.toString('latin1', starts[key[index] as number], ends[key[index] as number])}`;
    return text;
  };

  return {
    old(plan, data, from, end) {
      const count = uint16(data, from, end);
      if (count !== plan.columns.length)
        throw damaged(`an old row of ${plan.name} has ${count} columns instead of ${plan.columns.length}`);
      places(count);
      let source = from + 2;
      for (let index = 0; index < count; index++) {
        if (source >= end) throw damaged('an old row ends too early');
        const kind = data[source++];
        if (kind === TEXT) {
          const length = uint32(data, source, end);
          source += 4;
          if (length > end - source) throw damaged('a value is longer than its message');
          oldStarts[index] = source;
          source += length;
          oldEnds[index] = source;
        } else if (kind === NULL) oldStarts[index] = IS_NULL;
        else if (kind === UNCHANGED) oldStarts[index] = IS_UNCHANGED;
        else throw damaged(`a value has the unknown kind ${kind}`);
      }
      oldData = data;
      return source;
    },
    oldKey(plan) {
      let text = '';
      for (const [place, index] of plan.key.entries()) {
        const column = plan.columns[index] as LogColumn;
        if (!fromOld(index)) throw withoutKey(plan, column);
        const before = { out, at, rowStart };
        // Written behind the rows, where the next row overwrites it.
        rowStart = at;
        const unknown = cell(plan, column, oldData as Buffer, oldStarts[index] as number, oldEnds[index] as number);
        if (unknown) throw withoutKey(plan, column);
        text += (place === 0 ? '' : '\t') + out.toString('latin1', rowStart, at);
        ({ out, at, rowStart } = before);
      }
      return text;
    },
    noOld() {
      oldData = undefined;
    },
    row(plan, data, from, end) {
      const before = { out, at };
      try {
        const written = write(plan, data, from, end);
        if (options.validate && !isUtf8(out.subarray(rowStart, at)))
          throw new UnsupportedValue(
            `A text value of table ${plan.name}${keyText(plan)} is not valid UTF-8.`,
            'Correct the value at the source, or leave its column out with `mask`.',
          );
        for (const { rule, column, value } of pending) plan.tally.count(rule, column, () => `${value}${keyText(plan)}`);
        if (pending.length > 0) pending = [];
        return written;
      } catch (error) {
        ({ out, at } = before);
        pending = [];
        throw error;
      }
    },
  };
}

const IS_NULL = -1;
const IS_UNCHANGED = -2;

function withoutKey(plan: RowPlan, column: LogColumn): UnsupportedValue {
  return new UnsupportedValue(
    `The log does not say the key column "${column.name}" of a row of ${plan.name}.`,
    'Make its key the replica identity of the table, then load the table again.',
  );
}
