import type { FollowedTable } from '../changes.ts';
import type { News } from '../cursor-capture.ts';
import type { Table } from '../model.ts';
import type { Instance } from './cdc-instances.ts';
import type { Connection } from './connection.ts';
import { describeTables } from './describe.ts';
import type { CaptureMode } from './options.ts';

/** What has become of the structures of followed tables; null: nothing. */
export async function newsOf(
  connection: Connection,
  mode: CaptureMode,
  tables: readonly FollowedTable[],
  choose?: (instances: readonly Instance[], table: number) => Instance | undefined,
): Promise<(News | null)[]> {
  const described = await describeTables(
    connection,
    mode,
    tables.map(({ table, options }) => ({ ref: table.ref, options: options ?? {} })),
    choose,
  );
  return tables.map(({ table }, i) => {
    const now = described[i];
    if (!now || 'error' in now) return { now: null, reason: now?.error.message ?? 'The table is gone.' };
    if (mode === 'tracking' && now.table.storage !== table.storage)
      return {
        now: null,
        reason: `${table.ref.schema}.${table.ref.name} was truncated, or change tracking was switched off and on.`,
      };
    if (now.table.structure === table.structure && now.table.storage === table.storage) return null;
    return changed(table, now.table);
  });
}

/** How a table got from one structure to the next, as far as its rows from before can be told without reading them. */
export function changed(before: Table, now: Table): News {
  const reason = `The structure of ${now.ref.schema}.${now.ref.name} changed.`;
  const old = new Map(idsOf(before).map(({ id }, i) => [id, before.columns[i]]));
  const renames = new Map<string, string>();
  for (const [i, { id, filled }] of idsOf(now).entries()) {
    const column = now.columns[i];
    const was = old.get(id);
    if (!column) return { now: null, reason };
    if (!was) {
      // The name of a column that is another one now, or a value that no change tells of.
      if (filled || before.columns.some(({ name }) => name === column.name)) return { now: null, reason };
    } else {
      if (!sameValues(was.sourceType, column.sourceType)) return { now: null, reason };
      if (was.name !== column.name) renames.set(column.name, was.name);
    }
  }
  return { now, reason, carry: { fills: new Map(), renames } };
}

function idsOf({ structure }: Table): { id: string; filled: boolean }[] {
  const [, ids = ''] = structure.split(' ');
  return ids.split(',').map((text) => ({ id: text.replace('+', ''), filled: text.endsWith('+') }));
}

/** Whether values keep their text when a column goes from one type to the other; the destination checks whether they fit. */
function sameValues(from: string, to: string): boolean {
  const word = (type: string): string => type.replace(/\(.*/, '');
  const family = (type: string): string => (/^(tiny|small|big)?int$/.test(word(type)) ? 'int' : word(type));
  if (from === to) return true;
  return family(from) === family(to) && !/^(time|datetime|decimal|numeric|n?char|binary)/.test(word(from));
}
