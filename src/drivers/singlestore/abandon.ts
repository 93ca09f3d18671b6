import type { TableId, Target } from '../destination.ts';
import { DestinationRejected, Superseded } from '../errors.ts';
import type { TableError, TableRef } from '../model.ts';
import { rows, run, type Session, transaction } from './connection.ts';
import { isMissing, now } from './control.ts';
import { killLoads, loadMark } from './kill.ts';
import { derivedPrefix, oldName, shadowName, tableId } from './names.ts';
import { promote } from './promote.ts';
import { sql, table } from './sql.ts';
import { type Registered, readTables, tableNames } from './tables.ts';
import { dropChecks } from './validate.ts';

/** Marks a table of a run as failed (contract: `Destination.fail`). A promotion that was begun is finished first. */
export async function fail(
  session: Session,
  database: string,
  pipeline: string,
  runNumber: number,
  ref: TableRef,
  target: Target,
  error: TableError,
): Promise<void> {
  const id = tableId(pipeline, ref);
  const tables = table(database, '_flow_tables');
  const [found] = await readTables(session, database, [id]);
  if (found && found.run > runNumber) throw newer(found, runNumber);
  if (found) await giveUp(session, database, found);
  const at = now();
  await transaction(session, async () => {
    if (found) {
      const marked = await run(
        session,
        sql`update ${tables} set [run] = ${runNumber}, [state] = 'reload', [load_state] = '', [load_fence] = [load_fence] + 1, [error_class] = ${error.class}, [error_message] = ${error.message}, [error_action] = ${error.action} where [table_id] = ${id} and [run] <= ${runNumber}`,
      );
      if (marked.affected !== 1) throw newer(found, runNumber);
    } else {
      await run(
        session,
        sql`insert into ${tables} ([table_id], [pipeline], [source_schema], [source_name], [target_table], [state], [run], [error_class], [error_message], [error_action]) values (${id}, ${pipeline}, ${ref.schema}, ${ref.name}, ${target.table}, 'reload', ${runNumber}, ${error.class}, ${error.message}, ${error.action})`,
      );
    }
    const sums = await rows(
      session,
      sql`select sum([rows_sent]) as [n], sum([bytes_sent]) as [b] from ${table(database, '_flow_chunks')} where [table_id] = ${id} and [state] = 'done'`,
    );
    const [loaded, bytes] = [Number(sums[0]?.['n'] ?? 0), Number(sums[0]?.['b'] ?? 0)];
    await run(session, sql`delete from ${table(database, '_flow_chunks')} where [table_id] = ${id}`);
    await run(
      session,
      sql`insert into ${table(database, '_flow_runs')} ([pipeline], [run], [table_id], [source_schema], [source_name], [target_table], [state], [rows_total], [bytes_total], [ended_at], [error_class], [error_message], [error_action]) values (${pipeline}, ${runNumber}, ${id}, ${ref.schema}, ${ref.name}, ${target.table}, 'failed', ${loaded}, ${bytes}, ${at}, ${error.class}, ${error.message}, ${error.action}) on duplicate key update [state] = 'failed', [rows_total] = values([rows_total]), [bytes_total] = values([bytes_total]), [ended_at] = values([ended_at]), [error_class] = values([error_class]), [error_message] = values([error_message]), [error_action] = values([error_action])`,
    );
  });
}

/** Gives up what a run has planned and not promoted (contract: `Destination.abandon`). Refused once a promotion has begun to rename. */
export async function abandon(session: Session, database: string, pipeline: string, runNumber: number): Promise<void> {
  await dropChecks(session, database, pipeline);
  const mine = (await ofPipeline(session, database, pipeline)).filter(
    (row) => row.run === runNumber && row.loadState !== '',
  );
  const begun = await rows(
    session,
    sql`select [table_id] from ${table(database, '_flow_journal')} where [pipeline] = ${pipeline} and [run] = ${runNumber} and [step] <> 'journal'`,
  ).catch(none);
  if (begun.length > 0)
    throw new DestinationRejected(
      `Run ${runNumber} is putting its tables in place and can only go forward.`,
      'Let the run finish.',
    );
  for (const row of mine) {
    await giveUp(session, database, row);
    await transaction(session, async () => {
      await run(session, sql`delete from ${table(database, '_flow_chunks')} where [table_id] = ${row.id}`);
      await run(
        session,
        sql`update ${table(database, '_flow_runs')} set [state] = 'skipped', [ended_at] = ${now()} where [pipeline] = ${pipeline} and [run] = ${runNumber} and [table_id] = ${row.id} and [state] = 'loading'`,
      );
      // A table that this run registered leaves no trace; one with a past goes back to it.
      if (!row.live && row.state === 'new') {
        await run(session, sql`delete from ${table(database, '_flow_structures')} where [table_id] = ${row.id}`);
        await run(
          session,
          sql`delete from ${table(database, '_flow_tables')} where [table_id] = ${row.id} and [load_number] = ${row.load}`,
        );
      } else {
        await run(
          session,
          sql`update ${table(database, '_flow_tables')} set [load_state] = '', [load_fence] = [load_fence] + 1 where [table_id] = ${row.id} and [load_number] = ${row.load}`,
        );
      }
    });
  }
}

