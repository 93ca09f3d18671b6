import type { LogEvent } from '../changes.ts';
import { eventBytes, type Follower, type Followers, isRow } from './followed-tables.ts';
import type { LogGtid } from './log-events.ts';
import type { LogPlace } from './log-place.ts';
import type { LogProgress } from './log-progress.ts';

/** Events of the log that belong together: a transaction, or a statement by itself. */
export type Group = {
  readonly number: number;
  readonly start: LogPlace;
  readonly gtid: LogGtid | undefined;
  /** Delivered before this reader was opened; read again for the sake of rows that are prepared in it. */
  readonly old: boolean;
  /** Goes on until an end mark comes. */
  open: boolean;
  /** Events of a transaction that is prepared only; undefined: they are delivered at once. */
  held: Held | undefined;
  delivered: boolean;
  readonly touched: Set<Follower>;
};

type Held = { events: LogEvent[]; bytes: number };

/** Rows of prepared XA transactions are held in memory up to here. */
const HELD_MOST = 67_108_864;

/** Puts events into transactions, and decides which of them are delivered. */
export type Groups = {
  readonly current: Group;
  readonly idle: boolean;
  begin(start: LogPlace, gtid: LogGtid | undefined): Group;
  /** The group has come to its end: its changes count. `seconds`: the time of its last event. */
  end(seconds: number): void;
  /** The group never came to its end: what was delivered of it is not true. */
  abort(reason: string): void;
  /** What was delivered in the group so far is partly not true. */
  spoil(reason: string): void;
  deliver(event: LogEvent): void;
  /** The table can't be followed any further. */
  drop(follower: Follower, reason: string): void;
  /** Whether the group lies before the place from which the table is followed. */
  skips(follower: Follower): boolean;
  hold(): void;
  prepare(xid: string): void;
  settle(xid: string, commits: boolean, seconds: number): void;
  /** Events that are ready: at most `most` bytes of them, or one. */
  take(most: number): LogEvent[];
  readonly readyBytes: number;
};

export function createGroups(followers: Followers, progress: LogProgress): Groups {
  let events: LogEvent[] = [];
  let group: Group | undefined;
  let count = 0;
  const prepared = new Map<string, { held: Held; group: Group }>();

  const groups: Groups & { readyBytes: number } = {
    get current() {
      return group ?? begin(progress.boundary, undefined);
    },
    get idle() {
      return group === undefined;
    },
    readyBytes: 0,
    begin,
    end,
    abort,
    spoil,
    deliver,
    drop,
    skips,
    hold,
    prepare,
    settle,
    take,
  };

  function push(event: LogEvent): void {
    events.push(event);
    groups.readyBytes += eventBytes(event);
  }

  function begin(start: LogPlace, gtid: LogGtid | undefined): Group {
    group = {
      number: ++count,
      start,
      gtid,
      old: progress.isOld(start),
      open: false,
      held: undefined,
      delivered: false,
      touched: new Set(),
    };
    return group;
  }

  function deliver(event: LogEvent): void {
    const { held } = groups.current;
    if (!held) {
      groups.current.delivered = true;
      push(event);
      return;
    }
    held.events.push(event);
    held.bytes += eventBytes(event);
    if (held.bytes < HELD_MOST) return;
    spoil('a prepared XA transaction changes more of its rows than are held in memory');
    held.events = [];
    held.bytes = 0;
  }

  function drop(follower: Follower, reason: string): void {
    if (follower.gone) return;
    follower.gone = true;
    const { schema, name } = follower.table.ref;
    groups.current.delivered = true;
    push({ kind: 'structure', table: follower.index, now: null, reason: `${schema}.${name}: ${reason}.` });
  }

  function spoil(reason: string): void {
    for (const follower of groups.current.touched) drop(follower, reason);
  }

  function skips(follower: Follower): boolean {
    if (follower.skip.length === 0) return false;
    const { start, gtid } = groups.current;
    const transaction = { start, gtid: gtid?.source ?? '', number: gtid?.number ?? 0 };
    return follower.skip.some((within) => within(transaction));
  }

  function close(seconds: number, held: boolean, settled: LogGtid | undefined): void {
    const of = groups.current;
    group = undefined;
    if (of.old) progress.passGroup();
    else progress.endGroup(of.gtid, held, settled);
    if (!of.delivered || of.old) return;
    push({ kind: 'commit', position: progress.position(), at: Math.floor(of.gtid?.at ?? seconds * 1000) });
  }

  function end(seconds: number): void {
    const of = groups.current;
    if (of.held) release(of.held);
    close(seconds, false, undefined);
  }

  /** Delivers what was held, as far as the table is followed and the transaction counts for it. */
  function release(held: Held): void {
    groups.current.held = undefined;
    const skipped = new Map<Follower, boolean>();
    for (const event of held.events) {
      if (!isRow(event)) continue;
      const follower = followers.all[event.table] as Follower;
      if (!skipped.has(follower)) skipped.set(follower, skips(follower));
      if (!follower.gone && !skipped.get(follower)) deliver(event);
    }
  }

  function abort(reason: string): void {
    if (!group) return;
    if (!group.held) spoil(reason);
    close(0, false, undefined);
  }

  function hold(): void {
    groups.current.held = { events: [], bytes: 0 };
  }

  function prepare(xid: string): void {
    const of = groups.current;
    progress.prepare(xid, { start: of.start, gtid: of.gtid });
    prepared.set(xid, { held: of.held ?? { events: [], bytes: 0 }, group: of });
    close(0, true, undefined);
  }

  function settle(xid: string, commits: boolean, seconds: number): void {
    const of = groups.current;
    const entry = prepared.get(xid);
    prepared.delete(xid);
    if (!of.old && commits) {
      if (entry) release(entry.held);
      else
        for (const follower of followers.all)
          if (!skips(follower))
            drop(
              follower,
              'an XA transaction was committed whose rows stand in the log before the place where the tables are followed',
            );
    }
    progress.settle(xid);
    close(seconds, false, entry?.group.gtid);
  }

  function take(most: number): LogEvent[] {
    if (groups.readyBytes <= most) {
      const all = events;
      events = [];
      groups.readyBytes = 0;
      return all;
    }
    let bytes = 0;
    let n = 0;
    while (n < events.length && bytes < most) bytes += eventBytes(events[n++] as LogEvent);
    groups.readyBytes -= bytes;
    return events.splice(0, n);
  }

  return groups;
}
