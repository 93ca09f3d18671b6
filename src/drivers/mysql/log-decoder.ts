import { inflateSync } from 'node:zlib';
import { PositionLost, UnsupportedValue } from '../errors.ts';
import { createRowText } from './cells.ts';
import type { Charsets } from './charsets.ts';
import type { Followers, Mapped } from './followed-tables.ts';
import * as log from './log-events.ts';
import type { Groups } from './log-groups.ts';
import { charsetsIn, planRows, type RowPlan } from './log-layout.ts';
import type { LogPlace } from './log-place.ts';
import type { LogProgress } from './log-progress.ts';
import { type Payload, readPayload } from './payload.ts';
import { type Image, KeyMissing, type RowSink, readImage, readRows } from './row-changes.ts';
import { damaged, parseTableMap, readLength, tableName } from './table-map.ts';
import { readTaggedGtid } from './tagged-gtid.ts';

/** What a decoder asks of its surroundings. */
export type DecoderHelp = {
  readonly followers: Followers;
  readonly groups: Groups;
  readonly progress: LogProgress;
  readonly charsets: Charsets;
  loadCharsets(names: readonly string[]): Promise<void>;
  /** A statement of the log. */
  statement(statement: log.LogStatement, seconds: number): Promise<void> | undefined;
};

/** Turns events of the log into changes of followed tables, which go to `groups`. */
export type LogDecoder = {
  /** Takes one event, `bytes[start, end)`; the next one only when the promise, if any, is settled. Throws for damage. */
  take(bytes: Buffer, start: number, end: number, nested: boolean): Promise<void> | undefined;
  /** Compressed events to be taken, as nested ones, before the next. */
  takePayload(): Payload | undefined;
  /** How often the server has said that it has nothing new. */
  readonly heartbeats: number;
};

const { EVENT, EVENT_HEADER } = log;
const MAPPED_MOST = 20_000;
const IMAGES_MOST = 16;
/** The last event of a statement that changed nothing more. */
const NO_TABLE = 0xffffff;

