import { UnsupportedValue } from '../errors.ts';
import { escapeText } from '../load-text.ts';
import type { Column, Rule, RuleUse, Table } from '../model.ts';
import {
  daysText,
  floatText,
  Malformed,
  momentText,
  numberDigits,
  numberText,
  parseMoment,
  yearsText,
} from './exact-text.ts';
import { cell, type Encoding } from './types.ts';

/** A value as the client library gives it, or as SQL_REDO spells it. */
export type CellValue = string | number | boolean | Buffer | null;

/** Turns rows of one table into load text; the only place that does, for reads and for changes. */
export type RowText = {
  readonly fields: readonly RowField[];
  /** One cell as load text. Throws `UnsupportedValue` for a value that the destination can't hold, `Malformed` for a text that is none of its type. */
  cell(index: number, value: CellValue): string;
  /** Says which row the next cells are of, for examples and errors. */
  at(row: () => string): void;
  /** Uses of rules since the last call. */
  takeUses(): RuleUse[];
};

export type RowField = { readonly column: Column; readonly encoding: Encoding; readonly key: boolean };

const MAX_EXAMPLES = 3;
const NULL = '\\N';
const LOWEST = '1000-01-01 00:00:00';

/** `refuse`: values that only a rule could carry are errors (`on_unrepresentable`). */
export function createRowText(table: Table, refuse: boolean): RowText {
  const fields = table.columns.map(
    (column): RowField => ({ column, encoding: cell(column).encoding, key: table.key.includes(column.name) }),
  );
  const uses = new Map<string, { rule: Rule; column: string; count: number; examples: string[] }>();
  let where: () => string = () => '';

  function replaced(field: RowField, rule: Rule, value: string, by: string): string {
    if (field.key || refuse) throw unrepresentable(table, field, value, where());
    const id = `${rule} ${field.column.name}`;
    const use = uses.get(id) ?? { rule, column: field.column.name, count: 0, examples: [] };
    uses.set(id, use);
    use.count++;
    if (use.examples.length < MAX_EXAMPLES) use.examples.push(`${value}${where()}`);
    return by;
  }

  function moment(field: RowField, text: string): string {
    const parsed = parseMoment(text);
    const { kind } = field.column.type;
    if (parsed.year >= 1000 || (kind !== 'datetime' && kind !== 'date')) return momentText(parsed);
    const shown = momentText(parsed);
    if (parsed.year < 0) return replaced(field, 'date_range', shown, kind === 'date' ? LOWEST.slice(0, 10) : LOWEST);
    // Of the years 1 to 999, only 400 and 800 are leap years whose counterpart is none.
    const moved = momentText({ ...parsed, year: parsed.year + 1000 }).replace(/^(1400|1800)-02-29/, '$1-02-28');
    return replaced(field, 'date_repair', shown, moved);
  }

  function number(field: RowField, value: string): string {
    const text = numberText(value);
    const { type } = field.column;
    if (type.kind !== 'decimal') return text;
    const { whole, fraction } = numberDigits(text);
    // The destination would round a longer fraction without a word.
    if (whole > Math.max(1, type.precision - type.scale) || fraction > type.scale)
      throw unrepresentable(table, field, text, where());
    return text;
  }

  return {
    fields,
    at(row) {
      where = row;
    },
    cell(index, value) {
      const field = fields[index] as RowField;
      if (field.column.masked || value === null || value === undefined) return NULL;
      switch (field.encoding) {
        case 'text':
        case 'long_text':
          return escapeText(String(value));
        case 'number':
          return number(field, String(value));
        case 'float':
        case 'double': {
          const text = floatText(value as number | string, field.encoding === 'float');
          const { kind } = field.column.type;
          if (kind === 'varchar' || kind === 'char' || kind === 'text') return text;
          return text.endsWith('y') || text === 'NaN' ? replaced(field, 'not_a_number', text, NULL) : text;
        }
        case 'hex':
        case 'long_hex':
          return typeof value === 'string' ? hexText(value) : (value as Buffer).toString('hex').toUpperCase();
        case 'date':
        case 'timestamp':
        case 'utc':
          return moment(field, String(value));
        case 'timestamp9':
        case 'utc9':
          return momentText(parseMoment(String(value)));
        case 'years':
          return yearsText(String(value));
        case 'days':
          return daysText(String(value));
        case 'boolean':
          return booleanText(value);
      }
    },
    takeUses() {
      const taken = [...uses.values()];
      uses.clear();
      return taken;
    },
  };
}

function hexText(text: string): string {
  if (!/^(?:[0-9A-Fa-f]{2})*$/.test(text)) throw new Malformed('RAW', text);
  return text.toUpperCase();
}

function booleanText(value: CellValue): string {
  const text = String(value).trim().toLowerCase();
  if (text === '1' || text === 'true') return '1';
  if (text === '0' || text === 'false') return '0';
  throw new Malformed('BOOLEAN', text);
}

function unrepresentable(table: Table, field: RowField, value: string, where: string): UnsupportedValue {
  return new UnsupportedValue(
    `Table ${table.ref.schema}.${table.ref.name} has the value ${value} in column "${field.column.name}"${where}, which the destination can't hold.`,
    field.key
      ? 'A key can not be replaced: correct the row at the source, or choose another `key`.'
      : 'Correct the row, set `types` of the column to VARCHAR(170), or set `on_unrepresentable` to rule where a rule applies.',
  );
}

/** Uses of `mask` in so many rows. */
export function maskUses(table: Table, rows: number): RuleUse[] {
  const masked = rows > 0 ? table.columns.filter((column) => column.masked) : [];
  return masked.map((column) => ({ rule: 'mask', column: column.name, count: rows, examples: [] }));
}
