import { destinationOf, missingParams } from '../codes.ts';
import type { PipelineConfig, SelectedTable } from '../workflows/messages.ts';

/** Where a selected table lands. */
export function targetOf(config: PipelineConfig, table: SelectedTable): { db: string; table: string } {
  const target = destinationOf(config.source.params.type ?? '', table.database, table, config.destination.params);
  return { db: target.database, table: target.table };
}

/** Destination databases that may hold records of a pipeline; none while the destination isn't configured. */
export function destinationsOf(config: PipelineConfig, selection: readonly SelectedTable[]): string[] {
  if (missingParams(config.destination.params).length > 0) return [];
  return [...new Set(selection.map((table) => targetOf(config, table).db))].sort();
}
