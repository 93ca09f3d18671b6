import type { Planned, TablePlan } from '../destination.ts';
import { DestinationRejected, isPermanent, Superseded } from '../errors.ts';
import type { TableError } from '../model.ts';
import { settle } from './abandon.ts';
import { rows, run, type Session, transaction } from './connection.ts';
import { now } from './control.ts';
import type { Layout } from './dialect.ts';
import { copyDdl } from './history.ts';
import { killLoads, loadMark } from './kill.ts';
import { derivedPrefix, shadowName, tableId } from './names.ts';
import { type Pool, withSession } from './pool.ts';
import { inserts, quote, sql, table } from './sql.ts';
import { type Registered, readTables, tableError, tableNames } from './tables.ts';
import { checkIdentity, checkTarget, planned, resumable, type View } from './verdict.ts';

/** Tables per transaction of the bookkeeping, and shadows created at the same time. */
const GROUP = 200;
const TOGETHER = 4;

/** One table that gets a new load. */
type Begin = {
  readonly plan: TablePlan;
  readonly id: string;
  readonly load: number;
  readonly before: Registered | undefined;
  readonly keep: boolean;
};

/** What one table of the request comes to. */
type Fate = { readonly done: Planned } | { readonly refused: TableError } | { readonly begin: Begin };

/**
 * Registers tables for loading. A load number is taken by exactly one attempt, in one guarded update, and its shadow has the number in its
 * name: two attempts never create, fill or drop the same table, though DDL cannot be fenced. Until its chunks are stored a load counts as
 * not begun, and the next attempt takes the next number.
 */
export async function plan(
  pool: Pool,
  database: string,
  plans: readonly TablePlan[],
): Promise<(Planned | TableError)[]> {
  const view = await withSession(pool, async (session) => {
    const seen = await readView(session, database, plans);
    return (await settleEarlier(session, database, plans, seen)) ? readView(session, database, plans) : seen;
  });
  const fates = plans.map((wanted): Fate => decide(pool, database, wanted, view));
  const begins = fates.flatMap((fate) => ('begin' in fate ? [fate.begin] : []));
  for (let i = 0; i < begins.length; i += GROUP) {
    const group = begins.slice(i, i + GROUP);
    await withSession(pool, (session) => takeLoads(session, database, group));
  }
  const failures = new Map<string, TableError>();
  const queue = [...begins];
  await Promise.all(
    Array.from({ length: Math.min(TOGETHER, begins.length) }, async () => {
      for (let begin = queue.shift(); begin; begin = queue.shift()) {
        const failure = await createShadow(pool, database, begin, view.names);
        if (failure) failures.set(begin.id, failure);
      }
    }),
  );
  const good = begins.filter((begin) => !failures.has(begin.id));
  for (let i = 0; i < good.length; i += GROUP) {
    const group = good.slice(i, i + GROUP);
    await withSession(pool, (session) => storeChunks(session, database, group));
  }
  return fates.map((fate) => {
    if ('done' in fate) return fate.done;
    if ('refused' in fate) return fate.refused;
    const { id, load, plan: wanted } = fate.begin;
    return (
      failures.get(id) ?? {
        id,
        load,
        open: wanted.ranges.map((range, chunk) => ({ chunk, range })),
        chunks: wanted.ranges.length,
        rowsDone: 0,
      }
    );
  });
}

/** An earlier run that wrote its journal and ended can only go forward: its promotions are finished before a newer run plans the tables. */
async function settleEarlier(
  session: Session,
  database: string,
  plans: readonly TablePlan[],
  view: View,
): Promise<boolean> {
  let settled = false;
  for (const wanted of plans) {
    const before = view.byId.get(tableId(wanted.pipeline, wanted.ref));
    if (before?.loadState !== 'journalled' || before.run >= wanted.run) continue;
    await settle(session, database, before);
    settled = true;
  }
  return settled;
}

async function readView(session: Session, database: string, plans: readonly TablePlan[]): Promise<View> {
  const names = await tableNames(session, database);
  const registered = await readTables(session, database);
  const resumed = plans.map((wanted) => tableId(wanted.pipeline, wanted.ref));
  const found =
    resumed.length === 0
      ? []
      : await rows(
          session,
          sql`select [table_id], [load_number], [chunk], [token], [state], [cut], [rows_sent] from ${table(database, '_flow_chunks')} where [table_id] in (${resumed}) order by [table_id], [load_number], [chunk]`,
        );
  return {
    names,
    byId: new Map(registered.map((row) => [row.id, row])),
    byTarget: Map.groupBy(registered, (row) => row.target),
    chunks: Map.groupBy(found, (row) => `${row['table_id']}/${row['load_number']}`),
  };
}

