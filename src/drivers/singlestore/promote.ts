import type { TableId } from '../destination.ts';
import { DestinationRejected, Superseded } from '../errors.ts';
import type { Position } from '../model.ts';
import { rows, run, type Session, transaction } from './connection.ts';
import { now } from './control.ts';
import { oldName, shadowName } from './names.ts';
import { inserts, sql, table } from './sql.ts';
import { isPromoted, type Registered, readLoad, readTables, shadowGone, tableNames } from './tables.ts';

/** Tables per statement. */
const GROUP = 200;

/**
 * Writes the journal rows of sealed tables in one transaction. It also raises the tokens of the scopes that wrote these tables until now, so
 * that a late apply cannot write to a table while it is being replaced.
 */
export async function journal(
  session: Session,
  database: string,
  runNumber: number,
  loads: readonly { readonly id: TableId; readonly load: number }[],
): Promise<void> {
  if (loads.length === 0) return;
  const wanted = new Map(loads.map(({ id, load }) => [id, load]));
  const registered = await readTables(session, database, [...wanted.keys()]);
  const names = await tableNames(session, database);
  const open: Registered[] = [];
  for (const [id, load] of wanted) {
    const found = registered.find((row) => row.id === id);
    if (!found || found.load !== load || found.run !== runNumber) throw superseded(id, load);
    if (isPromoted(found) || found.loadState === 'journalled') continue;
    if (found.loadState !== 'sealed') throw new Error(`Load ${load} of table ${id} is not closed yet.`);
    if (!names.has(found.keep ? found.target : shadowName(id, load))) throw shadowGone(found);
    checkOwner(found, names.has(found.target));
    open.push(found);
  }
  if (open.length === 0) return;
  const scopes = new Map(open.map((row) => [`${row.pipeline}/${row.scope}`, row]));
  await transaction(session, async () => {
    for (const { pipeline, scope } of [...scopes.values()].sort((a, b) => a.scope - b.scope))
      await run(
        session,
        sql`update ${table(database, '_flow_checkpoints')} set [token] = [token] + 1 where [pipeline] = ${pipeline} and [scope] = ${scope}`,
      );
    for (let i = 0; i < open.length; i += GROUP) {
      const group = open.slice(i, i + GROUP);
      const ids = group.map((row) => row.id);
      const marked = await run(
        session,
        sql`update ${table(database, '_flow_tables')} set [load_state] = 'journalled', [load_fence] = [load_fence] + 1 where [table_id] in (${ids}) and [run] = ${runNumber} and [load_state] = 'sealed'`,
      );
      if (marked.affected !== group.length) throw superseded(ids[0] as string, group[0]?.load as number);
      for (const statement of inserts(
        sql`insert into ${table(database, '_flow_journal')} ([table_id], [pipeline], [run], [load_number], [step], [target_table])`,
        group.map((row) => [row.id, row.pipeline, runNumber, row.load, 'journal', row.target]),
      ))
        await run(session, statement);
    }
  });
}

/**
 * Puts a journalled table in place: target → old, shadow → target, drop old, clear. Each rename is announced in the journal before it runs;
 * after a crash the announced step and the names that exist say what is left to do. Readers meet a moment without the table: SingleStore
 * has no exchange of two names (singlestore.md §2).
 */
export async function promote(
  session: Session,
  database: string,
  runNumber: number,
  scope: number,
  id: TableId,
  load: number,
  followFrom: Position | null = null,
): Promise<void> {
  const registered = await readLoad(session, database, id, load);
  if (registered.run !== runNumber) throw superseded(id, load);
  if (isPromoted(registered)) return;
  let step = await readStep(session, database, id, runNumber, load);
  if (registered.keep) return finish(session, database, registered, scope, followFrom);
  await voidClaims(session, database, id, load);
  const shadow = shadowName(id, load);
  const old = oldName(id, load);
  const { target } = registered;
  let names = await tableNames(session, database, [target, shadow, old]);
  if (step === 'journal') {
    if (!names.has(shadow)) throw shadowGone(registered);
    checkOwner(registered, names.has(target));
    step = await announce(session, database, registered, step, 'retire');
  }
  if (step === 'retire') {
    if (!names.has(shadow)) throw shadowGone(registered);
    if (names.has(target)) {
      if (names.has(old)) throw occupied(database, registered);
      await rename(session, database, target, old);
    }
    step = await announce(session, database, registered, step, 'install');
    names = await tableNames(session, database, [target, shadow, old]);
  }
  if (names.has(shadow)) {
    // Not ours: ours is called `old` by now.
    if (names.has(target)) throw occupied(database, registered);
    await rename(session, database, shadow, target);
  } else if (!names.has(target)) {
    throw shadowGone(registered);
  }
  await run(session, sql`drop table if exists ${table(database, old)}`);
  await finish(session, database, registered, scope, followFrom);
}

