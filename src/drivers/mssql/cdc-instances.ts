import type { Connection } from './connection.ts';

/** A capture instance: the change table of one table, with the columns that it was made with. */
export type Instance = {
  readonly name: string;
  /** `object_id` of the table; and the name of its change table in schema cdc. */
  readonly table: number;
  readonly changeTable: string;
  /** 20 hex digits: changes before it are not held. */
  readonly startLsn: string;
  readonly partitionSwitch: boolean;
  /** Old builds (2012 SP2 and older) do not number the commands of a transaction. */
  readonly numbersCommands: boolean;
  /** Captured columns by their ordinal - 1, which is their bit in `__$update_mask`. */
  readonly columns: readonly string[];
};

/** All capture instances of the database, the oldest first; [] without CDC. Needs SELECT on schema cdc. */
export async function readInstances(connection: Connection): Promise<Instance[]> {
  if (!connection.facts.cdc) return [];
  const rows = await connection.query(
    `SELECT ct.capture_instance, ct.source_object_id, OBJECT_NAME(ct.object_id) AS change_table,
 CONVERT(nvarchar(20), ct.start_lsn, 2) AS start_lsn, CONVERT(int, ct.partition_switch) AS partition_switch,
 COLUMNPROPERTY(ct.object_id, N'__$command_id', N'ColumnId') AS command_column, cc.column_name, cc.column_ordinal
FROM cdc.change_tables AS ct
INNER JOIN cdc.captured_columns AS cc ON cc.object_id = ct.object_id
ORDER BY ct.start_lsn, ct.capture_instance, cc.column_ordinal`,
  );
  const found = new Map<string, Instance & { columns: string[] }>();
  for (const [name, table, changeTable, startLsn, partitionSwitch, command, column, ordinal] of rows) {
    const one = found.get(String(name)) ?? {
      name: String(name),
      table: Number(table),
      changeTable: String(changeTable),
      startLsn: String(startLsn),
      partitionSwitch: Number(partitionSwitch) === 1,
      numbersCommands: command !== null,
      columns: [],
    };
    found.set(one.name, one);
    one.columns[Number(ordinal) - 1] = String(column);
  }
  return [...found.values()];
}

/** The instance that was made last: it has the columns of today. */
export function newest(instances: readonly Instance[]): Instance | undefined {
  return instances.at(-1);
}

/** What `Table.storage` holds of the instance that a table is followed by. */
export function pinned(instances: readonly Instance[], storage: string): Instance | undefined {
  return instances.find(({ name, startLsn }) => `${name}@${startLsn}` === storage);
}
