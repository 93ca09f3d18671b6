import { type Fit, formatColumnType, parseColumnType, fit as typeFit } from './column-types.ts';
import { isPermanent, Misconfigured, UnsupportedValue } from './errors.ts';
import type { Column, ColumnType, Described, TableOptions, TableRef } from './model.ts';

/** What descriptions of tables have in common, whatever the source. */

/** A table that can't be copied, while the others go on; throws `error` again where trying again may help. */
export function refusedTable(ref: TableRef, error: unknown): Described {
  if (!isPermanent(error)) throw error;
  return { ref, error: { class: error.name, message: error.message, action: error.action } };
}

/**
 * Lets the server parse and resolve a table's condition, if it has one: `ask` sends a statement with it that yields no row. Throws `Misconfigured`
 * with `action` where the server refuses it. `isUnknown`: whether the server has told an error that may be of any kind; it is the condition's
 * fault if the same statement without it works. Servers have a hundred numbers for those.
 */
export async function checkCondition(
  ref: TableRef,
  where: string | undefined,
  action: string,
  ask: (where: string) => Promise<unknown>,
  isUnknown: (error: unknown) => boolean = () => false,
): Promise<void> {
  if (where === undefined || where.trim() === '') return;
  try {
    await ask(where);
  } catch (error) {
    if (isPermanent(error) ? error.name === 'AccessDenied' : !isUnknown(error)) throw error;
    if (!isPermanent(error)) await ask('1 = 0');
    throw new Misconfigured(
      `The condition of ${ref.schema}.${ref.name} is refused by the source: ${(error as Error).message}`,
      action,
    );
  }
}

/**
 * Columns with the options `types` and `mask` applied; both are refused where they would change a key (EXACTNESS.md §8). `fitOf`: whether a type
 * holds a column's values.
 */
export function applyOptions(
  where: string,
  columns: readonly Column[],
  key: readonly string[],
  options: TableOptions,
  fitOf: (column: Column, type: ColumnType) => Fit = (column, type) => typeFit(column.type, type),
): Column[] {
  const types = options.types ?? {};
  for (const name of [...Object.keys(types), ...(options.mask ?? [])])
    if (!columns.some((column) => column.name === name))
      throw new Misconfigured(`${where} has no copied column ${name}.`, 'Correct `types` or `mask`.');
  return columns.map((column) => {
    const inKey = key.includes(column.name);
    const masked = options.mask?.includes(column.name) ?? false;
    if (masked && inKey)
      throw new UnsupportedValue(
        `The key column ${column.name} of ${where} can't be masked.`,
        'Take it out of `mask`, or choose another key.',
      );
    if (masked) return { ...column, type: { kind: 'varchar', length: 1 }, nullable: true, masked };
    const wanted = Object.hasOwn(types, column.name) ? types[column.name] : undefined;
    if (wanted === undefined) return column;
    const type = parseColumnType(wanted);
    const fits = fitOf(column, type);
    if (fits === 'never' || (inKey && fits === 'narrows'))
      throw new UnsupportedValue(
        `${where}.${column.name} (${column.sourceType}) can't be copied as ${formatColumnType(type)}${fits === 'never' ? '' : ', since it is in the key'}.`,
        'Correct `types`.',
      );
    return { ...column, type };
  });
}
