import { UnsupportedValue } from '../errors.ts';
import type { Rule, RuleUse } from '../model.ts';
import { repairDate } from './dates.ts';
import type { RowField } from './types.ts';

const EXAMPLES = 3;

/** Date repairs of one chunk, counted per column with examples. */
export type Repairs = {
  /** The repaired text; counts the use. */
  repair(column: number, text: string): string;
  /** Completes examples with the key of the row that ends now, which begins at `start` of `out` (-1: not known any more). */
  settle(out: Buffer, start: number, end: number): void;
  uses(): RuleUse[];
};

/** `refuse`: no value is repaired, each is an error. A key column's value never is. */
export function createRepairs(table: string, fields: readonly RowField[], refuse: boolean): Repairs {
  const rule: Rule = 'date_repair';
  const counts = new Map<number, { count: number; examples: string[] }>();
  const open: { column: number; text: string }[] = [];
  const keys = fields.flatMap((field, index) => (field.key ? [index] : []));

  function repair(column: number, text: string): string {
    const field = fields[column] as RowField;
    if (field.key || refuse)
      throw new UnsupportedValue(
        `${table}.${field.name} holds the date ${text}, which the destination can't hold.`,
        field.key
          ? 'Correct the rows at the source, or choose another key with the `key` option: key columns are never repaired.'
          : 'Correct the rows at the source, or set on_unrepresentable to rule.',
      );
    const use = counts.get(column) ?? { count: 0, examples: [] };
    counts.set(column, use);
    if (use.count++ < EXAMPLES) open.push({ column, text });
    return repairDate(text);
  }

  function settle(out: Buffer, start: number, end: number): void {
    if (open.length === 0) return;
    const cells = start < 0 ? [] : out.toString('utf8', start, end - 1).split('\t');
    const key = keys.map((index) => `${fields[index]?.name}=${(cells[index] ?? '?').slice(0, 100)}`).join(', ');
    for (const { column, text } of open)
      counts.get(column)?.examples.push(`${fields[column]?.name}: ${text}${key === '' ? '' : ` (${key})`}`);
    open.length = 0;
  }

  return {
    repair,
    settle,
    uses: () => [...counts].map(([column, use]) => ({ rule, column: fields[column]?.name ?? '', ...use })),
  };
}
