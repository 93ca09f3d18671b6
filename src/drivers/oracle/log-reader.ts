import type { LogEvent } from '../changes.ts';
import { PositionLost, UnsupportedValue } from '../errors.ts';
import { logGone } from './errors.ts';
import { LONG_OPERATIONS, OPERATION, type RedoRow } from './mining-session.ts';
import type { Pool } from './pool.ts';
import { contains, encodePosition, type LogPosition } from './position.ts';
import { entryOf, type Follower, rereadsOf, Unfollowed } from './redo-entry.ts';
import { RedoSyntax } from './redo-reader.ts';
import { parseLong, parseRedo } from './redo-statement.ts';
import { ddlEntries, eventsOf, structureEntry } from './structure-change.ts';
import type { Entry, Transactions } from './transactions.ts';

/** What rows of the log become: events of whole transactions in the order of their commits. */
export type LogReader = {
  /** Takes one row. What it answers must be awaited or iterated before the next: the events of a transaction when the row commits one. */
  take(row: RedoRow): Iterable<readonly LogEvent[]> | Promise<Iterable<readonly LogEvent[]>> | undefined;
  /** The position when everything up to `scn` has been taken. */
  passed(scn: bigint): LogPosition;
};

export type ReaderParts = {
  readonly pool: Pool;
  readonly followers: readonly Follower[];
  readonly transactions: Transactions;
  readonly from: LogPosition;
  /** The server's clock before UTC, in ms. */
  readonly zoneMs: number;
  /** Followed tables by the numbers of their objects and partitions. */
  readonly objects: ReadonlyMap<string, Follower>;
  /** The table of an object that is not among them. */
  readonly find: (object: string) => Promise<Follower | undefined>;
};

/** The undo segment and slot of a transaction id: one transaction at a time, also where the log does not show the whole id. */
const SLOT_DIGITS = 8;
const WHOLE_ID = /^[0-9A-F]{16}$/;
/** Of operations on long values, those that say which row they are about; those of `GOES_ON` don't, and hold any text. */
const NAMES_ROW: ReadonlySet<number> = new Set([9, 28, 68, 91]);
const GOES_ON: ReadonlySet<number> = new Set([10, 70, 71, 92, 93]);
/** Operations on long values, and rows that get one, have no ROWID of their own. */
const NO_ROW_ID = /^A*$/;

