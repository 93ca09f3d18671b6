import type { LogEvent, RowChange } from '../changes.ts';
import type { ChangeEvent } from './change-event.ts';
import type { EventRows, LookedUp } from './event-rows.ts';
import { type Follower, type Followers, isPassed, reasonOf } from './followed-tables.ts';
import { compareTimes, encodePosition, type StreamPosition } from './position.ts';

/**
 * Puts the events of a stream into source transactions. Those of one transaction have its session and number, one cluster time, and come one after the
 * other; an event without them is a transaction by itself.
 */
export type Transactions = {
  /** Takes the next event of the stream. */
  add(event: ChangeEvent, lookedUp: LookedUp): void;
  /** The open transaction has come to its end. */
  close(): void;
  /** The table can't be followed any further. */
  drop(index: number, reason: string): void;
  /** Events that are ready: at most about `bytes` of them, or one. */
  take(bytes: number): LogEvent[];
  readonly readyBytes: number;
  /** Where the transaction stands whose end has not come. */
  readonly open: StreamPosition | undefined;
  /** Where the last transaction that was taken ends. */
  readonly delivered: StreamPosition | undefined;
};

export function createTransactions(followers: Followers, rows: EventRows): Transactions {
  let ready: { readonly event: LogEvent; readonly ends: StreamPosition | undefined }[] = [];
  let current: { transaction: string; position: StreamPosition; at: number; changed: boolean } | undefined;

  const transactions: { -readonly [K in keyof Transactions]: Transactions[K] } = {
    add,
    close,
    drop: (index, reason) => drop(followers.all[index], reason),
    take,
    readyBytes: 0,
    open: undefined,
    delivered: undefined,
  };

  function push(event: LogEvent, ends?: StreamPosition): void {
    ready.push({ event, ends });
    transactions.readyBytes += bytesOf(event);
  }

  function add(event: ChangeEvent, lookedUp: LookedUp): void {
    const { position, transaction, at } = event;
    if (current && (current.transaction !== transaction || compareTimes(current.position, position) !== 0)) close();
    const before = current?.changed ?? false;
    const changed = apply(event, lookedUp) || before;
    current = { transaction, position, at, changed };
    transactions.open = position;
    if (transaction === '') close();
  }

  /** Whether the event changes a row that is followed. */
  function apply(event: ChangeEvent, lookedUp: LookedUp): boolean {
    const { operation, database, collection, position, renamed } = event;
    const follower = collection === '' ? undefined : followers.find(database, collection);
    switch (operation) {
      case 'insert':
      case 'update':
      case 'replace':
      case 'delete': {
        if (!follower || isPassed(follower, position)) return false;
        const change = changeOf(event, follower, lookedUp);
        if (!change) return false;
        follower.rows++;
        push(change);
        return true;
      }
      case 'drop':
        end(follower, position, 'it was dropped');
        return false;
      case 'rename':
        end(follower, position, `it was renamed to ${renamed?.database}.${renamed?.collection}`);
        if (renamed)
          end(
            followers.find(renamed.database, renamed.collection),
            position,
            'another collection was renamed to its name',
          );
        return false;
      case 'dropDatabase':
        for (const one of followers.all)
          if (one.table.ref.schema === database) end(one, position, 'its database was dropped');
        return false;
      default:
        return false;
    }
  }

  function changeOf(event: ChangeEvent, follower: Follower, lookedUp: LookedUp): RowChange | undefined {
    try {
      return rows.change(event, follower, lookedUp);
    } catch (error) {
      // The load that follows says it with the document's place, and holds up no other table.
      drop(follower, reasonOf(error));
      return undefined;
    }
  }

  function end(follower: Follower | undefined, position: StreamPosition, reason: string): void {
    if (follower && !isPassed(follower, position)) drop(follower, reason);
  }

  function drop(follower: Follower | undefined, reason: string): void {
    if (!follower || follower.gone) return;
    follower.gone = true;
    const { schema, name } = follower.table.ref;
    push({
      kind: 'structure',
      table: follower.index,
      now: null,
      reason: `${schema}.${name}: ${reason.replace(/\.?$/, '.')}`,
    });
  }

  function close(): void {
    if (!current) return;
    const { position, at, changed } = current;
    current = undefined;
    transactions.open = undefined;
    if (changed) push({ kind: 'commit', position: encodePosition(position), at }, position);
  }

  function take(most: number): LogEvent[] {
    let bytes = 0;
    let n = 0;
    while (n < ready.length && (n === 0 || bytes < most))
      bytes += bytesOf((ready[n++] as (typeof ready)[number]).event);
    const taken = n === ready.length ? ready : ready.slice(0, n);
    ready = n === ready.length ? [] : ready.slice(n);
    transactions.readyBytes -= bytes;
    transactions.delivered = taken.findLast(({ ends }) => ends)?.ends ?? transactions.delivered;
    return taken.map(({ event }) => event);
  }

  return transactions;
}

/** About how many bytes an event holds on to. */
function bytesOf(event: LogEvent): number {
  if (event.kind === 'insert' || event.kind === 'update' || event.kind === 'delete')
    return event.to - event.from + event.key.length + 100;
  return 200;
}
