import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { compareTables, describeDifferences } from '../../scripts/compare.ts';
import type { Fleet } from './fleet.ts';
import { type ChaosSource, processes } from './source.ts';

/** How long sessions and slots of killed processes may need to go away. */
const patienceMs = 60_000;

/** Runs a statement at the destination itself, also in SingleStore mode. */
export async function atDestination(fleet: Fleet, sql: string): Promise<Record<string, unknown>[]> {
  const { host, port, user, password } = fleet.destination;
  const client = await mysql.createConnection({ host, port, user, password, multipleStatements: true });
  try {
    return (await client.query(sql))[0] as Record<string, unknown>[];
  } finally {
    client.destroy();
  }
}

export type Difference = { readonly rows: number; readonly differences: number; readonly examples: readonly string[] };

/** Compares all tables by content, in both directions; `db` is where their copies are, or says it of each. */
export async function compare(
  fleet: Fleet,
  source: ChaosSource,
  db: string | ((table: string) => string),
): Promise<Difference> {
  const { host, port, user, password } = fleet.destination;
  const compared = await compareTables(
    source.compared,
    { host, port, user, password },
    source.tables.map((name) => ({
      source: { schema: source.schema, name },
      destination: { schema: typeof db === 'string' ? db : db(name), name },
    })),
  );
  return {
    rows: compared.reduce((sum, one) => sum + one.sourceRows, 0),
    differences: compared.reduce((sum, one) => sum + one.differences, 0),
    examples: compared.flatMap((one) => describeDifferences(one).map((line) => `${one.table.source.name}: ${line}`)),
  };
}

/** Names and contents of the copies, to tell whether a cancelled run has touched any. */
export async function fingerprint(fleet: Fleet, db: string): Promise<string> {
  const names = (await tableNames(fleet, db)).filter((name) => !name.startsWith('_flow_'));
  const sums: unknown[] = [];
  for (const name of names)
    sums.push(await atDestination(fleet, `checksum table \`${db}\`.\`${name.replaceAll('`', '``')}\``));
  return JSON.stringify(sums);
}

async function tableNames(fleet: Fleet, db: string): Promise<string[]> {
  const found = await atDestination(
    fleet,
    `select table_name as name from information_schema.tables where table_schema = '${db}' order by 1`,
  );
  return found.map((row) => String(row['name']));
}

export type Expected = { readonly pipeline: string; readonly db: string; readonly loaded: boolean };

/** What is there and should not be, after everything had time to settle. */
export async function leftovers(fleet: Fleet, source: ChaosSource, expected: Expected): Promise<string[]> {
  for (const deadline = Date.now() + patienceMs; ; await delay(500)) {
    const found = await look(fleet, source, expected).catch((error: unknown) => [`checks failed: ${String(error)}`]);
    if (found.length === 0 || Date.now() > deadline) return found;
  }
}

async function look(fleet: Fleet, source: ChaosSource, expected: Expected): Promise<string[]> {
  const problems: string[] = [];
  const { slots, problems: control } = await lookAtControl(fleet, source, expected);
  problems.push(...control);
  const present = await source.slots();
  if (JSON.stringify(present) !== JSON.stringify(slots))
    problems.push(`slots ${JSON.stringify(present)} instead of ${JSON.stringify(slots)}`);
  const publications = await source.publications();
  if (publications.length > 1) problems.push(`publications ${JSON.stringify(publications)}`);
  for (const session of await source.sessions()) problems.push(`session at the source: ${session}`);
  for (const { name } of await atDestination(fleet, processes())) problems.push(`session at the destination: ${name}`);
  for await (const { workflowId } of fleet.client.workflow.list({
    query: "WorkflowType = 'full' AND ExecutionStatus = 'Running'",
  }))
    problems.push(`workflow ${workflowId} runs`);
  for (const { sql, rule } of fleet.rejections())
    problems.push(`SingleStore would refuse (${rule}): ${sql.slice(0, 200)}`);
  return problems;
}

/** Derived tables and control rows; the slots that the rows name. */
async function lookAtControl(
  fleet: Fleet,
  source: ChaosSource,
  { pipeline, db, loaded }: Expected,
): Promise<{ slots: string[]; problems: string[] }> {
  const names = await tableNames(fleet, db);
  const problems = names.filter((name) => /^_flow_.*_(shadow|old|stage)$/.test(name)).map((name) => `table ${name}`);
  if (!loaded) problems.push(...names.filter((name) => source.tables.includes(name)).map((name) => `copy ${name}`));
  // The last one to be made: a run that was cancelled while it made them leaves some, without a row.
  if (!names.includes('_flow_runs'))
    return { slots: [], problems: loaded ? [...problems, 'no control tables'] : problems };
  const read = (table: string) =>
    atDestination(fleet, `select * from \`${db}\`.${table} where pipeline = '${pipeline}'`);
  const scopes = await read('_flow_checkpoints');
  if (scopes.length !== (loaded ? 1 : 0)) problems.push(`${scopes.length} scope rows`);
  const journal = await read('_flow_journal');
  if (journal.length > 0) problems.push(`${journal.length} journal rows`);
  const tables = await read('_flow_tables');
  if (tables.length !== (loaded ? source.tables.length : 0)) problems.push(`${tables.length} table rows`);
  for (const row of tables) {
    const { source_name: name, load_state: busy, state, scope } = row;
    if (busy !== '' || state !== 'loaded' || scope !== scopes[0]?.['scope'])
      problems.push(`control row of ${name}: load_state '${busy}', state ${state}, scope ${scope}`);
  }
  const open = await atDestination(fleet, `select count(*) as n from \`${db}\`._flow_chunks where state <> 'done'`);
  if (Number(open[0]?.['n']) > 0) problems.push(`${open[0]?.['n']} open chunks`);
  const slots = scopes.map((row) => String(row['slot'])).filter((slot) => slot !== '');
  return { slots, problems };
}
