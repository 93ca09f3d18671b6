import { randomUUID } from 'node:crypto';
import type { ClaimedScope } from '../apply.ts';
import { Superseded } from '../errors.ts';
import type { Position } from '../model.ts';
import { destroy, numberOf, type Row, rows, run, type Session, transaction } from './connection.ts';
import { isMissing } from './control.ts';
import { openSession, type Pool, withSession } from './pool.ts';
import { explain } from './rejects.ts';
import { quote, sql, table } from './sql.ts';

type ClaimedDatabase = ClaimedScope['databases'][number];
/** A connection as the process list shows it. Stored at the destination: add fields, never rename. */
type Recorded = { readonly id: number; readonly host: string };
type Claimed = ClaimedDatabase & { readonly slot: string; readonly identity: string };

/** How often a claim waits as long as the server lets it for the lock of an earlier attempt which can't be ended. */
const WAITS = 3;
/** Connections of one claim in one database that are remembered, newest last. */
const MOST_RECORDED = 8;

/** Takes a scope for one attempt, in every database (contract: `Destination.claimScope`). */
export async function claimScope(
  pool: Pool,
  databases: readonly string[],
  pipeline: string,
  scope: number,
  runNumber: number,
): Promise<ClaimedScope> {
  const claimed: Claimed[] = [];
  for (const database of [...new Set(databases)].sort())
    claimed.push(await claimDatabase(pool, database, pipeline, scope, runNumber));
  const [first] = claimed;
  if (!first) throw new Error('A scope without databases was claimed.');
  return {
    pipeline,
    scope,
    run: runNumber,
    slot: first.slot,
    identity: first.identity,
    databases: claimed.map(({ slot: _, identity: __, ...database }) => database),
  };
}

/**
 * A connection for the writes of a claim in one database. It is recorded in the checkpoint row before it writes anything, so that the next claim can
 * end it. The caller destroys it.
 */
export async function openClaimed(pool: Pool, claim: ClaimedScope, database: string): Promise<Session> {
  const session = await openSession(pool);
  try {
    // A joined DELETE names its target by alias only, which MariaDB looks for in the current database.
    await run(session, `use ${quote(database)}`);
    const [me] = await rows(session, sql`select connection_id() as [id]`);
    const id = Number(me?.['id']);
    const host = (await shownConnections(session)).get(id);
    const { token } = databaseOf(claim, database);
    const checkpoints = table(database, '_flow_checkpoints');
    const mine = sql`[pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} and [token] = ${token}`;
    const [row] = await rows(session, `${sql`select [connections] from ${checkpoints}`} where ${mine}`);
    if (!row) throw lost(claim);
    if (host !== undefined) {
      const all = [...recordedIn(row), { id, host }].slice(-MOST_RECORDED);
      await run(session, `${sql`update ${checkpoints} set [connections] = ${JSON.stringify(all)}`} where ${mine}`);
    }
    return session;
  } catch (error) {
    destroy(session);
    throw explain(pool.closed ?? error);
  }
}

/** Locks the checkpoint row until the transaction ends and throws `lost` unless the claim still holds. */
export async function checkClaim(session: Session, claim: ClaimedScope, database: string): Promise<void> {
  const [row] = await rows(
    session,
    sql`select [token] from ${table(database, '_flow_checkpoints')} where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} for update`,
  );
  if (Number(row?.['token']) !== databaseOf(claim, database).token) throw lost(claim);
}

/** What a claim says of one of its databases. */
export function databaseOf(claim: ClaimedScope, database: string): ClaimedDatabase {
  const found = claim.databases.find((one) => one.database === database);
  if (!found) throw new Error(`Scope ${claim.scope} of pipeline ${claim.pipeline} was not claimed in ${database}.`);
  return found;
}

/**
 * The claim belongs to another attempt by now: to a later one, or to an earlier one that was asleep. Not permanent: whether the run still owns the
 * scope, the next attempt's claim tells.
 */
export function lost(claim: ClaimedScope): Error {
  return new Error(`Another attempt follows scope ${claim.scope} of pipeline "${claim.pipeline}".`);
}

