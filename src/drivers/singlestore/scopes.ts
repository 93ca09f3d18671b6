import type { Scope } from '../destination.ts';
import { Superseded } from '../errors.ts';
import type { Position } from '../model.ts';
import { numberOf, type Row, rows, run, type Session } from './connection.ts';
import { isMissing } from './control.ts';
import { sql, table } from './sql.ts';

/** All checkpoint rows of a pipeline, by scope; [] when the database or its control tables do not exist. */
export async function readScopes(session: Session, database: string, pipeline: string): Promise<Scope[]> {
  try {
    const found = await rows(
      session,
      sql`select [scope], [run], [token], [seq], [position], [slot], [identity] from ${table(database, '_flow_checkpoints')} where [pipeline] = ${pipeline} order by [scope]`,
    );
    return found.map(readScope);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/**
 * Makes a checkpoint row with P0. A row of the same run is kept, whatever its position: the first attempt's P0 is the one that rows may have
 * been read behind. A row that an older run left is taken over with its token raised.
 */
export async function createScope(session: Session, database: string, pipeline: string, scope: Scope): Promise<void> {
  const checkpoints = table(database, '_flow_checkpoints');
  try {
    await run(
      session,
      sql`insert into ${checkpoints} ([pipeline], [scope], [run], [token], [owner], [seq], [position], [ordinal], [slot], [identity]) values (${pipeline}, ${scope.scope}, ${scope.run}, ${scope.token}, '', ${scope.seq}, ${scope.position}, 0, ${scope.slot}, ${scope.identity})`,
    );
    return;
  } catch (error) {
    if (numberOf(error) !== 1062) throw error;
  }
  const taken = await run(
    session,
    sql`update ${checkpoints} set [run] = ${scope.run}, [token] = [token] + 1, [owner] = '', [seq] = ${scope.seq}, [position] = ${scope.position}, [slot] = ${scope.slot}, [identity] = ${scope.identity} where [pipeline] = ${pipeline} and [scope] = ${scope.scope} and [run] < ${scope.run}`,
  );
  if (taken.affected === 1) return;
  const found = await rows(
    session,
    sql`select [run] from ${checkpoints} where [pipeline] = ${pipeline} and [scope] = ${scope.scope}`,
  );
  const other = Number(found[0]?.['run']);
  if (other > scope.run)
    throw new Superseded(
      `Run ${other} owns scope ${scope.scope} of pipeline ${pipeline}; run ${scope.run} is older.`,
      'Nothing: the newer run goes on.',
    );
}

/** Deletes a scope's row. */
export async function dropScope(session: Session, database: string, pipeline: string, scope: number): Promise<void> {
  try {
    await run(
      session,
      sql`delete from ${table(database, '_flow_checkpoints')} where [pipeline] = ${pipeline} and [scope] = ${scope}`,
    );
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

function readScope(row: Row): Scope {
  return {
    scope: Number(row['scope']),
    run: Number(row['run']),
    token: Number(row['token']),
    seq: Number(row['seq']),
    position: String(row['position'] ?? '') as Position,
    slot: String(row['slot']),
    identity: String(row['identity'] ?? ''),
  };
}
