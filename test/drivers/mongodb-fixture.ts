import { MongoClient } from 'mongodb';
import type { Capture, CaptureRequest, LogEvent, RowChange } from '../../src/drivers/changes.ts';
import type { Params, Position, Table } from '../../src/drivers/model.ts';
import { open } from '../../src/drivers/mongodb/source.ts';
import type { Source } from '../../src/drivers/source.ts';
import { databaseName, type FakeMongo, type FakeOptions, startFakeMongo } from '../fakes/mongodb/server.ts';
import { describeOne, parseLoadText } from './source-suite.ts';

/** A fake server with a client of it, and a database of its own. */
export type MongoGround = AsyncDisposable & {
  readonly fake: FakeMongo;
  readonly client: MongoClient;
  readonly database: string;
  params(more?: Params): Params;
  open(more?: Params): Promise<Source>;
};

export async function mongoGround(options: FakeOptions = {}): Promise<MongoGround> {
  const fake = await startFakeMongo(options);
  const [user] = Object.entries(options.users ?? {});
  const client = new MongoClient(`mongodb://127.0.0.1:${fake.port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 5_000,
    ...(user && { auth: { username: user[0], password: user[1] }, authSource: 'admin' }),
    ...(options.certificates && { tls: true, tlsAllowInvalidCertificates: true }),
  });
  const params = (more: Params = {}): Params => ({
    host: '127.0.0.1',
    port: String(fake.port),
    uid: user?.[0] ?? '',
    pwd: user?.[1] ?? '',
    type: 'rds.mongo',
    ...more,
  });
  return {
    fake,
    client,
    database: databaseName(),
    params,
    open: (more) => open(params(more), new AbortController().signal),
    async [Symbol.asyncDispose]() {
      await client.close();
      await fake[Symbol.asyncDispose]();
    },
  };
}

/** A scope's tables with where they are followed from. */
export async function startOf(source: Source, tables: readonly Table[]) {
  const refs = tables.map(({ ref }) => ref);
  return source.begin('p', 'p_1', refs, () => {}, new AbortController().signal);
}

/** A reader of the log, as a slice opens it. */
export async function capture(
  source: Source,
  tables: readonly Table[],
  from: Position,
  more: Partial<CaptureRequest> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Capture> {
  const request: CaptureRequest = {
    pipeline: 'p',
    name: 'p_1',
    slot: '',
    identity: '',
    from,
    tables: tables.map((table) => ({ table, skip: [] })),
    until: 'written',
    ...more,
  };
  if (!source.capture) throw new Error('this source captures nothing');
  return source.capture(request, signal);
}

/** All events up to the log's end. */
export async function captured(
  source: Source,
  tables: readonly Table[],
  from: Position,
  more: Partial<CaptureRequest> = {},
): Promise<LogEvent[]> {
  await using reader = await capture(source, tables, from, more);
  const events: LogEvent[] = [];
  for await (const piece of reader.events()) events.push(...piece);
  return events;
}

export const isRow = (event: LogEvent): event is RowChange => ['insert', 'update', 'delete'].includes(event.kind);

/** A change as people read it: `insert 1 {"a":1}`. */
export function shown(event: LogEvent): string {
  if (!isRow(event)) return event.kind;
  const moved = event.oldKey === null ? '' : `${event.oldKey} -> `;
  if (event.kind === 'delete') return `delete ${event.key}`;
  const [row] = parseLoadText(Buffer.from(event.data.subarray(event.from, event.to)));
  return `${event.kind} ${moved}${row?.[0]} ${row?.[1]}`;
}

/** What became of the rows, by key; fails where a change is outside a transaction. */
export function folded(events: readonly LogEvent[], rows: Map<string, string> = new Map()): Map<string, string> {
  for (const event of events) {
    if (!isRow(event)) continue;
    if (event.oldKey !== null) rows.delete(event.oldKey);
    if (event.kind === 'delete') rows.delete(event.key);
    else rows.set(event.key, Buffer.from(event.data.subarray(event.from, event.to)).toString('latin1'));
  }
  if (events.some(isRow) && events.findLast((event) => isRow(event) || event.kind === 'commit')?.kind !== 'commit')
    throw new Error('the last changes have no commit');
  return rows;
}

/** The rows of a collection as a snapshot reads them, by key. */
export async function snapshot(source: Source, table: Table, chunkBytes = 1e9): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  for (const range of (await source.split(table, undefined, chunkBytes)).ranges) {
    let text = '';
    for await (const batch of source.read(table, undefined, range, new AbortController().signal))
      text += Buffer.from(batch.data).toString('latin1');
    for (const line of text.split('\n').slice(0, -1)) {
      const key = line.slice(0, line.indexOf('\t'));
      if (rows.has(key)) throw new Error(`${key} was read twice`);
      rows.set(key, `${line}\n`);
    }
  }
  return rows;
}

export { describeOne };
