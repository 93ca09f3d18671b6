import { PositionLost } from '../errors.ts';
import type { Position } from '../model.ts';

/**
 * A position is an LSN as PostgreSQL prints it, `16/B374D848`; on a later timeline than the one that the scope began on, `16/B374D848@2`.
 * Stored at the destination.
 */
export type Lsn = bigint;

export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})(?:@\d+)?$/i.exec(text);
  if (!match) throw new PositionLost(`"${text}" is no position of a PostgreSQL log.`, 'Run a full extract.');
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** The timeline that a position names; undefined: the scope's own. */
export function timelineOf(position: Position): number | undefined {
  const at = position.indexOf('@');
  return at < 0 ? undefined : Number(position.slice(at + 1));
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}
