/** Where a pipeline's tables go, and which of them leave its stream. */
import type { Leaving } from '../activities/leaving.ts';
import { destinationOf } from '../codes.ts';
import type { SelectedTable } from './messages.ts';
import type { PipelineState } from './state.ts';

export function targetOf(state: PipelineState, table: SelectedTable): { database: string; table: string } {
  return destinationOf(state.source.params['type'] ?? '', table.database, table, state.destination.params);
}

/** Destination databases that this pipeline's tables are or were copied to. */
export function databasesOf(state: PipelineState): string[] {
  const known = Object.values(state.tables).filter((table) => table.selected || table.state !== 'new');
  return [
    ...new Set([...known.map((table) => targetOf(state, table).database), ...(state.main?.databases ?? [])]),
  ].sort();
}

/** Tables that must not be followed: what the stream still follows of them leaves it. */
export function leavingTables(state: PipelineState): Leaving[] {
  return Object.values(state.tables).flatMap((table): Leaving[] => {
    const paused = table.state === 'paused' || table.options.paused === true;
    if (table.selected && !paused && table.state !== 'skipped') return [];
    const { schema, name } = table;
    return [{ ref: { schema, name }, target: targetOf(state, table), state: paused ? 'paused' : 'skipped' }];
  });
}
