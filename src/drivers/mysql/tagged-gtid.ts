import type { LogGtid } from './log-events.ts';
import { damaged } from './table-map.ts';

const FIELD = { uuid: 1, number: 2, tag: 3, committed: 6 };

/**
 * A GTID with a tag (MySQL 8.3), which is written in MySQL's self-describing format: fields by number, integers in one to nine bytes,
 * where the ones at the end of the first byte count the bytes that follow. `bytes[at, end)` is the event's body.
 */
export function readTaggedGtid(bytes: Buffer, at: number, end: number): LogGtid {
  function number(signed = false): bigint {
    const first = bytes[at];
    if (first === undefined || at >= end) throw damaged('a GTID event');
    let more = 0;
    while (more < 8 && (first >> more) & 1) more++;
    if (at + 1 + more > end) throw damaged('a GTID event');
    let value = 0n;
    for (let i = more; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i] as number);
    value >>= BigInt(more < 8 ? more + 1 : 8);
    at += 1 + more;
    if (!signed) return value;
    return value & 1n ? -(value >> 1n) - 1n : value >> 1n;
  }
  number();
  number();
  number();
  let source = '';
  let gno = 0;
  let tag = '';
  let commit: number | undefined;
  while (at < end) {
    const field = Number(number());
    if (field === FIELD.uuid) {
      const uuid = Buffer.from(Array.from({ length: 16 }, () => Number(number() & 255n)));
      source = uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    } else if (field === FIELD.number) gno = Number(number(true));
    else if (field === FIELD.tag) {
      const length = Number(number());
      tag = bytes.toString('latin1', at, at + length);
      at += length;
    } else {
      const value = number(field === 4 || field === 5);
      if (field === FIELD.committed) commit = Number(value) / 1000;
      if (field > FIELD.committed) break;
    }
  }
  if (source === '' || gno < 1) throw damaged('a GTID event');
  return {
    source: tag === '' ? source : `${source}:${tag}`,
    number: gno,
    server: 0,
    at: commit,
    alone: false,
    prepared: false,
  };
}
