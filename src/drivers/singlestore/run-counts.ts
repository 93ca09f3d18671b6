import type { ClaimedScope } from '../apply.ts';
import type { Changes, RunTotals } from '../destination.ts';
import { checkClaim } from './claim.ts';
import { type Row, rows, run, type Session, transaction } from './connection.ts';
import { isMissing, readTime } from './control.ts';
import { quote, sql, table } from './sql.ts';

/** What runs of the stream have applied, as `_flow_runs` keeps it: run by run for the newest, as sums in `_flow_tables` for older ones. */

/** Runs of the main stream whose tables are kept one by one. */
const KEPT_RUNS = 100;
/** Tables whose sums one statement stores. */
const GROUP = 64;
/** Tables that are named with what a run has applied. */
const NAMED = 20;

const COUNTS = ['inserted', 'updated', 'deleted', 'parked'] as const;
const SUMS = [
  ...COUNTS.map((name) => `sum(${quote(name)}) as ${quote(name)}`),
  'max(`changed_at`) as `changed_at`',
  'max(`written_at`) as `written_at`',
].join(', ');

/** Counts and times of a row of `_flow_runs`, `_flow_tables`, or a sum of some. */
export function changesOf(row: Row): Changes {
  const [inserted, updated, deleted, parked] = COUNTS.map((name) => Number(row[name] ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  const [changedAt, writtenAt] = [readTime(row['changed_at'] ?? null), readTime(row['written_at'] ?? null)];
  return { inserted, updated, deleted, parked, changedAt, writtenAt };
}

/** Both together. */
export function addChanges(a: Changes, b: Changes): Changes {
  const later = (one: string | null, other: string | null) => ((one ?? '') > (other ?? '') ? one : other);
  return {
    inserted: a.inserted + b.inserted,
    updated: a.updated + b.updated,
    deleted: a.deleted + b.deleted,
    parked: a.parked + b.parked,
    changedAt: later(a.changedAt, b.changedAt),
    writtenAt: later(a.writtenAt, b.writtenAt),
  };
}

const NONE = changesOf({});

/** What runs have brought to the copies of a pipeline's tables, by table id; what catching up has brought to shadows counts once they are in place. */
export async function readChanges(session: Session, database: string, pipeline: string): Promise<Map<string, Changes>> {
  const found = await rows(
    session,
    sql`select [table_id], ${{ raw: SUMS }} from ${table(database, '_flow_runs')} where [pipeline] = ${pipeline} and [state] in ('streamed', 'loaded') group by [table_id]`,
  );
  return new Map(found.map((row) => [String(row['table_id']), changesOf(row)]));
}

/** What a run has applied in some databases (contract: `Destination.runTotals`). */
export async function runTotals(
  session: Session,
  databases: readonly string[],
  pipeline: string,
  runNumber: number,
): Promise<RunTotals> {
  let total = NONE;
  let all = NONE;
  const tables: RunTotals['tables'][number][] = [];
  for (const database of databases) {
    const mine = sql`from ${table(database, '_flow_runs')} where [pipeline] = ${pipeline} and [run] = ${runNumber}`;
    try {
      const [older] = await rows(
        session,
        sql`select ${{ raw: SUMS }} from ${table(database, '_flow_tables')} where [pipeline] = ${pipeline}`,
      );
      all = addChanges(all, changesOf(older ?? {}));
      for (const changes of (await readChanges(session, database, pipeline)).values()) all = addChanges(all, changes);
      const [sum] = await rows(session, `select ${SUMS} ${mine}`);
      total = addChanges(total, changesOf(sum ?? {}));
      const named = await rows(
        session,
        `${sql`select [source_schema], [source_name], [inserted], [updated], [deleted], [parked], [changed_at], [written_at]`} ${mine} ${sql`and [written_at] is not null order by [inserted] + [updated] + [deleted] desc, [table_id] limit ${NAMED}`}`,
      );
      for (const row of named)
        tables.push({
          ref: { schema: String(row['source_schema']), name: String(row['source_name']) },
          ...changesOf(row),
        });
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return { ...total, all, tables: tables.sort((a, b) => sizeOf(b) - sizeOf(a)).slice(0, NAMED) };
}

function sizeOf({ inserted, updated, deleted }: Changes): number {
  return inserted + updated + deleted;
}

/** Adds what old runs of the stream have applied to their tables' sums and forgets them. */
export async function pruneRuns(session: Session, claim: ClaimedScope, database: string): Promise<void> {
  const runs = table(database, '_flow_runs');
  const mine = sql`where [pipeline] = ${claim.pipeline} and [state] = 'streamed'`;
  const last = await rows(
    session,
    `${sql`select distinct [run] from ${runs}`} ${mine} ${sql`order by [run] desc limit ${KEPT_RUNS}, 1`}`,
  );
  const oldest = last[0]?.['run'];
  if (oldest === undefined) return;
  const old = `${mine} ${sql`and [run] <= ${Number(oldest)}`}`;
  await transaction(session, async () => {
    await checkClaim(session, claim, database);
    // A side stream may do the same just now: whoever comes second finds nothing.
    await rows(session, `${sql`select [run] from ${runs}`} ${old} for update`);
    const sums = await rows(
      session,
      `${sql`select [table_id], ${{ raw: SUMS }} from ${runs}`} ${old} group by \`table_id\``,
    );
    for (let i = 0; i < sums.length; i += GROUP) await run(session, addStatement(database, sums.slice(i, i + GROUP)));
    await run(session, `${sql`delete from ${runs}`} ${old}`);
  });
}

/** One shape of statement for any number of tables: missing ones are the last one again, which `case` never comes to. */
function addStatement(database: string, sums: readonly Row[]): string {
  const group = Array.from({ length: GROUP }, (_, i) => sums[Math.min(i, sums.length - 1)] as Row);
  const ids = group.map((row) => String(row['table_id']));
  const pick = (value: (row: Row) => string | number | null) =>
    sql`case [table_id] ${{ raw: group.map((row, i) => sql`when ${ids[i] as string} then ${value(row)}`).join(' ') }} end`;
  const set = [
    ...COUNTS.map((name) => `${quote(name)} = ${quote(name)} + ${pick((row) => Number(row[name]))}`),
    ...['changed_at', 'written_at'].map(
      (name) => `${quote(name)} = coalesce(${pick((row) => row[name] ?? null)}, ${quote(name)})`,
    ),
  ];
  return sql`update ${table(database, '_flow_tables')} set ${{ raw: set.join(', ') }} where [table_id] in (${ids})`;
}
