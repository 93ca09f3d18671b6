import type { Checked } from '../check.ts';
import type { Destination, RunTable, TableRecord, TableState } from '../destination.ts';
import { rows, run, type Session } from './connection.ts';
import { isMissing, now, readTime } from './control.ts';
import { tableId } from './names.ts';
import { addChanges, changesOf, readChanges } from './run-counts.ts';
import { sql, table } from './sql.ts';
import { readCounts, readError } from './tables.ts';

/** Tables of a pipeline by schema and name. While a load goes on, state and counts are the load's; the copy underneath stays as it was. */
export async function readRecords(session: Session, database: string, pipeline: string): Promise<TableRecord[]> {
  try {
    const found = await rows(
      session,
      sql`select * from ${table(database, '_flow_tables')} where [pipeline] = ${pipeline} order by [source_schema], [source_name]`,
    );
    const sums = await rows(
      session,
      sql`select [table_id], [load_number], sum([rows_sent]) as [n], sum([bytes_sent]) as [b] from ${table(database, '_flow_chunks')} where [table_id] in (select [table_id] from ${table(database, '_flow_tables')} where [pipeline] = ${pipeline}) group by [table_id], [load_number]`,
    );
    const letters = await rows(
      session,
      sql`select [table_id], count(*) as [n] from ${table(database, '_flow_dead_letters')} where [table_id] in (select [table_id] from ${table(database, '_flow_tables')} where [pipeline] = ${pipeline}) group by [table_id]`,
    );
    const changes = await readChanges(session, database, pipeline);
    const parked = new Map(letters.map((row) => [String(row['table_id']), Number(row['n'])]));
    const loading = new Map(sums.map((row) => [`${row['table_id']}/${row['load_number']}`, row]));
    return found.map((row) => {
      const busy = row['load_state'] !== '' && row['load_state'] !== 'dropping';
      const sum = busy ? loading.get(`${row['table_id']}/${row['load_number']}`) : undefined;
      return {
        id: String(row['table_id']),
        ref: { schema: String(row['source_schema']), name: String(row['source_name']) },
        target: { database, table: String(row['target_table']) },
        state: busy ? 'loading' : (String(row['state']) as TableState),
        load: Number(row['load_number']),
        rows: Number(busy ? (sum?.['n'] ?? 0) : row['rows_total']),
        bytes: Number(busy ? (sum?.['b'] ?? 0) : row['bytes_total']),
        parked: parked.get(String(row['table_id'])) ?? 0,
        changes: addChanges(changesOf(row), changes.get(String(row['table_id'])) ?? changesOf({})),
        rules: readCounts(busy ? (row['load_rules'] ?? null) : (row['rules'] ?? null)),
        startedAt: readTime((busy ? row['load_started'] : row['started_at']) ?? null),
        lastLoadedAt: readTime(row['loaded_at'] ?? null),
        error: readError(row),
      };
    });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Tables of one run by schema and name. */
export async function readRun(
  session: Session,
  database: string,
  pipeline: string,
  runNumber: number,
): Promise<RunTable[]> {
  try {
    const found = await rows(
      session,
      sql`select * from ${table(database, '_flow_runs')} where [pipeline] = ${pipeline} and [run] = ${runNumber} order by [source_schema], [source_name]`,
    );
    return found.map((row) => ({
      ref: { schema: String(row['source_schema']), name: String(row['source_name']) },
      target: { database, table: String(row['target_table']) },
      state: String(row['state']) as RunTable['state'],
      rows: Number(row['rows_total']),
      bytes: Number(row['bytes_total']),
      startedAt: readTime(row['started_at'] ?? null),
      endedAt: readTime(row['ended_at'] ?? row['written_at'] ?? null),
      error: readError(row),
      changes: changesOf(row),
      ...(row['checked'] ? { check: JSON.parse(String(row['checked'])) as Checked } : {}),
    }));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Stores a table's share in a validation (contract: `Destination.recordCheck`). A later share of the same run takes the place of an earlier one. */
export async function recordCheck(
  session: Session,
  pipeline: string,
  runNumber: number,
  { ref, target }: Parameters<Destination['recordCheck']>[2],
  outcome: Parameters<Destination['recordCheck']>[3],
): Promise<void> {
  const done = 'check' in outcome;
  const { class: name, message, action } = done ? { class: '', message: '', action: '' } : outcome.error;
  const state = done ? 'checked' : outcome.state;
  const [count, found] = done ? [outcome.check.checked, JSON.stringify(outcome.check)] : [0, ''];
  const began = outcome.startedAt.toISOString().replace('T', ' ').replace('Z', '000');
  await run(
    session,
    sql`replace into ${table(target.database, '_flow_runs')} ([pipeline], [run], [table_id], [source_schema], [source_name], [target_table], [state], [rows_total], [started_at], [ended_at], [error_class], [error_message], [error_action], [checked]) values (${pipeline}, ${runNumber}, ${tableId(pipeline, ref)}, ${ref.schema}, ${ref.name}, ${target.table}, ${state}, ${count}, ${began}, ${now()}, ${name}, ${message}, ${action}, ${found})`,
  );
}
