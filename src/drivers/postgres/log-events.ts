import type { CaptureRequest, Carry, LogEvent } from '../changes.ts';
import type { Position, Table } from '../model.ts';
import type { CaptureContext } from './capture.ts';
import { type Server, type Session, withSession } from './connection.ts';
import { follow } from './follow.ts';
import { damaged } from './log-bytes.ts';
import type { LogRelation } from './log-relation.ts';
import { checkTables, type Membership } from './log-start.ts';
import { type Lsn, parseLsn } from './lsn.ts';
import { checkPartitions, type Partitions } from './partitions.ts';
import type { LogDecoder } from './pgoutput.ts';
import { writtenEnd } from './position.ts';
import type { LogStream } from './replication.ts';
import { dropEnded } from './reread.ts';
import { structureNow } from './restructure.ts';
import type { ruleTally } from './special-values.ts';

/** A piece is given when it holds so much. */
const PIECE_BYTES = 1024 * 1024;
/** At the log's end, how long a piece waits for more. */
const LINGER_MS = 5;
/** How soon the server is asked where it stands when nothing arrives; doubled each time. */
const FIRST_ASK_MS = 5;
const LAST_ASK_MS = 500;
/** How often a reader at its end says so. */
const AT_END_MS = 2_000;
/** How often a position is given while the log holds nothing for the scope. */
const PROGRESS_MS = 1_000;
/** How often the publication is looked at. */
const CHECK_MS = 60_000;
/** Transactions remembered for re-reads before those that have ended are forgotten. */
const REMEMBERED = 50_000;

export type LogReader = CaptureContext & {
  readonly request: CaptureRequest;
  readonly stream: LogStream;
  readonly decoder: LogDecoder;
  readonly position: (lsn: Lsn) => Position;
  readonly tallies: readonly ReturnType<typeof ruleTally>[];
  readonly standby: boolean;
};

/** The events of a stream (contract: `Capture.events`). */
export async function* logEvents(
  reader: LogReader,
  signal: AbortSignal,
): AsyncGenerator<readonly LogEvent[], void, undefined> {
  const { server, request, stream, decoder } = reader;
  const inSession = <T>(work: (session: Session) => Promise<T>): Promise<T> => withSession(server, work);
  const bounded = request.until === 'written';
  const leaves = await inSession((session) => leavesOf(session, server, request));
  const tables = follow(server, request.tables, leaves, reader.tallies);
  let membership: Membership | undefined;
  let partitions: Partitions | undefined;
  let checkedAt = 0;
  /** Tables whose changes are not, or no longer, published whole. */
  const check = async (): Promise<void> => {
    const found = await inSession((session) => checkTables(session, server, request, membership));
    membership = found.membership;
    checkedAt = performance.now();
    for (const event of found.events) if (event.kind === 'structure') refuse(event.table, null, event.reason);
    const written = new Map<number, number>();
    for (const [oid, root] of decoder.partitions) {
      const table = tables.tableOf(root);
      if (table !== undefined && request.tables[table]?.table.kind === 'partitioned') written.set(oid, table);
    }
    const leaves = await inSession((session) => checkPartitions(session, server, request, partitions, written));
    partitions = leaves.found;
    for (const { table, now, reason } of leaves.changes) refuse(table, now, reason);
  };
  const refuse = (table: number, now: Table | null, reason: string, carry?: Carry): void => {
    if (decoder.isDropped(table)) return;
    decoder.drop(table);
    decoder.add({ kind: 'structure', table, now, reason, ...(carry ? { carry } : {}) });
  };

  const settle = async (relation: LogRelation): Promise<void> => {
    const table = tables.tableOf(relation);
    if (table === undefined || decoder.isDropped(table)) {
      relation.plan = null;
      return;
    }
    if (decoder.isSkipped(table)) {
      decoder.ignore(relation);
      return;
    }
    const settled = await inSession((session) => tables.settle(session, relation, table));
    if ('plan' in settled) {
      relation.plan = settled.plan;
      return;
    }
    const { types, reason } = settled;
    if (settled.now) {
      relation.plan = null;
      refuse(table, settled.now, reason);
      return;
    }
    const followed = request.tables[table] as CaptureRequest['tables'][0];
    const next =
      types === null
        ? { now: null, reason: '' }
        : await inSession((session) => structureNow(session, reader, followed, relation, types));
    relation.plan = null;
    if (next.now === null) refuse(table, null, `${reason} ${next.reason}`.trim());
    else refuse(table, next.now, reason, next.carry);
  };

  let goal = await logEnd(server, reader.standby);
  let goalAt = performance.now();
  let goalReached = false;
  let saidAt = performance.now();
  let said = decoder.passed;
  let askMs = FIRST_ASK_MS;
  let finished = false;
  let lingered = false;
  const progress = (atEnd: boolean): void => {
    said = decoder.passed;
    saidAt = performance.now();
    decoder.add({ kind: 'progress', position: reader.position(said), atEnd });
  };
  /** What is due by time or place, between messages. */
  const look = async (): Promise<void> => {
    signal.throwIfAborted();
    const now = performance.now();
    if (decoder.inTransaction) return;
    if (!goalReached && decoder.passed >= goal) {
      goalReached = true;
      if (bounded || now - checkedAt > CHECK_MS) await check();
      progress(true);
      finished = bounded;
    } else if (goalReached && now - goalAt > AT_END_MS) {
      goal = await logEnd(server, reader.standby);
      goalAt = performance.now();
      goalReached = false;
      askMs = FIRST_ASK_MS;
    } else if (decoder.passed > said && now - saidAt > PROGRESS_MS) progress(false);
    if (decoder.delivered.size > REMEMBERED)
      await inSession((session) => dropEnded(session, server, decoder.delivered));
  };

  await check();
  stream.ask();
  for (;;) {
    while (!finished && stream.next()) {
      const { data, from, to } = stream;
      const kind = data[from];
      if (kind === XLOG_DATA) {
        for (let unknown = decoder.take(data, from + 25, to); unknown; unknown = decoder.take(data, from + 25, to))
          await settle(unknown);
        if (!decoder.inTransaction && decoder.passed >= goal && !goalReached) await look();
      } else if (kind === KEEPALIVE && to - from === 18) {
        decoder.pass(data.readBigUInt64BE(from + 1));
        if (data[from + 17] === 1) stream.say();
        await look();
      } else throw damaged(`a stream message of the unknown kind ${kind}`);
      if (decoder.size >= PIECE_BYTES) {
        said = decoder.passed;
        saidAt = performance.now();
        yield decoder.events();
        await look();
      }
    }
    if (finished) {
      yield decoder.events();
      return;
    }
    if (decoder.size > 0) {
      // Once only: changes that keep trickling in must not hold back those before them.
      lingered = !lingered && (await stream.wait(LINGER_MS));
      if (!lingered) yield decoder.events();
      continue;
    }
    if (await stream.wait(askMs)) {
      askMs = FIRST_ASK_MS;
      continue;
    }
    await look();
    askMs = Math.min(askMs * 2, LAST_ASK_MS);
    if (!goalReached) stream.ask();
  }
}

