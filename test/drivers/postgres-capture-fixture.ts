import type { Capture, CaptureRequest, FollowedTable, LogEvent, RowChange } from '../../src/drivers/changes.ts';
import type { Position, Table } from '../../src/drivers/model.ts';
import type { Source, Start } from '../../src/drivers/source.ts';
import { parseLoadText } from './source-suite.ts';

const never = new AbortController().signal;

/** A scope of tables from its start on. */
export type Scope = {
  readonly pipeline: string;
  readonly start: Start;
  readonly tables: readonly FollowedTable[];
  request(more?: Partial<CaptureRequest>): CaptureRequest;
};

let turn = 0;

/** Begins a scope of described tables. */
export async function scopeOf(source: Source, tables: readonly Table[]): Promise<Scope> {
  const pipeline = `${source.database}_${++turn}`;
  const name = `${pipeline}_1`;
  const start = await source.begin(
    pipeline,
    name,
    tables.map((table) => table.ref),
    () => {},
    never,
  );
  const followed = tables.map((table) => ({ table, skip: [] }));
  return {
    pipeline,
    start,
    tables: followed,
    request: (more = {}) => ({
      pipeline,
      name,
      slot: start.slot,
      identity: start.identity,
      from: start.position,
      tables: followed,
      until: 'written',
      ...more,
    }),
  };
}

export async function capture(source: Source, request: CaptureRequest, signal = never): Promise<Capture> {
  if (!source.capture) throw new Error('the source captures no changes');
  return source.capture(request, signal);
}

/** A row of an event, or what else it was, with its bytes copied. */
export type Seen =
  | (Omit<RowChange, 'data' | 'from' | 'to'> & { readonly line: string; readonly row: (string | null)[] | undefined })
  | Exclude<LogEvent, RowChange>;

export function seen(event: LogEvent): Seen {
  if (!('key' in event)) return event;
  const { data, from, to, ...rest } = event;
  const bytes = Buffer.from(data.subarray(from, to));
  return { ...rest, line: bytes.toString('latin1'), row: bytes.length === 0 ? undefined : parseLoadText(bytes)[0] };
}

/** All events up to the log's end. */
export async function drain(source: Source, request: CaptureRequest): Promise<Seen[]> {
  await using reader = await capture(source, request);
  const all: Seen[] = [];
  for await (const piece of reader.events()) all.push(...piece.map(seen));
  return all;
}

export function changesOf(events: readonly Seen[]) {
  return events.filter((event) => 'key' in event);
}

export function lastPosition(events: readonly Seen[]): Position {
  const last = events.at(-1);
  if (last?.kind !== 'progress') throw new Error('the events did not end with a position');
  return last.position;
}

/** The lines of a snapshot read of the whole table, as latin1. */
export async function linesOf(source: Source, table: Table): Promise<string[]> {
  const parts: Buffer[] = [];
  for (const range of (await source.split(table, undefined, 1e12)).ranges)
    for await (const batch of source.read(table, undefined, range, never)) parts.push(Buffer.from(batch.data));
  return cut(Buffer.concat(parts).toString('latin1'));
}

/** Lines by key of a re-read. */
export async function rereadLines(reader: Capture, table: number, keys: readonly string[]): Promise<string[]> {
  const parts: Buffer[] = [];
  for await (const batch of reader.reread(table, keys)) parts.push(Buffer.from(batch.data));
  return cut(Buffer.concat(parts).toString('latin1'));
}

/** Rows end in newlines, and there are no others: those in values are escaped. */
function cut(text: string): string[] {
  return text.split(/(?<=\n)/);
}
