import type { Position } from '../model.ts';
import { type DomainIds, domainIdsText, domainsReached, type GtidSet, parseDomainIds, parseGtidSet } from './gtid.ts';
import type { LogGtid } from './log-events.ts';
import { comparePlaces, type LogPlace, placeOf } from './log-place.ts';
import type { LogPosition } from './position.ts';

/** A transaction whose rows are prepared and wait for their XA COMMIT. */
export type Prepared = { readonly start: LogPlace; readonly gtid: LogGtid | undefined };

/** A place in the log, and the ids of all that lies before it, where the log has ids; more of them may be named. */
export type LogEnd = LogPlace & { readonly ids: string | undefined };

/** How far a reader has come: by place, and by ids where the log has them. */
export type LogProgress = {
  /** Where the event that is being read ends. */
  readonly place: LogPlace;
  /** Where the last group ended. */
  readonly boundary: LogPlace;
  /** Goes to another file, or to a place that the server names. */
  moveTo(place: LogPlace): void;
  /** An event ends at `end` modulo 2^32 of the current file; 0: not said. */
  advance(end: number): void;
  /** A group ends here that was delivered before: nothing new. */
  passGroup(): void;
  /** A group ends here. `held`: its rows are prepared only, and its id counts once that is settled; `settled`: the id of such a group. */
  endGroup(gtid: LogGtid | undefined, held: boolean, settled: LogGtid | undefined): void;
  prepare(xid: string, prepared: Prepared): void;
  settle(xid: string): Prepared | undefined;
  /** Whether a group that began at `start` was delivered before the reader was opened. */
  isOld(start: LogPlace): boolean;
  position(): Position;
  reachedPlace(goal: LogPlace): boolean;
  /** Whether nothing is left to read before `end`: its place was reached, or its ids were all read. */
  cameTo(end: LogEnd): boolean;
};

export function createProgress(
  from: LogPosition,
  kind: 'MySQL' | 'MariaDB',
  server: string | undefined,
  useGtids: boolean,
): LogProgress {
  const set: GtidSet | undefined = kind === 'MySQL' && useGtids ? parseGtidSet(from.gtid ?? '') : undefined;
  const domains: DomainIds | undefined =
    kind === 'MariaDB' && from.gtid !== undefined ? parseDomainIds(from.gtid) : undefined;
  const open = new Map<string, Prepared>();
  // Another server of the topology has other files: until its first event its place is not known.
  const moved = from.server !== undefined && server !== undefined && from.server !== server;
  let place: LogPlace = (moved ? undefined : placeOf(from)) ?? { file: '', offset: 0 };
  let boundary = place;
  // By place, a reader that must go back for prepared rows sees groups that were delivered.
  const delivered = useGtids ? undefined : placeOf(from);
  const tail = server === undefined ? '}' : `,"server":${JSON.stringify(server)}}`;

  function since(): string {
    if (set || open.size === 0) return '';
    const [first] = [...open.values()].sort((a, b) => comparePlaces(a.start, b.start));
    return first ? `,"since":${JSON.stringify(first.start)}` : '';
  }

  return {
    get place() {
      return place;
    },
    get boundary() {
      return boundary;
    },
    moveTo(next) {
      place = next;
    },
    advance(end) {
      if (end === 0) return;
      // The log says places modulo 2^32; within a file they only grow.
      let offset = Math.floor(place.offset / 4_294_967_296) * 4_294_967_296 + end;
      if (offset < place.offset) offset += 4_294_967_296;
      place = { file: place.file, offset };
    },
    passGroup() {
      boundary = place;
    },
    endGroup(gtid, held, settled) {
      boundary = place;
      if (gtid) domains?.set(Number(gtid.source), { server: gtid.server, sequence: gtid.number });
      // A set of ids without that of the prepared rows makes the server send them once more to the next reader.
      if (gtid && !held) set?.add(gtid.source, gtid.number);
      if (settled) set?.add(settled.source, settled.number);
    },
    prepare(xid, prepared) {
      open.set(xid, prepared);
    },
    settle(xid) {
      const prepared = open.get(xid);
      open.delete(xid);
      return prepared;
    },
    isOld: (start) => delivered !== undefined && comparePlaces(start, delivered) < 0,
    position() {
      const shown = delivered && comparePlaces(boundary, delivered) < 0 ? delivered : boundary;
      const ids = set ? `"gtid":"${set.text()}",` : domains ? `"gtid":"${domainIdsText(domains)}",` : '';
      return `{${ids}"file":${JSON.stringify(shown.file)},"offset":${shown.offset}${since()}${tail}` as Position;
    },
    reachedPlace: (goal) => boundary.file !== '' && comparePlaces(boundary, goal) >= 0,
    cameTo(end) {
      if (place.file !== '' && comparePlaces(place, end) >= 0) return true;
      if (end.ids === undefined) return false;
      if (domains) return domainsReached(domains, parseDomainIds(end.ids));
      if (!set) return false;
      const read = parseGtidSet(set.text());
      // Prepared rows were read; their ids count once they are settled.
      for (const { gtid } of open.values()) if (gtid) read.add(gtid.source, gtid.number);
      return read.contains(parseGtidSet(end.ids));
    },
  };
}
