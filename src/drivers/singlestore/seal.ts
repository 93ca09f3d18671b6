import type { TableId } from '../destination.ts';
import { DestinationRejected, Superseded } from '../errors.ts';
import type { Position, RuleUse } from '../model.ts';
import { type Row, rows, run, type Session, transaction } from './connection.ts';
import { shadowName } from './names.ts';
import { sql, table } from './sql.ts';
import { isPromoted, type Registered, readLoad, shadowGone, tableNames } from './tables.ts';

export type Sealed = { rows: number; bytes: number; rules: Record<string, number> };

/** Closes a load (contract: `Destination.seal`). Repeated after the promotion it returns what it found the first time. */
export async function seal(
  session: Session,
  database: string,
  id: TableId,
  load: number,
  until: Position,
): Promise<Sealed> {
  const found = await readLoad(session, database, id, load);
  if (found.loadState === 'sealed' || found.loadState === 'journalled' || isPromoted(found)) return totals(found);
  if (found.loadState !== 'loading')
    throw new Superseded(`Load ${load} of table ${id} was given up.`, 'Nothing: the run that owns the table goes on.');
  const chunks = table(database, '_flow_chunks');
  const done = await transaction(session, async () => {
    // Waits for a LOAD that is committing right now, and voids every claim that is still out.
    await run(
      session,
      sql`update ${chunks} set [token] = [token] + 1 where [table_id] = ${id} and [load_number] = ${load}`,
    );
    const stored = await rows(
      session,
      sql`select [state], [rows_sent], [bytes_sent], [rules] from ${chunks} where [table_id] = ${id} and [load_number] = ${load}`,
    );
    return stored;
  });
  const open = done.filter((row) => row['state'] !== 'done').length;
  if (open > 0)
    throw new Error(`${open} of ${done.length} chunks of ${found.ref.schema}.${found.ref.name} are not loaded yet.`);
  const sealed = await count(session, database, found, done);
  const stored = await run(
    session,
    sql`update ${table(database, '_flow_tables')} set [load_state] = 'sealed', [load_fence] = [load_fence] + 1, [load_until] = ${until}, [load_rows] = ${sealed.rows}, [load_bytes] = ${sealed.bytes}, [load_rules] = ${JSON.stringify(sealed.rules)} where [table_id] = ${id} and [load_number] = ${load} and [load_state] = 'loading'`,
  );
  if (stored.affected !== 1) throw new Error(`Another attempt closes load ${load} of table ${id}.`);
  return sealed;
}

async function count(
  session: Session,
  database: string,
  registered: Registered,
  chunks: readonly Row[],
): Promise<Sealed> {
  const sent = chunks.reduce((sum, row) => sum + Number(row['rows_sent']), 0);
  const bytes = chunks.reduce((sum, row) => sum + Number(row['bytes_sent']), 0);
  const rules: Record<string, number> = {};
  for (const row of chunks)
    for (const use of JSON.parse(String(row['rules'] ?? '[]')) as RuleUse[])
      rules[use.rule] = (rules[use.rule] ?? 0) + use.count;
  const shadow = registered.keep ? registered.target : shadowName(registered.id, registered.load);
  if (!(await tableNames(session, database, [shadow])).has(shadow)) throw shadowGone(registered);
  const [found] = await rows(session, sql`select count(*) as [n] from ${table(database, shadow)}`);
  const kept = Number(found?.['n']);
  if (!registered.replace && !registered.keep && kept !== sent)
    throw new DestinationRejected(
      `${registered.ref.schema}.${registered.ref.name}: ${sent} rows were sent, the destination holds ${kept}.`,
      'Keys that the destination holds equal replaced each other, or someone wrote to the shadow table: choose another `key`, or load again.',
    );
  return { rows: kept, bytes, rules };
}

function totals(registered: Registered): Sealed {
  return { rows: registered.loadRows, bytes: registered.loadBytes, rules: registered.loadRules };
}
