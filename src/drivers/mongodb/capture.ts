import { setTimeout as sleep } from 'node:timers/promises';
import type { Capture, CaptureRequest, FollowedTable, LogEvent } from '../changes.ts';
import { PositionLost } from '../errors.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import type { Position } from '../model.ts';
import { listCollections } from './catalog.ts';
import type { Connection } from './connection.ts';
import { describeCollections } from './describe.ts';
import { createEventRows } from './event-rows.ts';
import { createFollowers, type Followers } from './followed-tables.ts';
import type { MongoOptions } from './options.ts';
import { clusterTime, contains, encodePosition, type StreamPosition, streamPosition } from './position.ts';
import { rereadKeys } from './reread.ts';
import { identity, isSameCluster, writtenTime } from './start.ts';
import { later, streamPages } from './stream.ts';
import { createTransactions, type Transactions } from './transactions.ts';

/** A piece of events is given out at about this size. */
const PIECE_BYTES = 1_048_576;
/** So often at least a reader that has nothing to deliver says where it stands. */
const PROGRESS_MS = 1_000;
/** How long the server waits for events before it answers without any: shorter where the end is waited for. */
const WAIT_MS = { written: 200, forever: 1_000 };

/** Opens a reader of the change stream. Throws `PositionLost` when the oplog does not reach back to `from`. */
export async function openCapture(
  connection: Connection,
  request: CaptureRequest,
  mongo: MongoOptions,
  signal: AbortSignal,
): Promise<Capture> {
  signal.throwIfAborted();
  const from = streamPosition(request.from);
  if (!isSameCluster(request.identity, await identity(connection)))
    throw new PositionLost('The source is another cluster than the one that was followed.', 'Load the tables again.');
  const goal = request.until === 'written' ? await writtenTime(connection) : undefined;
  const followers = createFollowers(request.tables);
  const replaced = await replacedCollections(connection, followers);
  if (request.look)
    for (const [index, reason] of await otherFields(connection, request, mongo)) replaced.set(index, reason);
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const rereading = AbortSignal.any([after(signal, REREAD_GRACE_MS), stop.signal]);
  const rows = createEventRows(followers);
  const transactions = createTransactions(followers, rows);
  /** What the consumer has been given. */
  let delivered = from;

  async function* events(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    try {
      for (const [index, reason] of replaced) transactions.drop(index, reason);
      if (replaced.size > 0) yield transactions.take(PIECE_BYTES);
      yield* followers.all.length === 0 ? idle() : pieces();
    } catch (error) {
      throw ending.aborted ? ending.reason : error;
    }
  }

  function progress(position: StreamPosition, atEnd: boolean): LogEvent[] {
    delivered = position;
    return [{ kind: 'progress', position: encodePosition(position), atEnd }];
  }

  async function* pieces(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const tables = followers.all.map(({ table }) => table.ref);
    let standing = from;
    let said = performance.now();
    for await (const page of streamPages(connection, {
      from,
      tables,
      wait: WAIT_MS[request.until],
      signal: ending,
    })) {
      const fresh = page.events.filter(({ position }) => !contains(from, position));
      const lookedUp = await rows.lookUp(connection, fresh, ending);
      for (const event of fresh) {
        transactions.add(event, lookedUp);
        standing = event.position;
        if (transactions.readyBytes >= PIECE_BYTES) {
          yield piece(transactions);
          said = performance.now();
        }
      }
      // A server that is one replica set has nothing more of this time; shards may.
      const whole = page.empty && !connection.facts.sharded;
      if (page.standing) standing = later(standing, page.standing);
      if (whole || isBehind(transactions, standing)) transactions.close();
      while (transactions.readyBytes > 0) {
        yield piece(transactions);
        said = performance.now();
      }
      if (transactions.open) continue;
      const position: StreamPosition = whole ? { ...standing, whole: true } : standing;
      if (goal && contains(position, goal)) {
        yield progress(position, true);
        return;
      }
      if (page.empty || performance.now() - said > PROGRESS_MS) {
        yield progress(position, page.empty);
        said = performance.now();
      }
    }
  }

  function piece(from: Transactions): LogEvent[] {
    const list = from.take(PIECE_BYTES);
    if (from.delivered) delivered = from.delivered;
    return list;
  }

  /** Without a table to follow only time goes on. */
  async function* idle(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    for (;;) {
      yield progress(goal ?? (await writtenTime(connection)), true);
      if (goal) return;
      await sleep(PROGRESS_MS, undefined, { signal: ending });
    }
  }

  return {
    events,
    reread: (index, keys) => {
      const follower = followers.all[index];
      if (!follower) throw new RangeError(`There is no followed table ${index}.`);
      return rereadKeys(connection, follower.table, keys, {
        signal: rereading,
        after: clusterTime(delivered),
      });
    },
    // The oplog is kept by the server's own rules.
    acknowledge: async (_: Position) => {},
    takeRules: followers.takeRules,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('The reader of the change stream was closed.'));
    },
  };
}

/** The transaction that is open lies before a place that the stream has passed. */
function isBehind({ open }: Transactions, standing: StreamPosition): boolean {
  return (
    open !== undefined &&
    (open.seconds < standing.seconds || (open.seconds === standing.seconds && open.increment < standing.increment))
  );
}

/** Tables that would have other columns if they were loaded now, with the reason. */
async function otherFields(
  connection: Connection,
  { tables }: CaptureRequest,
  mongo: MongoOptions,
): Promise<Map<number, string>> {
  const requests = tables.map(({ table, options }) => ({ ref: table.ref, options: options ?? {} }));
  const told = new Map<number, string>();
  for (const [index, described] of (await describeCollections(connection, requests, mongo)).entries()) {
    const before = (tables[index] as FollowedTable).table;
    if ('error' in described) continue;
    const [old, now] = [before, described.table].map(
      ({ columns }) => new Map(columns.map((one) => [one.name, one.sourceType])),
    );
    const names = [...new Set([...(old?.keys() ?? []), ...(now?.keys() ?? [])])].filter(
      (name) => old?.get(name) !== now?.get(name),
    );
    if (names.length > 0)
      told.set(
        index,
        `its documents, or the options for their fields, ask for other columns than it was loaded with: ${names.slice(0, 20).join(', ')}`,
      );
  }
  return told;
}

/** Collections that are others now than those that were loaded, with the reason; one that is gone is told by the stream. */
async function replacedCollections(connection: Connection, followers: Followers): Promise<Map<number, string>> {
  const replaced = new Map<number, string>();
  for (const [database, group] of Map.groupBy(followers.all, ({ table }) => table.ref.schema)) {
    const found = await listCollections(
      connection,
      database,
      group.map(({ table }) => table.ref.name),
    );
    for (const { index, table } of group) {
      const now = found.find(({ name }) => name === table.ref.name);
      if (now && now.uuid !== '' && table.storage !== '' && now.uuid !== table.storage)
        replaced.set(index, 'the collection was dropped and made again, or restored from a backup');
    }
  }
  return replaced;
}