function decide(pool: Pool, database: string, wanted: TablePlan, view: View): Fate {
  const id = tableId(wanted.pipeline, wanted.ref);
  const before = view.byId.get(id);
  if (before && before.run > wanted.run)
    throw new Superseded(
      `Run ${before.run} has planned ${wanted.ref.schema}.${wanted.ref.name}; run ${wanted.run} is older.`,
      'Nothing: the newer run goes on.',
    );
  try {
    checkIdentity(wanted, id, before);
    const chunks = view.chunks.get(`${id}/${before?.load}`) ?? [];
    if (before && resumable(before, wanted, chunks, view)) return { done: planned(before, chunks) };
    checkTarget(wanted, id, before, view);
    const keep = wanted.skipInitial && view.names.has(wanted.target.table);
    const load = (before?.load ?? 0) + 1;
    // Before anything is touched: a table that the destination cannot hold is refused here.
    const history = wanted.history ?? false;
    copyDdl(pool.dialect, database, shadowName(id, load), wanted.table, history, { shard: undefined, sort: undefined });
    if (keep && history !== (before?.history ?? false)) throw otherMode(wanted);
    return { begin: { plan: wanted, id, load, before, keep } };
  } catch (error) {
    if (isPermanent(error) && !(error instanceof Superseded)) return { refused: tableError(error) };
    throw error;
  }
}

function otherMode({ ref, history }: TablePlan): DestinationRejected {
  return new DestinationRejected(
    `The copy of ${ref.schema}.${ref.name} ${history ? 'keeps no versions of its rows' : 'keeps versions of its rows'}, and its rows are to stay.`,
    `${history ? 'Unset' : 'Set'} \`history\` of the table, or unset \`skipInitial\` and load it again.`,
  );
}

/** Takes the next load number of each table; whoever comes second is superseded. Chunks of earlier loads go, so that none can commit. */
async function takeLoads(session: Session, database: string, group: readonly Begin[]): Promise<void> {
  const tables = table(database, '_flow_tables');
  const at = now();
  await transaction(session, async () => {
    for (const { id, load, before, plan: wanted, keep } of group) {
      if (before === undefined) {
        await run(
          session,
          sql`insert into ${tables} ([table_id], [pipeline], [source_schema], [source_name], [target_table], [scope], [state], [live], [run], [load_number], [load_state], [load_scope], [load_shape], [load_replace], [load_adopt], [load_keep], [load_history], [load_started]) values (${id}, ${wanted.pipeline}, ${wanted.ref.schema}, ${wanted.ref.name}, ${wanted.target.table}, ${wanted.scope}, 'new', 0, ${wanted.run}, ${load}, 'planning', ${wanted.scope}, ${wanted.shape}, ${Number(wanted.replace)}, ${Number(wanted.adopt)}, ${Number(keep)}, ${Number(wanted.history ?? false)}, ${at})`,
        );
        continue;
      }
      const taken = await run(
        session,
        sql`update ${tables} set [target_table] = ${wanted.target.table}, [run] = ${wanted.run}, [live_load] = ${before.live ? before.liveLoad || before.load : 0}, [load_number] = ${load}, [load_state] = 'planning', [load_scope] = ${wanted.scope}, [load_shape] = ${wanted.shape}, [load_replace] = ${Number(wanted.replace)}, [load_adopt] = ${Number(wanted.adopt)}, [load_keep] = ${Number(keep)}, [load_history] = ${Number(wanted.history ?? false)}, [load_started] = ${at}, [load_rows] = 0, [load_bytes] = 0, [load_rules] = null, [load_until] = null where [table_id] = ${id} and [load_number] = ${before.load} and [load_fence] = ${before.fence} and [run] <= ${wanted.run}`,
      );
      if (taken.affected !== 1) throw new Error(`Another attempt plans ${wanted.ref.schema}.${wanted.ref.name}.`);
    }
    const ids = group.map((begin) => begin.id);
    await run(session, sql`delete from ${table(database, '_flow_chunks')} where [table_id] in (${ids})`);
    // The structure of a live copy stays: the copy may be followed again when this load is given up.
    const kept = group.map(({ before }) => (before?.live ? before.liveLoad || before.load : 0));
    for (const live of new Set(kept)) {
      const same = ids.filter((_, i) => kept[i] === live);
      await run(
        session,
        sql`delete from ${table(database, '_flow_structures')} where [table_id] in (${same}) and [load_number] <> ${live}`,
      );
    }
  });
}

