import type { ChunkClaim, TableId } from '../destination.ts';
import { Superseded } from '../errors.ts';
import { rows, run, type Session, transaction } from './connection.ts';
import { killLoads, loadMark } from './kill.ts';
import { sql, table } from './sql.ts';

/**
 * Takes a chunk: token + 1, so that an earlier attempt's load cannot commit any more. null: it is done. The chunk of a load that was given
 * up or replaced: `Superseded`.
 */
export async function claimChunk(
  session: Session,
  database: string,
  id: TableId,
  load: number,
  chunk: number,
): Promise<ChunkClaim | null> {
  const chunks = table(database, '_flow_chunks');
  // An attempt that hangs in its LOAD holds locks on the rows it has written: its claim is void, so its connection may go.
  await killLoads(session, loadMark(database, id, load, chunk));
  const claimed = await transaction(session, async () => {
    const raised = await run(
      session,
      sql`update ${chunks} set [token] = [token] + 1 where [table_id] = ${id} and [load_number] = ${load} and [chunk] = ${chunk} and [state] = 'open'`,
    );
    const found = await rows(
      session,
      sql`select [token], [cut], [state] from ${chunks} where [table_id] = ${id} and [load_number] = ${load} and [chunk] = ${chunk}`,
    );
    const [registered] = await rows(
      session,
      sql`select [load_history], [load_started] from ${table(database, '_flow_tables')} where [table_id] = ${id}`,
    );
    return { raised: raised.affected, row: found[0], registered };
  });
  if (claimed.row === undefined) throw givenUp(id, load);
  if (claimed.raised !== 1) {
    if (claimed.row['state'] === 'done') return null;
    throw givenUp(id, load);
  }
  const since =
    Number(claimed.registered?.['load_history']) === 1 ? String(claimed.registered?.['load_started']) : null;
  return { id, load, chunk, token: Number(claimed.row['token']), range: String(claimed.row['cut'] ?? ''), since };
}

/** Marks a chunk done; part of the transaction that loaded it. Throws `Superseded` when the claim is void, which undoes the load. */
export async function finishChunk(
  session: Session,
  database: string,
  claim: ChunkClaim,
  done: { rows: number; bytes: number; rules: string },
): Promise<void> {
  const updated = await run(
    session,
    sql`update ${table(database, '_flow_chunks')} set [state] = 'done', [rows_sent] = ${done.rows}, [bytes_sent] = ${done.bytes}, [rules] = ${done.rules} where [table_id] = ${claim.id} and [load_number] = ${claim.load} and [chunk] = ${claim.chunk} and [token] = ${claim.token} and [state] = 'open'`,
  );
  if (updated.affected !== 1) throw givenUp(claim.id, claim.load);
}

/** Whether a claim still holds. */
export async function claimHolds(session: Session, database: string, claim: ChunkClaim): Promise<boolean> {
  const found = await rows(
    session,
    sql`select [token], [state] from ${table(database, '_flow_chunks')} where [table_id] = ${claim.id} and [load_number] = ${claim.load} and [chunk] = ${claim.chunk}`,
  );
  return Number(found[0]?.['token']) === claim.token && found[0]?.['state'] === 'open';
}

function givenUp(id: TableId, load: number): Superseded {
  return new Superseded(
    `Load ${load} of table ${id} belongs to another attempt, or was given up.`,
    'Nothing: the attempt that owns the load goes on.',
  );
}
