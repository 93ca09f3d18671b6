import { BSON, type Document } from 'mongodb';
import { Misconfigured, PositionLost } from '../errors.ts';
import type { Position } from '../model.ts';

/**
 * Where a change stream stands. `seconds` and `increment`: a cluster time. `whole`: everything of this time is contained; else only what comes before it, or
 * up to the event that `token` names. `token`, `bits`: a resume token (its `_data`, and its `_typeBits` as base64). `ended`: the token of an
 * `invalidate`, after which the stream must be started anew. `watched`: the database of the stream that the token is of, '' for all. Stored at the
 * destination as JSON: add fields, never rename.
 */
export type StreamPosition = {
  readonly seconds: number;
  readonly increment: number;
  readonly whole?: true;
  readonly token?: string;
  readonly bits?: string;
  readonly ended?: true;
  readonly watched?: string;
};

export function encodePosition(position: StreamPosition): Position {
  return JSON.stringify(position) as Position;
}

/** null for '', the position of a source without a change stream. Throws `PositionLost` for one of another kind of source. */
export function decodePosition(text: string): StreamPosition | null {
  if (text === '') return null;
  const position = text.startsWith('{') ? (JSON.parse(text) as Partial<StreamPosition>) : {};
  if (typeof position.seconds !== 'number' || typeof position.increment !== 'number')
    throw new PositionLost('The stored position is none of a change stream.', 'Run a full extract.');
  return position as StreamPosition;
}

/** A cluster time by itself: everything up to and including it. */
export function wholeTime(time: BSON.Timestamp): StreamPosition {
  return { seconds: time.t >>> 0, increment: time.i >>> 0, whole: true };
}

export function clusterTime({ seconds, increment }: StreamPosition): BSON.Timestamp {
  return new BSON.Timestamp({ t: seconds, i: increment });
}

/** Whether everything up to `goal` lies within `position`. Tokens are ordered as their digits are, beginning with the time. */
export function contains(position: StreamPosition, goal: StreamPosition): boolean {
  const order = compareTimes(position, goal);
  if (order !== 0) return order > 0;
  if (position.whole) return true;
  if (goal.whole) return false;
  return goal.token === undefined || (position.token !== undefined && position.token >= goal.token);
}

export function compareTimes(
  a: Pick<StreamPosition, 'seconds' | 'increment'>,
  b: Pick<StreamPosition, 'seconds' | 'increment'>,
): number {
  return a.seconds - b.seconds || a.increment - b.increment;
}

/** A resume token as a part of a position. Throws `Misconfigured` for one that is not MongoDB's. */
export function tokenParts(token: Document): Pick<StreamPosition, 'token' | 'bits'> {
  const data: unknown = token['_data'];
  if (typeof data !== 'string' || !/^82[0-9a-fA-F]{16}/.test(data))
    throw new Misconfigured(
      'The source numbers its changes in a way that is not known: it is no MongoDB server, or one from before 4.2.',
      'Set `capture` to none for full extracts only.',
    );
  const bits: unknown = token['_typeBits'];
  const bytes = bits instanceof BSON.Binary ? bits.buffer : bits instanceof Uint8Array ? bits : undefined;
  return { token: data.toUpperCase(), ...(bytes && { bits: Buffer.from(bytes).toString('base64') }) };
}

/** The time that a resume token begins with: a type byte, seconds and increment. */
export function tokenTime(token: string): Pick<StreamPosition, 'seconds' | 'increment'> {
  return { seconds: Number.parseInt(token.slice(2, 10), 16), increment: Number.parseInt(token.slice(10, 18), 16) };
}

/** The resume token of a position; undefined: it has none. */
export function resumeToken({ token, bits }: StreamPosition): Document | undefined {
  if (token === undefined) return undefined;
  return { _data: token, ...(bits !== undefined && { _typeBits: new BSON.Binary(Buffer.from(bits, 'base64')) }) };
}

/** A stored position that must be one of a change stream. */
export function streamPosition(text: Position): StreamPosition {
  const position = decodePosition(text);
  if (!position)
    throw new Misconfigured(
      'The source is followed by no change stream (`capture` is none).',
      'Set `capture` to log and run a full extract.',
    );
  return position;
}