export function createLogDecoder(help: DecoderHelp): LogDecoder {
  const { followers, groups, progress, charsets } = help;
  let checksums = false;
  let payload: Payload | undefined;
  const mapped = new Map<number, Mapped>();
  const images = new WeakMap<RowPlan, readonly { readonly bitmap: Buffer; readonly image: Image }[]>();
  const sink: { -readonly [K in keyof RowSink]: RowSink[K] } = {
    out: createRowText(),
    repairs: undefined as unknown as RowSink['repairs'],
    table: 0,
    keys: 0,
    emit: (change) => groups.deliver(change),
  };
  const decoder = { take, takePayload, heartbeats: 0 };

  function takePayload(): Payload | undefined {
    const taken = payload;
    payload = undefined;
    return taken;
  }

  function take(bytes: Buffer, start: number, stop: number, nested: boolean): Promise<void> | undefined {
    log.checkLength(bytes, start, stop);
    const type = log.eventType(bytes, start);
    const flags = log.eventFlags(bytes, start);
    if (type === EVENT.format) return format(bytes, start, stop, flags);
    if (type === EVENT.rotate) return rotate(bytes, start, stop);
    const end = nested ? stop : log.bodyEnd(bytes, start, stop, checksums);
    const body = start + EVENT_HEADER;
    const rows = log.ROWS[type];
    if (type === EVENT.heartbeat || type === EVENT.heartbeat2) {
      decoder.heartbeats++;
      return;
    }
    if (!nested && (flags & log.ARTIFICIAL) === 0) progress.advance(log.eventEnd(bytes, start));
    if (rows) return takeRows(rows, bytes, body, end);
    switch (type) {
      case EVENT.tableMap:
        return takeTableMap(bytes, body, end);
      case EVENT.xid:
        groups.end(log.eventSeconds(bytes, start));
        return;
      case EVENT.query:
      case EVENT.queryCompressed:
      case EVENT.executeLoad:
        return help.statement(log.readStatement(bytes, start, end, inflate), log.eventSeconds(bytes, start));
      case EVENT.gtid:
        groups.begin(groupStart(bytes, start), log.readGtid(bytes, start, end));
        return;
      case EVENT.anonymousGtid:
        groups.begin(groupStart(bytes, start), undefined);
        return;
      case EVENT.taggedGtid:
        groups.begin(groupStart(bytes, start), readTaggedGtid(bytes, body, end));
        return;
      case EVENT.mariadbGtid: {
        const gtid = log.readMariadbGtid(bytes, start, end);
        groups.begin(groupStart(bytes, start), gtid).open = !gtid.alone;
        if (gtid.prepared) groups.hold();
        return;
      }
      case EVENT.xaPrepare: {
        const { xid, commits } = log.readXaPrepare(bytes, start, end);
        if (commits) groups.end(log.eventSeconds(bytes, start));
        else groups.prepare(xid);
        return;
      }
      case EVENT.payload:
        payload = readPayload(bytes, body, end);
        return;
      case EVENT.incident:
        throw new PositionLost(
          'The source says that changes are missing in its log (an INCIDENT event).',
          'Load the tables again: what was lost can not be read from the log.',
        );
      case EVENT.partialUpdate:
        throw new UnsupportedValue(
          'The log holds partial JSON updates.',
          "SET GLOBAL binlog_row_value_options = '' at the source (and in its configuration), reconnect its writers, and load the tables again.",
        );
    }
    if (!log.isHarmless(type, flags)) throw damaged(`an event of the unknown number ${type}`);
    return;
  }

  function groupStart(bytes: Buffer, start: number): LogPlace {
    const { file, offset } = progress.place;
    return { file, offset: log.eventEnd(bytes, start) === 0 ? offset : offset - bytes.readUInt32LE(start + 9) };
  }

  function format(bytes: Buffer, start: number, stop: number, flags: number): undefined {
    const known = log.formatChecksums(bytes, start, stop);
    if (known === undefined || (known && !log.hasChecksum(bytes, start, stop))) throw damaged('a head of a file');
    checksums = known;
    groups.abort('the source was restarted in the middle of a transaction that changed its rows');
    const end = log.eventEnd(bytes, start);
    if ((flags & log.ARTIFICIAL) === 0 && end > progress.place.offset) progress.advance(end);
    progress.passGroup();
  }

  function rotate(bytes: Buffer, start: number, stop: number): undefined {
    // The first one comes before the log has said whether it has checksums.
    progress.moveTo(log.rotation(bytes, start, log.hasChecksum(bytes, start, stop) ? stop - 4 : stop));
    mapped.clear();
    if (groups.idle) progress.passGroup();
  }

  function takeTableMap(bytes: Buffer, body: number, end: number): Promise<void> | undefined {
    if (end - body < 8) throw damaged('a description of a table');
    const { number } = groups.current;
    const id = bytes.readUIntLE(body, 6);
    const before = mapped.get(id);
    if (before && bytes.compare(before.raw, 0, before.raw.length, body, end) === 0) {
      before.group = number;
      return;
    }
    if (mapped.size >= MAPPED_MOST) mapped.clear();
    const raw = Buffer.from(bytes.subarray(body, end));
    const { schema, name } = tableName(raw, 8, raw.length);
    const follower = followers.find(schema, name);
    if (!follower || follower.gone) {
      mapped.set(id, { raw, follower: undefined, plan: undefined, group: number });
      return;
    }
    const map = parseTableMap(raw, 8, raw.length);
    const plan = () => {
      mapped.set(id, {
        raw,
        follower,
        plan: follower.refusal ?? planRows(follower.table, map, follower.layout, charsets),
        group: number,
      });
    };
    const wanted = charsetsIn(map, follower.layout, charsets);
    if (wanted.every(charsets.loaded)) return plan() as undefined;
    return help.loadCharsets(wanted).then(plan);
  }

  function takeRows(rows: (typeof log.ROWS)[number], bytes: Buffer, body: number, end: number): undefined {
    if (end - body < 10) throw damaged('rows');
    const id = bytes.readUIntLE(body, 6);
    if (id === NO_TABLE) return;
    const entry = mapped.get(id);
    const group = groups.current;
    if (!entry || entry.group !== group.number) throw damaged('rows of a table that it has not described');
    const { follower, plan } = entry;
    if (!follower || follower.gone || plan === undefined) return;
    if (!group.held && (group.old || groups.skips(follower))) return;
    if (typeof plan === 'string') return groups.drop(follower, plan) as undefined;
    let at = body + 8;
    if (rows.extra) at += bytes.readUInt16LE(at);
    const cursor = { at };
    if (readLength(bytes, cursor, end) !== plan.columns.length) throw damaged('rows with a wrong number of columns');
    const width = (plan.columns.length + 7) >> 3;
    at = cursor.at + (rows.kind === 'update' ? 2 : 1) * width;
    if (at > end) throw damaged('rows');
    const first = image(plan, bytes, cursor.at, width);
    const second = rows.kind === 'update' ? image(plan, bytes, cursor.at + width, width) : undefined;
    const data = rows.packed ? inflate(bytes.subarray(at, end)) : bytes;
    group.touched.add(follower);
    sink.repairs = follower.repairs;
    sink.table = follower.index;
    sink.keys = follower.table.key.length;
    try {
      const read = readRows(
        rows.kind,
        plan,
        first,
        second,
        data,
        rows.packed ? 0 : at,
        rows.packed ? data.length : end,
        sink,
      );
      if (rows.kind !== 'delete') follower.rows += read;
    } catch (error) {
      if (error instanceof KeyMissing) groups.drop(follower, error.message);
      else if (error instanceof UnsupportedValue)
        groups.drop(follower, `${error.message} ${error.action}`.replace(/\.$/, ''));
      else if (error instanceof RangeError) throw damaged('a value');
      else throw error;
    }
  }

  function image(plan: RowPlan, bytes: Buffer, at: number, width: number): Image {
    const known = images.get(plan) ?? [];
    for (const { bitmap, image } of known) {
      let i = 0;
      while (i < width && bitmap[i] === bytes[at + i]) i++;
      if (i === width) return image;
    }
    const made = { bitmap: Buffer.from(bytes.subarray(at, at + width)), image: readImage(plan, bytes, at) };
    // Tables have few shapes of images; a new list is begun where a damaged or odd log has many.
    images.set(plan, known.length < IMAGES_MOST ? [...known, made] : [made]);
    return made.image;
  }

  return decoder;
}

/** Unpacks a part that MariaDB has compressed. */
function inflate(packed: Buffer): Buffer {
  const { data, length } = log.packedPart(packed);
  let unpacked: Buffer;
  try {
    unpacked = inflateSync(data, { maxOutputLength: Math.max(1, length) });
  } catch {
    throw damaged('a compressed event');
  }
  if (unpacked.length !== length) throw damaged('a compressed event');
  return unpacked;
}