/** Drops what earlier loads of the table left and creates the empty shadow; a refusal of the table is returned. */
async function createShadow(
  pool: Pool,
  database: string,
  begin: Begin,
  names: ReadonlySet<string>,
): Promise<TableError | undefined> {
  const { id, load, plan: wanted } = begin;
  try {
    await withSession(pool, async (session) => {
      const left = [...names].filter((name) => name.startsWith(derivedPrefix(id)) && name.endsWith('_shadow'));
      if (left.length > 0) await killLoads(session, loadMark(database, id));
      for (const name of left) await run(session, sql`drop table if exists ${table(database, name)}`);
      if (begin.keep) return;
      const layout = await inheritedLayout(pool, session, database, wanted, names);
      const name = shadowName(id, load);
      await run(session, copyDdl(pool.dialect, database, name, wanted.table, wanted.history ?? false, layout));
    });
    return undefined;
  } catch (error) {
    if (!isPermanent(error) || error instanceof Superseded) throw error;
    await withSession(pool, (session) =>
      run(
        session,
        sql`update ${table(database, '_flow_tables')} set [load_state] = '', [load_fence] = [load_fence] + 1 where [table_id] = ${id} and [load_number] = ${load} and [load_state] = 'planning'`,
      ),
    );
    const name = `${wanted.ref.schema}.${wanted.ref.name}`;
    return { ...tableError(error), message: `${name} can't be made at the destination: ${error.message}` };
  }
}

/** Users choose shard and sort keys for their queries: a table that is replaced keeps them (EXACTNESS.md §4). */
async function inheritedLayout(
  pool: Pool,
  session: Session,
  database: string,
  wanted: TablePlan,
  names: ReadonlySet<string>,
): Promise<Layout> {
  if (pool.dialect.product !== 'SingleStore' || !names.has(wanted.target.table))
    return { shard: undefined, sort: undefined };
  const [shown] = await rows(session, `show create table ${quote(database)}.${quote(wanted.target.table)}`);
  return pool.dialect.layoutOf(String(shown?.['Create Table'] ?? ''));
}

/** Stores chunks and structure and opens the load, in one transaction that only the attempt which took the number can commit. */
async function storeChunks(session: Session, database: string, group: readonly Begin[]): Promise<void> {
  const tables = table(database, '_flow_tables');
  const at = now();
  const positions = new Map<string, string>();
  for (const row of await rows(
    session,
    sql`select [pipeline], [scope], [position] from ${table(database, '_flow_checkpoints')}`,
  ))
    positions.set(`${row['pipeline']}/${row['scope']}`, String(row['position'] ?? ''));
  await transaction(session, async () => {
    for (const { id, load, plan: wanted } of group) {
      const opened = await run(
        session,
        sql`update ${tables} set [load_state] = 'loading', [load_fence] = [load_fence] + 1 where [table_id] = ${id} and [load_number] = ${load} and [run] = ${wanted.run} and [load_state] = 'planning'`,
      );
      if (opened.affected !== 1) throw new Error(`Another attempt plans ${wanted.ref.schema}.${wanted.ref.name}.`);
    }
    const chunks = group.flatMap(({ id, load, plan: wanted }) =>
      wanted.ranges.map((range, chunk) => [id, load, chunk, 0, 'open', range] as const),
    );
    const structures = group.map(({ id, load, plan: wanted }) => {
      const from = positions.get(`${wanted.pipeline}/${wanted.scope}`) ?? '';
      return [id, load, 0, from, JSON.stringify(wanted.table)] as const;
    });
    const records = group.map(({ id, plan: { pipeline, run: number, ref, target } }) => {
      return [pipeline, number, id, ref.schema, ref.name, target.table, 'loading', at] as const;
    });
    const statements = [
      ...inserts(
        sql`insert into ${table(database, '_flow_chunks')} ([table_id], [load_number], [chunk], [token], [state], [cut])`,
        chunks,
      ),
      ...inserts(
        sql`insert into ${table(database, '_flow_structures')} ([table_id], [load_number], [serial], [valid_from], [structure])`,
        structures,
      ),
      ...inserts(
        sql`insert into ${table(database, '_flow_runs')} ([pipeline], [run], [table_id], [source_schema], [source_name], [target_table], [state], [started_at])`,
        records,
        sql`on duplicate key update [state] = 'loading', [rows_total] = 0, [bytes_total] = 0, [inserted] = 0, [updated] = 0, [deleted] = 0, [parked] = 0, [changed_at] = null, [written_at] = null, [ended_at] = null, [error_class] = '', [error_message] = null, [error_action] = null`,
      ),
    ];
    for (const statement of statements) await run(session, statement);
  });
}
