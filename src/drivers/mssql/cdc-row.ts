import type { RowChange } from '../changes.ts';
import { lineKeys } from '../cursor-rows.ts';
import type { RuleUse, Table } from '../model.ts';
import type { Instance } from './cdc-instances.ts';
import { createRowWriter } from './row-text.ts';
import { quoteName } from './sql.ts';
import { fieldsOf, selectList } from './types.ts';

/** A change and the transaction that made it. */
export type CdcChange = { readonly lsn: string; readonly change: RowChange };

/** Types whose value is in the change table only where the statement set it (Microsoft Learn, "cdc.<capture_instance>_CT"). */
const LARGE = /^(n?text|image|xml|geometry|geography|json|vector)$|\(max\)$/;

/** Turns rows of a change table, as `changesSelect` orders them, into changes. */
export type CdcRows = {
  add(cells: readonly unknown[]): void;
  /** Changes so far by their size in characters, before images left out. */
  readonly pending: number;
  take(): CdcChange[];
  uses(): RuleUse[];
};

/** The statement that reads a table's changes of the transactions after `@from` up to `@to`, in the order in which they were made. */
export function changesSelect(table: Table, instance: Instance): string {
  const order = [
    'c.[__$start_lsn]',
    ...(instance.numbersCommands ? ['c.[__$command_id]'] : []),
    'c.[__$seqval]',
    'c.[__$operation]',
  ];
  return `SELECT CONVERT(nvarchar(20), c.[__$start_lsn], 2) AS start_lsn, c.[__$operation], c.[__$update_mask], ${selectList(table.columns, 'c.')}
FROM cdc.${quoteName(instance.changeTable)} AS c
WHERE c.[__$start_lsn] > CONVERT(binary(10), @from, 2) AND c.[__$start_lsn] <= CONVERT(binary(10), @to, 2)
ORDER BY ${order.join(', ')}`;
}

export function createCdcRows(index: number, table: Table, instance: Instance, refuse: boolean): CdcRows {
  const writer = createRowWriter(`${table.ref.schema}.${table.ref.name}`, fieldsOf(table.columns, table.key), refuse);
  const large = table.columns.flatMap(({ name, sourceType }, i) =>
    LARGE.test(sourceType) && !table.key.includes(name)
      ? [{ i, bit: instance.columns.findIndex((one) => one.name === name) }]
      : [],
  );
  let list: CdcChange[] = [];
  let pending = 0;
  /** Keys of rows before their updates, whose states after are still to come. */
  const before: string[] = [];
  /** Of the row before. */
  let lsnBefore = '';
  /** The last transaction that has deleted a row. */
  let deletedIn = '';

  /** The columns whose values are not told. */
  function absentIn(cells: readonly unknown[], operation: number, lsn: string): number[] {
    if (operation === 4) {
      const mask = cells[2] as Buffer | null;
      return mask ? large.filter(({ bit }) => !isSet(mask, bit)).map(({ i }) => i) : [];
    }
    // An update may be told as a delete and an insert (deferred updates, new keys), and what it did not set be NULL in the latter.
    if (operation === 2 && deletedIn === lsn)
      return large.filter(({ i }) => cells[IMAGE + i] === null).map(({ i }) => i);
    return [];
  }

  /** The key before an update, if it was another one. States before may come one after the other, and those after behind them. */
  function keyBefore(key: string): string | null {
    const same = before.indexOf(key);
    if (same >= 0) {
      before.splice(same, 1);
      return null;
    }
    if (before.length > 1)
      throw new Error(`The change table of ${table.ref.name} tells updates of several keys in no order.`);
    return before.pop() ?? null;
  }

  return {
    add(cells) {
      const lsn = String(cells[0]);
      const operation = Number(cells[1]);
      if (lsn !== lsnBefore) before.length = 0;
      lsnBefore = lsn;
      const absent = absentIn(cells, operation, lsn);
      writer.add(absent.length === 0 ? cells : without(cells, absent), IMAGE);
      const { data } = writer.take();
      const key = lineKeys(table, data)[0]?.key ?? '';
      if (operation === 3) {
        before.push(key);
        return;
      }
      const oldKey = operation === 4 ? keyBefore(key) : null;
      const whole = { table: index, key, oldKey, data, from: 0, to: data.length };
      if (operation === 1) {
        deletedIn = lsn;
        list.push({ lsn, change: { ...whole, kind: 'delete', data: NOTHING, to: 0, missing: null } });
      } else
        list.push({
          lsn,
          change: {
            ...whole,
            kind: operation === 2 && absent.length === 0 ? 'insert' : 'update',
            missing: absent.length > 0 ? absent : null,
          },
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

/** Where the row's own cells begin, behind LSN, operation and mask. */
const IMAGE = 3;
const NOTHING = new Uint8Array(0);

/** The mask's last byte holds the first eight columns. */
function isSet(mask: Buffer, bit: number): boolean {
  return (((mask[mask.length - 1 - (bit >> 3)] ?? 0) >> (bit & 7)) & 1) === 1;
}

function without(cells: readonly unknown[], absent: readonly number[]): unknown[] {
  return cells.map((one, i) => (absent.includes(i - IMAGE) ? null : one));
}
