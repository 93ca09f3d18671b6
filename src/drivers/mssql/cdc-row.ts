import type { RowChange } from '../changes.ts';
import { lineKeys } from '../cursor-rows.ts';
import type { RuleUse, Table } from '../model.ts';
import type { Instance } from './cdc-instances.ts';
import type { Cell } from './connection.ts';
import { createRowWriter } from './row-text.ts';
import { quoteName } from './sql.ts';
import { cell, fieldsOf } from './types.ts';

/** A change and the transaction that made it. */
export type CdcChange = { readonly lsn: string; readonly change: RowChange };

/** Types whose value is in the change table only where the statement set it (Microsoft Learn, "cdc.<capture_instance>_CT"). */
const LARGE = /^(n?text|image|xml|geometry|geography|json|vector)$|\(max\)$/;

/** Turns rows of a change table, as `changesSelect` orders them, into changes. */
export type CdcRows = {
  add(cells: readonly Cell[]): void;
  /** Changes so far by their size in characters, before images left out. */
  readonly pending: number;
  take(): CdcChange[];
  uses(): RuleUse[];
};

/** The statement that reads a table's changes of the transactions after `@from` up to `@to`, in the order in which they were made. */
export function changesSelect(table: Table, instance: Instance): string {
  const cells = table.columns.map((column) => cell(column, `c.${quoteName(column.name)}`).expression);
  const order = [
    'c.[__$start_lsn]',
    ...(instance.numbersCommands ? ['c.[__$command_id]'] : []),
    'c.[__$seqval]',
    'c.[__$operation]',
  ];
  return `SELECT CONVERT(nvarchar(20), c.[__$start_lsn], 2) AS start_lsn, c.[__$operation], c.[__$update_mask], ${cells.join(', ')}
FROM cdc.${quoteName(instance.changeTable)} AS c
WHERE c.[__$start_lsn] > CONVERT(binary(10), @from, 2) AND c.[__$start_lsn] <= CONVERT(binary(10), @to, 2)
ORDER BY ${order.join(', ')}`;
}

export function createCdcRows(index: number, table: Table, instance: Instance, refuse: boolean): CdcRows {
  const writer = createRowWriter(`${table.ref.schema}.${table.ref.name}`, fieldsOf(table.columns, table.key), refuse);
  const large = table.columns.flatMap(({ name, sourceType }, i) =>
    LARGE.test(sourceType) && !table.key.includes(name) ? [{ i, bit: instance.columns.indexOf(name) }] : [],
  );
  let list: CdcChange[] = [];
  let pending = 0;
  /** Key of the row before, while its update is being read. */
  let before: string | null = null;

  return {
    add(cells) {
      const lsn = String(cells[0]?.value);
      const operation = Number(cells[1]?.value);
      const mask = cells[2]?.value as Buffer | null;
      const absent = operation === 4 && mask ? large.filter(({ bit }) => !isSet(mask, bit)).map(({ i }) => i) : [];
      writer.add(absent.length === 0 ? cells : without(cells, absent), 3);
      const { data } = writer.take();
      const key = lineKeys(table, data)[0]?.key ?? '';
      if (operation === 3) {
        before = key;
        return;
      }
      const oldKey = operation === 4 && before !== null && before !== key ? before : null;
      before = null;
      const whole = { table: index, key, oldKey, data, from: 0, to: data.length };
      if (operation === 1)
        list.push({
          lsn,
          change: { ...whole, kind: 'delete', oldKey: null, data: NOTHING, to: 0, missing: null },
        });
      else
        list.push({
          lsn,
          change: { ...whole, kind: operation === 2 ? 'insert' : 'update', missing: absent.length > 0 ? absent : null },
        });
      pending += data.length + 100;
    },
    get pending() {
      return pending;
    },
    take() {
      const taken = list;
      list = [];
      pending = 0;
      return taken;
    },
    uses: () => writer.uses(),
  };
}

const NOTHING = new Uint8Array(0);

/** The mask's last byte holds the first eight columns. */
function isSet(mask: Buffer, bit: number): boolean {
  return (((mask[mask.length - 1 - (bit >> 3)] ?? 0) >> (bit & 7)) & 1) === 1;
}

function without(cells: readonly Cell[], absent: readonly number[]): Cell[] {
  return cells.map((one, i) => (absent.includes(i - 3) ? { value: null } : one));
}