async function claimDatabase(
  pool: Pool,
  database: string,
  pipeline: string,
  scope: number,
  runNumber: number,
): Promise<Claimed> {
  for (let wait = 1; ; wait++) {
    try {
      return await withSession(pool, async (session) => {
        await endEarlier(session, database, pipeline, scope, runNumber);
        return take(session, database, pipeline, scope, runNumber);
      });
    } catch (error) {
      // 1205 rolls back the statement only on SingleStore; the connection is gone with the error, and with it the transaction.
      if (numberOf(error) !== 1205 || wait === WAITS) throw error;
    }
  }
}

/** Refuses a scope that is gone or a newer run's, and ends the connections that the earlier attempt has recorded. */
async function endEarlier(
  session: Session,
  database: string,
  pipeline: string,
  scope: number,
  runNumber: number,
): Promise<void> {
  const [row] = await rows(
    session,
    sql`select [run], [connections] from ${table(database, '_flow_checkpoints')} where [pipeline] = ${pipeline} and [scope] = ${scope}`,
  ).catch((error: unknown) => {
    if (isMissing(error)) return [] as Row[];
    throw error;
  });
  if (!row)
    throw new Superseded(
      `Scope ${scope} of pipeline "${pipeline}" is not in ${database} any more.`,
      'Nothing: the run that replaced it goes on.',
    );
  if (Number(row['run']) > runNumber) throw newer(pipeline, scope, Number(row['run']), runNumber);
  await end(session, recordedIn(row));
}

/**
 * Ends connections that are still the ones which were recorded: numbers are given again after a restart of the server, the client's address and
 * port tell. Best effort: what stays has lost its token.
 */
async function end(session: Session, recorded: readonly Recorded[]): Promise<void> {
  const shown = recorded.length === 0 ? new Map() : await shownConnections(session);
  for (const { id, host } of recorded) {
    if (shown.get(id) !== host) continue;
    try {
      await run(session, `kill ${id}`);
    } catch (error) {
      // 1094 no such thread any more, 1095 not ours.
      if (session.lost !== undefined || ![1094, 1095].includes(numberOf(error))) throw error;
    }
  }
}

/**
 * Address and port of the clients that the process list shows, by connection. Not from information_schema, which fails on MySQL 9 while any
 * statement holds a character of four bytes.
 */
async function shownConnections(session: Session): Promise<Map<number, string>> {
  try {
    const found = await rows(session, 'show processlist');
    return new Map(found.map((row) => [Number(row['Id']), String(row['Host'])]));
  } catch (error) {
    if (session.lost !== undefined) throw error;
    return new Map();
  }
}

/** Raises the token. The update waits for a transaction of the earlier attempt that is just ending, so that what is read then is settled. */
async function take(
  session: Session,
  database: string,
  pipeline: string,
  scope: number,
  runNumber: number,
): Promise<Claimed> {
  const checkpoints = table(database, '_flow_checkpoints');
  const owner = randomUUID();
  const row = await transaction(session, async () => {
    await run(
      session,
      sql`update ${checkpoints} set [token] = [token] + 1, [run] = ${runNumber}, [owner] = ${owner}, [connections] = null where [pipeline] = ${pipeline} and [scope] = ${scope} and [run] <= ${runNumber}`,
    );
    const [found] = await rows(
      session,
      sql`select [run], [token], [owner], [seq], [position], [ordinal], [slot], [identity], [part], [part_until] from ${checkpoints} where [pipeline] = ${pipeline} and [scope] = ${scope}`,
    );
    return found;
  });
  if (row?.['owner'] !== owner) throw newer(pipeline, scope, Number(row?.['run'] ?? 0), runNumber);
  return {
    database,
    token: Number(row['token']),
    seq: Number(row['seq']),
    position: String(row['position'] ?? '') as Position,
    ordinal: Number(row['ordinal']),
    ...(row['part'] ? { part: { table: String(row['part']), until: String(row['part_until']) as Position } } : {}),
    slot: String(row['slot']),
    identity: String(row['identity'] ?? ''),
  };
}

function recordedIn(row: Row): Recorded[] {
  const text = row['connections'];
  return typeof text === 'string' && text !== '' ? (JSON.parse(text) as Recorded[]) : [];
}

function newer(pipeline: string, scope: number, other: number, runNumber: number): Superseded {
  return new Superseded(
    `Run ${other} owns scope ${scope} of pipeline "${pipeline}"; run ${runNumber} is older.`,
    'Nothing: the newer run goes on.',
  );
}