/** The announced step of a promotion. */
async function readStep(
  session: Session,
  database: string,
  id: TableId,
  runNumber: number,
  load: number,
): Promise<string> {
  const [row] = await rows(
    session,
    sql`select [step], [run], [load_number] from ${table(database, '_flow_journal')} where [table_id] = ${id}`,
  );
  if (!row || Number(row['run']) !== runNumber || Number(row['load_number']) !== load)
    throw new Superseded(
      `Load ${load} of table ${id} is not in the journal.`,
      'Nothing: the run that owns the table goes on.',
    );
  return String(row['step']);
}

async function announce(
  session: Session,
  database: string,
  registered: Registered,
  from: string,
  to: string,
): Promise<string> {
  const moved = await run(
    session,
    sql`update ${table(database, '_flow_journal')} set [step] = ${to} where [table_id] = ${registered.id} and [load_number] = ${registered.load} and [step] = ${from}`,
  );
  if (moved.affected !== 1) throw new Error(`Another attempt puts table ${registered.id} in place.`);
  return to;
}

async function finish(
  session: Session,
  database: string,
  registered: Registered,
  scope: number,
  followFrom: Position | null,
): Promise<void> {
  const { id, load, pipeline } = registered;
  const at = now();
  await transaction(session, async () => {
    const [checkpoint] = await rows(
      session,
      sql`select [part_until] from ${table(database, '_flow_checkpoints')} where [pipeline] = ${pipeline} and [scope] = ${scope}`,
    );
    const joined = checkpoint?.['part_until'] ?? null;
    await run(
      session,
      sql`update ${table(database, '_flow_tables')} set [scope] = ${scope}, [joined] = ${joined}, [state] = 'loaded', [live] = 1, [live_load] = [load_number], [load_state] = '', [load_fence] = [load_fence] + 1, [ahead_until] = [load_until], [history] = [load_history], [baseline_until] = [load_until], [follow_from] = ${followFrom}, [rows_total] = [load_rows], [bytes_total] = [load_bytes], [rules] = [load_rules], [started_at] = [load_started], [loaded_at] = ${at}, [error_class] = '', [error_message] = null, [error_action] = null where [table_id] = ${id} and [load_number] = ${load} and [load_state] = 'journalled'`,
    );
    // An adopted table of another pipeline: that pipeline must never write it again.
    await run(
      session,
      sql`update ${table(database, '_flow_tables')} set [live] = 0, [state] = 'error', [error_class] = 'Superseded', [error_message] = ${`Pipeline "${pipeline}" has taken the table over.`}, [error_action] = 'Deselect the table here, or there.' where [target_table] = ${registered.target} and [table_id] <> ${id} and [live] = 1`,
    );
    await run(
      session,
      sql`update ${table(database, '_flow_runs')} set [state] = 'loaded', [rows_total] = ${registered.loadRows}, [bytes_total] = ${registered.loadBytes}, [ended_at] = ${at} where [pipeline] = ${pipeline} and [run] = ${registered.run} and [table_id] = ${id}`,
    );
    await run(
      session,
      sql`delete from ${table(database, '_flow_structures')} where [table_id] = ${id} and [load_number] <> ${load}`,
    );
    await run(session, sql`delete from ${table(database, '_flow_dead_letters')} where [table_id] = ${id}`);
    await run(
      session,
      sql`delete from ${table(database, '_flow_journal')} where [table_id] = ${id} and [load_number] = ${load}`,
    );
  });
}

async function voidClaims(session: Session, database: string, id: TableId, load: number): Promise<void> {
  await run(
    session,
    sql`update ${table(database, '_flow_chunks')} set [token] = [token] + 1 where [table_id] = ${id} and [load_number] = ${load}`,
  );
}

async function rename(session: Session, database: string, from: string, to: string): Promise<void> {
  await run(session, sql`alter table ${table(database, from)} rename to ${table(database, to)}`);
}

function checkOwner(registered: Registered, targetExists: boolean): void {
  if (!targetExists || registered.live || registered.adopt) return;
  throw new DestinationRejected(
    `A table ${registered.target} which was not made by this product appeared at the destination while ${registered.ref.schema}.${registered.ref.name} was loading.`,
    'Set `adopt` of the table to replace it, or rename it, and load again.',
  );
}

function occupied(database: string, registered: Registered): DestinationRejected {
  return new DestinationRejected(
    `Someone made a table ${database}.${registered.target} while ${registered.ref.schema}.${registered.ref.name} was being put in place.`,
    'Rename or drop it; the operation then goes on.',
  );
}

function superseded(id: TableId, load: number): Superseded {
  return new Superseded(`Load ${load} of table ${id} belongs to another run.`, 'Nothing: that run goes on.');
}
