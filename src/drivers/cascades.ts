import type { Cascade, Column, Table } from './model.ts';

/** What a foreign key that changes rows below the log needs of the tables around it. Pure. */

/** Why a parent's changes do not lead to the rows of `child` that follow them; undefined: they do. `parent`: as it is followed, if it is. */
export function cascadeProblem(
  child: Table,
  cascade: Cascade,
  parent: { readonly table: Table; readonly sameDatabase: boolean } | undefined,
): string | undefined {
  const name = `${cascade.parent.schema}.${cascade.parent.name}`;
  if (cascade.refused) return cascade.refused.message;
  if (!parent) return `its parent ${name} is not followed by the same stream`;
  if (!parent.sameDatabase) return `its parent ${name} is copied to another database`;
  const { table } = parent;
  if (table.key.length !== cascade.references.length || !table.key.every((one) => cascade.references.includes(one)))
    return `it refers to ${cascade.references.join(', ')} of ${name}, whose key at the destination is another one`;
  for (const [i, reference] of cascade.references.entries()) {
    const theirs = columnOf(table, reference);
    const ours = columnOf(child, cascade.columns[i] as string);
    if (!ours || !theirs || family(ours) !== family(theirs) || ours.masked)
      return `its column ${cascade.columns[i]} is not copied as the key of ${name} is`;
  }
  return undefined;
}

/** Whether a column holds strings that are compared as the source's collation says. */
export function isString({ type }: Column): boolean {
  return type.kind === 'char' || type.kind === 'varchar' || type.kind === 'text';
}

function columnOf(table: Table, name: string): Column | undefined {
  return table.columns.find((column) => column.name === name);
}

function family(column: Column): string {
  return isString(column) ? 'string' : column.type.kind;
}
