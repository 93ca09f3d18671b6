import type { Applier, ApplyRequest } from '../apply.ts';
import type { LogEvent } from '../changes.ts';
import type { Position } from '../model.ts';
import { createAhead } from './apply-ahead.ts';
import {
  type Batch,
  bytesOf,
  endOfTransaction,
  endsTransaction,
  foldEvent,
  isChange,
  isFull,
  isMuch,
  newBatch,
} from './apply-batch.ts';
import { type Applied, all, openAll } from './apply-database.ts';
import { createStream } from './apply-stream.ts';
import { createTally } from './apply-tally.ts';
import type { Means, OnRowError } from './apply-write.ts';
import { createBaseline } from './baseline.ts';
import { destroy } from './connection.ts';
import { checkKey } from './followed.ts';
import { linksOf } from './links.ts';
import { writeAccepted } from './park.ts';
import { createPasses, writeInPasses } from './passes.ts';
import type { Pool } from './pool.ts';
import { explain } from './rejects.ts';
import { readWaiting } from './rereads.ts';
import { pruneRuns } from './run-counts.ts';
import { writingOf } from './stage.ts';

/** Whatever comes, all databases get their position at least so often. */
const IDLE_MS = 10_000;

/** What a connection's parameters say of applying. */
export type Rules = { readonly onRowError: OnRowError; readonly maxVersions: number };

/** Events of a source transaction whose end has not come yet. */
type Tail = { readonly events: readonly LogEvent[]; readonly from: number };

/**
 * Begins to apply a claimed scope (contract: `Destination.apply`). Events wait until their source transaction is whole and are folded then, so that
 * a batch can be written at any time; a transaction that is too large to wait for is written in parts inside one destination transaction.
 */
