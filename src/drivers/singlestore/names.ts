import { createHash } from 'node:crypto';
import type { TableId } from '../destination.ts';
import { DestinationRejected } from '../errors.ts';
import type { TableRef } from '../model.ts';

/** Longest name of a database, table or column in characters (SingleStore 8.1 and MySQL; singlestore.md §1). */
export const MAX_NAME = 64;

/** Names a table of a pipeline: 12 hexadecimal digits. Stored at the destination: never change the rule. */
export function tableId(pipeline: string, ref: TableRef): TableId {
  const words = [pipeline, ref.schema, ref.name].map((word) => `${Buffer.byteLength(word)}:${word}`).join('');
  return createHash('sha256').update(words).digest('hex').slice(0, 12);
}

/** The table that a load fills. A load number belongs to one planning attempt, so no other attempt uses this name. */
export function shadowName(id: TableId, load: number): string {
  return `_flow_${id}_${load}_shadow`;
}

/** Where a live table waits between the two renames of a promotion. */
export function oldName(id: TableId, load: number): string {
  return `_flow_${id}_${load}_old`;
}

/** Where keys and parts of rows wait for a joined statement. */
export function stageName(id: TableId): string {
  return `_flow_${id}_stage`;
}

/** What all derived tables of a table begin with. */
export function derivedPrefix(id: TableId): string {
  return `_flow_${id}_`;
}

/** Refuses a database name that the destination cannot hold; source names are never cut. */
export function checkDatabaseName(database: string): void {
  if ([...database].length > MAX_NAME)
    throw new DestinationRejected(
      `The database name "${database}" has ${[...database].length} characters; the destination takes ${MAX_NAME}.`,
      'Set `db` of the destination connection to a shorter name.',
    );
  if (database === '' || /\s$/.test(database) || database.includes('\0'))
    throw new DestinationRejected(
      `The destination can't hold a database named "${database}".`,
      'Set `db` of the destination connection.',
    );
}
