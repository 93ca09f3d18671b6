import { domainsReached, parseDomainIds, parseGtidSet } from './gtid.ts';
import type { LogPosition } from './position.ts';

/** A place in the files of one server's log. */
export type LogPlace = { readonly file: string; readonly offset: number };

/** Negative, zero or positive, as `a` lies before, at or after `b`. Files are numbered; the number may outgrow its six digits. */
export function comparePlaces(a: LogPlace, b: LogPlace): number {
  return a.file === b.file ? a.offset - b.offset : fileNumber(a.file) - fileNumber(b.file);
}

function fileNumber(file: string): number {
  return Number(/\.(\d+)$/.exec(file)?.[1] ?? '0');
}

/** The place of a position; undefined for one by GTID only. */
export function placeOf({ file, offset }: LogPosition): LogPlace | undefined {
  return file === undefined || offset === undefined ? undefined : { file, offset };
}

/**
 * Whether everything up to `goal` lies within `position`. Places of one server are compared as such, since a set of ids and the end of
 * the log do not move together; after a change of servers the ids decide. False where the two have nothing in common.
 */
export function positionReached(position: LogPosition | null, goal: LogPosition | null): boolean {
  if (!position || !goal) return position === goal;
  const [from, to] = [placeOf(position), placeOf(goal)];
  const sameServer = position.server === undefined || goal.server === undefined || position.server === goal.server;
  if (from && to && sameServer) return comparePlaces(from, to) >= 0;
  if (position.gtid === undefined || goal.gtid === undefined) return false;
  if (isSet(position.gtid) || isSet(goal.gtid)) return parseGtidSet(position.gtid).contains(parseGtidSet(goal.gtid));
  return domainsReached(parseDomainIds(position.gtid), parseDomainIds(goal.gtid));
}

/** MySQL's sets hold UUIDs; MariaDB's positions are numbers. */
function isSet(gtid: string): boolean {
  return gtid.includes(':');
}

/** A test whether a transaction lies within `position`. */
export type Within = (transaction: {
  readonly start: LogPlace;
  readonly gtid: string;
  readonly number: number;
}) => boolean;

/** `gtid`: the transaction's source (MySQL) or domain (MariaDB), '' without one. */
export function withinPosition(position: LogPosition, server: string | undefined): Within {
  const place = placeOf(position);
  if (place && (position.server === undefined || server === undefined || position.server === server))
    // A place is the end of a transaction, so that one which begins before it is contained.
    return ({ start }) => comparePlaces(start, place) < 0;
  const { gtid = '' } = position;
  if (isSet(gtid)) {
    const set = parseGtidSet(gtid);
    return (transaction) => set.has(transaction.gtid, transaction.number);
  }
  const domains = parseDomainIds(gtid);
  return (transaction) =>
    (domains.get(Number(transaction.gtid))?.sequence ?? 0) >= transaction.number && transaction.gtid !== '';
}