const XLOG_DATA = 0x77;
const KEEPALIVE = 0x6b;

/**
 * The log's written end, in a form that the reader will come to: what is written but not flushed is flushed only when something asks for it,
 * and an end right behind a page's header is one that no record has.
 */
async function logEnd(server: Server, standby: boolean): Promise<Lsn> {
  return withSession(server, async (session) => {
    const end = parseLsn(await writtenEnd(session));
    if (standby) return end;
    const { rows } = await session.query<{ flushed: string; block: number }>(
      "select pg_current_wal_flush_lsn()::text as flushed, current_setting('wal_block_size')::int as block",
    );
    const { flushed, block } = rows[0] as (typeof rows)[0];
    const behindHeader = end % BigInt(block) <= LONGEST_HEADER;
    // A transaction number makes a commit record, which the server flushes soon, with everything before it.
    if (parseLsn(flushed) < end || behindHeader) await session.query('select txid_current()');
    return end;
  });
}
const LONGEST_HEADER = 40n;

/** Partitions of followed tables whose publication can't name the root (before 13). */
async function leavesOf(session: Session, server: Server, request: CaptureRequest): Promise<Map<number, number>> {
  const roots = request.tables.flatMap(({ table }, index) =>
    table.kind === 'partitioned' ? [{ ...table.ref, index }] : [],
  );
  if (server.version >= 130000 || roots.length === 0) return new Map();
  const { rows } = await session.query<{ oid: number; index: number }>(
    `with recursive tree(place, oid) as (
       select r.place, c.oid from unnest($1::text[], $2::text[]) with ordinality as r(schema, name, place)
         join pg_namespace n on n.nspname = r.schema join pg_class c on c.relnamespace = n.oid and c.relname = r.name
       union all
       select t.place, i.inhrelid from tree t join pg_inherits i on i.inhparent = t.oid
     ) select oid, place::int - 1 as index from tree`,
    [roots.map((root) => root.schema), roots.map((root) => root.name)],
  );
  return new Map(rows.map(({ oid, index }) => [oid, (roots[index] as (typeof roots)[0]).index]));
}