export async function apply(pool: Pool, request: ApplyRequest, { onRowError, maxVersions }: Rules): Promise<Applier> {
  const { claim, tables, signal } = request;
  signal.throwIfAborted();
  const tally = createTally(tables.length);
  const databases = await openAll(pool, request, tally.park);
  const writings = tables.map((followed) => writingOf(pool.dialect, followed));
  const databaseOfTable = tables.map(({ target }) => databases.get(target.database) as Applied);
  const links = linksOf(tables);
  const ahead = createAhead(tables, request.reached, links);
  const baseline = createBaseline(tables, (name) => (databases.get(name) as Applied).position, request.reached);
  const versions = { tables: baseline.versions, most: maxVersions, kinds: links.kinds };
  const stream = createStream([...databases.values()], request.reached);
  const { mark, due, caughtUp } = ahead;
  const { capture, written, reached } = request;
  const from = { pool, claim, capture, written, signal, onRowError, mark, reached };
  const means: Means = { ...from, writings, links, versions: baseline.versions, caughtUp, due };
  const { transactionTables } = pool.dialect;
  const passes = createPasses(tables, databaseOfTable, request.reached);
  let flushedAt = Date.now();

  let batch = newBatch(tables.length, versions);
  let tail: Tail[] = [];
  let tailChanges = 0;
  let tailBytes = 0;
  /** The batch is the beginning of a source transaction that is written in parts. */
  let large = false;
  /** Changes of a source transaction have been folded and its end has not come. */
  let inside = false;
  let durableAt: number | null = null;
  let failure: { readonly error: unknown } | undefined;
  let writing: Promise<void> | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  const fail = (error: unknown) => {
    failure ??= { error: explain(signal.aborted ? (signal.reason ?? error) : (pool.closed ?? error)) };
    for (const { session } of databases.values()) destroy(session);
  };
  const check = () => {
    if (failure) throw failure.error;
  };
  const abort = () => fail(signal.reason);
  signal.addEventListener('abort', abort, { once: true });

  /** Keys that wait to be read again come first: nothing that follows is older than what they are read as. */
  async function readAgain(to: Applied) {
    for (;;) {
      const waiting = await readWaiting(to, tables, writings, baseline.versions);
      if (waiting.length === 0) return;
      const end = { position: to.position, transactions: 1 };
      const besides = waiting.map(({ statement }) => statement);
      await writeAccepted(to, { folds: waiting, end, times: [Date.now()], events: 1, besides }, means);
    }
  }

  /** What a write has put on the list; and a table without its parent is left to the next attempt, which takes it out of the stream. */
  async function readFound(to: Applied) {
    if ([...to.dropped].some((index) => links.of(index).length > 0))
      throw new Error('A table has left the stream whose keys others refer to.');
    if (!to.waiting || to.open !== null) return;
    to.waiting = false;
    await readAgain(to);
  }

  /** Writes a batch; `ends`: it holds whole transactions only, or the end of a large one. */
  async function write(closing: Batch, ends: boolean, position: Position, mark: number, at: number | null) {
    const work: Promise<unknown>[] = [];
    for (const to of databases.values()) {
      const mine = closing.touched.filter((index) => databaseOfTable[index] === to);
      if (mine.length === 0 && to.open === null) continue;
      const folds = mine.map((index) => {
        const fold = closing.folds[index];
        const one = writings[index];
        if (!fold || !one) throw new Error(`There is no table ${index}.`);
        checkKey(one.followed);
        return { index, writing: one, fold };
      });
      const end = ends ? { position, transactions: closing.transactions } : null;
      const { times, events } = closing;
      work.push(
        writeInPasses(to, { folds, end, times, events }, means)
          .then(async () => {
            if (end) stream.moved(to, mark);
            await readFound(to);
          })
          // The others must not go on for long.
          .catch((error: unknown) => {
            fail(error);
            throw error;
          }),
      );
    }
    await all(work);
    tally.settle(closing, ends);
    if (ends && at !== null) durableAt = at;
  }

  /** Hands the batch to the background; waits while an earlier one is being written. */
  async function close(ends: boolean) {
    const closing = batch;
    const { position, mark, at } = stream.now;
    batch = newBatch(tables.length, versions, ends ? undefined : closing);
    await writing;
    check();
    writing = write(closing, ends, position, mark, closing.transactions > 0 ? at : null).catch(fail);
  }

  /** Takes what waits for its end, because it has come or because it is too much. */
  function foldTail() {
    for (const { events, from } of tail) for (let i = from; i < events.length; i++) fold(events[i] as LogEvent);
    tail = [];
    tailChanges = 0;
    tailBytes = 0;
  }

  function fold(event: LogEvent) {
    if ('table' in event && passes.wrote(event.table, stream.now.position)) return;
    const index = foldEvent(batch, event);
    if (index < 0) return;
    inside = true;
    if (stream.watched > 0) stream.touched(databaseOfTable[index] as Applied);
  }

  async function keep(events: readonly LogEvent[], from: number) {
    if (from === events.length) return;
    tail.push({ events, from });
    for (let i = from; i < events.length; i++) {
      const event = events[i] as LogEvent;
      if (isChange(event)) tailChanges++;
      tailBytes += bytesOf(event);
    }
    // What was written in passes once is not written in parts now.
    if (!isMuch(tailChanges, tailBytes) || passes.areOpen) return;
    if (batch.transactions > 0) await close(true);
    baseline.standing(stream.now.position);
    large = true;
    foldTail();
    await close(false);
  }

  /** Tables whose changes make versions from here on are not in one batch with their earlier ones. */
  async function beginTransaction(events: readonly LogEvent[], from: number) {
    const commit = baseline.waits ? events.find((event, i) => i >= from && event.kind === 'commit') : undefined;
    if (commit?.kind === 'commit' && baseline.next(commit.position) && batch.transactions > 0) await close(true);
  }

  async function takePiece(events: readonly LogEvent[]): Promise<void> {
    let end = events.length;
    if (!large) {
      while (end > 0 && !endsTransaction(events[end - 1] as LogEvent)) end--;
      if (end > 0) {
        await beginTransaction(events, 0);
        foldTail();
      }
    }
    for (let i = 0; i < end; i++) {
      const event = events[i] as LogEvent;
      if (event.kind === 'commit') {
        stream.reach(event.position, event.at);
        endOfTransaction(batch, event.at);
        inside = false;
        if (large || isFull(batch, transactionTables) || passes.endAt(event.position)) {
          await close(true);
          // What follows it in this piece waits for its end again.
          if (large) {
            large = false;
            return takePiece(events.slice(i + 1));
          }
        }
        await beginTransaction(events, i + 1);
      } else if (event.kind === 'progress') {
        if (inside) throw new Error('The capture named a position inside a transaction.');
        stream.reach(event.position, null);
      } else {
        fold(event);
        if (large && isMuch(batch.changes, batch.bytes)) await close(false);
      }
    }
    await keep(events, end);
  }

  async function flush() {
    check();
    if (!large && batch.touched.length > 0) await close(true);
    await writing;
    check();
    const { position, mark, at } = stream.now;
    const behind = [...databases.values()].filter((to) => to.open === null && stream.isBehind(to, mark));
    writing = all(
      behind.map(async (to) => {
        await writeAccepted(to, { folds: [], end: { position, transactions: 0 }, times: [], events: 0 }, means);
        stream.moved(to, mark);
        await readFound(to);
      }),
    ).catch(fail);
    await writing;
    check();
    durableAt = at ?? durableAt;
    flushedAt = Date.now();
  }

  /** Calls take their turns. */
  function inTurn<T>(body: () => Promise<T>): Promise<T> {
    const result = turn.then(body);
    turn = result.catch(() => undefined);
    return result;
  }

  const prepare = async (to: Applied) => {
    await pruneRuns(to.session, claim, to.database);
    await readAgain(to);
  };
  await all([...databases.values()].map(prepare)).catch(async (error: unknown) => {
    fail(error);
    signal.removeEventListener('abort', abort);
    throw failure?.error;
  });
  return {
    take: (events) =>
      inTurn(async () => {
        check();
        tally.take(events.filter(isChange).length);
        await takePiece(events).catch((error: unknown) => {
          fail(error);
          throw error;
        });
        if (!large && Date.now() - flushedAt >= IDLE_MS) await flush();
      }),
    flush: () => inTurn(flush),
    get durable() {
      return stream.durable();
    },
    get durableAt() {
      return durableAt;
    },
    get pending() {
      return tally.pending;
    },
    get writtenAt() {
      return tally.writtenAt;
    },
    applied: tally.counts,
    caughtUp: ahead.caughtUp,
    get gaveUp() {
      return [...databases.values()].some((to) => to.dropped.size > 0);
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', abort);
      failure ??= { error: new Error('The applier was closed.') };
      for (const { session } of databases.values()) destroy(session);
      await writing;
    },
  };
}
