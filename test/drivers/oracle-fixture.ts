import { randomUUID } from 'node:crypto';
import type { Capture, LogEvent, RowChange } from '../../src/drivers/changes.ts';
import type { Params, Position, Table, TableOptions } from '../../src/drivers/model.ts';
import { open } from '../../src/drivers/oracle/source.ts';
import { waits } from '../../src/drivers/oracle/written-end.ts';
import type { Source } from '../../src/drivers/source.ts';
import { servers } from '../fakes/oracle/client.ts';
import type { FakeRedo } from '../fakes/oracle/redo.ts';
import { type FakeOracle, type FakeSettings, startOracle } from '../fakes/oracle/server.ts';
import { describeOne, readAll } from './source-suite.ts';

// A file that is missing does not come.
waits.retryMs = 0;

export type Ground = AsyncDisposable & {
  readonly server: FakeOracle;
  readonly source: Source;
  params(more?: Params): Params;
  open(more?: Params): Promise<Source>;
  table(name: string, options?: TableOptions): Promise<Table>;
};

/** A fake of its own and the driver on it. */
export async function oracleGround(settings: Partial<FakeSettings> = {}, more: Params = {}): Promise<Ground> {
  const service = `S${randomUUID().slice(0, 8)}`;
  const server = startOracle(settings);
  servers.set(service, server);
  const params = (extra: Params = {}): Params => ({
    ...{ host: 'oracle.test', port: '1521', db: service, uid: 'flow', pwd: 'flow-secret', type: 'rds.oracle11lfm' },
    ...more,
    ...extra,
  });
  const opened = (extra?: Params) => open(params(extra), new AbortController().signal);
  const source = await opened();
  return {
    server,
    source,
    params,
    open: opened,
    table: (name, options) => describeOne(source, 'main', name, options),
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      servers.delete(service);
      server.close();
    },
  };
}

/** Where a scope would start now. */
export async function begin(source: Source): Promise<{ position: Position; identity: string }> {
  return source.begin('p', 'p_1', [], () => {}, new AbortController().signal);
}

export type Followed = { readonly events: LogEvent[]; readonly position: Position; readonly capture: Capture };

/** Everything between a position and the log's end. Data is copied: it is looked at later. */
export async function follow(
  source: Source,
  from: Position,
  tables: readonly Table[],
  more: { identity?: string; skip?: readonly Position[]; options?: TableOptions } = {},
): Promise<Followed> {
  const capture = await source.capture?.(
    {
      pipeline: 'p',
      name: 'p_1',
      slot: '',
      identity: more.identity ?? '',
      from,
      tables: tables.map((table) => ({
        table,
        skip: more.skip ?? [],
        ...(more.options ? { options: more.options } : {}),
      })),
      until: 'written',
    },
    new AbortController().signal,
  );
  if (!capture) throw new Error('the source captures nothing');
  const events: LogEvent[] = [];
  let position = from;
  try {
    for await (const piece of capture.events())
      for (const event of piece) {
        events.push(event);
        if (event.kind === 'commit' || event.kind === 'progress') position = event.position;
      }
    return { events, position, capture };
  } finally {
    await capture[Symbol.asyncDispose]();
  }
}

export function isRow(event: LogEvent): event is RowChange {
  return event.kind === 'insert' || event.kind === 'update' || event.kind === 'delete';
}

/** A copy that changes are applied to by the words of the contract; partial rows on an unknown base are read from the source. */
export async function applyTo(
  rows: Map<string, string>,
  source: Source,
  table: Table,
  events: readonly LogEvent[],
): Promise<void> {
  const again = new Set<string>();
  for (const event of events) {
    if (event.kind === 'truncate') rows.clear();
    if (!isRow(event)) continue;
    const line = Buffer.from(event.data.subarray(event.from, event.to)).toString('utf8');
    if (event.oldKey !== null) {
      const base = rows.get(event.oldKey);
      rows.delete(event.oldKey);
      if (base !== undefined) rows.set(event.key, base);
    }
    if (event.kind === 'delete') rows.delete(event.key);
    else if (event.missing === null) rows.set(event.key, line);
    else {
      const base = rows.get(event.key);
      if (base === undefined) again.add(event.key);
      else {
        const cells = line.slice(0, -1).split('\t');
        const old = base.slice(0, -1).split('\t');
        rows.set(event.key, `${cells.map((cell, i) => (event.missing?.includes(i) ? old[i] : cell)).join('\t')}\n`);
      }
    }
  }
  for (const key of again) {
    rows.delete(key);
    for await (const batch of source.reread(table, [key], new AbortController().signal))
      rows.set(key, Buffer.from(batch.data).toString('utf8'));
  }
}

/** The rows of a table as lines of load text, by key. */
export async function snapshot(source: Source, table: Table): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  const [range] = (await source.split(table, undefined, 1e12)).ranges;
  const parts: Buffer[] = [];
  for await (const batch of source.read(table, undefined, range as string, new AbortController().signal))
    parts.push(Buffer.from(batch.data));
  const places = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
  for (const line of Buffer.concat(parts)
    .toString('utf8')
    .split(/(?<=\n)/)) {
    if (line === '') continue;
    const cells = line.slice(0, -1).split('\t');
    rows.set(Buffer.from(places.map((place) => cells[place]).join('\t')).toString('latin1'), line);
  }
  return rows;
}

export { readAll };

/** Rows of a transaction in the log, written by hand. */
export function transaction(server: FakeOracle, xid: string, more: Partial<FakeRedo> = {}) {
  const common = { xid: xid.padEnd(16, '0'), ...more };
  return {
    start: () => server.redo({ ...common, operation: 6 }),
    dml: (table: string, operation: number, sql: string, rowId: string, extra: Partial<FakeRedo> = {}) =>
      server.redo({ ...common, operation, owner: 'main', table, sql, rowId, ...extra }),
    commit: () => server.redo({ ...common, operation: 7 }),
    rollback: () => server.redo({ ...common, operation: 36 }),
  };
}
