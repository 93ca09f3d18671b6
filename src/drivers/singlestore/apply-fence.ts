import type { Applied } from './apply-database.ts';
import type { Clock } from './apply-lines.ts';
import type { Means, Part } from './apply-write.ts';
import { lost } from './claim.ts';
import { run } from './connection.ts';
import { timeText } from './history.ts';
import { sql, table } from './sql.ts';

/** What begins and ends a transaction of an applier: its claim, its position, and the times of its versions. */

/** Stands for a commit time that is not known before the end of its transaction. */
const UNKNOWN_TIME = '1970-01-01 00:00:00.000000';

/** Numbers of source transactions go on from the checkpoint's; parts of one have the same. */
export function clockOf(to: Applied, { times }: Part): Clock {
  const texts = times.map(timeText);
  return ({ transaction }) => ({ time: texts[transaction] ?? UNKNOWN_TIME, ordinal: to.ordinal + 1 + transaction });
}

/** What earlier parts of the transaction have written gets its time. */
export async function setTimes({ session, untimed, ordinal }: Applied, [at]: readonly number[]): Promise<void> {
  if (at === undefined) return;
  for (const { versions } of untimed.values())
    for (const statement of versions?.setTimes(timeText(at), ordinal + 1) ?? []) await run(session, statement);
}

/** The first statement of every transaction: it locks the checkpoint row, and another attempt's claim shows. */
export async function fence(to: Applied, part: Part, { claim, reached }: Means): Promise<void> {
  const { pass, end } = part;
  let place = '';
  if (pass) place = sql`, [part] = ${pass.table}, [part_until] = ${pass.until}`;
  else if (end) {
    place = sql`, [position] = ${end.position}, [ordinal] = ${to.ordinal + end.transactions}`;
    if (to.part && reached(end.position, to.part.until)) place += sql`, [part] = '', [part_until] = null`;
  }
  const fenced = await run(
    to.session,
    `${sql`update ${table(to.database, '_flow_checkpoints')} set [seq] = ${to.seq + 1}`}${place}${sql` where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} and [token] = ${to.token} and [seq] = ${to.seq}`}`,
  );
  if (fenced.affected !== 1) throw lost(claim);
  to.seq++;
}

/** The position of a transaction that was fenced before its end was known. */
export async function moveTo(to: Applied, end: NonNullable<Part['end']>, { claim, reached }: Means): Promise<void> {
  const over = to.part !== null && reached(end.position, to.part.until);
  const cleared = { raw: over ? sql`, [part] = '', [part_until] = null` : '' };
  const moved = await run(
    to.session,
    sql`update ${table(to.database, '_flow_checkpoints')} set [seq] = ${to.seq + 1}, [position] = ${end.position}, [ordinal] = ${to.ordinal + end.transactions}${cleared} where [pipeline] = ${claim.pipeline} and [scope] = ${claim.scope} and [token] = ${to.token} and [seq] = ${to.seq}`,
  );
  if (moved.affected !== 1) throw lost(claim);
  to.seq++;
}