/** Deletes all control rows of a pipeline and its derived tables; copies stay, and promotions that were begun are finished. */
export async function remove(session: Session, database: string, pipeline: string): Promise<void> {
  const mine = await ofPipeline(session, database, pipeline);
  const ids = mine.map((row) => row.id);
  for (const row of mine) await giveUp(session, database, row);
  const names = await tableNames(session, database);
  for (const id of ids)
    for (const name of names)
      if (name.startsWith(derivedPrefix(id))) await run(session, sql`drop table if exists ${table(database, name)}`);
  if (ids.length > 0)
    for (const control of ['_flow_chunks', '_flow_structures', '_flow_journal', '_flow_dead_letters', '_flow_rereads'])
      await run(session, sql`delete from ${table(database, control)} where [table_id] in (${ids})`);
  // Checkpoints first: without one no attempt writes a run's record any more.
  for (const control of ['_flow_checkpoints', '_flow_points', '_flow_runs', '_flow_tables'])
    await run(session, sql`delete from ${table(database, control)} where [pipeline] = ${pipeline}`).catch(none);
}

/** Finishes a journalled promotion, whoever began it; where its rows are gone the load is given up, and the live table stays. */
export async function settle(session: Session, database: string, row: Registered): Promise<void> {
  try {
    await promote(session, database, row.run, row.loadScope, row.id, row.load);
  } catch (error) {
    if (!(error instanceof DestinationRejected)) throw error;
    await giveUp(session, database, row);
  }
}

/**
 * Ends a table's load: voids its claims, then drops its shadow. A promotion that has begun to rename is finished instead, because only then
 * the table has a name again.
 */
async function giveUp(session: Session, database: string, row: Registered): Promise<void> {
  if (row.loadState === 'journalled') {
    const [step] = await rows(
      session,
      sql`select [step] from ${table(database, '_flow_journal')} where [table_id] = ${row.id}`,
    );
    if (step?.['step'] === 'install' || (step?.['step'] === 'retire' && (await retired(session, database, row))))
      return promote(session, database, row.run, row.loadScope, row.id, row.load);
  }
  await transaction(session, async () => {
    await run(
      session,
      sql`update ${table(database, '_flow_chunks')} set [token] = [token] + 1 where [table_id] = ${row.id}`,
    );
    await run(
      session,
      sql`delete from ${table(database, '_flow_journal')} where [table_id] = ${row.id} and [load_number] = ${row.load}`,
    );
    if (row.loadState !== '')
      await run(
        session,
        sql`update ${table(database, '_flow_tables')} set [load_state] = 'dropping', [load_fence] = [load_fence] + 1 where [table_id] = ${row.id} and [load_number] = ${row.load}`,
      );
  });
  if (row.loadState === '') return;
  await killLoads(session, loadMark(database, row.id, row.load));
  await run(session, sql`drop table if exists ${table(database, shadowName(row.id, row.load))}`);
}

/** Whether the live table already bears its waiting name. */
async function retired(session: Session, database: string, row: Registered): Promise<boolean> {
  const names = await tableNames(session, database, [row.target, oldName(row.id, row.load)]);
  return !names.has(row.target) && names.has(oldName(row.id, row.load));
}

async function ofPipeline(session: Session, database: string, pipeline: string): Promise<Registered[]> {
  try {
    return (await readTables(session, database)).filter((row) => row.pipeline === pipeline);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function none(error: unknown): never[] {
  if (isMissing(error)) return [];
  throw error;
}

function newer(found: { id: TableId; run: number }, runNumber: number): Superseded {
  return new Superseded(
    `Run ${found.run} owns table ${found.id}; run ${runNumber} is older.`,
    'Nothing: the newer run goes on.',
  );
}
