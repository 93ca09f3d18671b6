import type { Connection } from './connection.ts';

/** A capture instance: the change table of one table, with the columns that it was made with. */
export type Instance = {
  readonly name: string;
  /** `object_id` of its change table: a name may be used again. */
  readonly id: number;
  /** `object_id` of the table; and the name of its change table in schema cdc. */
  readonly table: number;
  readonly changeTable: string;
  /**
   * 20 hex digits: changes before it are not held. The cleanup job raises it each time (Microsoft Learn, "sys.sp_cdc_cleanup_change_table"). It
   * is read from `cdc.change_tables`, as `fn_cdc_get_min_lsn` answers zero to users that are not in the instance's role. null: the capture job
   * has not come to the instance yet, so that it holds nothing.
   */
  readonly startLsn: string | null;
  readonly partitionSwitch: boolean;
  /** Old builds (2012 SP2 and older) do not number the commands of a transaction. */
  readonly numbersCommands: boolean;
  /** Captured columns by their ordinal - 1, which is their bit in `__$update_mask`. */
  readonly columns: readonly Captured[];
};

/** `id`: of the table's column; one that was dropped and made again has another. */
export type Captured = { readonly name: string; readonly id: number };

/** All capture instances of the database, the oldest first; [] without CDC. Needs SELECT on schema cdc. */
export async function readInstances(connection: Connection): Promise<Instance[]> {
  if (!connection.facts.cdc) return [];
  const rows = await connection.query(
    `SELECT ct.capture_instance, ct.object_id, ct.source_object_id, OBJECT_NAME(ct.object_id) AS change_table,
 CONVERT(nvarchar(20), ct.start_lsn, 2) AS start_lsn, CONVERT(int, ct.partition_switch) AS partition_switch,
 COLUMNPROPERTY(ct.object_id, N'__$command_id', N'ColumnId') AS command_column, cc.column_name, cc.column_ordinal, cc.column_id
FROM cdc.change_tables AS ct
INNER JOIN cdc.captured_columns AS cc ON cc.object_id = ct.object_id
ORDER BY ct.object_id, cc.column_ordinal`,
  );
  const found = new Map<string, Instance & { columns: Captured[] }>();
  for (const [name, id, table, changeTable, startLsn, partitionSwitch, command, column, ordinal, columnId] of rows) {
    const one = found.get(String(name)) ?? {
      name: String(name),
      id: Number(id),
      table: Number(table),
      changeTable: String(changeTable),
      startLsn: startLsn == null ? null : String(startLsn),
      partitionSwitch: Number(partitionSwitch) === 1,
      numbersCommands: command !== null,
      columns: [],
    };
    found.set(one.name, one);
    one.columns[Number(ordinal) - 1] = { name: String(column), id: Number(columnId) };
  }
  // Those without a beginning last; of two that a clean-up gave the same beginning, the one that was made later.
  const start = ({ startLsn }: Instance): string => startLsn ?? 'X';
  return [...found.values()].sort((a, b) => (start(a) < start(b) ? -1 : start(a) > start(b) ? 1 : a.id - b.id));
}

/** Where each instance begins now, by its id; see `Instance.startLsn`. */
export async function readStarts(connection: Connection): Promise<Map<number, string>> {
  const rows = await connection.query(
    'SELECT ct.object_id, CONVERT(nvarchar(20), ct.start_lsn, 2) AS start_lsn FROM cdc.change_tables AS ct',
  );
  return new Map(rows.flatMap(([id, lsn]) => (lsn == null ? [] : [[Number(id), String(lsn)] as const])));
}

/** The instance that was made last: it has the columns of today. One that has no beginning yet only where there is no other. */
export function newest(instances: readonly Instance[]): Instance | undefined {
  return instances.findLast(({ startLsn }) => startLsn !== null) ?? instances.at(-1);
}

/** What `Table.storage` holds of the instance that a table is followed by. */
export function pin({ name, id }: Instance): string {
  return `${name}#${id}`;
}

/** The instance that a table is followed by; undefined: it is gone. */
export function pinned(instances: readonly Instance[], storage: string): Instance | undefined {
  return instances.find((one) => pin(one) === storage);
}