export function createLogReader(parts: ReaderParts): LogReader {
  const { pool, followers, transactions, from, zoneMs, find } = parts;
  const objects = new Map<string, Follower | undefined>(parts.objects);
  const byName = new Map(followers.map((one) => [`${one.table.ref.schema}\0${one.table.ref.name}`, one]));
  const starts = new Map<string, { readonly scn: bigint; readonly xid: string }>();
  let last: { scn: bigint; done: readonly string[] } = { scn: from.scn, done: from.done ?? [] };

  function slotOf(xid: string): string {
    return xid.slice(0, SLOT_DIGITS);
  }

  function add(row: RedoRow, entry: Entry): void {
    const slot = slotOf(row.xid);
    transactions.add(slot, starts.get(slot)?.scn ?? row.scn, entry);
  }

  function reload(row: RedoRow, follower: Follower, reason: string): void {
    add(row, structureEntry(follower, reason));
  }

  function rowIdOf(row: RedoRow): string {
    return NO_ROW_ID.test(row.rowId) || LONG_OPERATIONS.has(row.operation) ? '' : row.rowId;
  }

  function followerOf(row: RedoRow): Follower | undefined {
    if (row.owner === 'UNKNOWN') return objects.get(row.object);
    return byName.get(`${row.owner}\0${row.table}`);
  }

  function begin(row: RedoRow): void {
    const slot = slotOf(row.xid);
    const before = starts.get(slot);
    if (before?.xid !== row.xid && transactions.has(slot))
      throw new PositionLost(
        `The log shows no end of the transaction ${before?.xid ?? slot}, whose place the transaction ${row.xid} has taken at SCN ${row.scn}.`,
        'Load the tables again; they are not exact without that transaction.',
      );
    if (!before || before.xid !== row.xid) starts.set(slot, { scn: row.scn, xid: row.xid });
  }

  function change(row: RedoRow): void {
    const follower = followerOf(row);
    if (!follower || follower.gone) return;
    if (row.owner === 'UNKNOWN') {
      reload(row, follower, 'Rows from before a change of the structure can not be read with the dictionary of today.');
      return;
    }
    if (row.undoes) {
      // Marks to read a row again may stay: they are about the row as it will be.
      if (LONG_OPERATIONS.has(row.operation)) return;
      transactions.undo(slotOf(row.xid), follower.index, rowIdOf(row));
      return;
    }
    const long = LONG_OPERATIONS.has(row.operation);
    // What is said of long values is no statement that could be run, which may be all that the status means.
    if (row.operation === OPERATION.unsupported || (row.status !== 0 && !long)) {
      reload(
        row,
        follower,
        `The log holds a change that LogMiner can't show (${row.info || `operation ${row.operation}`}).`,
      );
      return;
    }
    try {
      const statement = !long ? parseRedo(row.sql) : GOES_ON.has(row.operation) ? null : parseLong(row.sql);
      if (statement) add(row, entryOf(follower, statement, rowIdOf(row)));
      else if (NAMES_ROW.has(row.operation))
        reload(row, follower, 'The log does not say which row an operation on a long value is about.');
    } catch (error) {
      // One table's rows must not hold up the others: it is loaded again, or its load says what is wrong.
      if (!(error instanceof Unfollowed || error instanceof RedoSyntax || error instanceof UnsupportedValue))
        throw error;
      reload(row, follower, error.message);
    }
  }

  /** Of an object that was not there when the reader began. */
  async function unknown(row: RedoRow): Promise<readonly (readonly LogEvent[])[]> {
    objects.set(row.object, await find(row.object));
    change(row);
    return [];
  }

  function positionAt(scn: bigint, done?: readonly string[]): LogPosition {
    const oldest = transactions.oldest();
    const least = done === undefined ? scn + 1n : scn;
    return {
      scn,
      from: oldest !== undefined && oldest < least ? oldest : least,
      ...(done === undefined ? {} : { done }),
    };
  }

  async function ddl(row: RedoRow): Promise<Iterable<readonly LogEvent[]>> {
    const entries = await ddlEntries(pool, followers, row);
    for (const entry of entries) add(row, entry);
    // Where the log shows no transaction around it, none will end: it has been committed by itself.
    return entries.length > 0 && !starts.has(slotOf(row.xid)) ? commit(row) : [];
  }

  function* commit(row: RedoRow): Generator<readonly LogEvent[], void, undefined> {
    const slot = slotOf(row.xid);
    const xid = WHOLE_ID.test(row.xid) && !row.xid.endsWith('FFFFFFFF') ? row.xid : (starts.get(slot)?.xid ?? row.xid);
    starts.delete(slot);
    if (contains(from, row.scn, xid)) {
      transactions.end(slot);
      return;
    }
    if (row.scn < last.scn) throw new Error('The log shows commits in another order than that of their SCNs.');
    let any = false;
    for (const entries of transactions.entries(slot)) {
      const events: LogEvent[] = [];
      for (const entry of entries) {
        const follower = followers[entry.table];
        if (!follower || follower.gone || follower.skip.some((one) => contains(one, row.scn, xid))) continue;
        if (entry.kind === 'structure') follower.gone = true;
        else follower.rows++;
        const inDoubt = entry.key !== '' && transactions.doubted(slot, entry.table);
        events.push(...(inDoubt ? rereadsOf(follower, entry) : [entry]).flatMap(eventsOf));
      }
      if (events.length === 0) continue;
      any = true;
      yield events;
    }
    transactions.end(slot);
    last = { scn: row.scn, done: row.scn === last.scn ? [...last.done, xid] : [xid] };
    if (any)
      yield [
        { kind: 'commit', position: encodePosition(positionAt(row.scn, last.done)), at: timeOf(row.time) - zoneMs },
      ];
  }

  return {
    take(row) {
      switch (row.operation) {
        case OPERATION.start:
          begin(row);
          return undefined;
        case OPERATION.commit:
          return transactions.has(slotOf(row.xid)) ? commit(row) : void starts.delete(slotOf(row.xid));
        case OPERATION.rollback:
          starts.delete(slotOf(row.xid));
          transactions.end(slotOf(row.xid));
          return undefined;
        case OPERATION.missingScn:
          throw logGone(`The log has a gap at SCN ${row.scn}.`);
        case OPERATION.ddl:
          return ddl(row);
        default:
          if (row.owner === 'UNKNOWN' && !objects.has(row.object)) return unknown(row);
          change(row);
          return undefined;
      }
    },
    passed: (scn) => positionAt(scn),
  };
}

function timeOf(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}
