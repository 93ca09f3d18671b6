import type { Capture, CaptureRequest, FollowedTable, LogEvent, RowChange } from '../../../src/drivers/changes.ts';
import type { Position, Table } from '../../../src/drivers/model.ts';
import type { Source, Start } from '../../../src/drivers/source.ts';

export const never = (): AbortSignal => new AbortController().signal;

/** A start like that of a scope, with nothing to wait for. */
export function startAt(source: Source, tables: readonly Table[]): Promise<Start> {
  return source.begin(
    'p',
    's',
    tables.map((table) => table.ref),
    () => {},
    never(),
  );
}

export function openAt(
  source: Source,
  tables: readonly (Table | FollowedTable)[],
  start: Pick<Start, 'position' | 'identity'>,
  more: Partial<CaptureRequest> = {},
  signal: AbortSignal = never(),
): Promise<Capture> {
  if (!source.capture) throw new Error('the source has no capture');
  return source.capture(
    {
      pipeline: 'p',
      name: 's',
      slot: '',
      identity: start.identity,
      from: start.position,
      tables: tables.map((one) => ('table' in one ? one : { table: one, skip: [] })),
      until: 'written',
      ...more,
    },
    signal,
  );
}

/** All events up to the written end. Rows are looked at only afterwards, so that a buffer that is written again would show. */
export async function collect(capture: Capture): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for await (const piece of capture.events()) events.push(...piece);
  return events;
}

export async function changesSince(
  source: Source,
  tables: readonly (Table | FollowedTable)[],
  start: Pick<Start, 'position' | 'identity'>,
): Promise<LogEvent[]> {
  await using capture = await openAt(source, tables, start);
  return await collect(capture);
}

export function isRow(event: LogEvent): event is RowChange {
  return event.kind === 'insert' || event.kind === 'update' || event.kind === 'delete';
}

export function rowText(change: RowChange): string {
  return Buffer.from(change.data.subarray(change.from, change.to)).toString('latin1');
}

/** The lines of a whole table as the snapshot path reads them. */
export async function readLines(source: Source, table: Table): Promise<string[]> {
  const parts: Buffer[] = [];
  for await (const batch of source.read(table, undefined, '{}', never())) parts.push(Buffer.from(batch.data));
  return lines(Buffer.concat(parts));
}

export function lines(text: Buffer): string[] {
  const list = text.toString('latin1').split('\n');
  list.pop();
  return list.map((line) => `${line}\n`);
}

export async function rereadLines(capture: Capture, table: number, keys: readonly string[]): Promise<string[]> {
  const parts: Buffer[] = [];
  for await (const batch of capture.reread(table, keys)) parts.push(Buffer.from(batch.data));
  return lines(Buffer.concat(parts));
}

/** What the events make of tables that were empty before: the rows by key, as a destination would hold them. */
export function applied(
  events: readonly LogEvent[],
  table: number,
  before: Map<string, string> = new Map(),
): Map<string, string> {
  const rows = new Map(before);
  for (const event of events) {
    if (event.kind === 'truncate' && event.table === table) rows.clear();
    if (!isRow(event) || event.table !== table) continue;
    if (event.missing) throw new Error('columns are missing');
    if (event.kind === 'delete') {
      if (!rows.delete(event.key)) throw new Error(`there is no row ${event.key} to delete`);
      continue;
    }
    if (event.oldKey !== null && !rows.delete(event.oldKey)) throw new Error(`there was no row ${event.oldKey}`);
    rows.set(event.key, rowText(event));
  }
  return rows;
}

export function lastPosition(events: readonly LogEvent[]): Position {
  const event = events.findLast((one) => one.kind === 'commit' || one.kind === 'progress');
  if (event?.kind !== 'commit' && event?.kind !== 'progress') throw new Error('no position came');
  return event.position;
}
