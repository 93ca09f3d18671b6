import type { TableRef } from '../model.ts';
import type { Connection } from './connection.ts';

/** What change tracking says of a table. */
export type Tracked = {
  readonly id: number;
  readonly ref: TableRef;
  /** Where it began: TRUNCATE, and switching it off and on, set it anew (Microsoft Learn, "sys.change_tracking_tables"). */
  readonly began: string;
  /** From where on its changes are known; null: this user may not see them. */
  readonly least: bigint | null;
};

/** All tables with change tracking. */
export async function readTracked(connection: Connection): Promise<Tracked[]> {
  const rows = await connection.query(
    `SELECT ct.object_id, s.name AS schema_name, o.name AS table_name, CONVERT(nvarchar(20), ct.begin_version) AS began,
 CONVERT(nvarchar(20), CHANGE_TRACKING_MIN_VALID_VERSION(ct.object_id)) AS least
FROM sys.change_tracking_tables AS ct
INNER JOIN sys.objects AS o ON o.object_id = ct.object_id
INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id`,
  );
  return rows.map(([id, schema, name, began, least]) => ({
    id: Number(id),
    ref: { schema: String(schema), name: String(name) },
    began: String(began),
    least: least == null ? null : BigInt(String(least)),
  }));
}
